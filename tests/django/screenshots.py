"""Makes the screenshots of docs/django.md: the shop of examples/ with real workers under load, in a real browser.

python -m tests.django.screenshots [--minutes 45] [--into docs/img]. The charts are of an hour, so it takes its time; it
writes the pictures anew every two minutes until then.
"""

import argparse
import base64
import contextlib
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from multiworker.worker import commands
from multiworker.worker.client import QUEUE, Client
from multiworker.worker.keys import Keys
from tests.browser import Browser, browser
from tests.fix_redis import RedisServer
from tests.waiting import sync_until

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples" / "shop"
PORT = 8765
EVERY = 120.0
"""Seconds between two series of pictures."""
LONGEST, COLOURS = 880, 192
"""Pixels, and colours, of a picture: it stays below 120 KiB."""
RECEIPT = "orders.tasks.send_receipt"
HOME = "/admin/multiworker/"


@contextlib.contextmanager
def program(*command: str, env: dict[str, str], log: Path) -> Iterator[None]:
    """Run a program of the shop, with all that it starts, as long as the context lasts."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, cwd=SHOP, env=env, stdout=out, stderr=out, start_new_session=True)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


@contextlib.contextmanager
def running(server: RedisServer) -> Iterator[None]:
    """Run a server as long as the context lasts."""
    server.start()
    try:
        yield
    finally:
        server.stop()


@contextlib.contextmanager
def loaded(client: Client) -> Iterator[None]:
    """Send tasks as long as the context lasts."""
    over = threading.Event()
    sender = threading.Thread(target=load, args=(client, over))
    sender.start()
    try:
        yield
    finally:
        over.set()
        sender.join()


@contextlib.contextmanager
def shop(data: Path) -> Iterator[Client]:
    """A shop with two parents and the admin; a client that sends it tasks."""
    server = RedisServer(data)
    env = os.environ | {"SHOP_DATA": str(data), "REDIS_URL": server.url, "RUNTIME_DIRECTORY": str(data)}
    env |= {"DJANGO_SUPERUSER_PASSWORD": "admin", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    manage = (sys.executable, "manage.py")
    log = data / "log"
    for arguments in (("migrate",), ("createsuperuser", "--noinput", "--username=admin", "--email=a@example.com")):
        subprocess.run([*manage, *arguments], cwd=SHOP, env=env, check=True, stdout=subprocess.DEVNULL)
    start = (str(Path(sys.executable).with_name("multiworker")), "start", "--settings", "shop.settings")
    env["PYTHONPATH"] = f"{SHOP}:{ROOT}"
    with (
        running(server),
        program(*start, "--name", "blue", "--procs", "2", "--concurrency", "3", env=env, log=log),
        program(*start, "--name", "green", "--procs", "1", "--concurrency", "3", env=env, log=log),
        program(*manage, "runserver", "--noreload", str(PORT), env=env, log=log),
    ):
        yield Client(server.url)


def load(client: Client, over: threading.Event) -> None:
    """Send the tasks of a small shop, more at some times than at others."""
    draw = random.Random(7)
    sent = 0
    while not over.wait(draw.uniform(0.1, 0.6)):
        sent += 1
        if (sent // 90) % 4 == 3 and draw.random() < 0.8:
            continue  # a lull
        for share, send in MIX:
            if draw.random() < share:
                send(client, draw)


def send_batch(client: Client, draw: random.Random) -> None:
    """Send more at once than can be done at once."""
    client.enqueue_many([("medium_task", {"order": number}) for number in range(draw.randrange(40, 160))])


MIX: list[tuple[float, Callable[[Client, random.Random], object]]] = [
    (1.0, lambda client, draw: client.enqueue("fast_task", {"order": draw.randrange(10_000)})),
    (0.5, lambda client, draw: client.enqueue("medium_task", {"order": draw.randrange(10_000)})),
    (0.1, lambda client, draw: client.enqueue("slow_task", {"report": "sales"})),
    (0.3, lambda client, draw: client.enqueue("email", {"to": f"customer-{draw.randrange(500)}@example.com"})),
    (0.03, lambda client, draw: client.enqueue("email", {"to": "nobody", "subject": "<script>alert(1)</script>"})),
    (0.03, lambda client, draw: client.enqueue("file_process", {"name": f"orders-{draw.randrange(90)}.csv"})),
    (0.05, lambda client, draw: client.enqueue("email", {"to": "a@example.com"}, delay=draw.randrange(600, 80_000))),
    (0.02, lambda client, draw: client.enqueue("slow_task", delay=draw.randrange(600, 9000), priority=10)),
    (0.04, lambda client, draw: client.enqueue(RECEIPT, {"args": [f"A-{draw.randrange(9999)}"], "kwargs": {}})),
    (
        0.01,
        lambda client, draw: client.ask(commands.push(Keys(QUEUE), [b'{"type": "email", "data": {"to": "user@exam'])),
    ),
    (0.015, send_batch),
]
"""How often each is sent, and how; some of them fail."""


def shoot(window: Browser, into: Path) -> None:
    """Write all pictures."""
    window.open(HOME + "deadletter/")
    letter = window.run("return document.querySelector('.mw-when a')?.getAttribute('href') || ''")
    pages = {"queues": "queue/", "workers": "worker/", "letters": "deadletter/", "tasks": "task/"}
    for dark in (False, True):
        window.set_dark(dark=dark)
        for name, page in pages.items():
            window.open(HOME + page)
            take(window, into / f"{name}-{'dark' if dark else 'light'}.png")
    window.set_dark(dark=False)
    if letter:
        window.open(str(letter))
        take(window, into / "letter-light.png")


def take(window: Browser, path: Path) -> None:
    """Write a picture of the page, at most LONGEST pixels long, and small."""
    tall = min(LONGEST, int(window.run("return document.documentElement.scrollHeight")))
    wide = int(window.run("return innerWidth"))
    clip = {"x": 0, "y": 0, "width": wide, "height": tall, "scale": 1}
    shot: Any = window.send("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
    picture = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
    picture.quantize(COLOURS, method=Image.Quantize.MEDIANCUT).save(path, optimize=True)


def log_in(window: Browser) -> None:
    """Log in as the admin, once the server answers."""

    def answers() -> bool:
        with contextlib.suppress(Exception):
            window.open("/admin/")
        return bool(window.all("#id_username"))

    sync_until(answers)
    window.one("#id_username").send_keys("admin")
    window.one("#id_password").send_keys("admin")
    window.one("input[type=submit]").click()


def main() -> None:
    """Run the shop, and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "img")
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + 60 * given.minutes
    with (
        tempfile.TemporaryDirectory(prefix="mw-shop-") as data,
        shop(Path(data)) as client,
        loaded(client),
        browser(f"http://127.0.0.1:{PORT}") as window,
    ):
        log_in(window)
        while time.monotonic() < ends:
            time.sleep(min(EVERY, max(1.0, ends - time.monotonic())))
            shoot(window, given.into)


if __name__ == "__main__":
    main()
