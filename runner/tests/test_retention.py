"""What stays on the disk of trials, and what `posestudy gc` removes; nothing that is still needed ever goes."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest
from standin_pool import STUDY, Standin, importable_standins

from posestudy.commands.app import main
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Checkpoint, Claim, NewCell, OpenStage
from posestudy.testing import put_small_study
from posestudy.vocabulary import AttemptEnd, Direction, Outcome
from posestudy_runner.tidying import disposable, tidy_after_end, tidy_after_epoch

__all__ = ["importable_standins"]


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * 1000)
    return folder


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_best_weights_stay_as_long_as_a_checkpoint_that_may_be_resumed_from_refers_to_them(tmp_path: Path) -> None:
    # Best were epochs 1, 3, 4 and 6; checkpoints are there of 2, 5 and 6, and the ledger may use 5 and 6.
    fill(tmp_path / "1", "epoch_1.pth", "best.pth", "best.before_2.pth", "preempted.pth", "training.log")
    fill(
        tmp_path / "2",
        *("epoch_2.pth", "epoch_5.pth", "epoch_6.pth", "best.pth"),
        *("best.before_3.pth", "best.before_4.pth", "best.before_6.pth", "best.keypoints.before_6.json"),
        *("best.keypoints.before_4.json", "validating.keypoints.json"),
    )
    fill(tmp_path / "3", "epoch_1.pth")
    tidy_after_epoch(tmp_path, 2, 5)
    assert names(tmp_path) == {
        *("1/best.pth", "1/training.log", "3/epoch_1.pth", "2/validating.keypoints.json"),
        *("2/epoch_5.pth", "2/epoch_6.pth", "2/best.pth", "2/best.before_6.pth", "2/best.keypoints.before_6.json"),
    }


@pytest.mark.parametrize(
    ("retention", "left"),
    [
        ("", {"best.pth", "epoch_3.pth", "matches.npz"}),
        ("best_and_last", {"best.pth", "epoch_3.pth", "matches.npz"}),
        ("best", {"best.pth", "matches.npz"}),
        ("all", {"best.pth", "epoch_1.pth", "epoch_2.pth", "epoch_3.pth", "matches.npz"}),
    ],
)
def test_a_finished_trial_keeps_what_its_study_says(tmp_path: Path, retention: str, left: set[str]) -> None:
    fill(tmp_path / "1", "epoch_1.pth", "epoch_2.pth", "epoch_3.pth", "best.pth", "matches.npz")
    fill(tmp_path / "1", "epoch_4.tmp", "best.before_2.pth", "testing.keypoints.json", "preempted.pth")
    tidy_after_epoch(tmp_path, 1, 2, retention)
    assert (tmp_path / "1" / "epoch_1.pth").exists() == (retention == "all")
    tidy_after_end(tmp_path, 1, [tmp_path / "1" / "epoch_3.pth"], retention)
    assert names(tmp_path / "1") == left


def test_without_best_weights_the_last_checkpoint_is_all_there_is(tmp_path: Path) -> None:
    fill(tmp_path / "1", "epoch_2.pth")
    assert disposable(tmp_path, 1, [tmp_path / "1" / "epoch_2.pth"], "best") == []


def test_a_pool_keeps_what_the_study_says(home: Home, sqlite_ledger: Ledger) -> None:
    standin = Standin(home, sqlite_ledger, {"a": {}, "b": {"behaviour": "die_once_at_2"}})
    sqlite_ledger.put_study(STUDY, {"cells": standin.cells, "retention": "all"}, "")
    standin.pool().run(1)
    kept = [names(home.runs / STUDY / number) for number in ("1", "2")]
    states = [{name for name in some if name.endswith(".pth")} for some in kept]
    assert states == [
        {f"1/epoch_{e}.pth" for e in range(1, 5)},
        {"1/epoch_1.pth", *(f"2/epoch_{e}.pth" for e in (2, 3, 4))},
    ]


# ---- posestudy gc


def claim(ledger: Ledger, name: str = "small") -> Claim:
    granted = ledger.claim(name, "worker", 60.0)
    assert granted is not None
    return granted


def train(ledger: Ledger, home: Home, granted: Claim, *epochs: int) -> Path:
    """The attempt's folder, with a checkpoint of each epoch that the ledger knows."""
    paths = home.attempt(granted.study.name, granted.trial.number, granted.trial.fence)
    fill(paths.folder, "order.json", "journal", "training.log", "mmengine/scalars.json")
    for epoch in epochs:
        path = fill(paths.folder, f"epoch_{epoch}.pth") / f"epoch_{epoch}.pth"
        sha = hashlib.sha256(path.read_bytes()).hexdigest()
        values = {epoch: {"coco/AP": epoch / 10}}
        ledger.record_epoch(granted.trial.uid, granted.trial.fence, values, Checkpoint(str(path), sha, epoch), 1.0)
    return paths.folder


def finish(ledger: Ledger, granted: Claim) -> None:
    ending = {"metric": "coco/AP", "direction": Direction.MORE, "peak_memory_mb": None}
    assert ledger.finish(granted.trial.uid, granted.trial.fence, Outcome.COMPLETED, None, **ending)


def lose(ledger: Ledger, granted: Claim) -> None:
    assert ledger.release(granted.trial.uid, granted.trial.fence, AttemptEnd.LOST, "the machine died")


def old(path: Path) -> Path:
    os.utime(path, (time.time() - 10**7,) * 2)
    return path


def gc(home: Home, *options: str) -> int:
    return main(["--home", str(home.root), "gc", *options])


def test_gc_removes_what_nothing_needs_and_nothing_else(
    home: Home, sqlite_ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    put_small_study(sqlite_ledger, cells=("done", "waiting", "running"))
    lost = claim(sqlite_ledger)
    first = fill(train(sqlite_ledger, home, lost, 1), "best.pth", "validating.keypoints.json")
    lose(sqlite_ledger, lost)
    again = claim(sqlite_ledger)
    second = fill(
        train(sqlite_ledger, home, again, 2, 3), "best.pth", "matches.npz", "epoch_4.tmp", "best.before_3.pth"
    )
    finish(sqlite_ledger, again)
    stopped = claim(sqlite_ledger)
    waiting = fill(
        train(sqlite_ledger, home, stopped, 1, 2), "best.pth", "best.before_2.pth", "validating.keypoints.json"
    )
    runs = claim(sqlite_ledger)
    running = fill(train(sqlite_ledger, home, runs, 1), "epoch_2.tmp", "validating.keypoints.json")
    lose(sqlite_ledger, stopped)
    foreign = fill(home.runs / "of_another_ledger" / "1" / "1", "epoch_1.pth", "epoch_2.pth")
    stale = old(fill(home.root, ".measured.json.999999999.0123abcd.tmp") / ".measured.json.999999999.0123abcd.tmp")
    fresh = fill(home.root, ".measured.json.999999999.4567abcd.tmp") / ".measured.json.999999999.4567abcd.tmp"
    cached = old(fill(home.cache, "dataset_1.json") / "dataset_1.json")
    before = names(home.root)

    assert gc(home, "--dry-run") == 0
    assert "would remove" in capsys.readouterr().out
    assert names(home.root) == before

    assert gc(home) == 0
    gone = {home.root / name for name in before - names(home.root)}
    assert gone == {
        *(first / name for name in ("epoch_1.pth", "best.pth", "order.json", "journal", "mmengine/scalars.json")),
        first / "validating.keypoints.json",
        *(second / name for name in ("epoch_2.pth", "epoch_4.tmp", "best.before_3.pth")),
        waiting / "validating.keypoints.json",
        stale,
        cached,
    }
    told = capsys.readouterr().out
    assert "runs/small/1/1: " in told
    assert "removed 12 files, 12.0 kB" in told
    assert (first / "training.log").exists()
    assert not (first / "mmengine").exists()
    assert fresh.exists()
    assert names(running) >= {"epoch_2.tmp", "validating.keypoints.json"}
    assert names(foreign) == {"epoch_1.pth", "epoch_2.pth"}
    assert gc(home) == 0
    assert capsys.readouterr().out == "nothing to remove\n"


def test_what_was_set_aside_after_a_restore_goes_once_its_trial_is_done(home: Home, sqlite_ledger: Ledger) -> None:
    put_small_study(sqlite_ledger, cells=("done", "waiting"))
    finished, stopped = claim(sqlite_ledger), claim(sqlite_ledger)
    for granted in (finished, stopped):
        folder = train(sqlite_ledger, home, granted, 1)
        fill(folder.with_name("1.before.0123abcd"), "epoch_7.pth", "preempted.pth", "best.pth", "order.json", "a/b.png")
        fill(folder.with_name("1.before.mine"), "notes.txt")
    finish(sqlite_ledger, finished)
    lose(sqlite_ledger, stopped)
    before = names(home.runs / "small")
    assert gc(home) == 0
    gone = before - names(home.runs / "small")
    aside = "1/1.before.0123abcd"
    assert gone == {f"{aside}/{n}" for n in ("epoch_7.pth", "preempted.pth", "best.pth", "order.json", "a/b.png")}
    assert not (home.runs / "small" / aside).exists()


def test_gc_of_one_study_leaves_the_others_alone(home: Home, sqlite_ledger: Ledger) -> None:
    folders = {}
    for name in ("one", "two"):
        put_small_study(sqlite_ledger, name=name, cells=(name,))
        granted = claim(sqlite_ledger, name)
        folders[name] = train(sqlite_ledger, home, granted, 1, 2)
        finish(sqlite_ledger, granted)
    cached = old(fill(home.cache, "dataset_1.json") / "dataset_1.json")
    assert gc(home, "two") == 0
    assert names(folders["one"]) >= {"epoch_1.pth", "epoch_2.pth"}
    assert not (folders["two"] / "epoch_1.pth").exists()
    assert cached.exists()
    assert gc(home, "three") == 2


def test_weights_that_another_trial_waits_for_stay(home: Home, sqlite_ledger: Ledger) -> None:
    document = {"study": "small", "metric": "coco/AP", "baseline": {"epochs": 3}, "retention": "best"}
    record = sqlite_ledger.put_study("small", document, "")
    cells = [NewCell(n, n, "", n * 64, {}, {"epochs": 3}, (0,), training_key="t" * 64) for n in ("a", "b")]
    sqlite_ledger.apply(record.id, [OpenStage(0, "first", "variants", "a", {}, tuple(cells))])
    granted = claim(sqlite_ledger)
    folder = fill(train(sqlite_ledger, home, granted, 1, 2), "best.pth")
    finish(sqlite_ledger, granted)
    assert gc(home) == 0
    assert names(folder) >= {"best.pth", "epoch_2.pth"}
    finish(sqlite_ledger, claim(sqlite_ledger))
    assert gc(home) == 0
    assert names(folder) & {"best.pth", "epoch_1.pth", "epoch_2.pth"} == {"best.pth"}


def test_gc_without_its_ledger_removes_nothing(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(home.runs / "small" / "1" / "1", "epoch_1.pth", "epoch_1.tmp")
    assert gc(home) == 2
    monkeypatch.setenv("POSESTUDY_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing?connect_timeout=1")
    assert gc(home) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert names(home.runs) == {"small/1/1/epoch_1.pth", "small/1/1/epoch_1.tmp"}
