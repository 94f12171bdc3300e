"""What the user sees of a pool: a table in a terminal, lines elsewhere."""

from __future__ import annotations

import io
import os
import re

import pytest
from rich.console import Console

from posestudy_runner.display import LineDisplay, Pace, SlotView, TableDisplay, display_for, duration
from posestudy_runner.launching import beginning

VIEW = SlotView(
    device="cuda:0",
    stage="lr [a]",
    cell="lr=1e-3",
    trial=7,
    seed=2,
    epoch=5,
    epochs=20,
    metric=0.25,
    best=0.3,
    best_epoch=4,
    seconds_left=3700.0,
)


def test_durations_are_read_at_a_glance() -> None:
    assert [duration(s) for s in (0, 59.6, 95, 3700, -3)] == ["0:00", "1:00", "1:35", "1:01:40", "0:00"]


def test_elsewhere_there_is_a_line_an_evaluated_epoch() -> None:
    output = io.StringIO()
    display = display_for("coco/AP", "study s", Console(file=output, width=80))
    assert isinstance(display, LineDisplay)
    with display:
        display.show(0, VIEW)
        display.show(0, VIEW, news=True)
        display.say("trial 7 [done]")
    lines = output.getvalue().splitlines()
    assert len(lines) == 2
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", lines[0])
    assert re.match(r"\d\d:\d\d:\d\d  ", lines[1])
    name = "lr [a]: trial 7 (lr=1e-3, seed 2)"
    for part in (name, "epoch 5/20", "coco/AP 0.2500", "best 0.3000 at 4", "1:01:40 left"):
        assert part in lines[0]
    assert lines[1].endswith("trial 7 [done]")


def test_in_a_terminal_there_is_a_table_and_events_above_it() -> None:
    output = io.StringIO()
    display = display_for("coco/AP", "study s", Console(file=output, force_terminal=True, width=140))
    assert isinstance(display, TableDisplay)
    with display:
        display.show(0, VIEW)
        display.show(1, SlotView(device="cuda:1"))
        display.standing(3, 12)
        display.say("trial 6 completed")
        display._live.refresh()
    text = output.getvalue()
    parts = ["study s: 3 of 12 trials done", "lr [a]", "5/20", "0.2500", "4: 0.3000", "1:01:40", "cuda:1"]
    for part in (*parts, "trial 6 completed"):
        assert part in text


def test_a_narrow_terminal_shows_the_numbers() -> None:
    output = io.StringIO()
    display = TableDisplay(Console(file=output, force_terminal=True, width=44), "coco/AP", "study s")
    with display:
        display.show(0, VIEW)
        display.show(1, SlotView(device="cuda:1"))
        display._live.refresh()
    for part in ("no trial is known yet", " 7 ", "5/20", "0.2500", "1:01:40", "waits"):
        assert part in output.getvalue()
    assert "0 of 0" not in output.getvalue()


def test_a_file_gets_lines_where_ci_asks_for_colours_and_so_does_an_editor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    output = io.StringIO()
    monkeypatch.setattr("sys.stdout", output)
    with display_for("coco/AP", "study s") as display:
        display.show(0, VIEW, news=True)
    assert isinstance(display, LineDisplay)
    assert "epoch 5/20" in output.getvalue()
    assert "\x1b" not in output.getvalue()
    main, terminal = os.openpty()
    with os.fdopen(main), os.fdopen(terminal, "w") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        assert isinstance(display_for("coco/AP", "study s"), TableDisplay)
        monkeypatch.setenv("TERM", "dumb")
        assert isinstance(display_for("coco/AP", "study s"), LineDisplay)


def test_the_pace_tells_how_long_the_known_trials_still_take() -> None:
    now = [100.0]
    pace = Pace(lambda: now[0])
    # What was done before counts, what it took does not.
    assert [pace.look(2, 8), pace.sentence()] == [False, "2 of 8 trials done"]
    now[0] += 60.0
    assert [pace.look(4, 8), pace.sentence()] == [True, "4 of 8 trials done, about 2:00 for the 4 others"]
    now[0] += 60.0
    assert [pace.look(4, 12), pace.seconds_left] == [False, 480.0]
    pace.look(11, 12)
    assert pace.sentence().endswith("for the other")
    # Put back to run, a new stage, the end: no time is told that nothing was learnt about.
    assert [pace.look(3, 12), pace.seconds_left] == [False, None]
    assert [pace.look(12, 12), pace.sentence()] == [True, "12 of 12 trials done"]


def test_a_log_has_a_line_where_one_more_trial_is_done() -> None:
    output = io.StringIO()
    with LineDisplay(Console(file=output, width=80), "coco/AP") as display:
        for done in (1, 1, 2, 2, 3):
            display.standing(done, 3)
    lines = [line.split("  ")[1] for line in output.getvalue().splitlines()]
    assert [re.sub(r"about \S+", "about T", line) for line in lines] == [
        "2 of 3 trials done, about T for the other",
        "3 of 3 trials done",
    ]


def test_a_launch_begins_with_what_it_is_about_to_train() -> None:
    known = beginning("lr", {"trials": 12, "wall_hours": 1.5})
    assert known == "study lr: 12 trials to train, about 1:30:00 from start to end; later results may add to them"
    assert "1 trial to train, how long that takes" in beginning("lr", {"trials": 1, "wall_hours": None})
    assert beginning("lr", {"trials": 0, "wall_hours": 0.0}) == "study lr: no known trial is left to train"
