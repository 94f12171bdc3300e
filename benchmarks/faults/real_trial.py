"""The real trial, with a witness."""

from __future__ import annotations

from benchmarks.faults.witness import say
from posestudy.ledger.records import Json
from posestudy_runner import trial
from posestudy_runner.checkpoints import usable
from posestudy_runner.control import Control
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending


def main(order: TrialOrder, control: Control) -> Ending:
    """`posestudy_runner.trial.main`; each epoch is witnessed once its frame is in the journal."""
    found = usable(order.resume)
    _say(order, "began", found.epoch if found else 0)
    record = control.record

    def witnessed(frame: Json) -> None:
        record(frame)
        if frame["type"] == "epoch" and frame["checkpoint"] is not None:
            _say(order, "recorded", int(frame["epoch"]))

    control.record = witnessed  # type: ignore[method-assign]
    ending = trial.main(order, control)
    _say(order, "ended", order.last_epoch)
    return ending


def _say(order: TrialOrder, what: str, epoch: int) -> None:
    say(order.study_name, order.number, order.fence, order.cell, order.seed, what, epoch)
