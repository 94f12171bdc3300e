"""The part of a campaign with MMPose on the drawn cats: each trial must end with the weights of an undisturbed one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.faults import invariants, witness
from benchmarks.faults.campaign import Campaign, Tally
from posestudy import journal
from posestudy_studies.drawn_cats import draw

KILLS_A_ROUND = 10
EPOCHS = 8
CELLS = ("wide", "narrow")
METRICS = ("coco/AP", "loss")
_STUDY = """\
study: {name}
dataset:
  keypoints: cats
  root: {root}
  train: {{annotations: annotations/train.json, images: images}}
  val: {{annotations: annotations/val.json, images: images}}
metric: coco/AP
reuse: none
baseline:
  model: resnet_tiny
  input_size: [64, 64]
  epochs: {epochs}
  validate_every: 2
  batch_size: 8
  optimizer: {{type: Adam, lr: 1.0e-3}}
  schedule: {{warmup_iters: 5, milestones: [4, 6]}}
  augmentation: {{flip: {{}}, scale_rotation: {{}}, half_body: {{}}}}
  amp: true
stages:
  - name: only
    design: variants
    include_baseline: false
    variants: {{wide: {{sigma: 1.5}}, narrow: {{sigma: 1.0}}}}
replicates: {{seeds: [3]}}
"""


def run(folder: Path, database: str | None, kills: int, seed: int, *, tell: Callable[[str], None] = print) -> Tally:
    """Train once in peace, then kill `kills` times and compare; the violations are in the tally."""
    data = folder / "cats"
    draw(data, train=32, val=8, seed=1, size_px=64)
    calm = Campaign(folder / "calm", None, seed, real=True)
    try:
        calm.round(_file(folder, data, "calm"), 0)
    finally:
        calm.close()
    if calm.tally.violations:
        return calm.tally
    campaign = Campaign(folder / "faults", database, seed, real=True, tell=tell)
    studies: list[str] = []
    try:
        while campaign.faults < kills and not campaign.tally.violations:
            studies.append(f"mmpose{len(studies)}s{seed}")
            file = _file(folder, data, studies[-1])
            campaign.round(file, min(KILLS_A_ROUND, kills - campaign.faults))
            campaign.tally.violations += _judge(campaign, calm, studies[-1])
            campaign.settle()
        if not campaign.tally.violations:
            campaign.sync()
            for study in studies:
                for metric in METRICS:
                    curves = {(cell, 3): _curve(calm, "calm", cell, metric) for cell in CELLS}
                    database_of_mlflow = campaign.home / "mlflow.db"
                    campaign.tally.violations += invariants.mlflow(database_of_mlflow, study, curves, metric)
    finally:
        campaign.close()
    return campaign.tally


def _file(folder: Path, data: Path, name: str) -> str:
    file = folder / f"{name}.yaml"
    file.write_text(_STUDY.format(name=name, root=data, epochs=EPOCHS), encoding="utf-8")
    return str(file)


def _judge(campaign: Campaign, calm: Campaign, study: str) -> Iterator[str]:
    said = [one for one in witness.read(campaign.witness) if one.study == study]
    yield from invariants.attempts(study, said, campaign.pauses)
    for cell in CELLS:
        folder, reference = _trial(campaign, study, cell), _trial(calm, "calm", cell)
        for name in (f"epoch_{EPOCHS}.pth", "best.pth"):
            left, right = _newest(folder, name), _newest(reference, name)
            if left is None or right is None:
                yield f"{study} {cell}: no {name}"
            elif not _equal(_load(left), _load(right)):
                yield f"{study} {cell}: {name} differs from that of an undisturbed run"
        for metric in METRICS:
            if not _curve(campaign, study, cell, metric).items() <= _curve(calm, "calm", cell, metric).items():
                yield f"{study} {cell}: the journals' {metric} differs from that of an undisturbed run"


def _trial(campaign: Campaign, study: str, cell: str) -> Path:
    numbers = {one.number for one in witness.read(campaign.witness) if one.study == study and one.cell == cell}
    return campaign.home / "runs" / study / str(min(numbers, default=0))


def _newest(folder: Path, name: str) -> Path | None:
    return max(folder.glob(f"*/{name}"), key=lambda path: int(path.parent.name), default=None)


def _load(path: Path) -> Any:
    loaded = torch.load(path, weights_only=False, map_location="cpu")
    if "state_dict" not in loaded:
        return loaded
    return {key: loaded[key] for key in ("state_dict", "optimizer", "param_schedulers")}


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right)


def _curve(campaign: Campaign, study: str, cell: str, metric: str) -> dict[int, float]:
    """The metric by epoch as the journals have it; an epoch of which they say two things is NaN, equal to nothing."""
    found: dict[int, float] = {}
    for path in _trial(campaign, study, cell).glob("*/journal"):
        for frame in journal.read(path):
            if frame["type"] == "epoch" and metric in frame["metrics"]:
                value = float(frame["metrics"][metric])
                epoch = int(frame["epoch"])
                found[epoch] = value if found.get(epoch, value) == value else float("nan")
    return found
