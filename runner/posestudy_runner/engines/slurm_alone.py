"""Trials held in the launcher's ledger for tasks of Slurm that reach no database: one task each."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from posestudy.durable import make_folder, write_text
from posestudy.errors import PoseStudyError
from posestudy.ledger.records import Claim, Snapshot, TrialRecord
from posestudy.task_journal import LEASE_S, OWNER, first_fence, give, is_held, take_back
from posestudy.vocabulary import AttemptEnd
from posestudy_studies.spec import Study

if TYPE_CHECKING:
    from posestudy_runner.engines import Placement

NEEDS_RESULTS: Final = ("bisect", "search")
"""Designs whose next cell depends on the results of those before."""


def check_designs(study: Study) -> None:
    """Raises PoseStudyError where a stage of the study decides while it runs."""
    for stage in study.stages:
        if stage.design in NEEDS_RESULTS:
            raise PoseStudyError(
                f"stage '{stage.name}': found design {stage.design} with cluster.database: false, expected one whose "
                "cells are known before it runs; what each result decides needs a database that the tasks reach"
            )


def give_back(placement: Placement, claims: Sequence[Claim | None]) -> None:
    """Let others have the trials that were reserved for tasks which could not be submitted."""
    reserved = {claim.trial.uid for claim in claims if claim is not None}
    if not reserved:
        return
    snapshot = placement.ledger.snapshot(placement.study.study, values=False)
    for trial in (trial for trial in snapshot.trials if trial.uid in reserved):
        if placement.ledger.release(trial.uid, trial.fence, AttemptEnd.PREEMPTED, "not begun: it was not submitted"):
            # Slurm may have taken them all the same, and its answer was lost on the way.
            take_back(_journal(placement, trial))


def reserved(placement: Placement, there: Collection[str]) -> Iterator[Claim]:
    """Every trial that waits, held for a task from now on, and those held whose task is gone.

    Args:
        there: the tasks that wait or run.
    """
    ledger, name = placement.ledger, placement.study.study
    snapshot = ledger.snapshot(name)
    for trial in snapshot.trials:
        if is_held(trial) and _task(placement, trial) not in there:
            yield _claim(snapshot, trial)
    while (claim := ledger.claim(name, f"{OWNER}{socket.gethostname()}", LEASE_S)) is not None:
        give(_journal(placement, claim.trial))
        yield claim


def remember(placement: Placement, claims: Sequence[Claim | None], names: Sequence[str]) -> None:
    """Write down which task has which trial, so that the next launch submits none twice."""
    for claim, name in zip(claims, names, strict=True):
        if claim is not None:
            file = _task_file(placement, claim.trial)
            make_folder(file.parent)
            write_text(file, name)


def _journal(placement: Placement, trial: TrialRecord) -> Path:
    return placement.home.task_journal(placement.study.study, trial.number, first_fence(trial))


def _task_file(placement: Placement, trial: TrialRecord) -> Path:
    return _journal(placement, trial).with_suffix(".task")


def _task(placement: Placement, trial: TrialRecord) -> str | None:
    try:
        return _task_file(placement, trial).read_text(encoding="utf-8")
    except OSError:
        return None


def _claim(snapshot: Snapshot, trial: TrialRecord) -> Claim:
    cell = next(cell for cell in snapshot.cells if cell.id == trial.cell_id)
    stage = next(stage for stage in snapshot.stages if stage.id == cell.stage_id)
    values = sorted((v for v in snapshot.values if v.trial_uid == trial.uid), key=lambda v: v.epoch)
    # As it was first given to a task: its journal, and the fences of its attempts, go on from there.
    return Claim(snapshot.study, stage, cell, replace(trial, fence=first_fence(trial)), tuple(values))
