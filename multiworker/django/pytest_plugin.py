"""The pytest plugin: one fixture. It is loaded wherever multiworker is installed, so it loads nothing itself."""

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from multiworker.django.testing import SentTasks


@pytest.fixture
def sent_tasks() -> "Iterator[SentTasks]":
    """The tasks that the test has sent, see multiworker.django.testing; nothing gets to Redis."""
    testing = importlib.import_module("multiworker.django.testing")  # once Django is set up
    with testing.collect_tasks() as tasks:
        yield tasks
