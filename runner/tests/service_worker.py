"""`posestudy` with a stand-in for training; run as a program it is the command line, imported it is the trial."""

from __future__ import annotations

import functools
import json
import os
from dataclasses import replace
from pathlib import Path

import standin_trials

from posestudy_runner.control import Control
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending

STEPS, STEP_S = 30, 0.05


def train(order: TrialOrder, control: Control) -> Ending:
    """A stand-in trial that leaves what it was given: its environment, as Python and as the kernel know it."""
    seen = {"python": dict(os.environ), "kernel": Path("/proc/self/environ").read_bytes().decode(errors="replace")}
    (order.paths.folder / "environment.json").write_text(json.dumps(seen))
    order.paths.config.write_text("model = dict()\n")
    print("trained by a stand-in")
    return standin_trials.train(replace(order, training={**order.training, "steps": STEPS, "step_s": STEP_S}), control)


if __name__ == "__main__":
    from posestudy.commands.app import run
    from posestudy_runner import context

    context.PoolOptions = functools.partial(  # type: ignore[misc]
        context.PoolOptions, target="service_worker:train", preload="standin_preload"
    )
    run()
