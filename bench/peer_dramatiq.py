"""The same no-op task for Dramatiq. It runs in an environment of its own: see requirements.txt.

python peer_dramatiq.py N pushes N messages; `dramatiq bench.peer_dramatiq` runs them.
"""

import os
import sys

import dramatiq  # type: ignore[import-not-found] # it is in an environment of its own
from dramatiq.brokers.redis import RedisBroker  # type: ignore[import-not-found]

from bench.meter import inherited

METER = inherited()

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_REDIS"]))


@dramatiq.actor  # type: ignore[untyped-decorator]
def noop(_data: dict[str, int]) -> None:
    METER.count()


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        noop.send({"n": 1})
