"""The decoder against a plain, strict reader of JSON, on made and on damaged texts."""

import json
import math
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multiworker.worker.errors import PayloadError
from multiworker.worker.message import MAX_DEPTH, decode, valid_name

SEEDS = (
    b'{"type":"ok","data":{"to":"a@b.c","n":[1,2.5,-3e4,true,null]},"id":"7"}',
    b'{"type":"ok","data":[{"a":{"b":[[],{}]}},"\\ud83d\\ude00\\u0041\\n"]}',
    b'{"data":":","type":"x:y\\":z","type ":0}',
    '{"type":"\u90ae\u4ef6","data":"\u00e9\U0001f600"}'.encode(),
    b'{"type":"ok","data":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}",
    b'{"type":"ok","data":1e308,"x":-0.0,"y":123456789012345678901234567890}',
)
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


def refuse(text: str) -> Any:
    raise ValueError(text)


def finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else refuse(text)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(pairs) if len(dict(pairs)) == len(pairs) else refuse("duplicate")


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def strictly(payload: bytes) -> dict[str, Any] | None:
    """What a payload is by the letter: the task, or None if it is none."""
    try:
        text = payload.decode()
        value = json.loads(text, parse_constant=refuse, parse_float=finite, object_pairs_hook=unique)
        json.dumps(value, ensure_ascii=False).encode()  # lone surrogates cannot be
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or depth(value) > MAX_DEPTH:
        return None
    kind = value.get("type")
    return value if isinstance(kind, str) and valid_name(kind) else None


def judged(payload: bytes) -> dict[str, Any] | None:
    try:
        return decode(payload)
    except PayloadError:
        return None


def check(payload: bytes) -> None:
    """repr tells 1 from 1.0 and True, and 0.0 from -0.0."""
    assert repr(judged(payload)) == repr(strictly(payload))


@settings(FUZZ, max_examples=300)  # they take long to make
@given(value=objects(VALUES), kind=st.none() | st.text(max_size=5), space=st.sampled_from(["", " ", "\n\t "]))
def test_made_texts_are_judged_as_a_strict_reader_judges_them(value: Pairs, kind: str | None, space: str) -> None:
    if kind is not None:
        value.insert(len(value) // 2, ("type", kind))
    check(write(value, space).encode("utf-8", "surrogatepass"))


@FUZZ
@given(
    seed=st.sampled_from(SEEDS),
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
