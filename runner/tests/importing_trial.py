"""The real trial, which writes down what it imported beside what its preload had, and how it was started."""

from __future__ import annotations

import gc
import json
import sys

from posestudy_runner import trial
from posestudy_runner.control import Control
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending


def main(order: TrialOrder, control: Control) -> Ending:
    before, frozen = set(sys.modules), gc.get_freeze_count()
    ending = trial.main(order, control)
    found = {"imported": sorted(set(sys.modules) - before), "frozen": frozen}
    (order.paths.folder / "imported.json").write_text(json.dumps(found))
    return ending
