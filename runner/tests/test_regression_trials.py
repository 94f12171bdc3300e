"""Regression through the real worker: RLE learns and resumes exactly, an error is carried where it is smallest."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from face_data import draw_faces
from rich.console import Console
from same_tensors import assert_equal_tensors
from standin_pool import in_background, until

from posestudy.home import AttemptPaths, Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import TrialRecord
from posestudy.vocabulary import METRICS, Outcome
from posestudy_runner.context import PoolOptions
from posestudy_runner.display import LineDisplay
from posestudy_runner.pool import Goal, Pool
from posestudy_runner.steering import study_steering
from posestudy_studies.dataset import inspect, sealed
from posestudy_studies.drawn_cats import draw
from posestudy_studies.file import load

pytestmark = pytest.mark.slow

CATS = """
study: tiny
dataset:
  keypoints: cats
  root: {root}
  train: {{annotations: annotations/train.json, images: images}}
  val: {{annotations: annotations/val.json, images: images}}
metric: epe
evaluation: {{nme_keypoints: [Neck, Root of tail]}}
baseline:
  model: resnet_tiny
  codec: regression
  loss: rle
  input_size: [64, 64]
  epochs: 4
  batch_size: 4
  optimizer: {{type: Adam, lr: 5.0e-3}}
  schedule: {{warmup_iters: 8}}
  augmentation: {{flip: {{}}, scale_rotation: {{rotation: 10, scale: 0.1, shift: 0.16, shift_prob: 0.3}}}}
  amp: true
stages:
  - {{name: only, design: variants, include_baseline: false, variants: {{rle: {{loss: rle}}}}}}
"""
FACES = """
study: tiny
dataset:
  keypoints: wflw
  root: {root}
  train: {{annotations: annotations/face_landmarks_wflw_train.json, images: images}}
  val: {{annotations: annotations/face_landmarks_wflw_test.json, images: images}}
metric: nme
baseline:
  model: resnet_tiny
  codec: regression
  input_size: [64, 64]
  epochs: 2
  batch_size: 4
  optimizer: {{type: Adam, lr: 5.0e-3}}
stages:
  - name: rate
    design: variants
    variants:
      still: {{optimizer.lr: 1.0e-9}}
      slow: {{optimizer.lr: 2.0e-3}}
      wild: {{optimizer: {{type: SGD, lr: 1.0e+12}}, loss: rle}}
  - name: loss
    design: variants
    variants:
      soft_wing: {{loss: soft_wing}}
      rle: {{loss: rle}}
floor: {{value: 1.85, epoch: 2}}
"""


@pytest.fixture(autouse=True)
def importable_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@dataclass
class Run:
    """A study in a home of its own."""

    home: Home
    ledger: Ledger
    metric: str

    def pool(self) -> Pool:
        display = LineDisplay(Console(file=io.StringIO(), width=400), self.metric)
        goal = Goal("tiny", self.metric, METRICS[self.metric].direction.value, None)
        options = PoolOptions(target="real_trial:main", poll_s=0.2, lease_s=20.0, projects=False)
        return Pool(self.ledger, self.home, goal, study_steering(), display, options)

    def trials(self) -> dict[str, TrialRecord]:
        """By name of the cell; a reused one is not there."""
        snapshot = self.ledger.snapshot("tiny")
        names = {cell.id: cell.name for cell in snapshot.cells}
        return {names[trial.cell_id]: trial for trial in snapshot.trials if trial.source is None}

    def curve(self, name: str, metric: str) -> list[float]:
        uid = self.trials()[name].uid
        rows = [v.metrics for v in self.ledger.snapshot("tiny").values if v.trial_uid == uid]
        return [row[metric] for row in rows if metric in row]

    def attempt(self, name: str) -> AttemptPaths:
        trial = self.trials()[name]
        return self.home.attempt("tiny", trial.number, trial.fence)

    def result(self) -> tuple[Any, Any, Any]:
        """Final checkpoint, best weights, and the numbers that do not depend on the clock."""
        paths = self.attempt("rle")
        timed = re.compile(r".*_time_s|memory_mb|cpu_percent")
        values = {
            v.epoch: {name: number for name, number in v.metrics.items() if not timed.fullmatch(name)}
            for v in self.ledger.snapshot("tiny").values
        }
        final = torch.load(paths.checkpoint(4), weights_only=False)
        return final, torch.load(paths.best_weights, weights_only=True), values


def put(folder: Path, text: str, root: Path) -> Run:
    folder.mkdir(exist_ok=True)
    file = folder / "tiny.yaml"
    file.write_text(text.format(root=root))
    home = Home.resolve(folder / "home")
    study = load(file)
    assert inspect(study).problems == []
    ledger = Ledger.open(f"sqlite:///{home.database}")
    ledger.put_study("tiny", sealed(study).model_dump(mode="json"), file.read_text())
    return Run(home, ledger, study.metric)


@pytest.fixture(scope="module")
def cats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cats")
    draw(root, train=16, val=6, seed=1, size_px=64)
    return root


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cats: Path) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        run = put(tmp_path_factory.mktemp("undisturbed"), CATS, cats)
        run.pool().run(1)
    trial = run.trials()["rle"]
    assert trial.outcome is Outcome.COMPLETED, trial.message
    return run


def test_rle_learns_under_mixed_precision_and_keeps_its_flow(undisturbed: Run) -> None:
    losses, errors = undisturbed.curve("rle", "loss"), undisturbed.curve("rle", "epe")
    assert losses[-1] < losses[0] - 5
    assert min(errors) == undisturbed.trials()["rle"].best_value < 0.8 * errors[0]
    assert undisturbed.trials()["rle"].provenance["amp_dtype"] == "bfloat16"
    final, best, _ = undisturbed.result()
    flow = [name for name in best if name.startswith("head.loss_module.flow_model.")]
    assert len(flow) == 75
    assert any(not torch.equal(best[name], final["state_dict"][name]) for name in flow) or errors[-1] == min(errors)


def test_every_distance_metric_is_in_the_ledger_with_what_its_intervals_need(undisturbed: Run) -> None:
    assert all(len(undisturbed.curve("rle", name)) == 4 for name in ("epe", "nme", "pck", "auc"))
    paths = undisturbed.attempt("rle")
    with np.load(paths.matches) as kept:
        assert int(kept["epoch"]) == 4
        rebuilt = float(kept["epe_sum"].sum() / kept["epe_count"].sum())
    assert rebuilt == pytest.approx(undisturbed.curve("rle", "epe")[-1], rel=1e-5)
    assert {"id", "image_id", "keypoints"} <= json.loads(paths.predictions.read_text())[0].keys()
    assert len(list(paths.drawings.glob("*.png"))) == 6


def test_an_interrupted_rle_trial_ends_as_an_undisturbed_one(tmp_path: Path, cats: Path, undisturbed: Run) -> None:
    run = put(tmp_path, CATS, cats)
    pool = run.pool()
    thread = in_background(pool)
    until(lambda: bool(run.ledger.snapshot("tiny").values))
    pool.stop.now("the test interrupts")
    thread.join(400)
    assert run.trials()["rle"].outcome is None
    run.pool().run(1)
    assert run.trials()["rle"].fence == 2
    (final, best, values), (other, other_best, other_values) = run.result(), undisturbed.result()
    assert_equal_tensors(final["state_dict"], other["state_dict"])
    assert_equal_tensors(final["optimizer"], other["optimizer"])
    assert_equal_tensors(best, other_best)
    assert values == other_values


def test_the_smallest_error_is_best_and_carried_and_the_floor_is_a_ceiling(tmp_path: Path) -> None:
    draw_faces(tmp_path / "wflw", train=16, val=4)
    run = put(tmp_path, FACES, tmp_path / "wflw")
    run.pool().run(1)
    trials = run.trials()
    outcomes = {name: trial.outcome for name, trial in trials.items()}
    done = ["baseline", "slow", "soft_wing", "rle"]
    told = {name: trial.message for name, trial in trials.items()}
    assert outcomes == {
        **dict.fromkeys(done, Outcome.COMPLETED), "still": Outcome.NOT_CONVERGED, "wild": Outcome.DIVERGED,
    }, told  # fmt: skip
    assert "is worse than the declared floor: 1.85 by epoch 2" in (told["still"] or "")
    for name in done:
        errors = run.curve(name, "nme")
        assert trials[name].best_value == min(errors) < 1.85
        assert trials[name].final_value == errors[-1]
    rate, loss = run.ledger.snapshot("tiny").stages
    finals = {name: trials[name].final_value or 0.0 for name in done}
    assert finals["baseline"] < finals["slow"]
    assert rate.carried == "baseline"
    assert loss.carried == min(("baseline", "soft_wing", "rle"), key=lambda name: finals[name])
    assert "(lowest)" in (loss.carry_reason or "")
    kept = torch.load(run.attempt("slow").best_weights, weights_only=True)
    assert kept["head.fc.bias"].numel() == 2 * 98
