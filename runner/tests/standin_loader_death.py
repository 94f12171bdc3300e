"""A trial that fails after its first epoch, shortly before it hears that it is to give way."""

from __future__ import annotations

import time

from standin_trials import metric, save

from posestudy_runner.control import Control
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending


def train(order: TrialOrder, control: Control) -> Ending:
    values = {order.metric: metric(order, 1)}
    frame = {"type": "epoch", "epoch": 1, "metrics": values, "duration_s": 0.5}
    control.record({**frame, "checkpoint": save(order, 1)})
    time.sleep(0.7)
    raise RuntimeError("DataLoader worker (pid(s) 4711) exited unexpectedly")
