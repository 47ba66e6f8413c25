"""The Django app."""

from django.apps import AppConfig


class MultiworkerConfig(AppConfig):
    """What ``INSTALLED_APPS = ["multiworker.django"]`` installs."""

    name = "multiworker.django"
    label = "multiworker"
    verbose_name = "Multiworker"
