"""What the parent is made of, once it knows its settings."""

import os
import subprocess
import sys

NEVER = {"redis", "asyncio", "django", "uvloop", "msgspec"}
"""What only children may have."""
NOT_YET = {"ipaddress"} | ({"inspect"} if sys.version_info < (3, 12) else set())
"""What the standard library imports for itself, and a parent never uses; from 3.12 on, dataclasses uses inspect."""
NO_MORE = {"click", "tomllib", "subprocess", "shutil", "hashlib", "multiworker.cli.root", "multiworker.cli.start"}
"""What only the process has that reads the settings, or a parent with an embedded Redis."""
PROGRAM = """
import gc
import sys
from multiworker.cli import main
from multiworker.supervisor import parent

def live(_):
    print(*sys.modules, f"gc={gc.isenabled()}")
    return 0

parent.Parent.live = live
main()
"""


def modules(*options: str) -> set[str]:
    """Return what a parent has loaded when it begins to look after its children."""
    command = [sys.executable, "-c", PROGRAM, "start", *options]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(command, env=plain, capture_output=True, check=True, text=True)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_the_parent_has_loaded_nothing_that_it_does_not_need() -> None:
    loaded = modules("--procs", "2", "--redis", "redis://localhost:1")
    assert "multiworker.supervisor.parent" in loaded
    assert not loaded & (NEVER | NO_MORE | NOT_YET)
    assert "gc=True" in loaded
