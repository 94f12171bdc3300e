"""Trials without torch that take what their cell says of a stand-in GPU, and speak as the real one does."""

from __future__ import annotations

import time

from standin_gpu import company, take, wait_for_company
from standin_trials import metric, save, start_epoch

from posestudy.durable import write_text
from posestudy.vocabulary import Outcome
from posestudy_runner.control import Control
from posestudy_runner.memory_needs import CONTEXT_MB
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending

PROFILE = {"parameters": 7, "latency_p50_ms": 1.5, "latency_p95_ms": 2.0, "fps": 600.0, "passes": 9}


def train(order: TrialOrder, control: Control) -> Ending:
    """`mb` from the start on, `mb_at_2` from the second epoch on, before which `meets` trials must come together."""
    wanted = order.training
    control.say({"type": "started", "provenance": {"threads": order.threads, "device": order.device}})
    most, busy = 0, float(wanted.get("busy", 0.2))
    for epoch in range(start_epoch(order) + 1, order.last_epoch + 1):
        if epoch == 2 and order.fence == 1:
            wait_for_company(order, int(wanted.get("meets", 1)))
        mb = float(wanted["mb_at_2"] if epoch >= 2 and "mb_at_2" in wanted else wanted["mb"])
        take(order, mb, busy)
        for _ in range(int(wanted.get("steps", 10))):
            time.sleep(0.01)
            most = max(most, company(order))
            control.check()
        metrics = {order.metric: metric(order, epoch), "memory_mb": mb - CONTEXT_MB}
        frame = {"type": "epoch", "epoch": epoch, "metrics": metrics, "duration_s": 0.1}
        control.record({**frame, "checkpoint": save(order, epoch)})
        control.check()
    write_text(order.paths.folder / "company", str(most))
    control.say({"type": "profiled", "profile": PROFILE})
    return Ending(Outcome.COMPLETED, None, mb - CONTEXT_MB)
