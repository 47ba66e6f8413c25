"""The documented ACL lines are what the code needs."""

import re
from pathlib import Path

import pytest

from multiworker.worker.scripts import SCRIPTS
from tests import acl

ROOT = Path(__file__).parents[2]
ROLES = ("worker", "producer", "pusher", "operator", "django")


@pytest.mark.parametrize("role", ROLES)
def test_the_documented_line_is_what_the_code_needs(role: str) -> None:
    text = (ROOT / "docs/operations.md").read_text("utf-8")
    lines = re.findall(rf"^user {role} on >\S+ (.*)$", text, re.MULTILINE)
    assert lines == [acl.rules(role, ["async_tasks"])]


def test_every_indirect_call_of_a_script_is_known() -> None:
    for name in (*SCRIPTS, "prelude"):
        text = (ROOT / "worker" / "lua" / f"{name}.lua").read_text("utf-8")
        code = re.sub(r"--.*", "", text)
        assert len(re.findall(r"\bcall\((?!')", code)) == (1 if name in acl.INDIRECT else 0), name
        assert "pcall" not in code


def test_what_is_called_by_functions_of_the_prelude_is_found() -> None:
    assert acl.called_by("drained") == {"ZREM", "TIME", "LLEN", "ZCARD", "ZRANGE", "HLEN"}
    assert {"XADD", "XDEL", "HINCRBY", "LPUSH"} <= acl.called_by("recover")
    assert acl.sent_by("wait") == {"BLMOVE"}


@pytest.mark.parametrize("role", ROLES[:2])
def test_nobody_may_do_what_endangers_the_server_or_other_data(role: str) -> None:
    forbidden = {"FLUSHALL", "KEYS", "SCAN", "CONFIG", "EVAL", "SCRIPT|FLUSH", "ACL", "MIGRATE", "SORT", "SHUTDOWN"}
    assert not acl.commands_of(role) & forbidden
