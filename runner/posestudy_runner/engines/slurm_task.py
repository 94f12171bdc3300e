"""One task of a job array: a worker on a node, which Slurm may want back at any time."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Final, cast

import typer

from posestudy.durable import make_folder, write_text
from posestudy.errors import LedgerUnavailableError, PoseStudyError
from posestudy.ledger import Ledger
from posestudy.ledger.records import Claim, Json, Snapshot, TrainedAlike
from posestudy.masking import hidden
from posestudy.settings import Settings, masked
from posestudy.task_journal import is_taken_back
from posestudy.vocabulary import TrialState, Verdict
from posestudy_runner import devices
from posestudy_runner.context import PoolOptions
from posestudy_runner.ending_signals import told_to
from posestudy_runner.engines import slurm_queue
from posestudy_runner.engines.jobs import use_disk_of_node
from posestudy_runner.engines.trial_book import TrialBook
from posestudy_runner.pool import Pool
from posestudy_runner.projector import Projector
from posestudy_runner.settling import settle
from posestudy_runner.steering import Steering, study_steering
from posestudy_runner.stop import Stop
from posestudy_studies.spec import Study

OUTAGE_S: Final = 600.0
"""How long a task that starts waits for a ledger that cannot be reached."""
GOES_BACK: Final = 75
"""The exit code by which a task that lacks Slurm's commands asks its job script to put it back into the queue."""
_RETRY_S: Final = 2.0
_LOOK_S: Final = 0.5
_FROM_SLURM: Final = (signal.SIGTERM, signal.SIGUSR1)


@dataclass(frozen=True)
class Task:
    """What the launcher tells every task of an array; no secret is in it, since submitit writes it to the disk.

    Attributes:
        study: its name.
        home: the home's path, the same on every node.
        ledger: the launcher's, without its password, to be held against what the environment of the task names.
        options: of `PoolOptions`.
        claim: the one trial of a task that reaches no database; None for a worker that asks the ledger.
        alike: the trials whose weights will do for that one.
    """

    study: str
    home: str
    ledger: str
    options: dict[str, Any] = field(default_factory=dict)
    claim: Claim | None = None
    alike: tuple[TrainedAlike, ...] = ()


class _Word:
    """What Slurm has said to this task: the first signal ends its pool in good order, later ones change nothing.

    Slurm may send several before it kills; the last word is SIGKILL, which nobody hears.
    """

    def __init__(self) -> None:
        self.heard = ""
        self._stop: Stop | None = None

    def hear(self, name: str) -> None:
        if self.heard:
            return
        self.heard = name
        if self._stop is not None:
            self._stop.request(f"Slurm sent {name}")

    def ends(self, stop: Stop) -> None:
        """From now on a signal asks `stop`; one heard before does at once."""
        self._stop = stop
        if self.heard:
            stop.request(f"Slurm sent {self.heard}")


def work(task: Task) -> str:
    """Train until nothing is left to do or Slurm wants the node back; then go back into the queue if it will have us.

    Returns:
        Why it ended, for submitit's log.
    """
    try:
        word = _Word()
        with told_to(word.hear):
            return _work(task, word) if task.claim is None else _work_alone(task, task.claim, word)
    except PoseStudyError as error:
        typer.echo(f"error: {hidden(str(error))}", err=True)
        sys.exit(error.exit_code)
    except Exception:  # noqa: BLE001 - told here, where passwords are taken out, and not by submitit
        typer.echo(hidden(traceback.format_exc()), err=True)
        sys.exit(1)


def _work(task: Task, word: _Word) -> str:
    settings = Settings.resolve(task.home)
    if masked(settings.database_url) != task.ledger:
        raise PoseStudyError(
            f"this task finds the ledger {masked(settings.database_url)}, expected {task.ledger} of the launch; Slurm "
            "must pass its environment on (`sbatch --export=ALL`), or cluster.setup set POSESTUDY_DATABASE_URL"
        )
    ledger = _open(settings.database_url, word)
    try:
        if not _left(ledger, task.study):
            return _said("nothing is left to do")
        # One of an array sends to MLflow; who it is where several arrays run, the ledger's lock decides.
        projects = slurm_queue.own_index() == 0
        _beside(lambda: _train(task, settings, ledger, study_steering(), word, projects=projects))
        if not word.heard:
            return _said("nothing is left to do here")
        left = _left(ledger, task.study)
    finally:
        ledger.close()
    return _said(_go_back() if left else "nothing is left to do")


def _work_alone(task: Task, claim: Claim, word: _Word) -> str:
    """The same for one trial, without a database."""
    settings, trial = Settings.resolve(task.home), claim.trial
    path = settings.home.task_journal(task.study, trial.number, trial.fence)
    if is_taken_back(path):
        return _said(f"trial {trial.number} was taken back from this task")
    if (other := _other_writer(path)) is not None:
        return _said(f"trial {trial.number} is trained by {other}")
    book = TrialBook(claim, path, task.alike)
    try:
        if not book.is_done:
            alone = Steering(lambda snapshot: [], lambda asked: False, _never)
            _beside(lambda: _train(task, settings, cast(Ledger, book), alone, word, projects=False))
        left = word.heard and not book.is_done
    finally:
        book.close()
    return _said(_go_back() if left else "nothing is left to do")


def _never(snapshot: Snapshot, uid: str, epoch: int) -> tuple[Verdict, Json]:
    raise AssertionError("a trial without a database has no pruner")


def _other_writer(journal: Path) -> str | None:
    """The task that writes this journal, where it is another one that still waits or runs; else it is this one's."""
    mark, own = journal.with_suffix(".writer"), slurm_queue.own_name()
    make_folder(mark.parent)
    try:
        with mark.open("x", encoding="utf-8") as stream:
            stream.write(own)
    except FileExistsError:
        other = mark.read_text(encoding="utf-8")
        if other not in ("", own) and slurm_queue.is_there(other):
            return other
        write_text(mark, own)
    return None


def _open(url: str, word: _Word) -> Ledger:
    """The ledger, waited for where a database restarts. Raises LedgerUnavailableError after `OUTAGE_S`."""
    until = time.monotonic() + OUTAGE_S
    while True:
        try:
            return Ledger.open(url, create=False)
        except LedgerUnavailableError:
            if word.heard or time.monotonic() > until:
                raise
        time.sleep(_RETRY_S)


def _left(ledger: Ledger, study: str) -> bool:
    """Whether a trial is to run, or may come when those that run have ended."""
    if _waits(snapshot := ledger.snapshot(study, values=False)):
        return True
    # Whoever finished the last trial may have had to end before it moved the study on.
    return snapshot.study.state != "closed" and _waits(settle(ledger, study, study_steering().advance))


def _waits(snapshot: Snapshot) -> bool:
    is_open = any(trial.state is not TrialState.DONE for trial in snapshot.trials)
    return snapshot.study.state != "closed" and is_open


def _beside(call: Callable[[], None]) -> None:
    """`call` in a thread that hears no signal, nor do the processes it starts; what it raises is raised here.

    Slurm signals every process of a step. A forkserver would die of it, and a trial of the death of its data loaders,
    before it has saved what it did since the last epoch.
    """
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    signal.pthread_sigmask(signal.SIG_BLOCK, _FROM_SLURM)
    # As it starts it lets its thread hear SIGTERM again, which the forkserver would then hear, too.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, _FROM_SLURM)
    thread = threading.Thread(target=guarded, name="pool", daemon=True)
    thread.start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FROM_SLURM)
    while thread.is_alive():
        # In short steps, between which the main thread hears signals.
        thread.join(_LOOK_S)
    if failures:
        raise failures[0]


def _train(task: Task, settings: Settings, ledger: Ledger, steering: Steering, word: _Word, *, projects: bool) -> None:
    # Slow to import, and not needed by a task that has nothing to do.
    from posestudy_runner.launching import joining

    use_disk_of_node(_cluster(ledger, task.study), typer.echo)
    options = PoolOptions(**task.options, projects=False, cores=own_cores())
    placement = joining(task.study, settings, ledger, options=options)
    pool = Pool(ledger, settings.home, placement.goal, steering, placement.display, options)
    projector = Projector(settings.home, placement.display.say) if projects else None
    if projector is not None:
        projector.start()
        projector.give_way()
    word.ends(pool.stop)
    try:
        pool.run(placement.workers)
    finally:
        if projector is not None:
            # What is not sent when Slurm wants the node back is sent by another, or by `posestudy sync`.
            projector.drain(lambda: bool(word.heard))


def own_cores() -> int:
    """The cores that Slurm gave this task, which its affinity does not tell everywhere."""
    told = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE") or ""
    return min(int(told), devices.cpu_count()) if told.isdecimal() and int(told) else devices.cpu_count()


def _cluster(ledger: Ledger, study: str) -> Any:
    from posestudy_studies.cluster import Cluster

    return Study.model_validate(ledger.study(study).document).cluster or Cluster()


def _go_back() -> str:
    """Back into the queue, unless this task was cancelled, or Slurm itself puts it there."""
    name = slurm_queue.own_name()
    if not name:
        return "ended outside Slurm"
    if not slurm_queue.has_commands():
        _said(f"{name} asks its job script to put it back into the queue")
        sys.exit(GOES_BACK)
    state = slurm_queue.state(name)
    if state != "RUNNING":
        return f"Slurm has {name} as {state} and decides"
    slurm_queue.requeue(name)
    return f"{name} went back into the queue"


def _said(why: str) -> str:
    typer.echo(why)
    return why
