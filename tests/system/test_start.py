from tests.system.fix_system import Engine


def test_x(engine: Engine) -> None:
    engine.start()
    engine.push("quick", *range(100))
    engine.until_noted(100, "end")
    assert engine.stop() == 0
