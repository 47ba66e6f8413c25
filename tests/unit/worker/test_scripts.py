"""The Lua files as they are read and named."""

import hashlib
import re
from importlib import resources

import pytest

from multiworker.worker.scripts import SCRIPTS, script

FOLDER = resources.files("multiworker.worker") / "lua"


def test_every_lua_file_is_a_listed_script_or_the_prelude() -> None:
    found = {entry.name for entry in FOLDER.iterdir() if entry.name.endswith(".lua")}
    assert found == {f"{name}.lua" for name in (*SCRIPTS, "prelude")}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_the_prelude_and_its_file_named_by_sha1(name: str) -> None:
    text = script(name).text
    assert text.startswith((FOLDER / "prelude.lua").read_text("utf-8"))
    assert text.endswith((FOLDER / f"{name}.lua").read_text("utf-8"))
    assert script(name).sha == hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_describes_its_arguments_and_reply_at_its_head(name: str) -> None:
    head = (FOLDER / f"{name}.lua").read_text("utf-8").partition("\nlocal")[0]
    assert re.search(r"^-- ARGV: ", head, re.MULTILINE)
    assert re.search(r"^-- Reply: ", head, re.MULTILINE)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_first_write_is_one_that_full_memory_does_not_refuse(name: str) -> None:
    calls = re.findall(r"^\s*call\('([A-Z]+)'", script(name).text, re.MULTILINE)
    assert calls[0] == "ZREM"


def test_an_unknown_script_is_not_found() -> None:
    with pytest.raises(FileNotFoundError):
        script("no_such_script")
