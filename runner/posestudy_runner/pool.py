"""One pool process per host: a worker thread per slot, while the main thread takes signals and shows the display."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import posestudy
from posestudy.errors import MissingPieceError, PoseStudyError
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Json, Snapshot
from posestudy_runner import devices, measurements, notifying
from posestudy_runner.attempt import GIVE_UP_S, UnusableError
from posestudy_runner.context import PoolContext, PoolOptions
from posestudy_runner.display import Display
from posestudy_runner.ending_signals import told_to
from posestudy_runner.forkserver import Starter, StartMethod
from posestudy_runner.packing import Packing, Watch
from posestudy_runner.packing_rules import most_per_gpu
from posestudy_runner.probe import probe, usable_devices
from posestudy_runner.projector import Projector
from posestudy_runner.slots import Slot
from posestudy_runner.steering import Steering
from posestudy_runner.stop import Stop
from posestudy_runner.worker import Worker
from posestudy_studies import asked_gpus

_LOOK_S = 0.5


@dataclass(frozen=True)
class Goal:
    """What a pool works on: a study of the ledger, its metric, and the seconds one trial and all together may take."""

    study: str
    metric: str
    direction: str
    trial_limit_s: float | None = None
    budget_s: float | None = None


class Patience:
    """How long a pool that is to end waits for workers which may hang in a call of a dead database."""

    def __init__(self, stop: Stop, grace_s: float) -> None:
        self._stop = stop
        # Twice: for the step in hand, and for the interpreter's way out.
        self._politely_s = 2 * grace_s + 2 * GIVE_UP_S
        self._requested: float | None = None
        self._demanded: float | None = None

    def over(self) -> bool:
        now = time.monotonic()
        if self._stop.demanded:
            self._demanded = self._demanded or now
            return now - self._demanded > GIVE_UP_S
        if self._stop.requested:
            self._requested = self._requested or now
            return now - self._requested > self._politely_s
        return False


class Pool:
    """Runs workers until the study has nothing left to do or the user ends it.

    Args:
        ledger: open; used by all threads.
        home: where attempts write.
        goal: the study.
        steering: who decides about cells and pruning.
        display: where to report.
        options: see `PoolOptions`.
    """

    def __init__(
        self, ledger: Ledger, home: Home, goal: Goal, steering: Steering, display: Display, options: PoolOptions
    ) -> None:
        self._ledger = ledger
        self._home = home
        self._goal = goal
        self._steering = steering
        self._display = display
        self._options = options
        self._failure: BaseException | None = None
        self._packing: Packing | None = None
        self.stop = Stop()

    def run(self, workers: int | None) -> bool:
        """Work with `workers` slots at most; True where the user ended it before it was done.

        None: one a device, or as many a GPU as the options say.

        Raises:
            MissingPieceError: trials cannot run here.
        """
        projector = Projector(self._home, self._display.say)
        if self._ledger.study(self._goal.study).state == "closed":
            self._tell_of_the_end(projector)
            return self.stop.requested
        starter = Starter(self._start_method(), self._options.preload)
        with told_to(self._hear_signal), starter:
            if self._options.projects:
                # MLflow takes as long to import as the training packages do: side by side, before anything trains.
                projector.start()
            slots: list[Slot] = []
            try:
                slots = self._slots(starter, workers)
                if not slots:
                    return True
                projector.give_way()
                self._work(starter, slots)
            finally:
                if self._options.projects:
                    self._bring_up_to_date(projector, patiently=bool(slots))
        if isinstance(self._failure, UnusableError):
            raise MissingPieceError(f"{self._failure}; `posestudy doctor` names the command that mends it")
        if self._failure is not None:
            raise self._failure
        return self.stop.requested

    def _tell_of_the_end(self, projector: Projector) -> None:
        """Whatever an earlier pool did not come to say of a study that is done: nothing of it is trained any more."""
        with told_to(self._hear_signal):
            if self._options.projects:
                projector.start()
            try:
                with self._told() as seen:
                    if seen is not None:
                        seen(self._ledger.snapshot(self._goal.study, values=False))
            finally:
                if self._options.projects:
                    projector.send_the_rest(self.stop)

    def _told(self) -> AbstractContextManager[Callable[[Snapshot], None] | None]:
        return notifying.telling(self._options.notify, self._ledger, self._home, self._goal.study, self._display.say)

    def _start_method(self) -> StartMethod:
        wanted = StartMethod(self._options.start)
        if wanted is StartMethod.FORKSERVER and devices.names_mig_slices():
            self._display.say("CUDA_VISIBLE_DEVICES names MIG slices, which forked processes cannot use: --start spawn")
            return StartMethod.SPAWN
        return wanted

    def _bring_up_to_date(self, projector: Projector, *, patiently: bool) -> None:
        if not patiently:
            # Nothing was trained.
            projector.drain(lambda: True)
            return
        projector.send_the_rest(self.stop)

    def _slots(self, starter: Starter, workers: int | None) -> list[Slot]:
        """The places to train on; none where the user ended the pool before they were known."""
        self._display.say("loading the training packages")
        found = self._probed(starter)
        if found is None:
            return []
        usable = usable_devices(found, devices.cpu())
        if usable[0].is_cpu and (listed := devices.gpus()):
            self._display.say(f"{len(listed)} GPU(s) here, but this torch cannot use them: training on the CPU")
        if usable[0].is_cpu and self._options.needs_gpu:
            raise MissingPieceError("this torch can use no GPU, though trials are to have one; see `posestudy doctor`")
        if (size := asked_gpus.most(self._ledger.study(self._goal.study).document)) > 1:
            return self._shared_slots(usable, size, workers)
        places = devices.spread(usable, self._count(usable, workers))
        on_cpu = sum(place.is_cpu for place in places)
        threads = devices.threads_per_slot(on_cpu or len(places), self._options.cores)
        return [Slot(index, place, threads) for index, place in enumerate(places)]

    def _shared_slots(self, usable: list[devices.Device], size: int, workers: int | None) -> list[Slot]:
        """Slots of `size` devices each, as many as the study's largest trials take; smaller ones leave some idle.

        Raises:
            MissingPieceError: there are not so many GPUs.
        """
        groups = devices.grouped(usable, size)
        if not groups:
            raise MissingPieceError(
                f"study '{self._goal.study}' has trials on {size} GPUs, and {len(usable)} can be used here; expected "
                f"a machine with {size} GPUs or more, or `gpus` of at most {len(usable)} in the study"
            )
        if usable[0].is_cpu:
            groups *= workers or 1
            self._display.say(f"no GPU here: the {size} ranks of a trial share the CPU, which gives other numbers")
        else:
            if self._options.per_gpu not in (None, 1):
                self._display.say(f"a trial on {size} GPUs has them to itself: --per-gpu is not heeded")
            if idle := usable[len(groups) * size :]:
                self._display.say(f"idle, as a trial takes {size} GPUs: {', '.join(one.name for one in idle)}")
            groups = groups[:workers]
        threads = devices.threads_per_slot(len(groups), self._options.cores)
        return [Slot(index, group[0], threads, group[1:]) for index, group in enumerate(groups)]

    def _count(self, usable: list[devices.Device], workers: int | None) -> int:
        """How many trials at a time; where some of them share a GPU, `_packing` is made."""
        if usable[0].is_cpu:
            return workers or len(usable)
        wanted, cores = self._options.per_gpu, devices.cpu_count()
        most = most_per_gpu(wanted, workers, len(usable), cores)
        if wanted == "auto" and most == 1:
            self._display.say(
                f"{cores} cores for {len(usable)} GPU(s): one trial a GPU, as a trial has two cores at least"
            )
        if most > 1:
            self._packing = Packing(
                usable,
                most,
                cores,
                by_load=wanted == "auto",
                reader=self._options.gpu_reader,
                needs=measurements.needs(self._home, self._ledger),
                say=self._display.say,
            )
        slots = most * len(usable)
        return min(workers, slots) if workers else slots

    def _probed(self, starter: Starter) -> Json | None:
        """What `probe` finds, which may take half a minute; None where the user ends the pool meanwhile."""
        answer: Future[Json] = Future()

        def ask() -> None:
            try:
                answer.set_result(probe(starter))
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                answer.set_exception(error)

        threading.Thread(target=ask, name="probe", daemon=True).start()
        while not self.stop.requested:
            with suppress(FutureTimeoutError):
                return answer.result(_LOOK_S)
        return None

    def _work(self, starter: Starter, slots: list[Slot]) -> None:
        context = PoolContext(
            ledger=self._ledger,
            study=self._goal.study,
            home=self._home,
            steering=self._steering,
            starter=starter,
            stop=self.stop,
            display=self._display,
            options=self._options,
            provenance={"host": socket.gethostname(), "git_commit": git_commit()},
            metric=self._goal.metric,
            direction=self._goal.direction,
            trial_limit_s=self._goal.trial_limit_s,
            budget_s=self._goal.budget_s,
            packing=self._packing,
        )
        threads = [
            # Daemons: one that waits for a dead database must not keep the pool from ending.
            threading.Thread(
                target=self._guarded, args=(Worker(context, slot),), name=f"slot {slot.index}", daemon=True
            )
            for slot in slots
        ]
        patience = Patience(self.stop, self._options.stop_grace_s)
        with self._display, self._watched(), self._told() as context.seen:
            for thread in threads:
                thread.start()
            for thread in threads:
                # Joining in short steps keeps the main thread free to run signal handlers.
                while thread.is_alive() and not patience.over():
                    thread.join(_LOOK_S)
            if any(thread.is_alive() for thread in threads):
                self._display.say("left without the ledger's word; the leases end by themselves")

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Where GPUs are shared, look at them meanwhile, and keep what was seen for the next pool."""
        if self._packing is None:
            yield
            return
        try:
            with Watch(self._packing, self._options.gpu_sample_s):
                yield
        finally:
            with suppress(OSError):  # a full disk, or a home that may not be written to
                measurements.save_needs(self._home, self._packing.needs)

    def _hear_signal(self, name: str) -> None:
        self.stop.request(f"the pool got {name}")

    def _guarded(self, worker: Worker) -> None:
        try:
            worker.run()
        except BaseException as error:  # noqa: BLE001 - re-raised in the main thread
            self._failure = self._failure or error
            known = isinstance(error, PoseStudyError | UnusableError)
            if not self.stop.requested:
                self.stop.request(str(error) if known else f"{type(error).__name__}: {error}")


def git_commit() -> str | None:
    """The commit of posestudy's own code, with `-dirty` where files differ; None outside a repository."""
    folder = Path(posestudy.__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
