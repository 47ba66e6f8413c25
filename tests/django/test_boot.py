"""How a child enters a project; in a process of its own, as Django is set up once a process."""

import subprocess
import sys

PROGRAM = """
from multiworker.worker.errors import HandlerImportError
from multiworker.worker.process import prepare
from multiworker.worker.settings import Settings

try:
    prepare(Settings(settings="no_such_settings_module"))
except HandlerImportError as error:
    print(error)
"""


def test_a_settings_module_that_does_not_import_is_named() -> None:
    # When a child is to enter a project that is not there
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)

    # Then it says which
    assert found.stdout.startswith("--settings no_such_settings_module: ModuleNotFoundError")
