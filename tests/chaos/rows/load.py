"""The row about reloads while work comes in all the time."""

import json
import signal
import threading
import time
from collections import Counter

import redis

from multiworker.worker.words import Total
from tests.chaos.rows.bench import Bench, Measured, after, board_of
from tests.system.fix_system import QUEUE

RATE = 500
"""Tasks a second."""
LENGTH = 0.01
PULSE = 0.02
SHARE = 0.9


class Producer(threading.Thread):
    """Pushes at a steady rate until told to stop.

    Args:
        url: of Redis.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self.pushed = 0
        self._client = redis.Redis.from_url(url)
        self._over = threading.Event()

    def run(self) -> None:
        """Push what is due, again and again."""
        begun = time.monotonic()
        while not self._over.wait(PULSE):
            due = int((time.monotonic() - begun) * RATE)
            tasks = [{"type": "quick", "data": {"n": n, "seconds": LENGTH}} for n in range(self.pushed, due)]
            if tasks:
                self._client.lpush(QUEUE, *map(json.dumps, tasks))
            self.pushed = due

    def stop(self) -> None:
        """Push nothing more."""
        self._over.set()
        self.join()
        self._client.close()


def reloads_under_load(bench: Bench) -> Measured:
    """The parent reloads again and again while tasks come at a steady rate."""
    count = bench.take(20, 2)
    with bench.engine("--concurrency", "50") as engine:
        totals = board_of(engine).totals
        producer = Producer(engine.url)
        producer.start()
        try:
            engine.until_noted(RATE, "end")
            begun = time.monotonic()
            for number in range(count):
                engine.send(signal.SIGHUP)
                after(lambda: totals[Total.DECIDED] > number, "a reload")  # noqa: B023
            ended = time.monotonic()
            time.sleep(ended - begun)
        finally:
            producer.stop()
        after(lambda: len(engine.runs("end")) == producer.pushed, "the end of all tasks")
        right = engine.stop() == 0
        ran, ends = engine.runs(), [entry["at"] for entry in engine.ledger("end")]
        right = right and ran == dict.fromkeys(range(producer.pushed), 1) and not engine.lines("died|WARNING")
    slowest = _slowest_second(ends, begun, ended)
    calm = _slowest_second(ends, ended, 2 * ended - begun)
    twice = sum(runs > 1 for runs in ran.values())
    lost = producer.pushed - len(ran)
    said = f"{count} reloads in {ended - begun:.0f} s, {producer.pushed:,} tasks: {lost} lost, {twice} run twice"
    said += f"; the slowest second {slowest:.0%} of the rate, and {calm:.0%} in as long a time without reloads"
    return Measured(said, right, slowest >= SHARE)


def _slowest_second(ends: list[float], begun: float, ended: float) -> float:
    """Return which part of the rate the slowest whole second in a time has reached."""
    seconds = Counter(int(at - begun) for at in ends if begun <= at < ended)
    return min(seconds[n] for n in range(int(ended - begun))) / RATE
