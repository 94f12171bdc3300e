"""A launcher of stand-in trials for Slurm, and their target: `python slurm_standin.py STUDY.yaml HOME [WORKERS]`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import standin_trials

from posestudy.ledger.records import Json
from posestudy.settings import Settings
from posestudy_runner.context import PoolOptions
from posestudy_runner.control import Control
from posestudy_runner.launching import run_study
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending, Preempted
from posestudy_studies.file import load

STEP_S = 0.05
LOOKS, PATIENCE_S = 4, 300.0
OPTIONS = PoolOptions(target="slurm_standin:train", preload="standin_preload", poll_s=0.2, lease_s=60.0)


def train(order: TrialOrder, control: Control) -> Ending:
    """A stand-in trial; a cell called slow takes 2 s an epoch, one called lasting eight at its first attempt."""
    steps = 40 if order.cell.startswith("slow") else 1
    if order.cell.startswith("lasting") and order.fence == 1:
        steps = 160
    return standin_trials.train(replace(order, training={**order.training, "steps": steps, "step_s": STEP_S}), control)


class _Waiting(Control):
    """Waits in the middle of the second epoch until it is asked to stop."""

    looks = 0

    def record(self, frame: Json) -> None:
        super().record(frame)
        self.looks = 1

    def check(self) -> None:
        self.looks += self.looks > 0
        # After the first epoch and two steps of the second.
        if self.looks == LOOKS and (why := self.asked_to_stop(PATIENCE_S)) is not None:
            raise Preempted(why)
        super().check()


def train_until_stopped(order: TrialOrder, control: Control) -> Ending:
    """The real trial; the first attempt of the study `limited` lasts longer than Slurm lets it."""
    from posestudy_runner import trial

    if order.fence == 1 and order.study_name == "limited":
        control.__class__ = _Waiting
    return trial.main(order, control)


def launch(file: Path, home: Path, workers: int | None = None, options: PoolOptions = OPTIONS) -> int:
    text = file.read_text(encoding="utf-8")
    settings = Settings.resolve(str(home))
    return run_study(load(file), text, settings, workers=workers, engine_name="slurm", options=options)


if __name__ == "__main__":
    sys.exit(launch(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])))
