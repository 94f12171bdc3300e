"""`posestudy` with another training function: `python standin_launch.py TARGET PRELOAD launch STUDY.yaml ...`.

Imported, it is the stand-in trial.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from typing import Any

import standin_trials

from posestudy_runner.control import Control
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending
from posestudy_runner.ranks import Following

STEPS, STEP_S = 10, 0.08
HOLD = "hold"
"""While a file of this name is in the home, no trial begins."""


def train(order: TrialOrder, control: Control) -> Ending:
    """A stand-in trial that leaves what it was given: its environment, and whether Ray is in its process."""
    seen = {"environment": dict(os.environ), "ray": "ray" in sys.modules, "folder": os.getcwd()}
    (order.paths.folder / "seen.json").write_text(json.dumps(seen))
    while (order.paths.folder.parents[3] / HOLD).exists():
        time.sleep(STEP_S)
        control.check()
    if control.followers is not None:
        control.followers.tell({"type": "train"})
    slow = replace(order, training={**order.training, "steps": STEPS, "step_s": STEP_S})
    ending = standin_trials.train(slow, control)
    if control.followers is not None:
        control.followers.go_on(order.epochs)
    return ending


def follow(order: TrialOrder, following: Following) -> None:
    """Another rank of it."""
    following.told()
    (order.paths.folder / f"rank{following.rank}").write_text(str(os.getpid()))
    following.wait_for(order.epochs)


def main(target: str, preload: str, *arguments: str) -> None:
    from posestudy.commands.app import run
    from posestudy_runner import commands

    options = commands._options

    def with_target(*given: Any) -> Any:
        return replace(options(*given), target=target, preload=preload, poll_s=0.2, projects=False)

    commands._options = with_target
    sys.argv[1:] = arguments
    run()


if __name__ == "__main__":
    main(*sys.argv[1:])
