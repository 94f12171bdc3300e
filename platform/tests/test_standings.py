"""Where trials stand, told by the ledger and by its file alone: the same, and the file never guesses."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from posestudy.commands.status import telling
from posestudy.errors import NotFoundError
from posestudy.home import Home
from posestudy.ledger import Ledger, standings
from posestudy.ledger.records import (
    Checkpoint,
    KnownResult,
    NewCell,
    OpenStage,
    ProjectedRun,
    WithdrawStages,
)
from posestudy.ledger.standings import TrialStanding
from posestudy.testing import new_cell, put_small_study
from posestudy.vocabulary import AttemptEnd, Direction, Outcome, TrialState

IMPORTED = {"kind": "imported", "file": "a.log", "line": 1, "sha256": "0" * 64, "remarks": []}


def fill(ledger: Ledger) -> None:
    """Two studies; of the first, one trial completed at its second attempt, one runs, one is imported, one waits."""
    put_small_study(ledger, seeds=(0, 1), cells=("baseline", "variant"))
    put_small_study(ledger, name="other", cells=("only",))
    first = ledger.claim("small", "host:1", 60.0)
    assert first is not None
    uid = first.trial.uid
    assert ledger.release(uid, 1, AttemptEnd.PREEMPTED, "stop")
    assert ledger.claim("small", "host:1", 60.0) is not None
    values = {1: {"coco/AP": 0.2}, 2: {"coco/AP": 0.485}, 3: {"coco/AP": 0.3}}
    assert ledger.record_epoch(uid, 2, values, Checkpoint("/runs/3.pth", "0" * 64, 3), 3.0)
    more = Direction.MORE
    assert ledger.finish(uid, 2, Outcome.COMPLETED, "well", metric="coco/AP", direction=more, peak_memory_mb=None)
    ledger.put_projected(ProjectedRun("mlflow", uid, "run-1", 3, ""))
    ledger.put_projected(ProjectedRun("optuna", uid, "not this", 3, ""))
    assert ledger.claim("small", "host:2", 60.0) is not None
    known = KnownResult(Outcome.COMPLETED, IMPORTED, final_value=0.7, final_epoch=9, best_value=0.8, best_epoch=8)
    cell = NewCell("imported", "From a log", "", "f" * 64, {}, {}, (5,), known={5: known})
    study = ledger.study("small")
    assert ledger.apply(study.id, [OpenStage(1, "second", "variants", "imported", {}, (cell,))])


def test_every_trial_is_told_as_the_ledger_has_it(ledger: Ledger) -> None:
    fill(ledger)
    small, other = ledger.standings()
    assert (small.name, small.state, small.metric) == ("small", "open", "coco/AP")
    assert [trial.number for trial in small.trials] == [1, 2, 3, 4, 5]
    assert [(trial.number, trial.cell) for trial in other.trials] == [(1, "only")]
    records = ledger.snapshot("small", values=False).trials
    assert [trial.uid for trial in small.trials] == [record.uid for record in records]
    assert [trial.ended for trial in small.trials] == [record.ended for record in records]
    done, running, waiting, _, imported = (trial._replace(uid="", ended=None) for trial in small.trials)
    assert done == TrialStanding(
        1, "", "first", "baseline", "Baseline", 0, TrialState.DONE, Outcome.COMPLETED, "well", 3, 3, 2,
        0.3, 3, 0.485, 2, None, None, "run-1",
    )  # fmt: skip
    assert (running.state, running.outcome, running.seed, running.attempts) == (TrialState.RUNNING, None, 1, 1)
    assert (waiting.state, waiting.epoch, waiting.attempts, waiting.mlflow_run_id) == (TrialState.WAITING, 0, 0, None)
    assert (imported.stage, imported.label, imported.source) == ("second", "From a log", IMPORTED)
    assert (imported.epoch, imported.epochs, imported.attempts) == (9, None, 0)
    assert small.is_open
    assert not small.has_failed


def test_the_file_alone_tells_the_same(home: Home, sqlite_ledger: Ledger) -> None:
    fill(sqlite_ledger)
    assert standings.of_file(home.database, None) == sqlite_ledger.standings()
    assert standings.of_file(home.database, "other") == sqlite_ledger.standings("other")


def test_trials_of_a_withdrawn_stage_are_not_told(ledger: Ledger) -> None:
    record = put_small_study(ledger)
    ledger.put_study("small", {"study": "small", "metric": "pck"}, "", withdraw=WithdrawStages(0))
    assert ledger.standings("small")[0].trials == ()
    assert ledger.apply(record.id, [OpenStage(0, "again", "variants", "new", {}, (new_cell("new"),))])
    (standing,) = ledger.standings("small")
    assert standing.metric == "pck"
    assert {trial.stage for trial in standing.trials} == {"again"}


def test_a_study_that_is_not_there_is_the_ledgers_error(home: Home, ledger: Ledger, sqlite_ledger: Ledger) -> None:
    put_small_study(ledger)
    with pytest.raises(NotFoundError, match="did you mean 'small'"):
        ledger.standings("smal")
    assert standings.of_file(home.database, "smal") is None


def test_what_is_odd_about_a_file_is_left_to_the_ledger(home: Home, sqlite_ledger: Ledger, tmp_path: Path) -> None:
    put_small_study(sqlite_ledger)
    assert standings.of_file(tmp_path / "not_there.db", None) is None
    assert not (tmp_path / "not_there.db").exists(), "asking makes nothing"
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"no database at all" * 100)
    assert standings.of_file(garbage, None) is None
    with closing(sqlite3.connect(home.database)) as connection, connection:
        connection.execute("UPDATE posestudy_version SET version_num = '0003'")
    assert standings.of_file(home.database, "small") is None


def stands(number: int, state: TrialState, outcome: Outcome | None = None, ended: float | None = None) -> TrialStanding:
    none = (None, None, None, None)
    return TrialStanding(number, "", "s", "c", "", 0, state, outcome, None, 0, 1, 0, *none, ended, None, None)


def test_a_long_study_is_told_by_what_a_user_looks_for_first() -> None:
    done = [stands(n, TrialState.DONE, Outcome.COMPLETED, float(n)) for n in range(1, 101)]
    failed = stands(101, TrialState.DONE, Outcome.FAILED, 1.0)
    running = [stands(n, TrialState.RUNNING) for n in (102, 103)]
    waiting = [stands(n, TrialState.WAITING) for n in range(104, 200)]
    shown = [trial.number for trial in telling([*done, failed, *running, *waiting], 8)]
    assert shown == [98, 99, 100, 101, 102, 103, 104, 105]
    assert telling(done[:8], 8) == done[:8], "a study that fits is shown whole"
    assert telling([*done[:3], *waiting[:5]], 8) == [*done[:3], *waiting[:5]]


def test_a_look_leaves_nothing_behind(home: Home, sqlite_ledger: Ledger) -> None:
    """What SQLite writes beside an open file would belong to whoever looked, and keep its owner from writing."""
    put_small_study(sqlite_ledger)
    sqlite_ledger.close()
    assert standings.of_file(home.database, None)
    assert not [file.name for file in home.root.iterdir() if file.name.endswith(("-wal", "-shm"))]
