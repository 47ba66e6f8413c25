"""Damages payloads and frames at random and compares what the worker makes of them with plain, strict readers.

    make fuzz, or: python -m tests.fuzz [--cases 1000000] [--seed N]

Exit code 1 if they differ anywhere, or if anything but a payload error with a reason comes out. A seed repeats its run.
"""

import argparse
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from multiworker.worker.errors import PayloadError
from multiworker.worker.message import MAX_DEPTH, decode
from tests.payloads import GOOD, HOSTILE
from tests.strict import check, check_frame

SEEDS = (
    b'{"type":"ok","data":{"to":"a@b.c","n":[1,2.5,-3e4,true,null]},"id":"7"}',
    b'{"type":"ok","data":[{"a":{"b":[[],{}]}},"\\ud83d\\ude00\\u0041\\n"]}',
    b'{"data":":","type":"x:y\\":z","type ":0}',
    '{"type":"\u90ae\u4ef6","data":"\u00e9\U0001f600"}'.encode(),
    b'{"type":"ok","data":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}",
    b'{"type":"ok","data":1e308,"x":-0.0,"y":123456789012345678901234567890}',
)
"""Tasks to be damaged."""
SHORT = 400
"""Bytes of the longest hostile payload that is damaged further; long ones make a case slow and find no more."""
PIECES = (
    *(b'"type":', b'"type":"x",', b'"data":{', b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b'\\"', b"\\u0000"),
    *(
        b"\\ud800",
        b"\\u202e",
        b"\xed\xa0\x80",
        b"\xc0\xaf",
        b"\xef\xbb\xbf",
        b"\x00",
        b"\n",
        b" ",
        b"-",
        b"0",
        b"1e400",
    ),
    *(b"NaN", b"Infinity", b"null", b"1" * 40, b"[" * 33, b'{"a":' * 33, b" 1 0\n", b"w.1.1 ", b"\xff"),
)
"""What is put into a text: bytes that mean something to one of the readers."""
FRAMES = (b"w.1.1 1 0\n", b"host-1-0af3.9.2 12 3\n", b"w.1.1 2 1 2000000\n", b"id:_- 999999999 0\n")
REPORT = 100_000
"""Cases between two lines of a long run."""
MOST = 20
"""Findings after which a run ends."""


@dataclass
class Outcome:
    """What a run brought.

    Args:
        cases: how many payloads and frames were compared.
        findings: what differed, in words.
        verdicts: how many were what, by reason.
        slowest: seconds of processor time that the slowest payload took to decode.
    """

    cases: int = 0
    findings: list[str] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0


def damaged(source: random.Random, text: bytes, edits: int) -> bytes:
    """Return a text with bytes flipped, cut, doubled or put in."""
    raw = bytearray(text)
    for _ in range(edits):
        at = source.randrange(len(raw) + 1)
        kind = source.randrange(6)
        if kind == 0 and at < len(raw):
            raw[at] ^= 1 << source.randrange(8)
        elif kind == 1 and at < len(raw):
            raw[at] = source.randrange(256)
        elif kind == 2:
            raw[at:at] = source.choice(PIECES)
        elif kind == 3:
            del raw[at : at + source.randrange(1, 9)]
        elif kind == 4:
            raw[at:at] = raw[at : at + source.randrange(1, 40)]
        else:
            raw[at : at + source.randrange(9)] = source.choice(PIECES)
    return bytes(raw)


def run(cases: int, seed: int, *, report: bool = False) -> Outcome:
    """Make payloads and frames, and compare.

    Args:
        cases: how many; nine of ten are payloads.
        seed: repeats a run.
        report: tell how far it is.
    """
    source = random.Random(seed)
    known = [
        *SEEDS * 10,
        *(raw for raw in (*GOOD.values(), *(raw for _, raw in HOSTILE.values())) if len(raw) <= SHORT),
    ]
    outcome = Outcome()
    for case in range(1, cases + 1):
        raw = damaged(source, source.choice(known), source.choice((1, 1, 2, 3, 5)))
        if case % 10 == 0:
            raw = damaged(source, source.choice(FRAMES), source.choice((0, 1, 2))) + raw
        outcome.cases += 1
        try:
            if case % 10 == 0:
                check_frame(raw)
            else:
                check(raw)
                _count(raw, outcome)
        except Exception as error:  # noqa: BLE001 - whatever comes out is a finding
            outcome.findings.append(f"seed {seed}, case {case}: {type(error).__name__}: {str(error)[:500]}")
            if len(outcome.findings) >= MOST:
                break
        if report and case % REPORT == 0:
            print(f"fuzz: {case:,} cases, {len(outcome.findings)} findings", flush=True)
    return outcome


def _count(raw: bytes, outcome: Outcome) -> None:
    started = time.process_time()
    try:
        decode(raw)
    except PayloadError as error:
        verdict = str(error.reason)
    else:
        verdict = "a task"
    outcome.slowest = max(outcome.slowest, time.process_time() - started)
    outcome.verdicts[verdict] += 1


def main(arguments: Sequence[str]) -> int:
    """Run, print what was found, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args(arguments)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    outcome = run(options.cases, options.seed, report=True)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    for finding in outcome.findings:
        print(finding)
    for verdict, count in outcome.verdicts.most_common():
        print(f"{count:>10,}  {verdict}")
    spent = (
        f"{time.monotonic() - started:.0f} s, the slowest {outcome.slowest * 1000:.1f} ms, memory grew by {grown} MiB"
    )
    print(f"fuzz: {outcome.cases:,} cases with seed {options.seed}: {len(outcome.findings)} findings ({spent})")
    return 1 if outcome.findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
