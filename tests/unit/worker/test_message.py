"""Frames, and the decoder against every kind of hostile payload."""

import json
import sys
import tracemalloc

import pytest

from multiworker.worker.errors import PayloadError, Reason
from multiworker.worker.message import MAX_TYPE, Frame, decode, parse_frame, valid_name
from tests.payloads import GOOD, KIB, REFUSED, nested, task


def verdict(payload: bytes) -> Reason:
    with pytest.raises(PayloadError) as caught:
        decode(payload)
    return caught.value.reason


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("reason", "payload"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_task_is_refused_for_its_reason(reason: Reason, payload: bytes) -> None:
    assert verdict(payload) == reason


@pytest.mark.parametrize("payload", GOOD.values(), ids=GOOD)
def test_a_task_is_decoded_whole(payload: bytes) -> None:
    assert decode(payload) == json.loads(payload)


def test_a_name_is_only_a_name() -> None:
    before = set(sys.modules)
    decode(b'{"type":"antigravity.geohash","args":["id"]}')
    assert set(sys.modules) == before


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "payload",
    [
        b'{"' + b'\\"' * 128 * KIB,
        b'"\\' * 128 * KIB,
        b'{"a":"' + b"\\" * 256 * KIB,
        b'"' * 256 * KIB,
        b'{"type":"ok","data":[' + b'"a":,' * 50 * KIB,
        b'{"type":"ok","data":"' + b'\\":' * 85 * KIB + b'"}',
        b'{"type":"ok","data":"' + b'"   ' * 64 * KIB,
        b'{"type":"ok","data":"' + b'\\"' + b" " * 250 * KIB + b'"}',
    ],
    ids=range(8),
)
def test_a_hostile_payload_costs_no_more_than_its_length(payload: bytes) -> None:
    try:
        decode(payload)
    except PayloadError as error:
        assert error.reason in {Reason.NOT_JSON, Reason.DUPLICATE_KEY}  # noqa: PT017


def test_a_quarter_megabyte_of_brackets_takes_bounded_memory() -> None:
    payload = task("[" + ",".join([nested(5)] * 23_000) + "]")
    tracemalloc.start()
    decode(payload)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 48 * KIB * KIB


def test_the_detail_never_repeats_the_payload() -> None:
    for _, payload in REFUSED.values():
        with pytest.raises(PayloadError) as caught:
            decode(payload.replace(b"ok", b"s3cret"))
        assert "s3cret" not in str(caught.value)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", ["a", "x" * MAX_TYPE, "os.system", "a b", "\u90ae", "\U0001f600"])
def test_names_of_any_script_are_valid(name: str) -> None:
    assert valid_name(name)


@pytest.mark.parametrize(
    ("raw", "frame"),
    [
        (b'w.1.1 1 0\n{"a":1}', Frame("w.1.1", 1, 0, b'{"a":1}')),
        (b"w.1.1 12 3\nx\ny\n\n", Frame("w.1.1", 12, 3, b"x\ny\n\n")),
        (b"w.1.1 1 0\n", Frame("w.1.1", 1, 0, b"")),
        (b"w.1.1 1 0\n\x00\xff 1 0\n", Frame("w.1.1", 1, 0, b"\x00\xff 1 0\n")),
        (b"w.1.1 2 1 2000000\nhead", Frame("w.1.1", 2, 1, b"head", 2_000_000)),
        (b"invoice-7 2 1 p-100.12\nx", Frame("invoice-7", 2, 1, b"x")),
        (b"w.1.1 2 1 2000000 p5.1\nhead", Frame("w.1.1", 2, 1, b"head", 2_000_000)),
    ],
)
def test_a_frame_is_a_header_and_the_payload_byte_for_byte(raw: bytes, frame: Frame) -> None:
    assert parse_frame(raw) == frame


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"\n", b"w.1.1", b"w.1.1 1\nx", b"w x 0\n{}", b"w 1 0 y\n{}", b"w 1 0 1 1\n{}", b"\xff 1 1\n{}"),
        *(b"w 1 0 p\n{}", b"w 1 0 p5\n{}", b"w 1 0 p5.x\n{}", b"w 1 0 p5.1 7\n{}", b"w 1 0 p5.1 \n{}"),
        *(b"w -1 0\n{}", b"w 1 0 \n{}", b"w" * 600 + b" 1 0\n{}", b"w " + b"9" * 5000 + b" 0\n{}", b"\x1b[2J 1 0\n{}"),
    ],
)
def test_a_forged_header_is_a_first_run_without_a_name(raw: bytes) -> None:
    frame = parse_frame(raw)
    assert (frame.id, frame.attempt, frame.crashes, frame.size) == ("?", 1, 0, None)
    assert frame.payload == raw.partition(b"\n")[2]
