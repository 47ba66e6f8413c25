"""From arguments to payloads, without Redis."""

import dataclasses
import datetime as dt
import enum
import json
import math
import uuid
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiworker.worker.client.encode import (
    CHUNK,
    CHUNK_BYTES,
    Ready,
    Terms,
    check_priority,
    chunked,
    delay_ms,
    encode,
    send,
)
from multiworker.worker.errors import MAX_DELAY, EncodeError, Reason
from multiworker.worker.message import decode, parse_frame

LIMIT = 256 * 1024


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class SafeString(str):
    """As Django's, which returns itself when it is asked for its text."""

    __slots__ = ()

    def __str__(self) -> str:
        return self


class Celsius(float):
    pass


class Count(int):
    pass


@dataclasses.dataclass
class Point:
    x: int
    y: object = None


class Record(msgspec.Struct):
    a: float


def encoded(data: Any) -> Any:
    return decode(encode("t", data, None, LIMIT)[1]).get("data")


DOCUMENTED = [
    (dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC), "2026-01-02T03:04:05Z"),
    (dt.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
    (dt.date(2026, 1, 2), "2026-01-02"),
    (dt.time(3, 4, 5), "03:04:05"),
    (dt.timedelta(seconds=90), "PT90S"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (Decimal("1.10"), "1.10"),
    (Colour.RED, "red"),
    (Level.LOW, 1),
    (SafeString("<b>"), "<b>"),
    (Celsius(1.5), 1.5),
    (Count(3), 3),
    ((1, 2), [1, 2]),
    ({1}, [1]),
    (frozenset({1}), [1]),
    (b"\x00\xff", "AP8="),
    (Point(1), {"x": 1, "y": None}),
    (Record(0.5), {"a": 0.5}),
    ({1: "a", uuid.UUID(int=0): "b"}, {"1": "a", "00000000-0000-0000-0000-000000000000": "b"}),
    (2**64, 2**64),
    (-(2**63) - 1, -(2**63) - 1),
    (10**4299, 10**4299),
    ([None, "null", {"a": None}], [None, "null", {"a": None}]),
    (msgspec.Raw(b'{"a":null}'), {"a": None}),
]


@pytest.mark.parametrize(("data", "expected"), DOCUMENTED, ids=lambda value: type(value).__name__)
def test_data_becomes_what_is_documented(data: Any, expected: Any) -> None:
    assert encoded(data) == expected


RECURSIVE: list[Any] = []
RECURSIVE.append(RECURSIVE)


def nested(levels: int) -> Any:
    data: Any = 1
    for _ in range(levels):
        data = [data]
    return data


REFUSED = [
    (math.nan, Reason.NOT_JSON, "NaN"),
    ({"a": [math.inf]}, Reason.NOT_JSON, "Infinity"),
    ({"a": None, "b": -math.inf}, Reason.NOT_JSON, "Infinity"),
    (Point(1, math.nan), Reason.NOT_JSON, "NaN"),
    (Record(math.nan), Reason.NOT_JSON, "NaN"),
    (Celsius("nan"), Reason.NOT_JSON, "NaN"),
    (object(), Reason.NOT_JSON, "builtins.object"),
    ([{"a": range(3)}], Reason.NOT_JSON, "builtins.range"),
    (1j, Reason.NOT_JSON, "builtins.complex"),
    ({None: 1}, Reason.NOT_JSON, "key of type builtins.NoneType"),
    ({True: 1}, Reason.NOT_JSON, "key of type builtins.bool"),
    ({(1, 2): 1}, Reason.NOT_JSON, "key of type builtins.tuple"),
    ({1: "a", "1": "b"}, Reason.DUPLICATE_KEY, "one key twice"),
    (10**5000, Reason.NOT_JSON, "4300 digits"),
    ("\ud800", Reason.NOT_UTF8, "surrogate"),
    ("x" * LIMIT, Reason.TOO_LARGE, "262144 are allowed"),
    (nested(32), Reason.TOO_DEEP, "32"),
    (nested(100_000), Reason.TOO_DEEP, "nested"),
    (RECURSIVE, Reason.TOO_DEEP, "contains itself"),
    (msgspec.Raw(b"{NaN}"), Reason.NOT_JSON, "JSON"),
]


@pytest.mark.parametrize(("data", "reason", "says"), REFUSED, ids=lambda value: type(value).__name__)
def test_data_without_a_form_in_json_is_refused(data: Any, reason: Reason, says: str) -> None:
    with pytest.raises(EncodeError, match=says) as caught:
        encode("t", data, None, LIMIT)

    assert caught.value.reason is reason
    assert "\n" not in str(caught.value)


def test_deepest_data_that_a_worker_takes_is_sent() -> None:
    assert encoded(nested(31)) == nested(31)


@pytest.mark.parametrize("type_", ["", "x" * 201, "a\nb", "a\u202eb", "\x00", None, 7, b"email", ["email"]])
def test_types_that_a_worker_would_not_take_are_refused(type_: Any) -> None:
    with pytest.raises(EncodeError) as caught:
        encode(type_, None, None, LIMIT)

    assert caught.value.reason is Reason.BAD_TYPE


@pytest.mark.parametrize("id_", ["", "x" * 201, "a\nb", 7, b"x"])
def test_ids_that_a_worker_would_not_take_are_refused(id_: Any) -> None:
    with pytest.raises(ValueError, match="an id has 1-200 characters"):
        encode("t", None, id_, LIMIT)


def test_payload_has_id_type_and_data() -> None:
    assert encode("email", {"to": "x"}, "my id/1", LIMIT) == (
        "my id/1",
        b'{"id":"my id/1","type":"email","data":{"to":"x"}}',
    )


def test_data_that_is_none_is_left_out() -> None:
    assert encode("email", None, "1", LIMIT)[1] == b'{"id":"1","type":"email"}'


def test_drawn_ids_differ_and_fit_a_frame() -> None:
    drawn = {encode("t", None, None, LIMIT)[0] for _ in range(1000)}

    assert len(drawn) == 1000
    assert all(len(task_id) == 32 and task_id.isalnum() for task_id in drawn)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_a_worker_reads_what_was_sent(data: Any) -> None:
    _, payload = encode("t", data, None, LIMIT)

    assert decode(payload).get("data") == data == json.loads(payload).get("data")


@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        (None, 0),
        (0, 0),
        (0.0, 0),
        (1, 1000),
        (0.3, 300),
        (1.1, 1100),
        (0.0001, 1),
        (dt.timedelta(minutes=1), 60_000),
        (MAX_DELAY, round(MAX_DELAY * 1000)),
    ],
)
def test_delays_in_milliseconds(delay: Any, expected: int) -> None:
    assert delay_ms(delay) == expected


@pytest.mark.parametrize("delay", [-1, -0.001, math.nan, math.inf, MAX_DELAY + 1, dt.timedelta(days=-1)])
def test_impossible_delays_are_refused(delay: Any) -> None:
    with pytest.raises(ValueError, match="a delay is 0 to 315360000 seconds"):
        delay_ms(delay)


@pytest.mark.parametrize("terms", [Terms("q", 10), Terms("q", 0, 1), Terms("q", 10, -1)])
def test_frames_have_the_ids_of_their_tasks(terms: Terms) -> None:
    task = encode("t", None, "invoice-7.A:b_c", LIMIT)
    assert send(terms, [task])[-4:] == (terms.delay_ms, terms.priority, task.id, task.payload)


@pytest.mark.parametrize("odd", ["two words", "7ü", "a/b", "x%", "A" * 199 + "$"])
def test_an_id_that_no_header_can_have_is_replaced_in_the_frame(odd: str) -> None:
    task = encode("t", None, odd, LIMIT)
    first, second = (str(send(Terms("q", 10), [task])[-2]) for _ in range(2))
    assert first != second
    for task_id in (first, second):
        assert parse_frame(f"{task_id} 1 0\n".encode()).id == task_id


def test_without_delay_and_priority_a_plain_push_is_sent() -> None:
    tasks = [encode("t", n, None, LIMIT) for n in range(2)]
    assert send(Terms("q"), tasks) == ("LPUSH", "q", tasks[0].payload, tasks[1].payload)


@pytest.mark.parametrize("priority", [-100, -1, 0, 1, 100, Level.LOW])
def test_possible_priorities(priority: int) -> None:
    checked = check_priority(priority)
    assert (checked, type(checked)) == (priority, int)


@pytest.mark.parametrize("priority", [-101, 101, 10**30, 1.0, 0.5, math.nan, "1", None, True, [1]])
def test_impossible_priorities_are_refused(priority: Any) -> None:
    with pytest.raises(ValueError, match="a priority is a whole number from -100 to 100, not"):
        check_priority(priority)


@given(st.lists(st.integers(1, CHUNK_BYTES * 2), max_size=30))
def test_chunks_are_bounded_and_lose_nothing(sizes: list[int]) -> None:
    whole = memoryview(bytes(CHUNK_BYTES * 2))
    tasks = [Ready(str(n), whole[:size]) for n, size in enumerate(sizes)]  # type: ignore[arg-type]

    chunks = list(chunked(tasks))

    assert [task for chunk in chunks for task in chunk] == tasks
    assert all(len(chunk) == 1 or sum(len(task.payload) for task in chunk) <= CHUNK_BYTES for chunk in chunks)


def test_chunks_have_a_largest_count() -> None:
    assert [len(chunk) for chunk in chunked([Ready("i", b"x")] * (CHUNK * 2 + 1))] == [CHUNK, CHUNK, 1]
