"""Plugins of the whole suite, one file a resource."""

import signal

pytest_plugins = [
    "tests.fix_redis",
    "tests.fix_topology",
    "tests.fix_cluster",
    "tests.fix_postgres",
    "tests.system.fix_system",
    "tests.django.fix_shop",
    "tests.django.fix_clean",
    "tests.system.fix_site",
]

# A shell that runs the tests in the background has them ignore these, and so would whatever they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
