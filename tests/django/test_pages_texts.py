"""How the pages write numbers, times and what is not meant for people."""

import pytest

from multiworker.django.pages import charts, texts


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0 ms"),
        (0, "0 ms"),
        (0.0004, "0 ms"),
        (0.25, "250 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3599.6, "60 min"),
        (3600, "1 h"),
        (86399, "24 h"),
        (100_000, "1 d 4 h"),
    ],
)
def test_durations_are_short_and_have_units(seconds: float, said: str) -> None:
    assert texts.duration(seconds) == said


def test_sizes_numbers_and_rates() -> None:
    assert [texts.size(n) for n in (0, 1023, 1024, 150 * 1024, 3 * 2**30)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "150 KiB",
        "3.0 GiB",
    ]
    assert texts.number(1234567) == "1\u202f234\u202f567"
    assert [texts.rate(r) for r in (0, 0.1, 1.26, 1234)] == ["0/s", "6.0/min", "1.3/s", "1\u202f234/s"]


def test_texts_are_bounded_and_nothing_in_them_is_invisible() -> None:
    assert texts.clean("a\x00b\nc\u202ed") == "a\\x00b\\nc\\u202ed"
    assert texts.clean("x" * 1000, 10) == "xxxxxxxxx…"
    assert len(texts.clean("\x1b" * 10_000, 10)) == 10
    assert texts.lines("a\tb\n\x1b") == "a\tb\n\\x1b"
    assert texts.payload(b"\xff\xfe", None) == "\\xff\\xfe"
    assert len(texts.payload(b"x" * 10**6, {"type": "t"})) == texts.SHOWN


@pytest.mark.parametrize(
    ("most", "top", "step"),
    [(0, 1, 1), (1, 1, 1), (4, 4, 1), (7, 8, 2), (19, 20, 5), (460, 600, 200), (12_345, 15_000, 5000)],
)
def test_axes_have_round_marks(most: int, top: int, step: int) -> None:
    assert charts._scale(most) == (top, step)
