"""What a user gets from the sdist, the wheel, `pip install .` and `pip install -e .`."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
VERSION = distribution("multiworker").version
NOT_SOURCE = (".git", ".venv*", ".*_cache", "__pycache__", ".coverage*", ".hypothesis", "dist", "htmlcov")

# One process builds for all: the rest of the suite runs beside it.
pytestmark = pytest.mark.xdist_group("packaging")


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a user outside the repository would: without its paths and without measuring coverage."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE", "MULTIWORKER"))
    }
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=100)


def run_well(*command: str | Path, cwd: Path) -> str:
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def with_dependencies(*names: str) -> Iterator[str]:
    """Yield these distributions and all that they need themselves, extras only where a requirement asks for them."""
    seen: set[str] = set()
    waiting = [Requirement(name) for name in names]
    while waiting:
        wanted = waiting.pop()
        if str(wanted) in seen:
            continue
        seen.add(str(wanted))
        yield wanted.name
        waiting += [
            needed
            for needed in map(Requirement, distribution(wanted.name).requires or [])
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ["", *wanted.extras])
        ]


class Environment:
    """A new virtual environment that holds the dependencies of the project, without extras, and nothing else."""

    def __init__(self, folder: Path, *build_tools: str) -> None:
        self.folder = folder
        run_well(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
        self.site = next((folder / "venv" / "lib").glob("python*/site-packages"))
        # The packages are linked from where the tests run, so that no test needs a package index.
        for name in {*with_dependencies("multiworker", *build_tools)} - {"multiworker"}:
            for top in {file.parts[0] for file in distribution(name).files or []} - {"..", "__pycache__"}:
                link = self.site / top
                if not link.is_symlink():
                    link.symlink_to(Path(str(distribution(name).locate_file(top))))

    def install(self, *what: str | Path) -> None:
        into = str(self.folder / "venv" / "bin" / "python")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", into]
        run_well(*pip, "install", "--no-index", "--no-build-isolation", *what, cwd=self.folder)

    def multiworker(self, *arguments: str) -> str:
        return run_well(self.folder / "venv" / "bin" / "multiworker", *arguments, cwd=self.folder)

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        return run(self.folder / "venv" / "bin" / "python", "-c", code, cwd=self.folder)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that building leaves nothing behind in the real one."""
    folder = tmp_path_factory.mktemp("source") / "multiworker"
    shutil.copytree(ROOT, folder, symlinks=True, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    return folder


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, and the wheel that was built from that sdist."""
    folder = tmp_path_factory.mktemp("built")
    run_well(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def from_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("wheel"))
    environment.install(wheel)
    return environment


def names_of_sources(source: Path) -> set[str]:
    package = source / "multiworker"
    folders = [package, *(link for link in package.iterdir() if link.is_symlink())]
    return {
        path.relative_to(source).as_posix()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_built_from_the_sdist_holds_each_file_once_and_no_other(source: Path, wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packaged = [name for name in names if not name.startswith(f"multiworker-{VERSION}.dist-info/")]

    assert sorted(packaged) == sorted(names_of_sources(source))
    assert {"multiworker/py.typed", "multiworker/worker/lua/step.lua", "multiworker/supervisor/__init__.py"} <= {*names}


def test_wheel_carries_the_licence_and_the_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    info = f"multiworker-{VERSION}.dist-info"

    assert f"{info}/licenses/LICENSE" in archive.namelist()
    assert "multiworker = multiworker.cli:main" in archive.read(f"{info}/entry_points.txt").decode()


def test_sdist_holds_each_file_once_and_nothing_made_by_tools(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = [name.removeprefix(f"multiworker-{VERSION}/") for name in archive.getnames()]

    assert len(names) == len(set(names))
    assert {"pyproject.toml", "README.md", "LICENSE", "multiworker/worker/lua/step.lua"} <= {*names}
    assert not [name for name in names if re.search(r"__pycache__|\.pyc$|_cache/|\.venv", name)]


@pytest.mark.parametrize("group", ["start", "enqueue", "queue", "dead", "demo"])
def test_installed_wheel_has_every_command(from_wheel: Environment, group: str) -> None:
    assert group in from_wheel.multiworker("--help")
    assert "Usage: multiworker" in from_wheel.multiworker(group, "--help")


def test_installed_wheel_tells_its_version(from_wheel: Environment) -> None:
    assert VERSION in from_wheel.multiworker("--version")


def test_installed_wheel_runs_its_own_files(from_wheel: Environment) -> None:
    done = from_wheel.python("import multiworker.worker.scripts as it; print(it.__file__)")

    assert Path(done.stdout.strip()).is_relative_to(from_wheel.site), done.stderr


@pytest.mark.parametrize("bare", ["worker", "supervisor"])
def test_installed_wheel_takes_no_names_that_other_projects_use(from_wheel: Environment, bare: str) -> None:
    done = from_wheel.python(f"import {bare}")

    assert f"ModuleNotFoundError: No module named '{bare}'" in done.stderr


@pytest.mark.parametrize("options", [[], ["--editable"]], ids=["copied", "editable"])
def test_pip_installs_a_checkout(source: Path, tmp_path: Path, options: list[str]) -> None:
    environment = Environment(tmp_path, "hatchling")

    environment.install(*options, source)

    assert VERSION in environment.multiworker("--version")
    # A user who copied reads the copy; one who edits reads the checkout.
    file = Path(environment.python("import multiworker.worker as it; print(it.__file__)").stdout.strip())
    assert file.is_relative_to(source if options else environment.site)
