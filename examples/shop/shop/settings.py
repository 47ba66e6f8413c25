"""Settings of the shop. With ``SECRET_KEY`` in the environment they are for a server, without it for development.

What it writes lies in ``SHOP_DATA``, else in ``var`` beside manage.py. Redis is the one that ``REDIS_URL`` names, else
a private one that the worker runs (``embedded:``).
"""

import os
from pathlib import Path

import django

BASE_DIR = Path(__file__).parents[1]
VAR = Path(os.environ.get("SHOP_DATA") or BASE_DIR / "var")
VAR.mkdir(parents=True, exist_ok=True)

DEBUG = "SECRET_KEY" not in os.environ
SECRET_KEY = os.environ.get("SECRET_KEY", "for development only, and known to everybody")
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "").split()

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "multiworker.django",
    "orders",
]
if django.VERSION < (6,):
    INSTALLED_APPS.append("django_tasks")

MULTIWORKER = {
    "REDIS": os.environ.get("REDIS_URL") or f"embedded:{VAR / 'redis'}",
    "HANDLER": ["orders.async_tasks:anything_else"],
}

TASKS = {"default": {"BACKEND": "multiworker.django.TaskBackend"}}

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": VAR / "db.sqlite3",
        # Many processes write: each waits for its turn, and takes it before it reads.
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=wal"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Mail is written to files, to look at.
MAIL = VAR / "mail"
if django.VERSION >= (6, 1):
    MAILERS = {
        "default": {"BACKEND": "django.core.mail.backends.filebased.EmailBackend", "OPTIONS": {"file_path": MAIL}}
    }
else:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = MAIL
DEFAULT_FROM_EMAIL = "shop@example.com"

INBOX = VAR / "inbox"
"""Where the files lie that ``file_process`` tasks name."""

ROOT_URLCONF = "shop.urls"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
if not DEBUG:  # the web server serves the admin's styles, too
    MIDDLEWARE.insert(1, "whitenoise.middleware.WhiteNoiseMiddleware")
    WHITENOISE_USE_FINDERS = True
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
STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "UTC"
