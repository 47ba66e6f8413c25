"""examples/shop/deploy: files that operators copy, each read by the program it is for, or run as that would run it."""

import getpass
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml  # type: ignore[import-untyped]

from multiworker.supervisor.children import DRAIN_MARGIN
from multiworker.supervisor.nursery import SWEEP_TIME
from multiworker.supervisor.redis_server import STOP_TIME
from multiworker.worker.keys import Keys
from multiworker.worker.settings import Settings
from tests.django.fix_clean import ROOT, Clean
from tests.django.fix_shop import SHOP, Shop
from tests.fix_topology import free_ports
from tests.system.fix_supervisord import Supervisord, adapted
from tests.system.fix_system import QUEUE, answer, multiworker, until
from tests.system.test_systemd_unit import systemd_analyze

DEPLOY = SHOP / "deploy"
STOP = Settings().grace + DRAIN_MARGIN + SWEEP_TIME + STOP_TIME
"""Seconds that a parent may need to end."""
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def differences(one: Path, other: Path) -> set[str]:
    """Return the names of the lines in which two files differ, comments left out."""
    ours, theirs = ({line for line in path.read_text().splitlines() if line[:1] not in "#;"} for path in (one, other))
    return {line.partition("=")[0] for line in ours ^ theirs}


def push(client: redis.Redis, kind: str) -> None:
    client.lpush(QUEUE, json.dumps({"type": kind, "data": {"to": "user@example.com"}}))


def all_taken(client: redis.Redis) -> bool:
    """Tell whether a worker has all that was pushed: a wait of one that is about to end may have handed it on only."""
    return not client.llen(QUEUE) and not client.llen(Keys(QUEUE).handoff)


# systemd

UNIT = DEPLOY / "shop-worker.service"


def test_the_unit_is_multiworkers_own_but_for_the_project() -> None:
    changed = differences(ROOT / "etc" / "multiworker.service", UNIT)
    assert changed == {"Description", "ExecStart", "EnvironmentFile", "RuntimeDirectory", "ReadWritePaths"}


def test_systemd_has_nothing_to_say_about_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/srv/app/.venv/bin/multiworker", multiworker()[0]))
    done = systemd_analyze("verify", "--man=no", copy)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_the_unit_runs_starts_reloads_and_stops(shop: Shop, redis_client: redis.Redis) -> None:
    # given what the unit starts, in the project's folder
    start, reload = (
        re.findall(rf"^{key}=/srv/app/.venv/bin/multiworker (.*)$", UNIT.read_text(), re.MULTILINE)[0].split()
        for key in ("ExecStart", "ExecReload")
    )
    with shop.log_file.open("ab") as log:
        parent = shop.begin(*multiworker(), *start, stdout=log, stderr=log)
    until(lambda: "generation 1 is ready" in shop.log(), "the start", shop.log)
    # when it is told to reload, then it does; and it is healthy
    said = answer(shop.begin(*multiworker(), *reload))
    assert said.code == 0, said
    assert "generation 2 is ready" in shop.log()
    assert answer(shop.begin(*multiworker(), "health")).code == 0
    # and when it is stopped while a task runs, the task is finished
    push(redis_client, "fast_task")
    until(lambda: all_taken(redis_client), "the task's start")
    parent.send_signal(signal.SIGTERM)
    assert parent.wait() == 0, shop.log()
    assert "done 1 + retried 0 + dead 0 + given back 0" in shop.log()


# supervisord

PROGRAM = DEPLOY / "supervisord.conf"


@pytest.fixture
def supervisord(shop: Shop, redis_url: str, tmp_path: Path) -> Iterator[Supervisord]:
    """A supervisord that has started the program."""
    url = tmp_path / "redis-url"
    url.write_text(redis_url)
    replacements = {
        "/srv/app/.venv/bin/python": sys.executable,
        "/srv/app": str(SHOP),
        "/var/lib/shop": str(shop.data),
        "/etc/multiworker/redis-url": str(url),
        "/var/log/shop-worker.log": str(shop.log_file),
        "user=multiworker": f"user={getpass.getuser()}",
    }
    home = Path(tempfile.mkdtemp(prefix="mw-"))
    variables = {"RUNTIME_DIRECTORY": shop.environment["RUNTIME_DIRECTORY"]}
    started = Supervisord(adapted(PROGRAM.read_text(), replacements), home, variables)
    try:
        yield started
    finally:
        started.close()
        shutil.rmtree(home)


def test_the_program_is_multiworkers_own_but_for_the_project() -> None:
    changed = differences(ROOT / "etc" / "supervisord.conf", PROGRAM)
    assert changed == {"[program:multiworker]", "[program:shop-worker]", "command", "environment", "stdout_logfile"}


def test_supervisord_starts_reloads_and_stops_it(
    shop: Shop, supervisord: Supervisord, redis_client: redis.Redis
) -> None:
    # given a program that has started
    supervisord.pid()
    until(lambda: "generation 1 is ready" in shop.log(), "the start", shop.log)
    # when it is told to reload as its file says, then it does, and the Redis of the file is used
    supervisord.control("signal", "HUP", "shop-worker")
    until(lambda: "generation 2 is ready" in shop.log(), "the reload", shop.log)
    push(redis_client, "email")
    until(lambda: any(shop.mails()), "a mail", shop.log)
    # and when it is stopped while a task runs, the task is finished
    push(redis_client, "fast_task")
    until(lambda: all_taken(redis_client), "the task's start")
    assert "stopped" in supervisord.control("stop", "shop-worker")
    assert "done 2 + retried 0 + dead 0 + given back 0" in shop.log()
    assert not supervisord.others()


# Docker

DOCKERFILE = DEPLOY / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Return name and arguments of each of the Dockerfile's instructions."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def test_hadolint_has_nothing_to_say_about_the_dockerfile() -> None:
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_docker_is_sent_all_that_it_copies_and_no_more() -> None:
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    from_checkout = [rest.split()[:-1] for name, rest in instructions() if name == "COPY" and "--from" not in rest]
    copied = {source for sources in from_checkout for source in sources}
    left_out = {source for source in copied if not any(f"{source}/".startswith(f"{one}/") for one in sent)}
    assert not left_out
    assert sent <= copied
    assert all((ROOT / source).exists() for source in copied)


class Image:
    """What the Dockerfile makes, without Docker: its commands in an environment of their own, its paths in a directory.

    Args:
        clean: the environment.
    """

    def __init__(self, clean: Clean) -> None:
        self._clean = clean
        self._root = clean.home / "image"
        self._root.mkdir()
        self._folder = self._root
        for name, rest in instructions():
            if name == "WORKDIR":
                self._folder = self._inside(rest)
                self._folder.mkdir(parents=True)
            elif name == "COPY" and "--from" not in rest:
                self._copy(*rest.split())
            elif name == "ENV":
                variable, _, value = rest.partition("=")
                clean.environment[variable] = self._mapped(value)
            elif name == "RUN" and rest.startswith("pip "):  # users are made by others
                clean.type(self._mapped(rest), cwd=self._folder)

    @property
    def data(self) -> Path:
        """Where the project writes."""
        return Path(self._clean.environment["SHOP_DATA"])

    def run(self, line: str) -> str:
        """Run a command in the image, to its end; return what it says."""
        return self._clean.type(self._mapped(line), cwd=self._folder)

    def begin(self, line: str) -> subprocess.Popen[str]:
        """Start a command in the image."""
        return self._clean.begin(self._mapped(line), cwd=self._folder)

    def _copy(self, *names: str) -> None:
        *sources, target = names
        for source in sources:
            if (ROOT / source).is_dir():
                leave = shutil.ignore_patterns("__pycache__", "var")
                to = self._folder / target
                shutil.copytree(ROOT / source, to, symlinks=True, ignore=leave, dirs_exist_ok=True)
            else:
                shutil.copy(ROOT / source, self._folder / target)

    def _inside(self, path: str) -> Path:
        return self._root / path.removeprefix("/")

    def _mapped(self, text: str) -> str:
        return re.sub(r"(?<![\w./])/(?=(?:src|wheels|srv|var)\b)", f"{self._root}/", text)


def told(name: str) -> str:
    """Return the command of an instruction that has one in JSON."""
    (rest,) = [rest for other, rest in instructions() if other == name]
    return shlex.join(json.loads(rest[rest.index("[") :]))


@pytest.mark.xdist_group("packaging")
@pytest.mark.timeout(300)
def test_what_the_image_is_made_of_serves_pages_and_runs_tasks(clean: Clean) -> None:
    # given an image, with the variables and the commands of the services
    services = COMPOSE["services"]
    clean.environment |= {"SECRET_KEY": "x", "ALLOWED_HOSTS": "127.0.0.1"}
    image = Image(clean)
    image.run(services["migrate"]["command"])
    # when the pages are served, then the admin is there, with its styles
    (port,) = free_ports(1)
    image.begin(services["web"]["command"].replace("0.0.0.0:8000", f"127.0.0.1:{port}"))
    until(lambda: "Listening at" in clean.log(), "the web server", clean.log)
    check = services["web"]["healthcheck"]["test"]
    assert check[0] == "CMD"
    image.run(shlex.join(check[1:]).replace("8000", str(port)))
    address = f"http://127.0.0.1:{port}"
    page = fetch(f"{address}/admin/login/")
    style = re.search(r'href="(/static/admin/css/base[^"]*)"', page)
    assert style, page
    assert "--primary" in fetch(f"{address}{style[1]}")
    assert fetch(f"{address}/static/multiworker/pages.css")
    # and when a worker has started, then it is healthy, and tasks that the pages' side sends are run
    worker = image.begin(told("CMD"))
    until(lambda: "generation 1 is ready" in clean.log(), "the worker", clean.log)
    assert "children ready" in image.run(told("HEALTHCHECK"))
    image.run("python manage.py add_tasks email fast_task")
    image.run("python manage.py watch_queue --timeout 60")
    assert len(list(image.data.glob("mail/*.log"))) == 1
    # and it ends in order
    worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 0, clean.log()
    assert "done 2 + retried 0 + dead 0 + given back 0" in clean.log()


def fetch(address: str) -> str:
    """Return a page."""
    with urllib.request.urlopen(address, timeout=30) as answer:
        return str(answer.read().decode())


# Compose


def test_compose_names_nothing_that_is_not_there() -> None:
    services = COMPOSE["services"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        assert {volume.partition(":")[0] for volume in service["volumes"]} <= set(COMPOSE["volumes"])
        if "build" in service:
            context = (DEPLOY / service["build"]["context"]).resolve()
            assert context == ROOT
            assert (context / service["build"]["dockerfile"]).samefile(DOCKERFILE)
    # a service whose health is waited for has a check
    assert all(
        "healthcheck" in services[name]
        for service in services.values()
        for name, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_healthy"
    )


def test_compose_waits_for_the_worker_longer_than_it_may_take() -> None:
    assert float(COMPOSE["services"]["worker"]["stop_grace_period"].removesuffix("s")) > STOP


def test_compose_reads_the_file() -> None:
    docker = next((words for words in (["docker", "compose"], ["docker-compose"]) if _works(words)), None)
    if not docker:
        pytest.skip("no docker compose here")
    command = [*docker, "-f", str(DEPLOY / "compose.yaml"), "config", "--quiet"]
    done = subprocess.run(command, env={"PATH": "/usr/bin:/usr/local/bin", "SECRET_KEY": "x"}, check=False)
    assert done.returncode == 0


def _works(words: list[str]) -> bool:
    program = shutil.which(words[0])
    return bool(program) and not subprocess.run([*words, "version"], capture_output=True, check=False).returncode
