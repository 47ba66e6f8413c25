"""What the state machine chooses from."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import hypothesis.strategies as st

from multiworker.worker.commands import Settle
from tests.broker.driver import Edit
from tests.broker.reference import Limits

LIMITS = Limits()
SMALL = (
    Edit("local WHOLE, HEAD = 1048576, 4096", f"local WHOLE, HEAD = {LIMITS.whole}, {LIMITS.head}"),
    Edit("DEAD_MOST_BYTES = 100000, 268435456", f"DEAD_MOST_BYTES = {LIMITS.letters}, {LIMITS.letter_bytes}"),
    Edit("local CHUNK, MOST_CHUNKS = 20, 64", f"local CHUNK, MOST_CHUNKS = {LIMITS.chunk}, {LIMITS.chunks}", "step"),
    Edit("local PROMOTED = 1000", f"local PROMOTED = {LIMITS.promoted}", "step"),
)
LEASE_MS, BRIEF_MS, LARGEST = 45_000, 1_000, 20
WORKERS = (b"a", b"b", b"c")

Ending = tuple[Literal["retry", "dead"], int | str, str]
ENDINGS: dict[str, Ending] = {
    "retry": ("retry", 0, ""),
    "later": ("retry", 5_000, ""),
    "dead": ("dead", "rejected", "x" * 150),
    "dead, told briefly": ("dead", "rejected", ""),
}

a_worker = st.sampled_from(WORKERS)
payloads = st.sampled_from((b"A", b"B", b"", b"x\ny", b"1 2 3\nz", b"t 1 0\n", b"\x00\xff", b"m" * 25, b"L" * 40))
headers = st.sampled_from(
    (
        *(b"f%d 1 0\n", b"f%d 3 1\n", b"f%d 2 2\n", b"f%d 1 4 \n", b"f%d 1 4\n", b"f%d 007 01\n", b"g%d", b"g%d 1\n"),
        *(b"f%d 2 2\n", b"f%d 1 4\n", b"f%d 1 4\n", b"f%d 1 4 p7.2\n"),
        *(b"f%d 1 0 p7.3\n", b"f%d 2 1 p-100.9\n", b"f%d 2 2 p1.1\n", b"f%d 1 0 5 p2.1\n"),
        *(b"f%d 1 0 p101.1\n", b"f%d 1 0 p0.1\n", b"f%d 1 0 p1\n", b"f%d 1 0 p1.99999999999999\n", b"f%d 1 0  p1.1\n"),
    )
)
priorities = st.sampled_from((0, 1, 1, 2, 100, -1, -1, -100))
fates = st.lists(st.sampled_from(("ack", "ack", "retry", "later", "dead", "keep", "keep")), min_size=6, max_size=6)
some = st.lists(st.integers(0, 5), max_size=4)
a_number = st.sampled_from(("next",) * 8 + ("again", "old", "far"))
endings = st.sampled_from(list(ENDINGS.values()))


class Ask(NamedTuple):
    """A step's arguments."""

    worker: bytes
    no: int
    want: int
    acks: Sequence[bytes] = ()
    settles: Sequence[Settle] = ()
    lease: int = LEASE_MS
    budget: int = 10**6
    has_turn: bool = False
    others: int = 0
