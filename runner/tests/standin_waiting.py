"""A trial that finds the disk full for a second and is done."""

from __future__ import annotations

import errno
import time

from standin_trials import metric

from posestudy.vocabulary import Outcome
from posestudy_runner.control import Control
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending


def train(order: TrialOrder, control: Control) -> Ending:
    room_at = time.monotonic() + 1.0

    def write() -> None:
        if time.monotonic() < room_at:
            raise OSError(errno.ENOSPC, "No space left on device")

    control.written(write)
    frame = {"type": "epoch", "epoch": 1, "metrics": {order.metric: metric(order, 1)}, "duration_s": 0.1}
    control.record({**frame, "checkpoint": None})
    control.check()
    return Ending(Outcome.COMPLETED)
