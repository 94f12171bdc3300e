"""The real trial, whose profile raises."""

from __future__ import annotations

from typing import Any

from posestudy_runner import trial
from posestudy_runner.control import Control
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending


def refuse(*_arguments: Any, **_options: Any) -> None:
    raise RuntimeError("the profile cannot be taken")


def main(order: TrialOrder, control: Control) -> Ending:
    trial.profile = refuse
    return trial.main(order, control)
