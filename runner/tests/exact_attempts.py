"""Attempts at one small trial, one after the other in one process: `python exact_attempts.py STUDY.yaml HOME`.

Each is stopped where the worker's word would meet it: at a number of looks at what the worker says.
"""

from __future__ import annotations

import sys
from multiprocessing import Pipe
from pathlib import Path

from posestudy_runner import trial  # isort: skip - the plugin first

from posestudy.home import Home
from posestudy.journal import JournalWriter
from posestudy.ledger.records import Checkpoint
from posestudy_runner.control import Control
from posestudy_runner.order import TARGET, TrialOrder
from posestudy_runner.outcomes import Ending
from posestudy_studies import mmpose_config
from posestudy_studies.dataset import sealed
from posestudy_studies.file import load
from posestudy_studies.spec import Study

UNDISTURBED, KILLED, AFTER, WITHIN, VALIDATING, LAST = range(1, 7)
"""Fences: never stopped; after a kill between epochs; then a chain, stopped after epoch 1, within 2, validating it."""


class Stopping(Control):
    """Hears a stop at the `at`-th time it looks; never where that is 0."""

    def __init__(self, journal: Path, at: int) -> None:
        self.ends = Pipe()
        super().__init__(self.ends[0], JournalWriter(journal))
        self._left = at

    def check(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.stop("the test stops it")
        super().check()


def order_of(study: Study, home: Home, fence: int, resume: Checkpoint | None = None) -> TrialOrder:
    """What a worker would ask for: the baseline of `study` with one seed, on one core."""
    return TrialOrder(
        target=TARGET,
        study_name=study.study,
        study=study.model_dump(mode="json"),
        training=study.baseline.model_dump(mode="json"),
        stage="only",
        cell="only",
        uid="uid",
        number=1,
        fence=fence,
        seed=3,
        metric="coco/AP",
        direction="more",
        epochs=study.baseline.epochs,
        folder=str(home.attempt(study.study, 1, fence).folder),
        device="cpu",
        threads=1,
        resume=() if resume is None else (resume,),
    )


def attempt(
    study: Study, home: Home, fence: int, *, stop_at: int = 0, loaders: int, resume: Checkpoint | None
) -> Ending:
    mmpose_config.LOADER_WORKERS = loaders
    order = order_of(study, home, fence, resume)
    order.write()
    control = Stopping(order.paths.journal, stop_at)
    ending = trial.main(order, control)
    control.end(ending)
    return ending


def saved(ending: Ending) -> Checkpoint:
    if ending.checkpoint is None:
        raise ValueError(f"nothing was saved: {ending}")
    return Checkpoint(**ending.checkpoint)


def run(file: Path, home: Home) -> None:
    trial.PROFILE_S = 0.0
    study = sealed(load(file))
    attempt(study, home, UNDISTURBED, loaders=0, resume=None)
    first = home.attempt(study.study, 1, UNDISTURBED).checkpoint(1)
    attempt(study, home, KILLED, loaders=2, resume=Checkpoint(str(first), trial.sha256_file(first), 1))
    rare = study.model_copy(update={"checkpoint": type(study.checkpoint)(min_interval_s=3600.0)})
    # Seven iterations an epoch in updates of two, the last of one: it looks after each of them, and after an epoch.
    ending = attempt(rare, home, AFTER, stop_at=5, loaders=0, resume=None)
    ending = attempt(rare, home, WITHIN, stop_at=1, loaders=0, resume=saved(ending))
    ending = attempt(rare, home, VALIDATING, stop_at=4, loaders=2, resume=saved(ending))
    attempt(rare, home, LAST, loaders=0, resume=saved(ending))


if __name__ == "__main__":
    run(Path(sys.argv[1]), Home(Path(sys.argv[2])))
