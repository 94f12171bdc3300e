"""Attempts at one small trial of two ranks, one after the other: `python rank_attempts.py STUDY.yaml HOME`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from posestudy.durable import sha256_file
from posestudy.home import Home
from posestudy.ledger.records import Checkpoint, Json
from posestudy_runner.forkserver import Starter
from posestudy_runner.order import TrialOrder
from posestudy_runner.slots import TrialProcess
from posestudy_studies.dataset import sealed
from posestudy_studies.file import load
from posestudy_studies.spec import Study

UNDISTURBED, KILLED, AFTER_KILL, STOPPED, AFTER_STOP, ALONE, STOCK = range(1, 8)
"""Fences: never disturbed; rank 1 killed in epoch 2, and what went on; a signal in epoch 2, and what went on; one
process that evaluates the weights of the first; the first again as MMPose alone has it."""
TWO = ("cpu", "cpu")


def attempt(
    starter: Starter,
    study: Study,
    home: Home,
    fence: int,
    cell: str = "whole",
    *,
    resume: Checkpoint | None = None,
    evaluate: Json | None = None,
    devices: tuple[str, ...] = TWO,
) -> list[Json]:
    """What the attempt said."""
    order = TrialOrder(
        target="rank_trial:main",
        study_name=study.study,
        study=study.model_dump(mode="json"),
        training=study.baseline.model_dump(mode="json"),
        stage="only",
        cell=cell,
        uid="uid",
        number=1,
        fence=fence,
        seed=3,
        metric="coco/AP",
        direction="more",
        epochs=study.baseline.epochs,
        folder=str(home.attempt(study.study, 1, fence).folder),
        device="cpu",
        devices=devices,
        threads=1,
        resume=() if resume is None else (resume,),
        evaluate=evaluate,
    )
    process = TrialProcess(starter, order.write(), f"attempt {fence}")
    said = []
    while (message := process.receive()) is not None:
        said.append(message)
    process.wait_dead(60)
    print(f"attempt {fence}: exit code {process.close()}", flush=True)
    return said


def saved(home: Home, fence: int, epoch: int) -> Checkpoint:
    path = home.attempt("ranks", 1, fence).checkpoint(epoch)
    return Checkpoint(str(path), sha256_file(path), epoch)


def run(file: Path, home: Home) -> None:
    study = sealed(load(file))
    with Starter() as starter:
        attempt(starter, study, home, UNDISTURBED)
        # Two updates an epoch, one iteration of validation, and a look after it: the first epoch has four looks.
        attempt(starter, study, home, KILLED, "killed_5")
        attempt(starter, study, home, AFTER_KILL, resume=saved(home, KILLED, 1))
        (*_, end) = attempt(starter, study, home, STOPPED, "stopped_5")
        attempt(starter, study, home, AFTER_STOP, resume=Checkpoint(**end["checkpoint"]))
        last = asdict(saved(home, UNDISTURBED, 3))
        known = {"study": "ranks", "number": 1, "uid": "uid", "checkpoint": last}
        attempt(starter, study, home, ALONE, evaluate=known, devices=())
        stock = study.model_copy(update={"data_path": "stock"})
        attempt(starter, stock, home, STOCK, "plain")


if __name__ == "__main__":
    run(Path(sys.argv[1]), Home(Path(sys.argv[2])))
