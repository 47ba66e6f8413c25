"""Decoder and frame parser against plain, strict readers, on made and on damaged texts; `make fuzz` is the long run."""

import contextlib
import json
import random
import re
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multiworker.worker import message
from multiworker.worker.errors import PayloadError
from tests import fuzz
from tests.strict import check, check_frame

KEYS = st.sampled_from(["type", "data", "id", "a", "b", "", ":", '"', "\u00e9"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8) | KEYS


class Pairs(list[tuple[str, Any]]):
    """An object whose keys may come twice."""


def objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Pairs]:
    return st.lists(st.tuples(KEYS, values), max_size=5).map(Pairs)


VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | objects(inner), max_leaves=20)
FUZZ = settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))


def write(value: Any, space: str) -> str:
    """JSON with repeated keys, odd white space and, for NaN and Infinity, what Python makes of them."""
    if isinstance(value, Pairs):
        inner = ",".join(f"{json.dumps(key)}{space}:{space}{write(item, space)}" for key, item in value)
        return "{" + inner + "}"
    if isinstance(value, list):
        return "[" + ",".join(write(item, space) for item in value) + "]"
    return json.dumps(value, ensure_ascii=len(space) == 0)


@settings(FUZZ, max_examples=300)  # they take long to make
@given(value=objects(VALUES), kind=st.none() | st.text(max_size=5), space=st.sampled_from(["", " ", "\n\t "]))
def test_made_texts_are_judged_as_a_strict_reader_judges_them(value: Pairs, kind: str | None, space: str) -> None:
    if kind is not None:
        value.insert(len(value) // 2, ("type", kind))
    check(write(value, space).encode("utf-8", "surrogatepass"))


@FUZZ
@given(
    seed=st.sampled_from(fuzz.SEEDS),
    edits=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 3), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damaged_texts_are_judged_as_a_strict_reader_judges_them(
    seed: bytes, edits: list[tuple[int, int, int]]
) -> None:
    payload = bytearray(seed)
    for place, kind, byte in edits:
        at = place % len(payload)
        if kind == 0:
            payload[at] = byte
        elif kind == 1:
            payload.insert(at, byte)
        elif kind == 2:
            payload[at] ^= 1 << byte % 8
        else:
            payload[at:at] = payload[at : at + byte % 16]
    check(bytes(payload))


@FUZZ
@given(payload=st.binary(max_size=64))
def test_any_bytes_are_a_task_or_a_payload_error(payload: bytes) -> None:
    check(payload)


@FUZZ
@given(raw=st.binary(max_size=64) | st.from_regex(rb"[a-z.]{1,3}( [0-9]{1,3}){1,4}\n.*", fullmatch=True))
def test_any_bytes_are_a_frame(raw: bytes) -> None:
    check_frame(raw)


CASES = 20_000


def test_damaged_payloads_and_frames_are_judged_by_the_letter() -> None:
    assert fuzz.run(CASES, seed=random.randrange(2**32)).findings == []


def test_the_fuzzer_makes_tasks_and_all_kinds_of_faults() -> None:
    seen = fuzz.run(CASES, seed=1).verdicts
    assert seen["a task"] > CASES / 50
    reasons = {"not json", "not utf-8", "not an object", "no type", "bad type", "duplicate key", "too deep"}
    assert reasons <= set(seen), seen


@pytest.mark.parametrize(
    "fault",
    [
        ("_check_structure", lambda task, payload: None),
        ("valid_name", lambda name: True),
        ("_decode_json", json.loads),
        ("_HEADER", re.compile(rb"(\S{1,500}) (\d{1,9}) (\d{1,9})(?: (\d{1,12}))?")),
    ],
    ids=lambda fault: fault[0],
)
def test_the_fuzzer_finds_a_decoder_that_lets_things_through(
    monkeypatch: pytest.MonkeyPatch, fault: tuple[str, Any]
) -> None:
    monkeypatch.setattr(message, *fault)
    assert fuzz.run(CASES, seed=2).findings


@pytest.mark.parametrize("size", [64 * 1024, 256 * 1024])
def test_damaged_large_payloads_cost_bounded_time_and_memory(size: int) -> None:
    """In seconds of the processor, which others do not stretch; a cost of the length squared would take minutes."""
    source = random.Random(size)
    for seed in fuzz.SEEDS:
        payload = fuzz.damaged(source, seed * (size // len(seed)), edits=20)
        tracemalloc.start()
        started = time.process_time()
        with contextlib.suppress(PayloadError):
            message.decode(payload)
        spent = time.process_time() - started
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert spent < 2, seed
        assert peak < 40 * size, seed
