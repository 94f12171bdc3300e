"""A pool on a search whose trials pause: they go on later, whoever dies on the way, and nothing is trained twice."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from same_tensors import assert_equal_tensors
from standin_pool import importable_standins
from standin_searched import CELLS, EPOCHS, learning, pool, searched

from posestudy import journal
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Change, Promote, Snapshot, TrialRecord
from posestudy.vocabulary import AttemptEnd, Outcome, TrialState, Verdict
from posestudy_runner.context import PoolOptions
from posestudy_runner.display import LineDisplay
from posestudy_runner.pool import Goal, Pool
from posestudy_runner.steering import Steering, study_steering
from posestudy_studies.dataset import sealed
from posestudy_studies.drawn_cats import draw
from posestudy_studies.file import load
from posestudy_studies.rehearsal import Rehearsal

__all__ = ["importable_standins"]

NAME = searched().study


def trained_epochs(home: Home, trial: TrialRecord, study: str = NAME) -> list[int]:
    """The epochs that any attempt at the trial has trained, in order."""
    frames = [frame for paths in home.attempts(study, trial.number) for frame in journal.read(paths.journal)]
    return sorted(int(frame["epoch"]) for frame in frames if frame["type"] == "epoch")


def ends(snapshot: Snapshot) -> list[tuple[int, str]]:
    return [(trial.ckpt_epoch, str(trial.outcome)) for trial in snapshot.trials]


def assert_whole(home: Home, snapshot: Snapshot) -> None:
    """The study is closed, and no epoch of it was trained twice or is missing."""
    assert snapshot.study.state == "closed"
    for trial in snapshot.trials:
        assert trained_epochs(home, trial) == list(range(1, trial.ckpt_epoch + 1))
        values = [v for v in snapshot.values if v.trial_uid == trial.uid]
        assert [v.epoch for v in values] == list(range(1, trial.ckpt_epoch + 1))
        assert trial.outcome is (Outcome.COMPLETED if trial.ckpt_epoch == EPOCHS else Outcome.PRUNED)
        assert trial.final_epoch == trial.ckpt_epoch


def test_one_worker_goes_the_way_of_the_rehearsal(home: Home, sqlite_ledger: Ledger) -> None:
    output = io.StringIO()
    pool(home, sqlite_ledger, searched(), output).run(1)
    snapshot = sqlite_ledger.snapshot(NAME)
    assert_whole(home, snapshot)
    rehearsed = Rehearsal(searched()).train(lambda stage, cell, seed: learning(cell.config))
    assert ends(snapshot) == ends(rehearsed)
    promoted = [trial for trial in snapshot.trials if trial.fence > 1]
    assert promoted
    for trial in promoted:
        attempts = [a for a in snapshot.attempts if a.trial_uid == trial.uid]
        assert {a.end for a in attempts[:-1]} == {AttemptEnd.PAUSED}
        began = [int((p.folder / "from_epoch").read_text()) for p in home.attempts(NAME, trial.number)]
        assert set(began) <= {0, 1, 3}
        assert len(set(began)) == len(began) == trial.fence
    assert "paused: after epoch 1, until it is among the best there" in output.getvalue()


@pytest.mark.slow
def test_several_workers_come_to_an_end_and_train_nothing_twice(home: Home, ledger: Ledger) -> None:
    pool(home, ledger, searched()).run(3)
    snapshot = ledger.snapshot(NAME)
    assert_whole(home, snapshot)
    assert len(snapshot.trials) == CELLS
    assert sum(trial.ckpt_epoch for trial in snapshot.trials) < CELLS * EPOCHS
    assert any(trial.outcome is Outcome.COMPLETED for trial in snapshot.trials)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "decision"), [("decide", None), ("pause", {"epoch": 1, "prune": False, "pause": True})]
)
def test_what_was_killed_before_its_decision_or_its_pause_pauses_without_training(
    home: Home, sqlite_ledger: Ledger, call: str, decision: dict[str, Any] | None
) -> None:
    script = Path(__file__).with_name("standin_searched.py")
    url = f"sqlite:///{home.database}"
    dead = subprocess.run([sys.executable, str(script), str(home.root), url, call], timeout=400, check=False)
    assert dead.returncode == -signal.SIGKILL
    (left,) = sqlite_ledger.snapshot(NAME).trials
    assert (left.state, left.ckpt_epoch, left.decision) == (TrialState.RUNNING, 1, decision)
    pool(home, sqlite_ledger, searched()).run(2)
    snapshot = sqlite_ledger.snapshot(NAME)
    assert_whole(home, snapshot)
    attempts = [a for a in snapshot.attempts if a.trial_uid == left.uid]
    assert [a.end for a in attempts[:2]] == [AttemptEnd.LOST, AttemptEnd.PAUSED]
    assert not home.attempt(NAME, 1, 2).folder.exists()


def test_a_promoted_trial_without_its_newest_checkpoint_is_not_judged_twice(home: Home, sqlite_ledger: Ledger) -> None:
    real, judged = study_steering(), list[int]()

    def judge(snapshot: Snapshot, uid: str, epoch: int) -> tuple[Verdict, dict[str, Any]]:
        judged.append(epoch)
        return real.judge(snapshot, uid, epoch)

    def advance(snapshot: Snapshot) -> Sequence[Change]:
        changes = real.advance(snapshot)
        if any(isinstance(change, Promote) for change in changes) and snapshot.trials[0].ckpt_epoch == 3:
            Path(snapshot.trials[0].ckpt_path or "").unlink()
        return changes

    pool(home, sqlite_ledger, searched(cells=1), steering=Steering(advance, real.prunes, judge)).run(1)
    snapshot = sqlite_ledger.snapshot(NAME)
    # Alone it pauses at each rung, and goes on because nothing else is left to do.
    assert [str(a.end) for a in snapshot.attempts] == ["paused", "paused", "finished"]
    assert (home.attempt(NAME, 1, 3).folder / "from_epoch").read_text() == "2"
    assert judged == list(range(1, EPOCHS + 1))
    assert snapshot.trials[0].outcome is Outcome.COMPLETED


# ---- with MMPose

YAML = """
study: {name}
dataset:
  keypoints: cats
  root: {root}
  train: {{annotations: annotations/train.json, images: images}}
  val: {{annotations: annotations/val.json, images: images}}
baseline:
  model: resnet_tiny
  input_size: [64, 64]
  sigma: 1.0
  epochs: 3
  validate_every: 1
  batch_size: 4
  optimizer: {{type: Adam, lr: 1.0e-3}}
  schedule: {{warmup_iters: 3, milestones: [2]}}
  augmentation: {{flip: {{}}, scale_rotation: {{}}}}
  amp: true
stages:
  - name: find
    design: search
    include_baseline: false
    space: {{optimizer.lr: {{log: [1.0e-4, 1.0e-2]}}}}
    sampler: random
    pruner: {pruner}
    cells: 2
replicates: {{seeds: [3]}}
"""
TIMED = re.compile(r".*_time_s|memory_mb|cpu_percent")


def real_search(folder: Path, data: Path, pruner: str) -> tuple[Home, Ledger]:
    folder.mkdir()
    file = folder / "search.yaml"
    file.write_text(YAML.format(name="real", root=data, pruner=pruner))
    home = Home.resolve(folder / "home")
    ledger = Ledger.open(f"sqlite:///{home.database}")
    ledger.put_study("real", sealed(load(file)).model_dump(mode="json"), file.read_text())
    display = LineDisplay(Console(file=io.StringIO(), width=400), "coco/AP")
    goal = Goal("real", "coco/AP", "more")
    Pool(ledger, home, goal, study_steering(), display, PoolOptions(poll_s=0.2, projects=False)).run(1)
    return home, ledger


def measured(ledger: Ledger, trial: TrialRecord) -> dict[int, dict[str, float]]:
    rows = [value for value in ledger.snapshot("real").values if value.trial_uid == trial.uid]
    return {row.epoch: {k: v for k, v in row.metrics.items() if not TIMED.fullmatch(k)} for row in rows}


def final(home: Home, trial: TrialRecord) -> dict[str, Any]:
    paths = home.attempt("real", trial.number, trial.fence)
    content: dict[str, Any] = torch.load(paths.checkpoint(trial.ckpt_epoch), weights_only=False)
    return content


@pytest.mark.slow
def test_a_network_that_paused_ends_as_one_that_never_did(tmp_path: Path) -> None:
    draw(tmp_path / "cats", train=24, val=4, seed=1, size_px=64)
    asha = "{type: asha, min_epochs: 1, reduction: 2}"
    home, ledger = real_search(tmp_path / "paused", tmp_path / "cats", asha)
    other_home, other = real_search(tmp_path / "undisturbed", tmp_path / "cats", "none")
    compared = {trial.number: trial for trial in other.snapshot("real").trials}
    trials = ledger.snapshot("real").trials
    done = next(trial for trial in trials if trial.outcome is Outcome.COMPLETED)
    pauses = [a for a in ledger.snapshot("real").attempts if a.trial_uid == done.uid and a.end is AttemptEnd.PAUSED]
    assert pauses
    for trial in trials:
        whole = measured(other, compared[trial.number])
        assert measured(ledger, trial) == {epoch: whole[epoch] for epoch in range(1, trial.ckpt_epoch + 1)}
    left, right = final(home, done), final(other_home, compared[done.number])
    for part in ("state_dict", "optimizer", "param_schedulers"):
        assert_equal_tensors(left[part], right[part])
    # The one left behind has what its row in the tables needs.
    behind = next(trial for trial in trials if trial.outcome is Outcome.PRUNED)
    assert behind.profile is not None
    assert home.attempt("real", behind.number, behind.fence).matches.exists()
