"""The other queues' environments: each is made of one requirements file, beside this module."""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
OWN = "multiworker"
"""The environment that this program runs in."""


def binaries(environment: str) -> Path:
    """Return where an environment's programs are."""
    return Path(sys.executable).parent if environment == OWN else HERE / f".venv-{environment}/bin"


def requirements(environment: str) -> Path:
    """Return the file that an environment is made of."""
    return HERE / ("requirements.txt" if environment == "peers" else f"requirements-{environment}.txt")


def make(environment: str) -> None:
    """Make an environment, if it is not there as its file has it, with the Python that runs this.

    Raises:
        RuntimeError: pip cannot install it; the message has what it said.
    """
    if environment == OWN:
        return
    asked, folder = requirements(environment), binaries(environment).parent
    made = folder / "made"
    stamp = sys.version + asked.read_text()
    if made.exists() and made.read_text() == stamp:
        return
    print(f"installing {asked.name} into {folder}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    (folder / ".gitignore").write_text("*\n")
    pip = [str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    done = subprocess.run([*pip, "--requirement", str(asked)], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"pip could not install {asked.name}: {done.stderr.strip()[-500:]}")
    made.write_text(stamp)


def version(environment: str, package: str) -> str:
    """Return the version of a package in an environment."""
    ask = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    return subprocess.run(
        [str(binaries(environment) / "python"), "-c", ask], check=True, capture_output=True, text=True
    ).stdout.strip()
