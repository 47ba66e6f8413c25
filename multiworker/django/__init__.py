"""multiworker in a Django project: ``INSTALLED_APPS = ["multiworker.django"]`` and one setting, ``MULTIWORKER``."""
