"""The app of the orders."""

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    """Found by ``INSTALLED_APPS = ["orders"]``."""

    name = "orders"
