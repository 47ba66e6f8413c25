"""From a claimed frame to an outcome, whatever the payload holds and whatever the handler does."""

import asyncio
import concurrent.futures
import tracemalloc
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from multiworker.worker.context import Current, current
from multiworker.worker.errors import HandlerTimeout, Reason, Reject, Retry
from multiworker.worker.executor import MAX_TRACEBACK, Executor, Run, format_traceback
from multiworker.worker.outcome import DONE, Dead, RetryIn
from multiworker.worker.registry import Handler, Registry
from multiworker.worker.settings import Settings
from tests.executing import TASK, raiser, run_handler

T = TypeVar("T")


MIB = 1024 * 1024


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise SystemExit("not even that")


class Unformattable(Exception):
    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]  # a nuisance on purpose
        raise SystemExit


class Base(BaseException):
    pass


RAISED: list[Callable[[], BaseException]] = [
    lambda: ValueError("no"),
    lambda: SystemExit(3),
    KeyboardInterrupt,
    GeneratorExit,
    asyncio.CancelledError,
    concurrent.futures.CancelledError,
    lambda: StopIteration(1),
    StopAsyncIteration,
    lambda: TimeoutError("mine"),
    lambda: HandlerTimeout("mine, too"),
    lambda: Base("odd"),
    lambda: BaseExceptionGroup("many", [SystemExit(1), ValueError("no")]),
    Unprintable,
    Unspeakable,
    Unformattable,
    MemoryError,
    RecursionError,
    lambda: type("two\nlines", (Exception,), {})("x"),
    lambda: ValueError("\ud800 \x00 \x1b[2J"),
]


def accept(raw: bytes, *types: str, catch_all: bool = False) -> Any:
    async def run(data: Any) -> None: ...

    executor = Executor(
        Registry({kind: Handler(run) for kind in types}, Handler(run) if catch_all else None), Settings()
    )
    return executor.accept("7.3", raw, "q")


def test_a_handler_of_a_type_gets_the_data_and_a_catch_all_the_whole_task() -> None:
    seen: list[Any] = []

    async def see(argument: Any) -> None:
        seen.append(argument)

    assert run_handler(see) is DONE
    assert run_handler(see, whole=True) is DONE
    assert run_handler(see, b'w.1.1 1 0\n{"type":"email"}') is DONE
    assert seen == [{"to": "x"}, {"type": "email", "data": {"to": "x"}}, None]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"w.1.1 1 0\n", Reason.NOT_JSON),
        (b"w.1.1 1 0\n[]", Reason.NOT_OBJECT),
        (b"w.1.1 1 0\n\xff", Reason.NOT_UTF8),
        (b"w.1.1 1 0\n{}", Reason.NO_TYPE),
        (b'w.1.1 1 0\n{"type":["email"]}', Reason.BAD_TYPE),
        (b'w.1.1 1 0\n{"type":{"email":1}}', Reason.BAD_TYPE),
        (b'w.1.1 1 0\n{"type":"email","type":"email"}', Reason.DUPLICATE_KEY),
        (b'w.1.1 1 0\n{"type":"mail"}', Reason.NO_HANDLER),
        (b'w.1.1 3 0\n{"type":"Email"}', Reason.NO_HANDLER),
        (b"w.1.1 1 0 3000000\nhead", Reason.TOO_LARGE),
        (b"w.1.1 2 1 3000000\nhead", Reason.TOO_LARGE),
        (b"forged", Reason.NOT_JSON),
        (b"", Reason.NOT_JSON),
    ],
)
def test_a_frame_that_no_handler_can_take_is_dead(raw: bytes, reason: Reason) -> None:
    _, dead = accept(raw, "email")
    assert isinstance(dead, Dead)
    assert dead.reason == reason


@pytest.mark.parametrize(
    ("header", "alone"),
    [
        ("w.1.1 1 0", False),
        ("w.1.1 1 1", False),
        ("w.1.1 1 2", True),
        ("w.1.1 9 3", True),
        ("w.1.1 3 12", True),
        ("w.1.1 10 0", False),
        ("w 1 5 1 0", False),
        ("forged", False),
    ],
)
def test_a_task_that_saw_two_crashes_is_to_run_alone(header: str, *, alone: bool) -> None:
    run = accept(header.encode() + b'\n{"type":"email","data":" 1 0"}', "email")
    assert run.alone is alone


@pytest.mark.parametrize("kind", ["os.system", "email.__globals__", "builtins.eval", "__import__('os')", "email\u200b"])
def test_a_type_is_matched_by_its_exact_name_and_never_resolved(kind: str) -> None:
    _, dead = accept(f'w.1.1 1 0\n{{"type":"{kind}"}}'.encode(), "email")
    assert dead.reason == Reason.NO_HANDLER


def test_the_catch_all_takes_what_has_no_handler_but_no_bad_type() -> None:
    run = accept(b'w.1.1 1 0\n{"type":"other"}', "email", catch_all=True)
    assert isinstance(run, Run)
    _, dead = accept(b'w.1.1 1 0\n{"type":"a\\u202e"}', "email", catch_all=True)
    assert dead.reason == Reason.BAD_TYPE


@pytest.mark.parametrize(
    ("payload", "label"),
    [
        (b'{"type":"email"}', "w.1.1"),
        (b'{"type":"email","id":"order-7"}', "order-7"),
        (b'{"type":"email","id":7}', "w.1.1"),
        (b'{"type":"email","id":""}', "w.1.1"),
        (b'{"type":"email","id":"a\\nb"}', "w.1.1"),
        (b'{"type":"email","id":"' + b"x" * 201 + b'"}', "w.1.1"),
    ],
)
def test_the_handler_knows_its_task(payload: bytes, label: str) -> None:
    seen: list[Current] = []

    async def see(data: Any) -> None:
        seen.append(current())

    run_handler(see, b"w.1.1 4 1\n" + payload, max_attempts=9)
    assert seen == [Current(label, "email", 4, "q", 9)]


def test_a_handler_that_changes_its_task_changes_nobody_elses_view_of_it() -> None:
    seen: list[Current] = []

    async def change(task: Any) -> None:
        task.clear()
        task["id"] = ["odd"]
        seen.append(current())

    assert run_handler(change, whole=True) is DONE
    assert seen == [Current("w.1.1", "email", 1, "q", 3)]


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("make", RAISED, ids=range(len(RAISED)))
def test_whatever_a_handler_raises_is_a_failure_and_nothing_more(
    make: Callable[[], BaseException], *, is_async: bool
) -> None:
    outcome = run_handler(raiser(make, is_async=is_async))
    assert isinstance(outcome, RetryIn)
    assert outcome.error.isprintable()

    outcome = run_handler(raiser(make, is_async=is_async), TASK.replace(b" 1 0", b" 3 0"))
    assert isinstance(outcome, Dead)
    assert outcome.reason == Reason.EXHAUSTED
    assert len(outcome.detail.encode()) <= MAX_TRACEBACK


@pytest.mark.parametrize("is_async", [True, False])
def test_control_exceptions_choose_the_outcome(*, is_async: bool) -> None:
    assert run_handler(raiser(lambda: Retry("busy", delay=7), is_async=is_async)) == RetryIn(7, "Retry: busy")
    rejected = run_handler(raiser(lambda: Reject("spam"), is_async=is_async))
    assert isinstance(rejected, Dead)
    assert (rejected.reason, rejected.error) == (Reason.REJECTED, "Reject: spam")


def test_the_handlers_own_number_of_attempts_wins() -> None:
    fail = raiser(lambda: ValueError("no"), is_async=True)
    assert isinstance(run_handler(fail, settings=Settings(max_attempts=1)), Dead)
    assert isinstance(run_handler(fail, settings=Settings(max_attempts=1), max_attempts=2), RetryIn)
    assert isinstance(run_handler(fail, settings=Settings(max_attempts=9), max_attempts=1), Dead)


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("make", [lambda: ValueError("x" * 100 * MIB), lambda: ValueError("\u20ac" * 10 * MIB)])
def test_a_huge_error_text_is_cut(make: Callable[[], BaseException], *, is_async: bool) -> None:
    outcome = run_handler(raiser(make, is_async=is_async), max_attempts=1)
    assert isinstance(outcome, Dead)
    assert len(outcome.error) < 5000
    assert len(outcome.detail.encode()) <= MAX_TRACEBACK
    assert outcome.detail.startswith("Traceback")


def test_a_traceback_shows_where_it_happened_at_both_ends() -> None:
    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        raise ValueError("the end " + "x" * 5000)

    with pytest.raises(ValueError, match="the end") as caught:
        deep(200)
    text = format_traceback(caught.value)
    assert text.startswith("Traceback (most recent call last)")
    assert text.endswith("xxx\n")
    assert len(text.encode()) <= MAX_TRACEBACK


def test_a_traceback_with_causes_that_go_in_a_circle_ends() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert "first" in format_traceback(first)


def test_a_huge_error_text_costs_little_more_than_itself() -> None:
    error = ValueError("x" * 50 * MIB)
    tracemalloc.start()
    format_traceback(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300 * MIB
