"""Trials of tasks that reach no database: each task writes what it would tell the ledger into a journal of its own.

The ledger holds such a trial for its task for as long as it takes. What the journal says is brought in from its
beginning each time: the ledger takes nothing twice. A task that Slurm runs again begins a new attempt under a fence of
its own, which the ledger learns from the journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from posestudy import journal
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Checkpoint, Json, NewSplitUse, StudyRecord, TrialRecord
from posestudy.vocabulary import METRICS, AttemptEnd, Outcome, Purpose, TrialState

OWNER: Final = "journal/"
"""What the owner of a trial begins with that is held for a task without a database."""
FIRST: Final = " since fence "
"""What stands in an owner's name before the fence of its task's first attempt."""
LEASE_S: Final = 10 * 365 * 86400.0
"""Nobody renews: a trial is the task's until its journal ends it or somebody cancels it."""


def is_held(trial: TrialRecord) -> bool:
    """Whether the trial is held for a task without a database."""
    return trial.state is TrialState.RUNNING and (trial.owner or "").startswith(OWNER)


def collect(ledger: Ledger, home: Home, name: str | None = None) -> Iterator[str]:
    """Bring the journals of all held trials into the ledger; tells of each trial that got news.

    Args:
        name: only of this study; None: of all.
    """
    for study in [ledger.study(name)] if name is not None else ledger.studies():
        held = [trial for trial in ledger.snapshot(study.name, values=False).trials if is_held(trial)]
        for trial in held:
            frames = _frames(home, study.name, trial)
            _replay(ledger, study, trial, frames)
        if held:
            now = {trial.uid: trial for trial in ledger.snapshot(study.name, values=False).trials}
            yield from (line for trial in held if (line := _told(study.name, trial, now[trial.uid])))


def first_fence(trial: TrialRecord) -> int:
    """The fence under which a held trial was given to its task, which its journal is named by."""
    last = (trial.owner or "").rpartition(FIRST)[2]
    return int(last) if last.isdecimal() else trial.fence


def news(frames: Sequence[Json], trial: TrialRecord) -> Iterator[Json]:
    """`frames` without the epochs and checkpoints that are in the trial's record already.

    Of two checkpoints within one epoch the ledger would count the seconds once more.
    """
    saved = [(frame.get("checkpoint") or {}).get("path") for frame in frames]
    known = max((index for index, path in enumerate(saved) if path and path == trial.ckpt_path), default=-1)
    for index, frame in enumerate(frames):
        if index > known or frame.get("call") != "record_epoch":
            yield frame


def _frames(home: Home, study: str, trial: TrialRecord) -> Sequence[Json]:
    try:
        return journal.read(home.task_journal(study, trial.number, first_fence(trial)))
    except (OSError, ValueError):
        return ()


def _replay(ledger: Ledger, study: StudyRecord, trial: TrialRecord, frames: Sequence[Json]) -> None:
    """Say to the ledger what the task said; ends where the trial is the task's no more."""
    uid, fence, first = trial.uid, trial.fence, first_fence(trial)
    began, end, why = first, AttemptEnd.LOST, "the task was killed"
    for frame in news(frames, trial):
        if frame["call"] == "claim":
            began = int(frame["fence"])
            if began > fence:
                owner = f"{OWNER}{frame['owner']}{FIRST}{first}"
                if not ledger.hand_over(uid, fence, began, owner, end, why):
                    return
                fence = began
            end, why = AttemptEnd.LOST, "the task was killed"
        elif frame["call"] == "release":
            end, why = AttemptEnd(frame["end"]), str(frame["why"])
        # What an attempt before the ledger's said is in the ledger.
        elif began == fence and not _say(ledger, study, uid, fence, frame):
            return


def _say(ledger: Ledger, study: StudyRecord, uid: str, fence: int, frame: Json) -> bool:
    kind = frame.get("call")
    if kind == "started":
        return ledger.started(uid, fence, frame["provenance"])
    if kind == "profiled":
        return ledger.profiled(uid, fence, frame["profile"])
    if kind == "record_epoch":
        values = {int(epoch): metrics for epoch, metrics in frame["values"].items()}
        checkpoint = Checkpoint(**frame["checkpoint"]) if frame["checkpoint"] else None
        return ledger.record_epoch(uid, fence, values, checkpoint, float(frame["duration_s"]))
    if kind == "record_test_use":
        ledger.record_test_use(uid, NewSplitUse(**{**frame["use"], "purpose": Purpose(frame["use"]["purpose"])}))
    if kind == "finish":
        metric = str(study.document["metric"])
        return ledger.finish(
            uid,
            fence,
            Outcome(frame["outcome"]),
            frame["message"],
            metric=metric,
            direction=METRICS[metric].direction,
            peak_memory_mb=frame["peak_memory_mb"],
        )
    return True


def _told(study: str, before: TrialRecord, after: TrialRecord) -> str:
    where = f"collected of '{study}': trial {after.number}"
    if after.state is TrialState.DONE and after.outcome is not None:
        return f"{where} {after.outcome.value}"
    if after.ckpt_epoch > before.ckpt_epoch:
        return f"{where} up to epoch {after.ckpt_epoch}"
    return ""
