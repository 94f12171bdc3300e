"""One pool process per host: a worker thread per slot, while the main thread takes signals and shows the display."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import posestudy
from posestudy.errors import MissingPieceError, PoseStudyError
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy_runner import devices
from posestudy_runner.attempt import UnusableError
from posestudy_runner.context import PoolContext, PoolOptions
from posestudy_runner.display import Display
from posestudy_runner.forkserver import Starter, StartMethod
from posestudy_runner.probe import probe, usable_devices
from posestudy_runner.projector import Projector
from posestudy_runner.slots import Slot
from posestudy_runner.steering import Steering
from posestudy_runner.stop import Stop
from posestudy_runner.worker import Worker

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
_LOOK_S = 0.5


@dataclass(frozen=True)
class Goal:
    """What a pool works on: a study of the ledger, its metric, and the seconds one trial and all together may take."""

    study: str
    metric: str
    direction: str
    trial_limit_s: float | None = None
    budget_s: float | None = None


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
        self.stop = Stop()

    def run(self, workers: int | None) -> bool:
        """Work with `workers` slots (None: one a device); True where the user ended it before it was done.

        Raises:
            MissingPieceError: trials cannot run here.
        """
        projector = Projector(self._home)
        starter = Starter(StartMethod(self._options.start), self._options.preload)
        with self._signals(), starter:
            slots = self._slots(starter, workers)
            if self._options.projects:
                projector.start()
            try:
                self._work(starter, slots)
            finally:
                if self._options.projects:
                    self._display.say("bringing MLflow and Optuna's tables up to date")
                    if not projector.drain(lambda: self.stop.demanded):
                        self._display.say("MLflow is not up to date yet; `posestudy sync` sends the rest")
        if isinstance(self._failure, UnusableError):
            raise MissingPieceError(f"{self._failure}; `posestudy doctor` names the command that mends it")
        if self._failure is not None:
            raise self._failure
        return self.stop.requested

    def _slots(self, starter: Starter, workers: int | None) -> list[Slot]:
        self._display.say("loading the training packages")
        found = probe(starter)
        listed = devices.gpus()
        usable = usable_devices(listed, found["gpus"], devices.cpu())
        if listed and usable[0].is_cpu:
            self._display.say(f"{len(listed)} GPU(s) here, but this torch cannot use them: training on the CPU")
        places = devices.spread(usable, workers or len(usable))
        on_cpu = sum(place.is_cpu for place in places)
        threads = devices.threads_per_slot(on_cpu or len(places))
        return [Slot(index, place, threads) for index, place in enumerate(places)]

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
        )
        threads = [
            threading.Thread(target=self._guarded, args=(Worker(context, slot),), name=f"slot {slot.index}")
            for slot in slots
        ]
        with self._display:
            for thread in threads:
                thread.start()
            for thread in threads:
                # Joining in short steps keeps the main thread free to run signal handlers.
                while thread.is_alive():
                    thread.join(_LOOK_S)

    def _guarded(self, worker: Worker) -> None:
        try:
            worker.run()
        except BaseException as error:  # noqa: BLE001 - re-raised in the main thread
            self._failure = self._failure or error
            known = isinstance(error, PoseStudyError | UnusableError)
            if not self.stop.requested:
                self.stop.request(str(error) if known else f"{type(error).__name__}: {error}")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals end the pool while it runs: the first in good order, the second at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # What is ignored stays so: `nohup` ignores the end of the terminal.
        heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._on_signal) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.stop.request(f"the pool got {signal.Signals(number).name}")


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
