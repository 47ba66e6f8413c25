"""Whom the kernel takes first when memory runs out."""

from pathlib import Path

import pytest

from multiworker.supervisor.process import OOM_SCORE_LIMIT, OOM_SCORE_STEP
from tests.system.fix_system import Engine


def oom_score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["each", "preload"])
def test_children_go_before_their_parent(engine: Engine, options: tuple[str, ...]) -> None:
    engine.start(*options)
    above = min(OOM_SCORE_LIMIT, oom_score(engine.pid) + OOM_SCORE_STEP)
    assert [oom_score(child) for child in engine.until_ready(2)] == [above] * 2
    assert engine.stop() == 0


def test_a_score_has_a_highest_value(engine: Engine) -> None:
    engine.start(before="echo 950 >/proc/self/oom_score_adj")
    assert oom_score(engine.pid) == 950
    assert [oom_score(child) for child in engine.until_ready(2)] == [OOM_SCORE_LIMIT] * 2
    assert engine.stop() == 0
