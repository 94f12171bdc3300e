"""A trial whose log never has room, and that says much all the same."""

from __future__ import annotations

import os
import sys

import standin_trials

from posestudy_runner.control import Control
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending


def train(order: TrialOrder, control: Control) -> Ending:
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, 1)
    os.dup2(full, 2)
    print("a line of the log\n" * 1000, flush=True)
    print("a line of the log\n" * 1000, file=sys.stderr, flush=True)
    return standin_trials.train(order, control)
