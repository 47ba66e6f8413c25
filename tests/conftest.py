"""Plugins of the whole suite, one file a resource."""

pytest_plugins = ["tests.fix_redis", "tests.system.fix_system"]
