"""Where to connect: how answers and error replies are read."""

import pytest
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ConnectionError,  # noqa: A004
    MovedError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from multiworker.worker import commands, guide, inquiries
from multiworker.worker.addresses import Place
from multiworker.worker.guide import Guide
from multiworker.worker.keys import Keys

HERE = Place("seed", 1)
NODES = [b"a", 7000, b"id"], [b"b", 7001, b"id"], [b"c", 7002, b"id"]
SLOTS = [[0, 99, NODES[0], NODES[1]], [100, 199, NODES[1]], [200, 16000, NODES[2], NODES[0]]]


def read(url: str, reply: object, slot: int = 0) -> tuple[Place, Guide]:
    made = Guide(url)
    assert made.route
    return made.read(made.route, reply, HERE, slot), made


@pytest.mark.parametrize(("slot", "host"), [(0, "a"), (99, "a"), (100, "b"), (199, "b"), (200, "c"), (16000, "c")])
def test_the_primary_of_a_slot_is_the_first_of_its_range(slot: int, host: str) -> None:
    assert read("redis+cluster://x", SLOTS, slot)[0].host == host


def test_a_slot_that_nobody_serves_is_an_error() -> None:
    with pytest.raises(ConnectionError, match="hash slot 16001"):
        read("redis+cluster://x", SLOTS, 16001)


@pytest.mark.parametrize("host", [None, b"", b"?"])
def test_a_node_that_does_not_know_its_host_is_where_it_was_asked(host: bytes | None) -> None:
    assert read("redis+cluster://x", [[0, 16383, [host, 7000]]])[0] == Place("seed", 7000)


def test_all_nodes_are_remembered_for_being_asked_the_one_that_answered_first() -> None:
    found = read("redis+cluster://x,seed:1", SLOTS)[1]
    assert found.seeds == [HERE, Place("x", 6379), Place("a", 7000), Place("b", 7001), Place("c", 7002)]


def test_who_does_not_answer_is_asked_last() -> None:
    made = Guide("redis+cluster://a,b,c")
    made.failed(Place("a", 6379))
    assert [place.host for place in made.seeds] == ["b", "c", "a"]


def test_a_sentinel_names_the_primary_or_does_not_know_it() -> None:
    assert read("redis+sentinel://x/main", [b"10.0.0.1", b"6380"])[0] == Place("10.0.0.1", 6380)
    with pytest.raises(ConnectionError, match="no primary that is called main"):
        read("redis+sentinel://x/main", None)


def test_all_keys_of_a_queue_have_the_slot_of_the_list() -> None:
    made, keys = Guide("redis+cluster://x"), Keys("jobs")
    slots = {
        made.slot_of(command)
        for command in (
            commands.push(keys, [b"x"]),
            inquiries.depths(keys),
            commands.wait(keys, 1),
            commands.piece(keys, "id", 0, 1),
        )
    }
    assert len(slots) == 1
    assert made.slot_of(commands.push(Keys("other"), [b"x"])) not in slots
    assert Guide("redis+sentinel://x/main").slot_of(inquiries.depths(keys)) == 0


REPLIES = [
    (MovedError("1 h:2"), True, Place("h", 2), False, False),
    (MovedError("1 :2"), True, Place("seed", 2), False, False),
    (AskError("1 h:2"), True, Place("h", 2), True, True),
    (TryAgainError("x"), True, None, False, True),
    (ReadOnlyError("x"), True, None, False, False),
    (ResponseError("Error running script: @user_script:28: -READONLY You can't write"), True, None, False, False),
    (ResponseError("WRONGTYPE x"), False, None, False, False),
    (NoScriptError("x"), False, None, False, False),
    (BusyLoadingError("x"), False, None, False, False),
    (ConnectionError("x"), False, None, False, False),
]


@pytest.mark.parametrize(("error", "redirect", "target", "once", "there"), REPLIES)
def test_error_replies_say_where_to_ask(
    *, error: Exception, redirect: bool, target: Place | None, once: bool, there: bool
) -> None:
    assert guide.is_redirect(error) is redirect
    assert guide.target_of(error, HERE) == target
    assert guide.is_for_once(error) is once
    assert guide.is_still_there(error) is there
