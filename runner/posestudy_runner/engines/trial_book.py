"""The ledger of one trial for a worker that reaches no database: in memory, and in a journal for `posestudy sync`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from posestudy import journal
from posestudy.durable import make_folder
from posestudy.errors import LedgerUnavailableError
from posestudy.ledger.records import (
    AttemptRecord,
    Checkpoint,
    Claim,
    Json,
    NewSplitUse,
    Snapshot,
    StudyRecord,
    TrainedAlike,
    TrialRecord,
    ValueRecord,
)
from posestudy.task_journal import is_taken_back, later_run, news, read, runs
from posestudy.vocabulary import AttemptEnd, Direction, Outcome, TrialState

STRIDE: Final = 1000
"""From the fence of one attempt to that of the next: the ledger will not grant those between them so soon."""


class TrialBook:
    """Answers a pool as the ledger would that holds this one trial and nobody else's worker.

    Args:
        claim: the trial as the ledger holds it for this task.
        path: of the journal of the task's first run; what earlier runs wrote is where this one goes on, in a file of
            its own.
        alike: finished trials that were trained as this one is to be, as the ledger knew them when it was given away.
    """

    def __init__(self, claim: Claim, path: Path, alike: Sequence[TrainedAlike] = ()) -> None:
        self._claim, self._alike = claim, tuple(alike)
        self._first, self._run = path, sum(1 for _ in runs(path)) + 1
        self._trial = replace(claim.trial, state=TrialState.WAITING, owner=None, lease_until=None)
        self._values = {value.epoch: value for value in claim.values}
        self._attempts: list[AttemptRecord] = []
        for frame in news(read(path), claim.trial):
            self._take(frame)
        if self._attempts and self._attempts[-1].end is None and not self.is_done:
            self._end(AttemptEnd.LOST, "the task was killed")
            self._trial = replace(self._trial, state=TrialState.WAITING)
        self._writer: journal.JournalWriter | None = None
        self._has_made_file = False

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    @property
    def is_done(self) -> bool:
        """Whether the trial has an outcome, or is this run's no more."""
        return self._trial.state is TrialState.DONE or self.is_lost

    @property
    def is_lost(self) -> bool:
        """Whether the trial was taken back from the task, or a later run of it has begun."""
        return is_taken_back(self._first) or later_run(self._first, self._run + 1).exists()

    def _now(self) -> TrialRecord:
        if self._trial.state is TrialState.DONE or not self.is_lost:
            return self._trial
        return replace(self._trial, state=TrialState.DONE, outcome=Outcome.CANCELLED)

    # ---- what a pool asks

    def now(self) -> float:
        return time.time()

    def studies(self) -> list[StudyRecord]:
        return [self._claim.study]

    def study(self, name: str) -> StudyRecord:
        return self._claim.study

    def snapshot(self, name: str, *, values: bool = True) -> Snapshot:
        claim, own = self._claim, tuple(self._values.values()) if values else ()
        attempts, at = tuple(self._attempts), self.now()
        return Snapshot(claim.study, (claim.stage,), (claim.cell,), (self._now(),), own, attempts, at=at)

    def counts(self, name: str) -> dict[TrialState, int]:
        return {self._now().state: 1}

    def trained_alike(self, uid: str) -> tuple[TrainedAlike, ...]:
        return self._alike

    def cancelled(self, uid: str, fence: int) -> bool:
        return is_taken_back(self._first)

    def renew(self, uid: str, fence: int, lease_s: float) -> bool:
        return self._is_mine(fence)

    def claim(self, name: str, owner: str, lease_s: float) -> Claim | None:
        """The trial, unless it is done or runs; each time under a new fence."""
        if self._trial.state is not TrialState.WAITING or self.is_lost or not self._has_file():
            return None
        fence = self._claim.trial.fence + STRIDE * len(self._attempts)
        self._note({"call": "claim", "fence": fence, "owner": owner, "at": self.now()})
        return replace(self._claim, trial=self._trial, values=tuple(self._values[e] for e in sorted(self._values)))

    # ---- what a pool says

    def started(self, uid: str, fence: int, provenance: Json) -> bool:
        return self._is_mine(fence) and self._note({"call": "started", "provenance": provenance})

    def profiled(self, uid: str, fence: int, profile: Json) -> bool:
        return self._is_mine(fence) and self._note({"call": "profiled", "profile": profile})

    def record_epoch(
        self,
        uid: str,
        fence: int,
        values: Mapping[int, Mapping[str, float]],
        checkpoint: Checkpoint | None,
        duration_s: float,
    ) -> bool:
        saved = None if checkpoint is None else asdict(checkpoint)
        told = {str(epoch): dict(metrics) for epoch, metrics in values.items()}
        frame = {"call": "record_epoch", "values": told, "checkpoint": saved, "duration_s": duration_s}
        return self._is_mine(fence) and self._note(frame)

    def record_test_use(self, uid: str, use: NewSplitUse) -> None:
        self._note({"call": "record_test_use", "use": asdict(use)})

    def finish(
        self,
        uid: str,
        fence: int,
        outcome: Outcome,
        message: str | None,
        *,
        metric: str,
        direction: Direction,
        peak_memory_mb: float | None,
    ) -> bool:
        frame = {"call": "finish", "outcome": outcome, "message": message, "peak_memory_mb": peak_memory_mb}
        return self._is_mine(fence) and self._note(frame)

    def release(self, uid: str, fence: int, end: AttemptEnd, why: str) -> bool:
        return self._is_mine(fence) and self._note({"call": "release", "end": end, "why": why})

    # ---- how it is kept

    def _is_mine(self, fence: int) -> bool:
        return self._trial.state is TrialState.RUNNING and self._trial.fence == fence and not self.is_lost

    def _has_file(self) -> bool:
        """Begin this run's file; False where another process has, which then has the trial."""
        if self._writer is None:
            path = later_run(self._first, self._run)
            try:
                make_folder(path.parent)
                if not self._has_made_file and not self._makes(path):
                    self._trial = replace(self._trial, state=TrialState.DONE)
                    return False
                self._writer = journal.JournalWriter(path)
            except OSError as error:
                raise LedgerUnavailableError(f"the task's journal cannot be written: {error}") from error
        return True

    def _makes(self, path: Path) -> bool:
        """Make this run's file; False where it is there. What fails later is tried again with the file that is made."""
        try:
            with path.open("xb"):
                self._has_made_file = True
        except FileExistsError:
            return False
        return True

    def _note(self, frame: Json) -> bool:
        if self._writer is None:
            return False
        try:
            self._writer.append(frame)
        except OSError as error:
            # What a pool does while a database is away is right while a disk is full, too.
            raise LedgerUnavailableError(f"the task's journal cannot be written: {error}") from error
        self._take(frame)
        return True

    def _take(self, frame: Json) -> None:
        kind, trial = frame["call"], self._trial
        if kind == "claim":
            began = max(float(frame["at"]), trial.started or 0.0)
            owner, fence = str(frame["owner"]), int(frame["fence"])
            if self._attempts and self._attempts[-1].end is None:
                self._end(AttemptEnd.LOST, "the task was killed")
            self._attempts.append(AttemptRecord(trial.uid, fence, owner, began, None, None, None))
            self._trial = replace(trial, state=TrialState.RUNNING, owner=owner, fence=fence)
        elif kind == "started":
            self._trial = replace(trial, provenance={**trial.provenance, **frame["provenance"]})
        elif kind == "record_epoch":
            self._record(trial, frame)
        elif kind == "release":
            self._end(AttemptEnd(frame["end"]), str(frame["why"]))
            self._trial = replace(trial, state=TrialState.WAITING, owner=None)
        elif kind == "finish":
            self._end(AttemptEnd.FINISHED, frame["message"])
            self._trial = replace(trial, state=TrialState.DONE, outcome=Outcome(frame["outcome"]))

    def _record(self, trial: TrialRecord, frame: Json) -> None:
        for epoch, metrics in frame["values"].items():
            self._values[int(epoch)] = ValueRecord(trial.uid, int(epoch), metrics, self.now(), trial.fence)
        self._trial = trial = replace(trial, duration_s=(trial.duration_s or 0.0) + float(frame["duration_s"]))
        saved = frame["checkpoint"]
        if saved is not None and saved["path"] != trial.ckpt_path:
            self._trial = replace(
                trial,
                ckpt_path=saved["path"],
                ckpt_sha=saved["sha"],
                ckpt_epoch=int(saved["epoch"]),
                prev_path=trial.ckpt_path,
                prev_sha=trial.ckpt_sha,
                prev_epoch=trial.ckpt_epoch,
            )

    def _end(self, end: AttemptEnd, why: str | None) -> None:
        self._attempts[-1] = replace(self._attempts[-1], ended=self.now(), end=end, why=why)
