"""The other ranks of a trial on several GPUs: processes that its first one forks and that never outlive it.

They are in the trial's own process group, so that whatever kills the trial kills them. Only the first rank hears the
worker, keeps the journal and writes files; a state that it saved is that of all ranks. So it alone obeys, and where it
ends the others are killed, wherever they are.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from posestudy.ledger.records import Json
from posestudy.vocabulary import Outcome
from posestudy_runner.control import die
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending, classify, limit_memory, peak_process_memory_mb

FOLLOW = "follow"
"""What trains in another rank than the first: this function beside the order's target."""
GRACE_S = 15.0
"""How long the first rank has to end by itself where another one is gone: a GPU waits for a lost rank for ever."""
_SETTLE_S = 0.5
"""How long a rank that is gone takes others with it, which then complain of a closed connection."""


@dataclass(frozen=True)
class Loss:
    """How a rank ended too soon: what it said, or where it was killed, why."""

    rank: int
    ending: Ending | None
    why: str

    @property
    def weight(self) -> int:
        """The cause of several losses weighs most."""
        if self.ending is None:
            return 2
        return 0 if self.ending.outcome is Outcome.FAILED else 1


class Followers:
    """The other ranks as the first one sees them. Make it while this process has no other thread.

    Args:
        order: the attempt; its `devices` tell how many ranks there are.
        end: says the trial's last word, where it is said for the first rank.

    Raises:
        OSError: the machine has no process left to give.
    """

    def __init__(self, order: TrialOrder, end: Callable[[Ending], None]) -> None:
        self.size = len(order.devices)
        self._end = end
        # Bound here already, so that nobody else can take the port, and to the loopback interface alone.
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(self.size)
        self.port = int(self.listener.getsockname()[1])
        self._connections: list[Connection] = []
        self._processes: list[BaseProcess] = []
        self._losses: list[Loss] = []
        self._lost = threading.Event()
        self._ends = threading.Lock()
        self._over = threading.Event()
        context = multiprocessing.get_context("fork")
        try:
            for rank in range(1, self.size):
                ours, theirs = context.Pipe()
                self._connections.append(ours)
                mine = replace(order, device=order.devices[rank])
                arguments = (theirs, tuple(self._connections), mine, rank, self.port)
                process = context.Process(target=_run, args=arguments, name=f"rank {rank}")
                process.start()
                theirs.close()
                self._processes.append(process)
        except OSError:
            self.dismiss()
            raise

    @property
    def pids(self) -> list[int]:
        """Their process ids, of rank 1 first."""
        return [int(process.pid or 0) for process in self._processes]

    def watch(self) -> None:
        """Look after the ranks from now on."""
        threading.Thread(target=self._watch, name="ranks", daemon=True).start()

    def tell(self, message: Json) -> None:
        """Tell every rank; one that is gone hears nothing."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.send_bytes(json.dumps(message).encode())

    def go_on(self, epoch: int) -> None:
        """Let the ranks go beyond `epoch`, which is reported."""
        self.tell({"type": "go", "epoch": epoch})

    def lost(self, patience_s: float) -> Loss | None:
        """The rank whose end is the cause of what went wrong here; None where all are there still."""
        if not self._lost.wait(patience_s):
            return None
        time.sleep(_SETTLE_S)
        return max(self._losses, key=lambda loss: loss.weight)

    def dismiss(self) -> None:
        """End all ranks, wherever they are; returns when they are gone."""
        with self._ends:
            self._over.set()
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
        for connection in self._connections:
            connection.close()
        self.listener.close()

    def _watch(self) -> None:
        left = dict(enumerate(self._processes, start=1))
        while left and not self._over.is_set():
            ready = wait([process.sentinel for process in left.values()], 1.0)
            for rank, process in list(left.items()):
                if process.sentinel in ready:
                    del left[rank]
                    self._note(rank, process)
            if self._losses and not self._over.wait(GRACE_S):
                self._end_all()

    def _note(self, rank: int, process: BaseProcess) -> None:
        if self._over.is_set():
            return
        said = self._said(rank)
        process.join()
        code = process.exitcode or 0
        cause = f"signal {-code}" if code < 0 else f"exit code {code}"
        if said is not None or code:
            self._losses.append(Loss(rank, said, f"rank {rank} of {self.size} died: {cause}"))
            self._lost.set()

    def _said(self, rank: int) -> Ending | None:
        connection = self._connections[rank - 1]
        with contextlib.suppress(OSError, EOFError):
            if connection.poll(0):
                return Ending.of(json.loads(connection.recv_bytes()))
        return None

    def _end_all(self) -> None:
        """End the trial for its first rank, which waits for one that is gone."""
        with self._ends:
            if self._over.is_set():
                return
            loss = max(self._losses, key=lambda loss: loss.weight)
            if loss.ending is not None:
                self._end(loss.ending)
            ended_by(loss)


def ended_by(loss: Loss) -> None:
    """Die as the rank did; the last line of the log, which the worker reads, says which one it was."""
    print(loss.why, file=sys.stderr, flush=True)
    die()


class Following:
    """The first rank as another one sees it.

    Attributes:
        rank, size: this rank and how many there are.
        port: where the first rank listens, on the loopback interface.
    """

    def __init__(self, connection: Connection, rank: int, size: int, port: int) -> None:
        self.rank = rank
        self.size = size
        self.port = port
        self._connection = connection
        self._told: queue.SimpleQueue[Json] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="first rank", daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                self._told.put(json.loads(self._connection.recv_bytes()))
            except (EOFError, OSError):
                # The first rank is dead, and this one may wait for it for ever.
                os._exit(1)

    def told(self) -> Json:
        """The next message of the first rank."""
        return self._told.get()

    def wait_for(self, epoch: int) -> None:
        """Wait until the first rank has reported `epoch`, which may take a night where a disk is full."""
        while int(self.told()["epoch"]) < epoch:
            pass


def _run(connection: Connection, others: Sequence[Connection], order: TrialOrder, rank: int, port: int) -> None:
    """In the process of another rank: follow the first to the end, and say what went wrong."""
    for other in others:
        other.close()
    # A signal to the whole job is for the first rank, which saves what all of them have trained.
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    following = Following(connection, rank, len(order.devices), port)
    try:
        if order.device == "cpu":
            limit_memory(order.memory_limit_mb)
        follow: Callable[[TrialOrder, Following], Any] = getattr(import_module(order.target.partition(":")[0]), FOLLOW)
        follow(order, following)
    except Exception as error:  # noqa: BLE001 - the first rank says how the trial ended
        sys.excepthook(type(error), error, error.__traceback__)
        sys.stderr.flush()
        ending = classify(
            error, peak_memory_mb=peak_process_memory_mb(), memory_limit_mb=order.memory_limit_mb, log=order.paths.log
        )
        told = replace(ending, message=f"rank {rank}: {ending.message}")
        with contextlib.suppress(OSError):
            connection.send_bytes(json.dumps(told.frame()).encode())
