"""The Django app."""

from django.apps import AppConfig


class MultiworkerConfig(AppConfig):
    """What ``INSTALLED_APPS = ["multiworker.django"]`` installs."""

    name = "multiworker.django"
    label = "multiworker"
    verbose_name = "Multiworker"

    def ready(self) -> None:
        """Have Django check the setting."""
        from multiworker.django import checks  # noqa: F401, PLC0415 - registers itself, once settings can be read
