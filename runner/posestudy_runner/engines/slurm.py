"""The engine of Slurm clusters: a job array of workers, submitted by submitit, that need no living launcher."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from posestudy.durable import make_folder
from posestudy.errors import MissingPieceError, PoseStudyError
from posestudy.ledger.records import Claim
from posestudy.next_command import next_command
from posestudy.printable import printable
from posestudy.settings import masked
from posestudy_runner.context import PoolOptions
from posestudy_runner.engines import Ended, slurm_alone, slurm_queue, slurm_task
from posestudy_runner.engines.jobs import asked_of_one, check_gpus, check_ledger, known_open_trials
from posestudy_studies import stop_rules
from posestudy_studies.cluster import Cluster, Container, contained
from posestudy_studies.spec import Study

if TYPE_CHECKING:
    from posestudy_runner.engines import Placement

MOST_TASKS: Final = 256
"""Tasks of a launch that does not say how many."""
_NO_LIMIT: Final = 1_000_000
_OWN_OPTIONS: Final = frozenset(
    {
        "array",
        "error",
        "nodes",
        "no-requeue",
        "ntasks",
        "ntasks-per-core",
        "ntasks-per-gpu",
        "ntasks-per-node",
        "ntasks-per-socket",
        "open-mode",
        "output",
        "parsable",
        "requeue",
        "signal",
        "test-only",
        "wait",
        "wrap",
    }
)
"""Options of sbatch that would start a task several times, lose it or keep it from going on."""
_GO_BACK: Final = (
    f"code=$?; [ $code -ne {slurm_task.GOES_BACK} ] || "
    'scontrol requeue "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"; exit $code'
)
"""Puts a task back into the queue from outside its container, which need not have Slurm's commands.

The script ends as its task did: what a script says last is what Slurm takes for the end of the job.
"""
_OF_THE_LAUNCHER: Final = ("projects", "cores", "gpu_reader")
"""Options of a pool that every task finds for itself."""


def run(placement: Placement) -> Ended:
    """Submit the tasks that the queue lacks; each is a worker that joins the study and ends when nothing is left.

    Raises:
        MissingPieceError: submitit or Slurm's commands are not installed here.
        PoseStudyError: other machines cannot reach the ledger, or Slurm refuses the job.
    """
    submitit, say = _submitit(), placement.display.say
    slurm_queue.check_commands()
    cluster, folder = placement.study.cluster or Cluster(), placement.home.jobs(placement.study.study) / "slurm"
    check_gpus(cluster, asked_of_one(placement))
    asked = parameters(placement, cluster)
    if not cluster.database:
        slurm_alone.check_designs(placement.study)
    left = known_open_trials(placement)
    if not left:
        say("no trial is left to run: nothing is submitted")
        return Ended.DONE
    if why := stop_rules.halted(placement.ledger.snapshot(placement.study.study, values=False)):
        say(f"{why}: no further trial starts, and nothing is submitted; change `budget` in the study file to go on")
        return Ended.DONE
    make_folder(folder)
    there = slurm_queue.tasks(set(_submitted(folder)))
    for line in _told(there):
        say(line)
    claims: list[Claim | None] = []
    jobs: list[str] = []
    most = slurm_queue.most_tasks()
    try:
        if cluster.database:
            check_ledger(placement)
            claims += [None] * ((placement.workers or cluster.array or min(left, MOST_TASKS)) - len(there))
        else:
            claims += slurm_alone.reserved(placement, {task.name for task in there})
        for job in _submitted_in_arrays(submitit, placement, cluster, folder, claims, asked, most):
            jobs.append(job)
    except BaseException:
        if jobs:
            say(f"{_jobs(jobs)} before this went wrong, and no more; take it back with: scancel {' '.join(jobs)}")
        slurm_alone.give_back(placement, claims[len(jobs) * most :])
        raise
    if claims:
        count = len(claims)
        say(f"{_jobs(jobs)} with {count} {'task' if count == 1 else 'tasks'}; what they say is in {folder}")
        say(f"look at it with: squeue --job {','.join(jobs)}; take it back with: scancel {' '.join(jobs)}")
        if cluster.database and not (placement.workers or cluster.array) and _will_grow(placement.study):
            say("a task for each trial that is known now; where later ones are more, --workers N asks for N tasks")
    if not cluster.database:
        sync = next_command("sync", placement.study.study)
        say(f"`{sync}` collects what tasks have done; launch again for what follows")
    return Ended.ELSEWHERE


def _jobs(jobs: Sequence[str]) -> str:
    return f"submitted {'job' if len(jobs) == 1 else 'jobs'} {', '.join(jobs)}"


def _will_grow(study: Study) -> bool:
    return len(study.stages) > 1 or any(stage.design in slurm_alone.NEEDS_RESULTS for stage in study.stages)


def _submitted_in_arrays(
    submitit: Any,
    placement: Placement,
    cluster: Cluster,
    folder: Path,
    claims: Sequence[Claim | None],
    asked: dict[str, Any],
    most: int,
) -> Iterator[str]:
    """Submit a task for each of `claims`, in arrays of `most` tasks; the number of each.

    How many run at a time is shared out among the arrays, of which each runs one at least: where there are more arrays
    than tasks were to run at a time, it is as many as there are arrays.
    """
    arrays = [claims[begin : begin + most] for begin in range(0, len(claims), most)]
    at_a_time = max(1, int(asked["array_parallelism"]) // max(1, len(arrays)))
    for some in arrays:
        names = _submit(submitit, placement, cluster, folder, some, {**asked, "array_parallelism": at_a_time})
        slurm_alone.remember(placement, some, names)
        yield names[0].partition("_")[0]


def _submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise MissingPieceError("--engine slurm needs submitit: pip install 'posestudy[slurm]'") from error
    return submitit


def _submitted(folder: Path) -> Iterator[int]:
    """The jobs of earlier launches: submitit names a file after each."""
    for path in folder.glob("*_submission.sh"):
        if found := re.fullmatch(r"(\d+)_submission\.sh", path.name):
            yield int(found[1])


def _told(there: list[slurm_queue.Task]) -> Iterator[str]:
    if not there:
        return
    running = sum(task.runs for task in there)
    yield f"in the queue already: {running} running and {len(there) - running} waiting tasks of this study"
    if reasons := sorted({task.reason for task in there if not (task.runs or task.is_held or task.is_in_turn)}):
        yield f"why they wait, in Slurm's words: {', '.join(reasons)}"
    if held := [task.name for task in there if task.is_held]:
        yield f"Slurm holds {', '.join(held[:10])}: release them with `scontrol release {held[0]}`"


def _submit(
    submitit: Any,
    placement: Placement,
    cluster: Cluster,
    folder: Path,
    claims: Sequence[Claim | None],
    asked: dict[str, Any],
) -> list[str]:
    """Submit a task for each of `claims`; their names."""
    container = cluster.container
    gpus = "gpu" in (cluster.gres or "")
    python = [container.python if container else sys.executable]
    executor = submitit.SlurmExecutor(folder, python=shlex.join(contained(python, container, gpus=gpus)))
    executor.update_parameters(**asked)
    options = {
        field.name: getattr(placement.options, field.name)
        for field in fields(PoolOptions)
        if field.name not in _OF_THE_LAUNCHER
    }
    if not cluster.database:
        # Which worker tells of an event is settled in the ledger.
        options["notify"] = None
    settings = placement.settings
    same = (placement.study.study, str(settings.home.root), masked(settings.database_url), options)
    ledger = placement.ledger
    alike = [() if claim is None else ledger.trained_alike(claim.trial.uid) for claim in claims]
    tasks = [slurm_task.Task(*same, claim, known) for claim, known in zip(claims, alike, strict=True)]
    try:
        with slurm_queue.outside_job():
            jobs = executor.map_array(slurm_task.work, tasks)
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        raise PoseStudyError(f"sbatch refused the job: {printable(str(error).strip())}") from error
    return [str(job.job_id) for job in jobs]


def parameters(placement: Placement, cluster: Cluster) -> dict[str, Any]:
    """What submitit writes into the head of the job script."""
    more: dict[str, Any] = {"requeue": True, "signal": f"USR1@{cluster.signal_s}"}
    if cluster.time_s is not None:
        more["time"] = _clock(cluster.time_s)
    for option in cluster.options:
        # As sbatch reads a line of the script: the value is what follows `=` or spaces.
        found = re.fullmatch(r"--(\w[\w-]*)(?:(?:=|\s+)(.*))?", option.strip())
        if found is None:
            raise PoseStudyError(f"cluster.options: found {option!r}, expected an option of sbatch, as --exclude=node7")
        # As submitit writes it.
        name = found[1].replace("_", "-")
        if name in _OWN_OPTIONS:
            raise PoseStudyError(
                f"cluster.options: found {option!r}, which is not left to the user: every task is one process that "
                "writes where posestudy looks for it and goes back into the queue by itself; leave it out"
            )
        more[name] = True if found[2] is None else found[2]
    # Since Slurm 22.05 a step does not take over how many cores the job has for a task.
    cores = [] if cluster.cpus is None else [f"--cpus-per-task={cluster.cpus}"]
    return {
        "job_name": cluster.job_name or placement.study.study,
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "gres": cluster.gres,
        # None: what the partition says; submitit itself would ask for five minutes.
        "time": None,
        "cpus_per_task": cluster.cpus,
        "mem": cluster.slurm_memory,
        "setup": cluster.setup or None,
        # Also without a container: a node need not have Slurm's commands where a task looks for them.
        "teardown": [_GO_BACK],
        "array_parallelism": (not cluster.database and placement.workers) or cluster.array_parallelism or _NO_LIMIT,
        "stderr_to_stdout": True,
        "wckey": None,
        "srun_args": [*cores, *_started_by_slurm(cluster.container)],
        "additional_parameters": more,
    }


def _started_by_slurm(container: Container | None) -> list[str]:
    if container is None or container.runtime != "pyxis":
        return []
    mounts = [f"--container-mounts={','.join(container.mounts)}"] if container.mounts else []
    return [f"--container-image={container.image}", *mounts]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
