"""Trials without torch: they behave as the cell's `behaviour` says, and speak as the real one does."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from pathlib import Path

from posestudy.durable import write_text
from posestudy.vocabulary import Outcome
from posestudy_runner.control import Control
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending


def metric(order: TrialOrder, epoch: int) -> float:
    """What the stand-in measures: known in advance, so that tests can say what must be in the ledger."""
    return round(order.seed + epoch / 100, 4)


def save(order: TrialOrder, epoch: int) -> dict:
    path = order.paths.checkpoint(epoch)
    write_text(path, json.dumps({"epoch": epoch, "seed": order.seed}))
    return {"path": str(path), "sha": hashlib.sha256(path.read_bytes()).hexdigest(), "epoch": epoch}


def start_epoch(order: TrialOrder) -> int:
    for checkpoint in order.resume:
        path = Path(checkpoint.path)
        if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == checkpoint.sha:
            return checkpoint.epoch
    return 0


def train(order: TrialOrder, control: Control) -> Ending:
    behaviour = order.training.get("behaviour", "steady")
    control.say({"type": "started", "provenance": {"threads": order.threads, "device": order.device}})
    write_text(order.paths.folder / "pid", str(os.getpid()))
    first = start_epoch(order)
    write_text(order.paths.folder / "from_epoch", str(first))
    for epoch in range(first + 1, order.last_epoch + 1):
        misbehave(behaviour, order, control, epoch)
        for _ in range(int(order.training.get("steps", 1))):
            time.sleep(float(order.training.get("step_s", 0.0)))
            control.check()
        frame = {"type": "epoch", "epoch": epoch, "metrics": {order.metric: metric(order, epoch), "loss": 1.0 / epoch}}
        control.record({**frame, "checkpoint": save(order, epoch), "duration_s": 0.5})
        if order.prunes:
            control.ask(epoch)
        control.check()
    if order.until is not None:
        return Ending(Outcome.PRUNED, f"pruned after epoch {order.until}")
    if "profile" in order.training:
        measured = {"profile": order.training["profile"], "network": order.training.get("network")}
        control.say({"type": "profiled", **measured})
    return Ending(Outcome.COMPLETED, None, 12.5)


def misbehave(behaviour: str, order: TrialOrder, control: Control, epoch: int) -> None:
    if behaviour == "die_once_at_2" and epoch == 2 and order.fence == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "die_always":
        os.kill(os.getpid(), signal.SIGKILL)
    if epoch != 2:
        return
    if behaviour == "diverge":
        raise FloatingPointError("the loss was nan in epoch 2, iteration 1")
    if behaviour == "memory":
        raise MemoryError
    if behaviour == "raise":
        print("the last words of the log")
        raise ValueError("no such keypoint")
    if behaviour == "too_slow":
        while True:
            time.sleep(0.02)
            control.check()
    if behaviour == "deaf":
        time.sleep(600)
    if behaviour == "loader":
        child = os.fork()
        if child == 0:
            time.sleep(600)
            os._exit(0)
        write_text(order.paths.folder / "loader_pid", str(child))
        time.sleep(600)
