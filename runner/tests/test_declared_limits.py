"""What a study declares really ends its trials: a floor, a memory limit, a rate that is too high."""

from __future__ import annotations

from pathlib import Path

import pytest
from standin_pool import STUDY, Standin, advance, ordered

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Checkpoint, TrialRecord, ValueRecord
from posestudy.settings import Settings
from posestudy.vocabulary import AttemptEnd, Direction, Outcome
from posestudy_runner.floor import missed, missed_before
from posestudy_runner.launching import run_study
from posestudy_runner.outcomes import classify
from posestudy_studies.drawn_cats import draw
from posestudy_studies.file import load

FLOOR = {"value": 0.05, "epoch": 50}


@pytest.mark.parametrize(
    ("direction", "epoch", "value", "is_missed"),
    [
        (Direction.MORE, 50, 0.04, True),
        (Direction.MORE, 55, 0.04, True),
        (Direction.MORE, 50, 0.05, False),
        (Direction.MORE, 49, 0.0, False),
        (Direction.LESS, 50, 0.06, True),
        (Direction.LESS, 50, 0.04, False),
    ],
)
def test_a_floor_is_held_against_the_metrics_direction(
    direction: Direction, epoch: int, value: float, *, is_missed: bool
) -> None:
    assert bool(missed(FLOOR, "coco/AP", direction, epoch, value)) is is_missed


def values(*curve: tuple[int, float]) -> list[ValueRecord]:
    return [ValueRecord("u", epoch, {"coco/AP": value}, 0.0, 1) for epoch, value in curve]


def test_only_the_first_validation_at_or_after_the_floors_epoch_counts() -> None:
    assert missed_before(FLOOR, "coco/AP", Direction.MORE, values((45, 0.0), (55, 0.06), (60, 0.01))) is None
    found = missed_before(FLOOR, "coco/AP", Direction.MORE, values((45, 0.2), (55, 0.01), (60, 0.3)))
    assert found is not None
    assert found[0] == 55
    assert "0.0100 at epoch 55" in found[1]
    assert "0.05 by epoch 50" in found[1]
    assert missed_before(FLOOR, "coco/AP", Direction.MORE, values((45, 0.0))) is None
    assert missed_before(None, "coco/AP", Direction.MORE, values((55, 0.0))) is None


@pytest.mark.parametrize(("peak_mb", "outcome"), [(650.0, Outcome.OUT_OF_MEMORY), (300.0, Outcome.FAILED)])
def test_an_error_without_a_cause_is_refused_memory_only_near_the_limit(peak_mb: float, outcome: Outcome) -> None:
    error = RuntimeError("could not create a primitive")
    assert classify(error, peak_memory_mb=peak_mb, memory_limit_mb=700.0).outcome is outcome
    assert classify(error, peak_memory_mb=peak_mb).outcome is Outcome.FAILED


YAML = """
study: limits
dataset:
  keypoints: cats
  root: {root}
  train: {{annotations: annotations/train.json, images: images}}
  val: {{annotations: annotations/val.json, images: images}}
baseline:
  model: resnet_tiny
  input_size: [64, 64]
  epochs: 3
  batch_size: 4
  optimizer: {{type: Adam, lr: 1.0e-4}}
floor: {{value: 0.5, epoch: 2}}
budget: {{memory_mb: 1000}}
stages:
  - name: limits
    design: variants
    out_of_memory: {{largest_batch: true, accumulate: true}}
    variants:
      large: {{model: resnet18_thin, input_size: [512, 512], batch_size: 16, epochs: 1}}
      absurd: {{optimizer: {{type: SGD, lr: 1.0e+9}}}}
      short: {{epochs: 1}}
"""


def by_cell(ledger: Ledger) -> dict[str, TrialRecord]:
    held = ledger.snapshot("limits")
    names = {cell.id: cell.name for cell in held.cells}
    return {names[trial.cell_id]: trial for trial in held.trials}


@pytest.mark.slow
def test_floor_memory_and_divergence_end_real_trials(tmp_path: Path) -> None:
    draw(tmp_path / "cats", train=16, val=4, seed=1, size_px=64)
    file = tmp_path / "limits.yaml"
    file.write_text(YAML.format(root=tmp_path / "cats"))
    home = Home.resolve(tmp_path / "home")
    settings = Settings.resolve(str(home.root))
    said: list[str] = []
    code = run_study(load(file), file.read_text(), settings, workers=2, say=said.append)
    ledger = Ledger.open(settings.database_url)
    found = by_cell(ledger)
    assert code == 0, said

    below = found["baseline"]
    assert below.outcome is Outcome.NOT_CONVERGED
    assert "epoch 2" in str(below.message)
    assert max(v.epoch for v in ledger.snapshot("limits").values if v.trial_uid == below.uid) == 2
    assert found["short"].outcome is Outcome.COMPLETED
    assert found["absurd"].outcome is Outcome.DIVERGED

    large = found["large"]
    assert large.outcome is Outcome.OUT_OF_MEMORY
    assert 400 < (large.peak_memory_mb or 0) < 1400
    batches = {name: trial.outcome for name, trial in found.items() if name.startswith("large-batch_")}
    steps = {name: trial.outcome for name, trial in found.items() if name.startswith("large-accumulate_")}
    for tried in (batches, steps):
        assert list(tried.values()).count(Outcome.COMPLETED) == 1
        assert set(tried.values()) <= {Outcome.COMPLETED, Outcome.OUT_OF_MEMORY}
    paths = home.attempt("limits", found["short"].number, found["short"].fence)
    assert paths.matches.is_file()
    ledger.close()


def test_a_trial_killed_between_the_missed_floor_and_its_end_is_only_ended(home: Home, sqlite_ledger: Ledger) -> None:
    Standin(home, sqlite_ledger, {"a": {}})
    record = sqlite_ledger.put_study(STUDY, {"cells": {"a": {}}, "floor": {"value": 0.9, "epoch": 1}}, "")
    sqlite_ledger.apply(record.id, advance(sqlite_ledger.snapshot(STUDY)))
    killed = sqlite_ledger.claim(STUDY, "w", 60.0)
    assert killed is not None
    saved = Checkpoint("/runs/1.pth", "0" * 64, 1)
    sqlite_ledger.record_epoch(killed.trial.uid, killed.trial.fence, {1: {"coco/AP": 0.2}}, saved, 1.0)
    sqlite_ledger.release(killed.trial.uid, killed.trial.fence, AttemptEnd.LOST, "killed")
    claim = sqlite_ledger.claim(STUDY, "v", 60.0)
    assert claim is not None
    order = ordered(home, sqlite_ledger, claim, threads=1)
    assert (order.last_epoch, order.resume) == (1, (saved,))
    assert "worse than the declared floor" in str(order.missed)
