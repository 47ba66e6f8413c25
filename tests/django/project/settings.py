"""The Django project of these tests. Children of `multiworker start` run it too, with the same variables.

PROJECT_REDIS is the URL of its Redis, PROJECT_DATABASE the file of its database.
"""

import os

import django

SECRET_KEY = "known to everybody"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "tests.django.project.urls"
STATIC_URL = "static/"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("PROJECT_DATABASE", ":memory:"),
        "OPTIONS": {"timeout": 30, "transaction_mode": "IMMEDIATE"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "multiworker.django",
    "tests.django.project.app",
]
if django.VERSION < (6,):
    INSTALLED_APPS.append("django_tasks")
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
MULTIWORKER = {"REDIS": os.environ.get("PROJECT_REDIS", "redis://localhost:1/0")}
TASKS = {
    "default": {"BACKEND": "multiworker.django.TaskBackend", "QUEUES": ["default", "slow"]},
    "mapped": {
        "BACKEND": "multiworker.django.TaskBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"LISTS": {"default": "mapped_tasks"}},
    },
    "brisk": {
        "BACKEND": "multiworker.django.TaskBackend",
        "OPTIONS": {"MAX_ATTEMPTS": 3, "BACKOFF": 0.02, "TIMEOUT": 60},
    },
    "open": {"BACKEND": "multiworker.django.TaskBackend", "QUEUES": []},
}
