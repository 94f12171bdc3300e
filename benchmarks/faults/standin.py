"""A trial without torch: its weights are a chain of hashes, its files and its words those of a real trial."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from benchmarks.faults.planted import plant
from benchmarks.faults.witness import say
from posestudy.durable import sha256_file, write_text
from posestudy.vocabulary import Outcome
from posestudy_runner.control import Control
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending

STEPS = 4

plant()


def train(order: TrialOrder, control: Control) -> Ending:
    """Train every epoch that no checkpoint holds yet."""
    control.say({"type": "started", "provenance": {"threads": order.threads, "device": order.device}})
    epoch, weights = _resumed(order)
    _say(order, "began", epoch)
    while epoch < order.last_epoch:
        for _ in range(STEPS):
            time.sleep(float(order.training["epoch_s"]) / STEPS)
            control.check()
        epoch += 1
        weights = hashlib.sha256(f"{weights or f'{order.cell}/{order.seed}'}/{epoch}".encode()).hexdigest()
        checkpoint = _save(order, epoch, weights)
        measured = int(hashlib.sha256(weights.encode()).hexdigest()[:8], 16) / 2**32
        # The fence that measured it, among the numbers: an overwrite by an older attempt shows in MLflow.
        metrics = {order.metric: measured, "loss": 1.0 / epoch, "fence": float(order.fence)}
        control.record({
            "type": "epoch", "epoch": epoch, "metrics": metrics, "checkpoint": checkpoint,
            "duration_s": float(order.training["epoch_s"]),
        })  # fmt: skip
        _say(order, "recorded", epoch)
        control.check()
    _say(order, "ended", epoch)
    return Ending(Outcome.COMPLETED)


def _resumed(order: TrialOrder) -> tuple[int, str]:
    for checkpoint in order.resume:
        path = Path(checkpoint.path)
        if path.is_file() and sha256_file(path) == checkpoint.sha:
            held = json.loads(path.read_text(encoding="utf-8"))
            return int(held["epoch"]), str(held["weights"])
    return 0, ""


def _save(order: TrialOrder, epoch: int, weights: str) -> dict[str, object]:
    path = order.paths.checkpoint(epoch)
    write_text(path, json.dumps({"epoch": epoch, "weights": weights, "padding": "." * 4000}))
    return {"path": str(path), "sha": sha256_file(path), "epoch": epoch}


def _say(order: TrialOrder, what: str, epoch: int) -> None:
    say(order.study_name, order.number, order.fence, order.cell, order.seed, what, epoch)
