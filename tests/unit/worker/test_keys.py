"""Keys: one hash slot a queue, and names that would break that are refused."""

import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiworker.worker.errors import SettingsError
from multiworker.worker.keys import MAX_QUEUE_NAME, Keys, hash_tag

NAMES = st.text(st.sampled_from("ab:{}é*-. "), min_size=1, max_size=12)


def slot(key: str) -> int:
    """Redis Cluster's slot of a key, as its specification says."""
    raw = key.encode()
    start = raw.find(b"{")
    if start >= 0:
        end = raw.find(b"}", start + 1)
        if end > start + 1:
            raw = raw[start + 1 : end]
    return binascii.crc_hqx(raw, 0) % 16384


def test_the_slot_function_of_this_test_agrees_with_redis() -> None:
    assert slot("async_tasks") == slot("{async_tasks}:mw:x") == 8083
    assert (slot("a}b"), slot("{a}b}:x")) == (7866, 15495)


@given(queue=NAMES)
def test_all_keys_of_an_accepted_queue_lie_in_one_slot(queue: str) -> None:
    try:
        tag = hash_tag(queue)
    except SettingsError:
        return
    keys = Keys(queue)
    every = {*keys.of_worker("host-1-ab"), keys.oversized("host-1-ab.1.1"), *Keys(queue).of_worker("")}
    assert {slot(key) for key in every} == {slot(queue)} == {slot("{" + tag + "}")}


@pytest.mark.parametrize("queue", ["async_tasks", "a", "näme", "with space", "a:b", "{tag}:rest", "pre{tag}"])
def test_ordinary_names_and_names_with_a_tag_are_accepted(queue: str) -> None:
    assert hash_tag(queue)


@pytest.mark.parametrize(
    "queue",
    [
        *("", "x" * (MAX_QUEUE_NAME + 1), "a\nb", "a\x00", "\x1b[31m", "a\u202eb", "\ud800"),
        *("a}b", "a{b", "{}", "{}a", "a{b}c}", "{a}{b}", "}{", "{{a}}", "{a}b}"),
    ],
)
def test_names_that_break_logs_or_the_one_slot_rule_are_refused(queue: str) -> None:
    with pytest.raises(SettingsError):
        hash_tag(queue)


def test_every_key_is_a_key_of_its_own() -> None:
    keys = Keys("q")
    every = [*keys.of_worker("w"), keys.oversized("w.1.1"), keys.inflight("v"), *Keys("p").of_worker("w")]
    assert len(set(every)) == len(every)


def test_the_producers_key_is_the_plain_name() -> None:
    assert Keys("async_tasks").of_worker("w") == (
        "async_tasks",
        "{async_tasks}:handoff",
        "{async_tasks}:scheduled",
        "{async_tasks}:priority",
        "{async_tasks}:deferred",
        "{async_tasks}:suspects",
        "{async_tasks}:dead",
        "{async_tasks}:counters",
        "{async_tasks}:workers",
        "{async_tasks}:inflight:w",
    )
    assert Keys("pre{tag}").handoff == "pre{tag}:handoff"
