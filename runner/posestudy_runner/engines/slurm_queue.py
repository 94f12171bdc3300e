"""What Slurm's commands say about jobs, and the one thing a task asks of them: to be put back into the queue."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from posestudy.errors import MissingPieceError, PoseStudyError
from posestudy.printable import printable

LIMIT_S: Final = 60.0
_GONE: Final = frozenset({"CANCELLED", "COMPLETED", "COMPLETING", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"})
"""States of what may still be listed and will not run again by itself; a task too many costs a look at the ledger."""


@dataclass(frozen=True)
class Task:
    """One task of an array in the queue, or a job that is none.

    Attributes:
        job: of the array.
        name: of the task, as `scancel` takes it.
        state: Slurm's word.
        reason: why it does not run; `None` is Slurm's word for no reason.
    """

    job: int
    name: str
    state: str
    reason: str

    @property
    def runs(self) -> bool:
        return self.state != "PENDING"

    @property
    def is_held(self) -> bool:
        """Whether it waits for somebody to release it."""
        return not self.runs and "held" in self.reason.lower()


def check_commands() -> None:
    """Raises MissingPieceError where Slurm's commands are not on the path."""
    missing = [name for name in ("sbatch", "srun", "squeue", "scontrol") if shutil.which(name) is None]
    if missing:
        raise MissingPieceError(
            f"--engine slurm: found no {', '.join(missing)} on the path, expected a machine that submits to Slurm"
        )


def tasks(jobs: Collection[int]) -> list[Task]:
    """Those of `jobs` that wait or run in the queue of this user.

    Raises:
        PoseStudyError: the queue cannot be asked.
    """
    if not jobs:
        return []
    # Asked for by their numbers, one that Slurm has forgotten would be an error.
    lines = _call("squeue", "--me", "--noheader", "--array", "--format=%F|%i|%T|%r").splitlines()
    found = [Task(int(job), name, state, reason) for job, name, state, reason in (line.split("|", 3) for line in lines)]
    return [task for task in found if task.job in jobs and task.state not in _GONE]


def own_name(environment: Mapping[str, str] = os.environ) -> str:
    """The job or array task that this process is, as `scontrol` takes it; empty outside one."""
    array = environment.get("SLURM_ARRAY_JOB_ID")
    # The first task of an array to start may have the number of the array itself, which means all of its tasks.
    return f"{array}_{environment['SLURM_ARRAY_TASK_ID']}" if array else environment.get("SLURM_JOB_ID", "")


def own_index(environment: Mapping[str, str] = os.environ) -> int:
    """The index of this task in its array; 0 outside one."""
    return int(environment.get("SLURM_ARRAY_TASK_ID") or 0)


def state(name: str) -> str:
    """Slurm's word for what a job or array task does. Raises PoseStudyError as `tasks`."""
    match = re.search(r"\bJobState=(\w+)", _call("scontrol", "--oneliner", "show", "job", name))
    return match[1] if match else ""


def is_there(name: str) -> bool:
    """Whether a job or array task waits or runs; not where Slurm has forgotten it."""
    try:
        return state(name) not in _GONE
    except PoseStudyError:
        return False


def requeue(name: str) -> None:
    """Put a running job back into the queue, which ends it here. Raises PoseStudyError where Slurm refuses."""
    _call("scontrol", "requeue", name)


def _call(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=LIMIT_S, check=False)
    except FileNotFoundError as error:
        raise MissingPieceError(f"found no {command[0]} on the path, expected Slurm's commands") from error
    except subprocess.TimeoutExpired as error:
        raise PoseStudyError(f"`{' '.join(command)}` did not answer in {LIMIT_S:.0f} s") from error
    if done.returncode:
        said = printable(" ".join((done.stderr or done.stdout).split()))
        raise PoseStudyError(f"`{' '.join(command)}` ended with {done.returncode}: {said or 'it said nothing'}")
    return done.stdout
