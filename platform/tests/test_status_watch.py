"""`posestudy status --watch` in a pipe or a log file: all of it once, then what is new, and at the end what to do."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress

import pytest

from posestudy.commands.status import changed, next_step
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Claim, CloseStage, CloseStudy
from posestudy.testing import put_small_study
from posestudy.vocabulary import Direction, Outcome


def claim(ledger: Ledger) -> Claim:
    granted = ledger.claim("small", "host:1", 60.0)
    assert granted is not None
    return granted


def end(ledger: Ledger, granted: Claim, outcome: Outcome = Outcome.COMPLETED) -> None:
    uid, fence = granted.trial.uid, granted.trial.fence
    ledger.record_epoch(uid, fence, {1: {"coco/AP": 0.2}, 2: {"coco/AP": 0.1}}, None, 3.0)
    ledger.finish(uid, fence, outcome, None, metric="coco/AP", direction=Direction.MORE, peak_memory_mb=None)


def close(ledger: Ledger) -> None:
    snapshot = ledger.snapshot("small")
    stage = snapshot.stages[0]
    ledger.apply(snapshot.study.id, [CloseStage(stage.id, stage.version, "baseline", "it is best"), CloseStudy()])


def test_a_pipe_is_not_painted_over_and_over(home: Home, sqlite_ledger: Ledger) -> None:
    put_small_study(sqlite_ledger)
    program = "from posestudy.commands.app import run; run()"
    command = [sys.executable, "-c", program, "--home", str(home.root), "status", "small", "--watch"]
    environment = {name: text for name, text in os.environ.items() if name != "POSESTUDY_DATABASE_URL"}
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    stdout = watching.stdout
    assert stdout is not None
    first = [stdout.readline() for _ in range(4)]
    assert first[0].startswith("small (open), coco/AP: 2 waiting")
    one = claim(sqlite_ledger)
    began = stdout.readline()
    assert re.match(r"\S+ \d\d:\d\d:\d\d  small first: trial 1 \(baseline, seed 0\) running  epoch 0/3\n", began)
    end(sqlite_ledger, one)
    ended = stdout.readline()
    assert ended[10:] == "small first: trial 1 (baseline, seed 0) completed  epoch 0/3  final 2: 0.100  best 1: 0.200\n"
    end(sqlite_ledger, claim(sqlite_ledger))
    close(sqlite_ledger)
    rest = stdout.read()
    assert watching.wait(400) == 0
    assert "small (closed), coco/AP: 2 completed" in rest
    assert rest.endswith(f"report with: posestudy --home {home.root} report small --out out/small\n")
    assert "\x1b" not in rest
    assert sum("attempts" in line for line in [*first, began, ended, *rest.splitlines()]) == 1


@pytest.mark.parametrize(("term", "painted"), [("xterm", True), ("dumb", False)])
def test_a_terminal_sees_the_trial_that_runs_while_it_runs(
    term: str, painted: bool, home: Home, sqlite_ledger: Ledger
) -> None:
    """A table no higher than the terminal; in a dumb one, of an editor, lines."""
    put_small_study(sqlite_ledger, seeds=tuple(range(20)))
    granted = [claim(sqlite_ledger) for _ in range(30)]
    for one in granted[:29]:
        end(sqlite_ledger, one)
    program = "from posestudy.commands.app import run; run()"
    command = [sys.executable, "-c", program, "--home", str(home.root), "status", "small", "--watch"]
    # A size in the environment would go before that of the terminal.
    unset = ("POSESTUDY_DATABASE_URL", "COLUMNS", "LINES")
    environment = {name: text for name, text in os.environ.items() if name not in unset}
    main, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 70, 0, 0))
    watching = subprocess.Popen(command, stdout=terminal, env={**environment, "TERM": term})
    os.close(terminal)
    shown = b""
    while b"running  " not in shown or b"40 " not in shown:
        shown += os.read(main, 4096)
    watching.send_signal(signal.SIGINT)
    with suppress(OSError):  # what a terminal says whose last program is gone
        while part := os.read(main, 4096):
            shown += part
    assert watching.wait(400) == 1
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert (b"\x1b[" in shown) is painted
    if painted:
        screen = text.split("small (open)")[1].splitlines()
        assert len(screen) <= 12, text
        assert any(line.split()[:1] == ["30"] and "running" in line for line in screen)
    else:
        assert text.count("completed") == 29 + 1


def test_an_epoch_alone_is_no_news(sqlite_ledger: Ledger) -> None:
    put_small_study(sqlite_ledger)
    granted = claim(sqlite_ledger)
    before = sqlite_ledger.standings("small")
    sqlite_ledger.record_epoch(granted.trial.uid, 1, {1: {"loss": 0.2}}, None, 3.0)
    assert changed(before, sqlite_ledger.standings("small")) == []


def test_what_to_do_next_follows_from_where_the_study_stands(sqlite_ledger: Ledger) -> None:
    put_small_study(sqlite_ledger)

    def step() -> str | None:
        (standing,) = sqlite_ledger.standings("small")
        return next_step(standing)

    assert "`posestudy worker small` goes on" in (step() or "")
    granted = claim(sqlite_ledger)
    assert step() is None
    end(sqlite_ledger, granted, Outcome.FAILED)
    assert (step() or "").startswith("`posestudy logs small 1` shows why trial 1 failed")
    sqlite_ledger.retry("small", {Outcome.FAILED})
    for _ in range(2):
        end(sqlite_ledger, claim(sqlite_ledger))
    close(sqlite_ledger)
    assert step() == "report with: posestudy report small --out out/small"
