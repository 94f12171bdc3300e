"""What people are shown fits their terminal, and a log tells the day."""

from __future__ import annotations

import io
import os
from datetime import datetime

import pytest
from rich.console import Console

from posestudy.terminal import Column, Stamps, fitted, paints

COLUMNS = (
    *(Column("stage", is_name=True, goes=1), Column("trial"), Column("cell", is_name=True)),
    *(Column("best", goes=3), Column("left", goes=2), Column("state", is_left=True)),
)
ROW = ("learning_rate_and_batch", "12", "猫" * 9 + " [b] (seed 0)", "100: 0.3444", "1:10:30", "completed")


def painted(width: int) -> list[str]:
    output = io.StringIO()
    console = Console(file=output, width=width, color_system=None)
    console.print(fitted(COLUMNS, [ROW, ("", "3", "waits", "", "", "")], width))
    return output.getvalue().splitlines()


@pytest.mark.parametrize(
    ("width", "there", "gone"),
    [
        (140, [*ROW], []),
        (80, ["learning_ra", "…", "12", "100: 0.3444", "1:10:30", "completed"], []),
        (56, ["12", "猫", "100: 0.3444", "1:10:30", "completed"], ["stage"]),
        (44, ["12", "100: 0.3444", "completed"], ["stage", "left"]),
        (30, ["12", "completed", "trial", "state"], ["stage", "left", "best"]),
    ],
)
def test_numbers_are_whole_whatever_the_width(width: int, there: list[str], gone: list[str]) -> None:
    lines = painted(width)
    assert len(lines) == 4
    assert all(part in lines[2] + lines[0] for part in there), lines
    assert not any(part in lines[0] for part in gone), lines


def test_no_width_is_too_small() -> None:
    assert all(len(line) <= 6 for line in painted(6))


def test_only_a_terminal_is_painted_over(monkeypatch: pytest.MonkeyPatch) -> None:
    main, terminal = os.openpty()
    with os.fdopen(terminal, "w") as stream, os.fdopen(main):
        monkeypatch.setenv("TERM", "xterm")
        assert paints(stream)
        for term in ("dumb", "unknown"):
            monkeypatch.setenv("TERM", term)
            assert not paints(stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not paints(io.StringIO())


def test_the_first_line_of_a_day_tells_the_date() -> None:
    times = iter([(22, 9), (22, 23), (23, 0), (23, 1)])

    def now() -> datetime:
        day, hour = next(times)
        return datetime(2026, 11, day, hour, 5, 9).astimezone()

    stamp = Stamps(now)
    assert [stamp() for _ in range(4)] == ["2026-11-22 09:05:09", "23:05:09", "2026-11-23 00:05:09", "01:05:09"]
