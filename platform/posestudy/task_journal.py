"""Trials of tasks that reach no database: each task writes what it would tell the ledger into a journal of its own.

The ledger holds such a trial for its task for as long as it takes. What the journal says is brought in from its
beginning each time: the ledger takes nothing twice. A task that Slurm runs again begins a new attempt under a fence of
its own, which the ledger learns from the journal. Each run of a task writes a file of its own, since a run that Slurm
believes dead may live on a node that is cut off; it ends when it sees the file of a later run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from posestudy import journal
from posestudy.durable import write_text
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


def waiting_for_launch(ledger: Ledger, home: Home, name: str | None = None) -> Iterator[str]:
    """Tells of each study of tasks without a database that only a launch moves on. Arguments as of `collect`."""
    for study in [ledger.study(name)] if name is not None else ledger.studies():
        if study.state != "open" or not any(home.task_journal(study.name, 0, 0).parent.glob("*.task")):
            continue
        if all(trial.state is TrialState.DONE for trial in ledger.snapshot(study.name, values=False).trials):
            known = f"all trials of '{study.name}' that are known so far are done"
            yield f"{known}: launch it again, which begins what follows or closes the study"


def first_fence(trial: TrialRecord) -> int:
    """The fence under which a held trial was given to its task, which its journal is named by."""
    last = (trial.owner or "").rpartition(FIRST)[2]
    return int(last) if last.isdecimal() else trial.fence


def runs(first: Path) -> Iterator[Path]:
    """The files of the runs of a task, `first` and those after it, as far as they are there."""
    run, path = 1, first
    while path.exists():
        yield path
        run, path = run + 1, later_run(first, run + 1)


def later_run(first: Path, run: int) -> Path:
    """The file of the `run`-th run of a task, of which the first is 1."""
    return first if run == 1 else first.with_name(f"{first.stem}.run{run}{first.suffix}")


def read(first: Path) -> list[Json]:
    """What all runs of a task have written so far, oldest run first."""
    return [frame for path in runs(first) for frame in journal.read(path)]


def is_taken_back(first: Path) -> bool:
    """Whether the trial is the task's no more: it was cancelled, or given to another task."""
    return _mark(first).exists()


def take_back(first: Path) -> None:
    """Tell the task that its trial is its own no more; it ends when it next looks, or as it starts."""
    write_text(_mark(first), "")


def give(first: Path) -> None:
    """Forget that a trial was taken back from a task of this name: one may have been before a ledger was restored."""
    _mark(first).unlink(missing_ok=True)


def _mark(first: Path) -> Path:
    return first.with_suffix(".taken_back")


def take_back_lost(ledger: Ledger, home: Home, name: str) -> Iterator[str]:
    """Take back every trial that a task has and the ledger holds for it no more; tells of each.

    Such are trials that were cancelled, and those that an edit of the study file gave to other tasks or to none.
    """
    tasks = sorted(home.task_journal(name, 0, 0).parent.glob("*.task"))
    if not tasks:
        return
    trials = {trial.number: trial for trial in ledger.snapshot(name, values=False).trials}
    for path in tasks:
        number, _, fence = path.stem.partition(".")
        if not (number.isdecimal() and fence.isdecimal()):
            continue
        trial, first = trials.get(int(number)), home.task_journal(name, int(number), int(fence))
        if trial is not None:
            held = is_held(trial) and first_fence(trial) == int(fence)
            has_result = trial.state is TrialState.DONE and trial.outcome is not Outcome.CANCELLED
            if held or has_result:
                continue
        if is_taken_back(first) or _has_ended(first):
            continue
        take_back(first)
        yield f"trial {number} of '{name}' is taken back from task {path.read_text(encoding='utf-8')} of Slurm"


def _has_ended(first: Path) -> bool:
    try:
        return any(frame.get("call") == "finish" for frame in read(first))
    except (OSError, ValueError):
        return False


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
        return read(home.task_journal(study, trial.number, first_fence(trial)))
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
