"""The real trial of several ranks, to which something happens when it looks at what it is told.

The cell's name says what: `stopped_5` gets a signal to its whole group at its fifth look, `killed_5` loses rank 1 at
it; `plain` does without what makes training faster; any other name is left in peace.
"""

from __future__ import annotations

import os
import signal

from posestudy_runner import trial
from posestudy_runner.components import VARIABLE, Component
from posestudy_runner.control import Control
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending
from posestudy_runner.ranks import Following

PLAIN = ",".join(component.value for component in Component)


def follow(order: TrialOrder, following: Following) -> None:
    """Another rank."""
    _prepare(order)
    trial.follow(order, following)


def _prepare(order: TrialOrder) -> None:
    if order.cell == "plain":
        os.environ[VARIABLE] = PLAIN


def main(order: TrialOrder, control: Control) -> Ending:
    """The first rank."""
    trial.PROFILE_S = 0.0
    _prepare(order)
    what, _, number = order.cell.partition("_")
    left = int(number or 0)
    check = control.check

    def look() -> None:
        nonlocal left
        left -= 1
        if left == 0 and what == "stopped":
            os.killpg(0, signal.SIGTERM)
        if left == 0 and what == "killed" and control.followers is not None:
            os.kill(control.followers.pids[0], signal.SIGKILL)
        check()

    control.check = look  # type: ignore[method-assign]
    return trial.main(order, control)
