"""What systemd is told: which datagrams follow from a view of the parent, and from which not."""

import os
import socket
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiworker.supervisor.notify import (
    EXTEND_EVERY,
    EXTENSION,
    MAX_STATUS,
    Notifier,
    Told,
    View,
    decide,
    describe,
    look,
)
from multiworker.supervisor.reload import Reload
from multiworker.worker.settings import Settings

START = View(at=100.0, wanted=4)
GOOD = START._replace(complete=True, ready=4)
MORE_TIME = f"EXTEND_TIMEOUT_USEC={EXTENSION}000000"


def story(*views: View, watchdog: float = 0.0) -> list[list[str]]:
    """Return the datagrams of each of these views in turn, each as its first line."""
    told, said = Told(), []
    for view in views:
        datagrams, told = decide(told, view, watchdog)
        said.append([datagram.splitlines()[0] for datagram in datagrams])
    return said


def said_after(*views: View) -> list[str]:
    """Return the datagrams of the last of these views, whole."""
    told = Told()
    datagrams: list[str] = []
    for view in views:
        datagrams, told = decide(told, view, 0.0)
    return datagrams


def test_nothing_is_ready_before_a_generation_is_complete() -> None:
    assert story(START, START._replace(ready=3), GOOD, GOOD) == [
        ["STATUS=starting, 0/4 ready, generation 1", MORE_TIME],
        ["STATUS=starting, 3/4 ready, generation 1"],
        ["READY=1"],
        [],
    ]
    assert said_after(START, GOOD) == ["READY=1\nSTATUS=4/4 ready, generation 1"]


def test_a_lost_child_is_told_as_status_and_nothing_else() -> None:
    assert story(GOOD, GOOD._replace(ready=3), GOOD)[1:] == [
        ["STATUS=3/4 ready, generation 1"],
        ["STATUS=4/4 ready, generation 1"],
    ]


def test_a_reload_is_told_with_its_time_and_ends_with_ready() -> None:
    reloading = GOOD._replace(at=123.4567891, reloads=1, reloading=True, generation=2)
    assert said_after(GOOD, reloading) == [
        "RELOADING=1\nMONOTONIC_USEC=123456789\nSTATUS=reloading, 4/4 ready, generation 2"
    ]
    done = reloading._replace(reloading=False)
    assert story(GOOD, reloading, reloading, done, done) == [
        ["READY=1"],
        ["RELOADING=1"],
        [],
        ["READY=1"],
        [],
    ]


def test_a_reload_that_comes_to_nothing_ends_with_ready_and_says_why() -> None:
    reloading = GOOD._replace(reloads=1, reloading=True, generation=2)
    abandoned = GOOD._replace(reloads=1, trouble="generation 2 does not boot")
    assert said_after(GOOD, reloading, abandoned) == [
        "READY=1\nSTATUS=4/4 ready, generation 1; reload failed: generation 2 does not boot"
    ]


def test_a_refused_reload_begins_and_ends_in_one_view() -> None:
    refused = GOOD._replace(reloads=1, trouble="no such file")
    assert story(GOOD, refused, refused)[1:] == [["RELOADING=1", "READY=1"], []]
    assert "reload failed: no such file" in said_after(GOOD, refused)[1]
    again = refused._replace(reloads=2)
    assert story(GOOD, refused, again)[2] == ["RELOADING=1", "READY=1"]


def test_a_reload_during_a_reload_is_one_reload() -> None:
    reloading = GOOD._replace(reloads=1, reloading=True, generation=2)
    again = reloading._replace(reloads=2, generation=3)
    done = again._replace(reloading=False)
    assert story(GOOD, reloading, again, done)[2:] == [["STATUS=reloading, 4/4 ready, generation 3"], ["READY=1"]]


def test_a_reload_before_the_start_is_over_is_part_of_it() -> None:
    reloaded = START._replace(reloads=1, generation=2)
    assert story(START, reloaded, reloaded._replace(complete=True, ready=4))[1:] == [
        ["STATUS=starting, 0/4 ready, generation 2"],
        ["READY=1"],
    ]


def test_a_reload_that_begins_as_the_start_ends_comes_after_it() -> None:
    reloading = GOOD._replace(reloads=1, reloading=True, generation=2)
    assert story(START, reloading, reloading._replace(reloading=False))[1:] == [["READY=1", "RELOADING=1"], ["READY=1"]]


def test_stopping_is_told_first_and_only_more_time_is_asked_for_after_it() -> None:
    draining = GOOD._replace(stopping=True, tasks=3)
    assert said_after(GOOD, draining) == ["STOPPING=1\nSTATUS=draining, 3 tasks left", MORE_TIME]
    later = draining._replace(at=draining.at + EXTEND_EVERY, tasks=1)
    overdue = later._replace(at=later.at + EXTEND_EVERY, in_time=False)
    assert story(GOOD, draining, draining, later, overdue)[2:] == [
        [],
        ["STATUS=draining, 1 task left", MORE_TIME],
        [],
    ]


def test_more_time_to_start_is_asked_for_only_within_the_limits() -> None:
    overdue = START._replace(in_time=False)
    assert story(overdue) == [["STATUS=starting, 0/4 ready, generation 1"]]
    assert MORE_TIME not in story(GOOD)[0]


def test_signs_of_life_come_in_time_while_there_is_life_and_only_after_the_start() -> None:
    times = (100.0, 104.0, 105.0, 109.9, 110.0, 116.0)
    assert [bool(said) for said in story(*[GOOD._replace(at=at) for at in times], watchdog=5.0)] == [
        True, False, True, False, True, True,
    ]  # fmt: skip
    assert "WATCHDOG=1" not in story(START, watchdog=5.0)[0]
    assert story(GOOD, watchdog=5.0)[0] == ["READY=1", "WATCHDOG=1"]
    dead = GOOD._replace(at=200.0, alive=False)
    assert story(GOOD, dead, dead._replace(at=201.0, alive=True), watchdog=5.0)[1:] == [[], ["WATCHDOG=1"]]
    assert "WATCHDOG=1" not in story(GOOD)[0]


VIEWS = st.builds(
    View,
    at=st.floats(0, 1e6),
    generation=st.integers(1, 3),
    complete=st.booleans(),
    ready=st.integers(0, 4),
    reloads=st.integers(0, 3),
    reloading=st.booleans(),
    trouble=st.sampled_from(["", "as told"]),
    stopping=st.booleans(),
    alive=st.booleans(),
    in_time=st.booleans(),
)


@given(st.lists(VIEWS, max_size=12))
def test_whatever_happens_turns_alternate_and_nothing_follows_the_end(views: list[View]) -> None:
    # given a parent that completes its start once and stops once
    def follow(before: View, view: View) -> View:
        return view._replace(complete=view.complete or before.complete, stopping=view.stopping or before.stopping)

    said = story(*accumulate(views, follow), watchdog=1.0)
    turns = [line for lines in said for line in lines if line in {"READY=1", "RELOADING=1", "STOPPING=1"}]
    # then READY is never said twice without RELOADING in between, nor after STOPPING
    without_end = turns[:-1] if turns[-1:] == ["STOPPING=1"] else turns
    assert without_end == ["READY=1", "RELOADING=1"] * (len(without_end) // 2) + ["READY=1"] * (len(without_end) % 2)


def test_a_view_tells_of_the_last_reload_only_if_it_failed() -> None:
    reload = Reload(Settings())
    assert reload.succeeded(2, 2)
    for begun, trouble in ((False, "no such file"), (True, "")):
        reload.ask()
        if begun:
            reload.begin(200.0, Settings())
            assert look(reload, [], 2, stopping=False, now=200.0).reloading
            reload.succeeded(2, 2)
        else:
            reload.refuse(100.0, "no such file")
        view = look(reload, [], 2, stopping=False, now=300.0)
        assert (view.complete, view.reloading, view.trouble) == (True, False, trouble)
        assert view.reloads == reload.asked
    assert (view.alive, view.in_time, view.ready, view.tasks) == (True, True, 0, 0)


def test_a_status_is_one_short_line_whatever_the_trouble() -> None:
    view = GOOD._replace(trouble="a\nREADY=1\x1b[31m" + "x" * 1000)
    assert "\n" not in describe(view)
    assert "\x1b" not in describe(view)
    assert len(describe(view)) == MAX_STATUS
    assert describe(START._replace(without_redis=True)) == "waiting for Redis, 0/4 ready, generation 1"


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """systemd's end, which does not wait."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as opened:
        opened.bind(f"\0multiworker-test-{os.getpid()}-{tmp_path.name}")
        yield opened


def environment(listener: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": listener.getsockname().replace(b"\0", b"@").decode(), "HOME": "/", **more}


def test_what_is_systemds_is_taken_out_of_the_environment(listener: socket.socket) -> None:
    environ = environment(listener, WATCHDOG_USEC="20000000", WATCHDOG_PID=str(os.getpid()))
    notifier = Notifier(environ)
    assert environ == {"HOME": "/"}
    assert [os.get_inheritable(fd) for fd in notifier.fds] == [False]
    notifier.tell(GOOD)
    assert listener.recv(1000) == b"READY=1\nSTATUS=4/4 ready, generation 1"
    assert listener.recv(1000) == b"WATCHDOG=1"
    notifier.tell(GOOD._replace(at=GOOD.at + 9.9))
    with pytest.raises(BlockingIOError):
        listener.recv(1000)
    notifier.tell(GOOD._replace(at=GOOD.at + 10.0))
    assert listener.recv(1000) == b"WATCHDOG=1"
    notifier.close()


@pytest.mark.parametrize(("usec", "pid"), [("20000000", "1"), ("soon", ""), ("-1", ""), ("", "")])
def test_a_watchdog_that_is_not_for_this_process_is_none(listener: socket.socket, usec: str, pid: str) -> None:
    notifier = Notifier(environment(listener, WATCHDOG_USEC=usec, WATCHDOG_PID=pid))
    notifier.tell(GOOD)
    assert listener.recv(1000).startswith(b"READY=1")
    with pytest.raises(BlockingIOError):
        listener.recv(1000)
    notifier.close()


def test_what_could_not_be_sent_is_sent_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # given a socket that is not there
    path = f"/tmp/mw-{os.getpid()}-{tmp_path.name}"[:100]
    notifier = Notifier({"NOTIFY_SOCKET": path})
    for view in (START, GOOD, GOOD):
        notifier.tell(view)
    assert [record.getMessage() for record in caplog.records] == ["systemd cannot be told: No such file or directory"]
    # when it comes
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as late:
        late.bind(path)
        try:
            notifier.tell(GOOD)
        finally:
            Path(path).unlink()
        # then it learns how things are now
        assert late.recv(1000) == b"READY=1\nSTATUS=4/4 ready, generation 1"
    notifier.close()


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative", "/" + "x" * 200, "@" + "x" * 200])
def test_an_address_that_is_none_hurts_nobody(address: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.tell(GOOD)
    assert bool(notifier.fds) == address.startswith(("/", "@"))
    notifier.close()
