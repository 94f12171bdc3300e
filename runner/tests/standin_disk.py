"""A trial that writes every kind of file the real one writes, the same way, without torch."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

from standin_trials import metric, start_epoch

from posestudy.durable import commit_file, write_text
from posestudy.vocabulary import Outcome
from posestudy_runner.control import Control
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending

WEIGHTS = "0123456789abcdef" * 300
"""More than a page."""


def train(order: TrialOrder, control: Control) -> Ending:
    paths = order.paths
    control.say({"type": "started", "provenance": {}})
    write_text(paths.config, "# config\n" * 500)
    log = logging.FileHandler(paths.folder / "mmengine.log")
    first = start_epoch(order)
    with (paths.folder / "from_epoch").open("w") as file:
        file.write(str(first))
    for epoch in range(first + 1, order.epochs + 1):
        print(f"epoch {epoch}\n" * 300)
        log.emit(logging.makeLogRecord({"msg": "validated " * 300}))
        # MMPose's own way: neither patient nor whole.
        with paths.predictions.open("w") as file:
            json.dump(["a prediction"] * 400, file)
        value = metric(order, epoch)
        weigh(control, paths.best_weights, f"{value} {WEIGHTS}")
        checkpoint = weigh(control, paths.checkpoint(epoch), f"{epoch} {WEIGHTS}")
        frame = {"type": "epoch", "epoch": epoch, "metrics": {order.metric: value}, "duration_s": 0.5}
        control.record({**frame, "checkpoint": {**checkpoint, "epoch": epoch}})
        control.check()
    return Ending(Outcome.COMPLETED)


def weigh(control: Control, final: Path, text: str) -> dict:
    temporary = final.with_suffix(".tmp")

    def write() -> None:
        temporary.write_text(text)
        commit_file(temporary, final)

    control.written(write, temporary)
    return {"path": str(final), "sha": hashlib.sha256(final.read_bytes()).hexdigest()}
