"""What Slurm's commands say about jobs, and the one thing a task asks of them: to be put back into the queue."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from posestudy.errors import MissingPieceError, PoseStudyError
from posestudy.printable import printable

LIMIT_S: Final = 60.0
_GONE: Final = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "COMPLETING",
        "DEADLINE",
        "FAILED",
        "LAUNCH_FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "RECONFIG_FAIL",
        "REVOKED",
        "TIMEOUT",
    }
)
"""States of what may still be listed and will not run again by itself; a task too many costs a look at the ledger."""

_IN_TURN: Final = frozenset({"", "BeginTime", "JobArrayTaskLimit", "None", "Priority", "Resources"})
_MOST_TASKS: Final = 1001
"""Slurm's default for the tasks of one array."""
_OF_A_JOB: Final = ("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_")
_OF_THE_SITE: Final = frozenset({"SLURM_CLUSTERS", "SLURM_CONF"})
"""Variables that lead to a cluster, inside and outside its jobs."""


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
    def is_in_turn(self) -> bool:
        """Whether it waits for nothing but its turn."""
        return self.reason in _IN_TURN

    @property
    def is_held(self) -> bool:
        """Whether it waits for somebody to release it."""
        return not self.runs and "held" in self.reason.lower()


@contextmanager
def outside_job() -> Iterator[None]:
    """Without what Slurm told this process of the job it is in, as an interactive one: a job submitted meanwhile would
    take the number of its tasks, of its cores and the name of its array for its own.
    """
    within = "SLURM_JOB_ID" in os.environ
    names = {name for name in os.environ if within and name.startswith(_OF_A_JOB) and name not in _OF_THE_SITE}
    hidden = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(hidden)


def check_commands() -> None:
    """Raises MissingPieceError where Slurm's commands are not on the path."""
    missing = [name for name in ("sbatch", "srun", "squeue", "scontrol") if shutil.which(name) is None]
    if missing:
        raise MissingPieceError(
            f"--engine slurm: found no {', '.join(missing)} on the path, expected a machine that submits to Slurm"
        )


def has_commands() -> bool:
    """Whether Slurm can be spoken to from here, which may be the inside of a container."""
    return shutil.which("scontrol") is not None


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


def most_tasks() -> int:
    """How many tasks an array may have here. Raises PoseStudyError as `tasks`."""
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", _call("scontrol", "show", "config"), re.MULTILINE)
    return max(1, int(match[1])) if match else _MOST_TASKS


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
