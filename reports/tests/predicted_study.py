"""A study that nothing was trained for: predictions are the truth with noise, evaluated as MMPose evaluates them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from posestudy.durable import write_bytes
from posestudy.ledger import Ledger
from posestudy.ledger.records import TrialRecord
from posestudy.settings import Settings
from posestudy.vocabulary import METRICS, Outcome
from posestudy_runner.re_evaluation import ReEvaluation
from posestudy_studies import dataset
from posestudy_studies.advance import advance
from posestudy_studies.drawn_cats import draw
from posestudy_studies.file import load
from posestudy_studies.spec import Training

STUDY = """\
study: noisy
description: How much do wide heatmaps and other rates cost when a prediction is the truth with noise?
dataset:
  keypoints: cats
  root: {root}
  train: {{annotations: annotations/train.json, images: images}}
  val:   {{annotations: annotations/val.json,   images: images}}
metric: {metric}
baseline:
  model: resnet_tiny
  input_size: [64, 64]
  sigma: 1.0
  epochs: 2
  batch_size: 8
  optimizer: {{type: Adam, lr: 5.0e-4}}
stages:
  - name: heatmap
    design: variants
    replicates: {{seeds: [0, 1, 2]}}
    variants:
      wide: {{sigma: 2.0, label: "wide heatmaps"}}
      wider: {{sigma: 3.0}}
  - name: rate
    design: grid
    factors: {{optimizer.lr: [5.0e-4, 1.0e-3], batch_size: [8, 4]}}
"""


def noise_px(config: dict[str, Any]) -> float:
    """More with wide heatmaps, least with a rate of 1e-3."""
    return 2.0 + 1.5 * float(config["sigma"]) - (1.0 if config["optimizer"]["lr"] > 6e-4 else 0.0)


def make(
    root: Path,
    *,
    metric: str = "coco/AP",
    noise: Callable[[dict[str, Any]], float] = noise_px,
    text: str = STUDY,
    val: int = 24,
) -> str:
    """Draw cats under `root/data`, and put a finished study into the home `root/home`; returns the study's name."""
    draw(root / "data", train=8, val=val, seed=3)
    source = text.format(root=root / "data", metric=metric)
    (root / "study.yaml").write_text(source, encoding="utf-8")
    study = dataset.sealed(load(root / "study.yaml", []))
    settings = Settings.resolve(str(root / "home"))
    settings.home.root.mkdir(parents=True)
    ledger = Ledger.open(settings.database_url)
    try:
        row = ledger.put_study(study.study, study.model_dump(mode="json"), source)
        again = ReEvaluation(study)
        while changes := advance(ledger.snapshot(study.study)):
            assert ledger.apply(row.id, changes)
            while claim := ledger.claim(study.study, "here:1", 600.0):
                config = claim.cell.config
                _attempt(ledger, settings, again, claim.trial, config, noise(config), metric)
    finally:
        ledger.close()
    return study.study


def _attempt(
    ledger: Ledger, settings: Settings, again: ReEvaluation, trial: TrialRecord, config: dict[str, Any],
    noise: float, metric: str,
) -> None:  # fmt: skip
    """Two epochs: at the first the noise is less, so that the best epoch is mostly not the last one."""
    paths = settings.home.attempt("noisy", trial.number, trial.fence)
    paths.folder.mkdir(parents=True)
    training = Training.model_validate(config)
    truth = json.loads((settings.home.root.parent / "data/annotations/val.json").read_bytes())["annotations"]
    by_id = not metric.startswith("coco/")
    direction = METRICS[metric].direction
    values = {}
    for epoch, share in ((1, 0.8), (2, 1.0)):
        rng = np.random.default_rng([trial.seed, epoch, round(noise * 1000)])
        rows = [_predicted(row, rng, noise * share, by_id=by_id) for row in truth]
        paths.predictions.write_text(json.dumps(rows), encoding="utf-8")
        values[epoch] = again.metrics(training, paths.predictions) | {"loss": 0.01 / epoch}
        if epoch == 1 or direction.better(values[2][metric], values[1][metric]):
            shutil.copyfile(paths.predictions, paths.best_predictions)
    arrays = again.evidence(training, paths.predictions)
    stream = paths.matches.with_suffix(".tmp.npz")
    np.savez_compressed(stream, epoch=np.int64(2), **arrays)
    write_bytes(paths.matches, stream.read_bytes())
    stream.unlink()
    assert ledger.started(trial.uid, trial.fence, {"torch": "2.13.0", "device": "cpu", "threads": 1})
    assert ledger.record_epoch(trial.uid, trial.fence, values, None, 90.0)
    done = ledger.finish(
        trial.uid, trial.fence, Outcome.COMPLETED, None, metric=metric, direction=direction, peak_memory_mb=500.0
    )
    assert done


def _predicted(row: dict[str, Any], rng: np.random.Generator, noise: float, *, by_id: bool) -> dict[str, Any]:
    points = np.array(row["keypoints"], dtype=float).reshape(-1, 3)
    points[:, :2] += rng.normal(0.0, noise, points[:, :2].shape)
    points[:, 2] = rng.uniform(0.5, 1.0, len(points))
    score = float(points[:, 2].mean())
    found = {"image_id": row["image_id"], "category_id": 1, "keypoints": points.ravel().tolist(), "score": score}
    return found | ({"id": row["id"]} if by_id else {"bbox": row["bbox"]})
