"""A search of stand-in trials: what they measure follows from their learning rate. As a process, `... HOME URL CALL`: a
pool of one worker that is killed at its first call of that method of the ledger."""

from __future__ import annotations

import io
import math
import os
import signal
import sys
import time
from typing import Any

from rich.console import Console
from standin_trials import save, start_epoch

from posestudy.durable import write_text
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.vocabulary import Outcome
from posestudy_runner.context import PoolOptions
from posestudy_runner.control import Control
from posestudy_runner.display import LineDisplay
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending
from posestudy_runner.pool import Goal, Pool
from posestudy_runner.steering import Steering, study_steering
from posestudy_studies.designs.contract import study_with
from posestudy_studies.spec import Study

METRIC, EPOCHS, CELLS = "coco/AP", 9, 9


def searched(cells: int = CELLS) -> Study:
    """A search with rungs at 1 and 3 of 9 epochs; each of them is validated."""
    stage = {"name": "find", "design": "search", "space": {"optimizer.lr": {"log": [1e-5, 1e-2]}}, "sampler": "random"}
    stage |= {"cells": cells, "include_baseline": False, "pruner": {"type": "asha", "min_epochs": 1, "reduction": 3}}
    document = study_with(stage).model_dump(mode="json")
    document["baseline"] |= {"epochs": EPOCHS, "validate_every": 1}
    return Study.model_validate(document)


def learning(config: dict[str, Any]) -> dict[int, float]:
    """The metric after each epoch, known in advance."""
    reachable = 0.9 - abs(math.log10(config["optimizer"]["lr"]) + 3.3) / 5
    return {epoch: round(reachable + epoch / 1000, 6) for epoch in range(1, EPOCHS + 1)}


def train(order: TrialOrder, control: Control) -> Ending:
    control.say({"type": "started", "provenance": {"threads": order.threads, "device": order.device}})
    first = start_epoch(order)
    write_text(order.paths.folder / "from_epoch", str(first))
    for epoch in range(first + 1, order.last_epoch + 1):
        time.sleep(0.01)
        control.check()
        frame = {"type": "epoch", "epoch": epoch, "metrics": {order.metric: learning(order.training)[epoch]}}
        control.record({**frame, "checkpoint": save(order, epoch), "duration_s": 1.0})
        if order.prunes:
            control.ask(epoch)
    return Ending(Outcome.COMPLETED, None, 12.5)


def pool(
    home: Home, ledger: Ledger, study: Study, output: Any = None, *, steering: Steering | None = None, **options: Any
) -> Pool:
    """A pool on the study, which is put into the ledger where it is not there."""
    ledger.put_study(study.study, study.model_dump(mode="json"), "")
    chosen = {"target": "standin_searched:train", "preload": "standin_preload", "poll_s": 0.1, "lease_s": 30.0}
    display = LineDisplay(Console(file=output or io.StringIO(), width=400), METRIC)
    return Pool(
        ledger, home, Goal(study.study, METRIC, "more"), steering or study_steering(), display,
        PoolOptions(**{**chosen, "projects": False, **options}),
    )  # fmt: skip


def main(home: str, url: str, call: str) -> None:
    def killed(*_: object, **__: object) -> bool:
        os.kill(os.getpid(), signal.SIGKILL)
        return False

    ledger = Ledger.open(url)
    setattr(ledger, call, killed)
    pool(Home.resolve(home), ledger, searched(), sys.stdout).run(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
