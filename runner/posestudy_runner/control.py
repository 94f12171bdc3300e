"""The trial's end of the control pipe: what it says, what it is told, and that it never outlives its worker."""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from posestudy.durable import is_full
from posestudy.journal import JournalWriter
from posestudy.ledger.records import Json
from posestudy_runner.boot_clock import boot_time
from posestudy_runner.outcomes import Ending, Paused, Preempted, Pruned, TimeLimit

if TYPE_CHECKING:
    from posestudy_runner.ranks import Followers

Result = TypeVar("Result")


def die() -> None:
    """End this process at once, and its data loaders with it where it leads a group of its own."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


class Control:
    """Frames out, orders in. `check` and `ask` raise the ending the worker asked for.

    Args:
        connection: the trial's end of the pipe.
        journal: where every frame is kept before it is said.
        limit_s: seconds of training left to the trial; None for no limit.
        disk_retry_s: seconds between two tries on a full disk.
        lease_s: seconds the trial may train on without a word from its worker; None for ever.
    """

    def __init__(
        self,
        connection: Connection,
        journal: JournalWriter,
        *,
        limit_s: float | None = None,
        disk_retry_s: float = 10.0,
        lease_s: float | None = None,
    ) -> None:
        self._connection = connection
        self._journal = journal
        self._disk_retry_s = disk_retry_s
        self._ends_at = None if limit_s is None else time.monotonic() + limit_s
        self.followers: Followers | None = None
        """The other ranks, where the trial has several."""
        self.waited_s = 0.0
        """Seconds the trial could not train, on a full disk or waiting for its worker's word; no limit counts them."""
        # Set by the listening thread alone.
        self._may_train_until = math.inf if lease_s is None else boot_time() + lease_s
        self._answered = 0  # the last epoch after which the worker said to go on
        # SimpleQueue may be filled from a signal handler; a Condition or an Event may deadlock there.
        self._told: queue.SimpleQueue[Json] = queue.SimpleQueue()

    def listen(self, worker_gone: Callable[[], None] = die) -> None:
        """Hear the worker from now on; `worker_gone` is called when its end of the pipe closes."""
        threading.Thread(target=self._listen, args=(worker_gone,), name="control", daemon=True).start()

    def _listen(self, worker_gone: Callable[[], None]) -> None:
        while True:
            try:
                told = json.loads(self._connection.recv_bytes())
                if told["type"] == "alive":
                    # Until when, by the worker's word: one that lay in the pipe while this process was frozen is stale.
                    self._may_train_until = max(self._may_train_until, float(told["until"]))
                self._told.put(told)
            except (EOFError, OSError):
                # The worker is dead, and another may hold this trial's lease soon.
                return worker_gone()

    def stop(self, why: str) -> None:
        """Ask the trial to give way at its next step; safe in a signal handler."""
        self._told.put({"type": "stop", "why": why})

    def say(self, frame: Json) -> None:
        """Tell the worker; where it is gone, `listen` ends the process."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.send_bytes(json.dumps(frame).encode())

    def record(self, frame: Json) -> None:
        """Keep `frame` in the journal, then tell the worker; waits while the disk is full.

        After an epoch it also waits while the worker is not heard of for longer than its lease: another may have taken
        the trial over, and nobody would want what is trained here.
        """
        self.written(lambda: self._journal.append(frame))
        self.say(frame)
        if frame["type"] == "epoch":
            self._wait_for_worker()

    def _wait_for_worker(self) -> None:
        if boot_time() <= self._may_train_until:
            return
        print("waiting: the worker is not heard of, and another may have taken this trial over", flush=True)
        with self._waiting():
            while boot_time() > self._may_train_until:
                with contextlib.suppress(queue.Empty):
                    self._obey(self._told.get(timeout=1.0))
        print("going on: the worker is heard of again", flush=True)

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        since = time.monotonic()
        try:
            yield
        finally:
            waited_s = time.monotonic() - since
            self.waited_s += waited_s
            if self._ends_at is not None:
                self._ends_at += waited_s

    def end(self, ending: Ending) -> None:
        """The last frame. A full disk must not keep a trial from ending: the worker then hears it by pipe only."""
        with contextlib.suppress(OSError):
            self._journal.append(ending.frame())
        self.say(ending.frame())

    def asked_to_stop(self, patience_s: float = 1.0) -> str | None:
        """Why the trial is to give way, where it is; for an error that may come of the same signal a moment before."""
        until = time.monotonic() + patience_s
        while (left := until - time.monotonic()) > 0:
            try:
                self._obey(self._told.get(timeout=left))
            except (queue.Empty, Pruned, Paused):
                continue
            except Preempted as asked:
                return str(asked)
        return None

    def check(self) -> None:
        """Raise where the trial has to end now.

        Raises:
            Preempted, Pruned, Paused, TimeLimit: what it ends with.
        """
        with contextlib.suppress(queue.Empty):
            while True:
                self._obey(self._told.get_nowait())
        self._check_time()

    def ask(self, epoch: int) -> None:
        """Wait for the worker's answer to the frame of `epoch`; returns to go on, raises as `check` does."""
        with self._waiting():
            while self._answered < epoch:
                with contextlib.suppress(queue.Empty):
                    self._obey(self._told.get(timeout=1.0))

    def written(self, write: Callable[[], Result], temporary: Path | None = None) -> Result:
        """What `write` returns, tried again while the disk is full; the lease is renewed by the worker meanwhile.

        Args:
            write: writes one file, whole or not at all.
            temporary: removed after a failure, so that the half-written file does not fill the disk itself.
        """
        while True:
            try:
                return write()
            except OSError as error:
                if temporary is not None:
                    temporary.unlink(missing_ok=True)
                if not is_full(error):
                    raise
                self.say({"type": "paused", "why": f"the disk is full ({error.strerror}); free some space to go on"})
            self._pause(self._disk_retry_s)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        with self._waiting():
            while (left := until - time.monotonic()) > 0:
                with contextlib.suppress(queue.Empty):
                    self._obey(self._told.get(timeout=left))

    def _obey(self, told: Json) -> None:
        if told["type"] == "stop":
            raise Preempted(str(told.get("why") or "the worker was asked to stop"))
        if told["type"] == "prune":
            raise Pruned(f"pruned after epoch {told['epoch']}")
        if told["type"] == "pause":
            raise Paused(f"paused after epoch {told['epoch']}")
        if told["type"] == "go":
            self._answered = int(told["epoch"])

    def _check_time(self) -> None:
        if self._ends_at is not None and time.monotonic() > self._ends_at:
            raise TimeLimit("the trial reached the time limit of budget.trial_hours")
