"""So many tasks of each kind through four children, some of which are killed: is every result right?

`python -m tests.django.thousand --tasks 1000` prints figures, and exits with 1 if anything is wrong.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import django
from django.test import override_settings
from django.utils import timezone

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.django.project.settings"
django.setup()

from tests.django.project.app import tasks  # noqa: E402 - it needs the setup
from tests.fix_redis import RedisServer  # noqa: E402
from tests.system.fix_system import Engine, multiworker  # noqa: E402
from tests.waiting import pause_since  # noqa: E402

CHILDREN = 4
CONCURRENCY = 20
ATTEMPTS = 3
"""How often a failing task runs; as the settings of its backend say."""
PATIENCE = 120.0
"""Seconds without any progress after which tasks count as lost."""
RESULTS = "{async_tasks}:results"


class Bench:
    """One engine, the tasks that went through it, and what it found to be wrong.

    Args:
        directory: for all its files.
        server: a Redis of its own.
        count: tasks of each kind.
    """

    def __init__(self, directory: Path, server: RedisServer, count: int) -> None:
        self.engine = Engine(directory, server.url)
        self.engine.environment |= {"PROJECT_REDIS": server.url, "PROJECT_DATABASE": str(directory / "db.sqlite3")}
        self.file = directory / "runs"
        self.file.touch()
        self.count = count
        self.sent: dict[str, list[Any]] = {}
        self.wrong: list[str] = []

    def send(self, kind: str, chosen: Iterable[Any]) -> None:
        """Send the tasks of one kind."""
        began = time.monotonic()
        self.sent[kind] = [task.enqueue(str(self.file), kind, n) for n, task in enumerate(chosen)]
        say(f"{kind:9} {self.count} sent in {time.monotonic() - began:.2f} s")

    def start(self, concurrency: int) -> None:
        settings = ("--settings", "tests.django.project.settings", "--concurrency", str(concurrency))
        self.engine.start(*settings, procs=CHILDREN, program=[*multiworker(), "start"])

    def ended(self) -> int:
        """Return how many tasks have ended."""
        return int(self.engine.client.zcard(RESULTS))

    def wait(self, count: int) -> None:
        """Wait until so many tasks have ended, however long it takes, as long as some end."""
        most, since = -1, time.monotonic()
        while (now := self.ended()) < count:
            if now > most:
                most, since = now, time.monotonic()
            if time.monotonic() - since > PATIENCE:
                raise SystemExit(f"{now} of {count} have ended, and no more do:\n{self.engine.text()}")
            time.sleep(pause_since(since))

    def runs(self) -> Counter[tuple[str, int, int]]:
        """Return how often each attempt of each task has run."""
        lines = (line.split() for line in self.file.read_text().splitlines())
        return Counter((kind, int(n), int(attempt)) for kind, n, attempt in lines)

    def check(self, kind: str) -> None:
        """See that every result of a kind is right, and every task has run."""
        runs = self.runs()
        for n, result in enumerate(self.sent[kind]):
            result.refresh()
            attempts = range(1, ATTEMPTS + 1) if kind == "failing" else (1,)
            fine = _failed(result, n) if kind == "failing" else _succeeded(result, n)
            self.expect(fine, f"{kind} {n}: {result}")
            for attempt in attempts:
                self.expect(runs[kind, n, attempt] > 0, f"{kind} {n} has never run, attempt {attempt}")
            due = result.task.run_after
            if due:
                self.expect(result.started_at >= due - timedelta(milliseconds=2), f"{kind} {n} began too soon")

    def tell(self, kind: str) -> None:
        """Say how long the tasks of a kind took, from the first that was sent to the last that ended."""
        results = self.sent[kind]
        spent = max(one.finished_at for one in results) - min(one.enqueued_at for one in results)
        rate = self.count / spent.total_seconds()
        status = Counter(str(one.status) for one in results)
        say(f"{kind:9} {dict(status)} after {spent.total_seconds():.2f} s: {rate:.0f} tasks/s")

    def expect(self, fine: bool, what: str) -> None:  # noqa: FBT001
        if not fine:
            self.wrong.append(what)

    def stop(self) -> None:
        """End the engine; nothing may be left."""
        self.expect(self.engine.stop() == 0, "the parent did not end in order")
        self.expect(not self.engine.left_in_redis(), f"left: {self.engine.left_in_redis()}")


def _succeeded(result: Any, n: int) -> bool:
    return bool(result.status == "SUCCESSFUL" and result.return_value == n and not result.errors)


def _failed(result: Any, n: int) -> bool:
    """A run whose process was killed before its next attempt was lined up is one more of the same attempt."""
    said = {error.traceback.splitlines()[-1] for error in result.errors}
    classes = {error.exception_class for error in result.errors}
    wanted = {f"ValueError: {n} {attempt}" for attempt in range(1, ATTEMPTS + 1)}
    return bool(result.status == "FAILED" and classes == {ValueError} and said == wanted)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@contextmanager
def bench(count: int) -> Iterator[Bench]:
    """Everything that a stage needs, gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="mw-"))
    server = RedisServer(directory)
    server.start()
    try:
        with override_settings(MULTIWORKER={"REDIS": server.url}):
            made = Bench(directory, server, count)
            yield made
            made.engine.close()
    finally:
        server.stop()
        shutil.rmtree(directory)


def priorities(count: int) -> list[str]:
    """Send tasks of mixed priorities, and have four children run one each at a time.

    All of them wait before the first begins. So when one begins, every more urgent one has been claimed; and of those,
    the other children have at most one each that has not begun yet.
    """
    with bench(count) as made:
        chance = random.Random(7)
        made.send("priority", [tasks.counted.using(priority=chance.randint(-100, 100)) for _ in range(count)])
        began = time.monotonic()
        made.start(1)
        made.wait(count)
        seconds = time.monotonic() - began
        made.check("priority")
        order = sorted(made.sent["priority"], key=lambda result: result.started_at)
        late = 0
        for place, result in enumerate(order):
            after = [
                other
                for other in order[place + 1 :]
                if other.task.priority > result.task.priority and other.started_at > result.started_at
            ]
            late = max(late, len(after))
        made.expect(late < CHILDREN, f"{late} more urgent tasks began after a less urgent one")
        twice = sum(made.runs().values()) - count
        made.expect(twice == 0, f"{twice} tasks ran twice")
        made.stop()
        say(f"priority  one at a time in each of {CHILDREN} children: {seconds:.2f} s with their start")
        say(f"priority  when one began, at most {late} more urgent ones had not yet; {CHILDREN - 1} may be under way")
        return made.wrong


def mixed(count: int, kills: int) -> list[str]:
    """Send tasks of all other kinds, and kill children while they run."""
    with bench(count) as made:
        chance = random.Random(8)
        made.start(CONCURRENCY)
        began = time.monotonic()
        now = timezone.now()
        later = [now + timedelta(seconds=chance.uniform(1, 4)) for _ in range(count)]
        made.send("deferred", [tasks.acounted.using(run_after=due) for due in later])
        for kind, task in (("failing", tasks.counted_failing), ("sync", tasks.counted), ("async", tasks.acounted)):
            made.send(kind, [task] * count)
        total = 4 * count
        for killed in range(1, kills + 1):
            made.wait(total * killed // (kills + 2))
            made.engine.kill(chance.choice(made.engine.until_ready(CHILDREN)))
        made.wait(total)
        seconds = time.monotonic() - began
        for kind in made.sent:
            made.check(kind)
            made.tell(kind)
        runs = made.runs()
        wanted = (3 + ATTEMPTS) * count
        twice = sum(runs.values()) - wanted
        again = sum(result.attempts for results in made.sent.values() for result in results) - wanted
        made.expect(len(runs) == wanted, f"{wanted - len(runs)} of {wanted} runs are missing")
        made.expect(0 <= twice <= again <= kills * CONCURRENCY, f"{twice} ran twice, {again} began again")
        made.stop()
        letters = len(made.engine.dead_letters())
        made.expect(letters == count, f"{letters} dead letters of {count} failing tasks")
        say(f"mixed     {total} tasks, {wanted} runs in {seconds:.2f} s: {total / seconds:.0f} tasks/s, "
            f"{wanted / seconds:.0f} runs/s")  # fmt: skip
        say(f"mixed     {kills} children killed: {again} runs begun again, of them {twice} had done their work before")
        return made.wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000, help="tasks of each kind")
    parser.add_argument("--kills", type=int, default=3, help="children that are killed while tasks run")
    options = parser.parse_args()
    version = ".".join(map(str, sys.version_info[:3]))
    say(f"Python {version}, Django {django.get_version()}, {options.tasks} tasks of each kind, {CHILDREN} children")
    wrong = priorities(options.tasks) + mixed(options.tasks, options.kills)
    for line in wrong[:20]:
        say(f"wrong: {line}")
    say(json.dumps({"tasks": 5 * options.tasks, "wrong": len(wrong)}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
