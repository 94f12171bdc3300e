"""The real trial, leaving its process id beside its log so that a test can kill it."""

from __future__ import annotations

import os

from posestudy_runner import trial
from posestudy_runner.control import Control
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending


def main(order: TrialOrder, control: Control) -> Ending:
    (order.paths.folder / "pid").write_text(str(os.getpid()))
    return trial.main(order, control)
