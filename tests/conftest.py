"""Plugins of the whole suite, one file a resource."""

pytest_plugins = ["tests.fix_redis", "tests.fix_topology", "tests.fix_cluster", "tests.system.fix_system"]
