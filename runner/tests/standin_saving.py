"""A trial that saves in the middle of its second epoch when it is asked to stop there, as the real one does."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from standin_trials import metric, save

from posestudy.durable import write_text
from posestudy.vocabulary import Outcome
from posestudy_runner.control import Control
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending, Preempted


def train(order: TrialOrder, control: Control) -> Ending:
    control.say({"type": "started", "provenance": {}})
    begin = order.resume[0] if order.resume else None
    write_text(order.paths.folder / "from", Path(begin.path).name if begin else "")
    for epoch in range(begin.epoch + 1 if begin else 1, order.epochs + 1):
        if epoch == 2 and begin is None:
            try:
                while True:
                    time.sleep(0.02)
                    control.check()
            except Preempted as asked:
                return Ending(None, str(asked), checkpoint=saved_within(order, 2), duration_s=0.25)
        values = {order.metric: metric(order, epoch)}
        frame = {"type": "epoch", "epoch": epoch, "metrics": values, "duration_s": 0.5}
        control.record({**frame, "checkpoint": save(order, epoch)})
    return Ending(Outcome.COMPLETED)


def saved_within(order: TrialOrder, epoch: int) -> dict:
    path = order.paths.folder / f"in_epoch_{epoch}.pth"
    write_text(path, "half an epoch")
    return {"path": str(path), "sha": hashlib.sha256(path.read_bytes()).hexdigest(), "epoch": epoch - 1}
