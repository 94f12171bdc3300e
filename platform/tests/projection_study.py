"""A small study written through the ledger's own operations, for the tests of the projections."""

from __future__ import annotations

from typing import Any

from posestudy.ledger import Ledger
from posestudy.ledger.records import Claim, CloseStage, CloseStudy, NewCell, OpenStage
from posestudy.vocabulary import Direction, Outcome

METRIC = "coco/AP"
DOCUMENT: dict[str, Any] = {
    "reuse": "none",
    "study": "cats",
    "description": "which augmentation helps",
    "metric": METRIC,
    "dataset": {
        "keypoints": "cats",
        "root": "/nowhere/cats",
        "train": {"annotations": "train.json", "images": "images"},
        "val": {"annotations": "val.json", "images": "images"},
    },
}
CONFIG: dict[str, Any] = {
    "model": "resnet_tiny",
    "input_size": [96, 96],
    "optimizer": {"type": "Adam", "lr": 1e-3},
    "augmentation": {"flip": {"prob": 0.5}},
    "init": None,
}

PROFILE: dict[str, Any] = {
    "parameters": 62009,
    "trainable_parameters": 62009,
    "gmacs": 0.0056,
    "gflops": 0.0112,
    "macs": {"convolution": 5_600_000},
    "latency_p50_ms": 3.5,
    "latency_p95_ms": 4.25,
    "passes": 12,
    "fps": 285.7,
    "batch": 1,
    "flip_test": False,
    "input": [96, 128],
    "device": "cpu",
    "device_name": "A processor",
    "threads": 2,
    "peak_memory_mb": None,
}


def cell(name: str, levels: dict[str, Any], config: dict[str, Any], **more: Any) -> NewCell:
    fields = {"label": name.title(), "note": "", "key": name.ljust(64, "0"), "seeds": (0,), **more}
    return NewCell(name=name, levels=levels, config=config, **fields)


def create(ledger: Ledger, name: str = "cats") -> int:
    """A study with one stage of two cells, one trial each; its id."""
    record = ledger.put_study(name, {**DOCUMENT, "study": name}, "study: cats\n")
    half_body = {**CONFIG, "augmentation": {**CONFIG["augmentation"], "half_body": {}}}
    cells = (
        cell("baseline", {}, CONFIG),
        cell("half_body", {"augmentation.half_body": {}}, half_body, note="Add Half-Body"),
    )
    assert ledger.apply(record.id, [OpenStage(0, "augmentation", "variants", "baseline", CONFIG, cells)])
    return record.id


def begin(ledger: Ledger, name: str = "cats") -> Claim:
    claim = ledger.claim(name, "worker", 60.0)
    assert claim is not None
    ledger.started(claim.trial.uid, claim.trial.fence, {"git_commit": "abc1234", "torch": "2.13.0"})
    return claim


def epoch(ledger: Ledger, claim: Claim, number: int, value: float) -> None:
    metrics = {METRIC: value, "loss": 1.0 / number, "memory_mb": 300.0, "epoch_time_s": 2.0, "PCK@0.2 (all)": 0.5}
    assert ledger.record_epoch(claim.trial.uid, claim.trial.fence, {number: metrics}, None, 2.0)


def finish(ledger: Ledger, claim: Claim, outcome: Outcome = Outcome.COMPLETED, message: str | None = None) -> None:
    more = Direction.MORE
    assert ledger.finish(
        claim.trial.uid, claim.trial.fence, outcome, message, metric=METRIC, direction=more, peak_memory_mb=300.0
    )


def train(ledger: Ledger, values: list[float], name: str = "cats") -> Claim:
    """Claim the next trial and run it to its end with these values."""
    claim = begin(ledger, name)
    for number, value in enumerate(values, start=1):
        epoch(ledger, claim, number, value)
    finish(ledger, claim)
    return claim


def close(ledger: Ledger, study_id: int, name: str = "cats") -> None:
    stage = ledger.snapshot(name).stages[0]
    assert ledger.apply(study_id, [CloseStage(stage.id, stage.version, "half_body", "it is best"), CloseStudy()])
