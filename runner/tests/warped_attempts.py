"""Two attempts at one small trial: `python warped_attempts.py STUDY.json HOME`; the second as if there were a GPU."""

from __future__ import annotations

import sys
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from posestudy_runner import trial  # isort: skip - the plugin first

from exact_attempts import order_of

from posestudy.home import Home
from posestudy.journal import JournalWriter
from posestudy_runner import speed
from posestudy_runner.control import Control
from posestudy_runner.order import TrialOrder
from posestudy_studies.dataset import sealed
from posestudy_studies.spec import Study


def attempt(study: Study, home: Home, fence: int) -> None:
    order = order_of(study, home, fence)
    order.write()
    ends = Pipe()
    control = Control(ends[0], JournalWriter(order.paths.journal))
    control.end(trial.main(order, control))


def warped_on_device(config: Any, order: TrialOrder) -> None:
    fitted(config, order)
    for name in ("train_dataloader", "val_dataloader"):
        config[name].dataset.warp = "device"


if __name__ == "__main__":
    trial.PROFILE_S = 0.0
    small = sealed(Study.model_validate_json(Path(sys.argv[1]).read_text()))
    attempt(small, Home(Path(sys.argv[2])), 1)
    fitted, speed.fit = speed.fit, warped_on_device
    attempt(small, Home(Path(sys.argv[2])), 2)
