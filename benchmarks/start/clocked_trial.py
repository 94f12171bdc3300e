"""A real trial with a clock: its marks lie in the attempt's folder."""

from __future__ import annotations

from benchmarks.start import clock
from posestudy_runner import trial
from posestudy_runner.control import Control
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending

MARKS = "clock.json"


def main(order: TrialOrder, control: Control) -> Ending:
    """What a trial process does, clocked."""
    clock.install(order.paths.folder / MARKS)
    return trial.main(order, control)
