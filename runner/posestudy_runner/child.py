"""The first function of a trial process: a session of its own, its log, its control pipe; then the order's target."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from posestudy.durable import is_full
from posestudy.journal import JournalWriter
from posestudy.ledger.records import Json
from posestudy.vocabulary import Outcome
from posestudy_runner.control import Control
from posestudy_runner.forkserver import preload_problem
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending, classify, limit_memory, peak_process_memory_mb
from posestudy_runner.ranks import Followers, ended_by

UNREAD_RETRY_S = 10.0
"""Between two tries to read the order."""
RANK_PATIENCE_S = 2.0
"""How long after an error it may turn out that another rank is gone."""


def entry(connection: Connection, order_path: str, preload: str | None) -> None:
    """Run one attempt and say how it ended. Whatever is raised in the target becomes an ending.

    Args:
        connection: the trial's end of the control pipe; nothing happens before `begin` arrives there.
        order_path: the order file.
        preload: the module the forkserver must have loaded; None where there is no forkserver.
    """
    # A session and process group of its own: Ctrl-C in the terminal goes to the pool alone, and one signal to
    # the group reaches every data loader.
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        connection.recv_bytes()
    except (EOFError, OSError):
        return
    begun = _begin(connection, Path(order_path))
    if begun is None:
        return
    order, control = begun
    problem = preload_problem(preload)
    if problem is not None:
        control.say({"type": "unusable", "why": problem})
        return
    if len(order.devices) > 1:
        # Before there is another thread: a forked process has none but the one that forked it.
        try:
            control.followers = Followers(order, control.end)
        except OSError as error:
            _tell(connection, {"type": "not_now", "why": f"the ranks of the trial could not be started: {error}"})
            return
        control.followers.watch()
    control.listen()
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda signum, _frame: control.stop(f"signal {signal.Signals(signum).name}"))
    ending = _run(order, control)
    if control.followers is not None:
        control.followers.dismiss()
    control.end(ending)
    sys.stdout.flush()
    sys.stderr.flush()


def _begin(connection: Connection, order_path: Path) -> tuple[TrialOrder, Control] | None:
    """Read the order, open log and journal; waits while the disk is full. None where it came to nothing."""
    retry_s = UNREAD_RETRY_S
    while True:
        try:
            order = TrialOrder.read(order_path)
            retry_s = order.disk_retry_s
            redirect(order.paths.log)
            journal = JournalWriter(order.paths.journal)
        except (OSError, ValueError, KeyError, TypeError) as error:
            if not is_full(error):
                _tell(connection, {"type": "not_now", "why": f"the attempt could not be started: {error}"})
                return None
            _tell(connection, {"type": "paused", "why": f"the disk is full ({error}); free some space to go on"})
        else:
            left = None if order.limit_s is None else order.limit_s - order.used_s
            control = Control(connection, journal, limit_s=left, disk_retry_s=order.disk_retry_s, lease_s=order.lease_s)
            return order, control
        if (why := _told_to_stop(connection, retry_s)) is not None:
            _tell(connection, Ending(None, why).frame())
            return None


def _told_to_stop(connection: Connection, seconds: float) -> str | None:
    until = time.monotonic() + seconds
    try:
        while connection.poll(max(0.0, until - time.monotonic())):
            told = json.loads(connection.recv_bytes())
            if told["type"] == "stop":
                return str(told["why"])
    except (EOFError, OSError):
        return "the worker is gone"
    return None


def _tell(connection: Connection, message: Json) -> None:
    with contextlib.suppress(OSError):
        connection.send_bytes(json.dumps(message).encode())


def _run(order: TrialOrder, control: Control) -> Ending:
    try:
        if order.device == "cpu":
            limit_memory(order.memory_limit_mb)
        return resolve(order.target)(order, control)
    except Exception as error:  # noqa: BLE001 - every way a trial can end is classified here
        # The log is what the user reads: the traceback belongs in it, and the last lines of it into the message.
        sys.excepthook(type(error), error, error.__traceback__)
        sys.stderr.flush()
        ending = classify(
            error,
            log=order.paths.log,
            peak_memory_mb=peak_process_memory_mb(),
            memory_limit_mb=order.memory_limit_mb,
        )
    # A signal to the whole job ends the data loaders first, and the trial fails for the want of them.
    if ending.outcome is Outcome.FAILED and (why := control.asked_to_stop()) is not None:
        return Ending(None, why, ending.peak_memory_mb)
    # What goes wrong in one rank goes wrong in all, and the others only complain of a closed connection.
    if ending.outcome is Outcome.FAILED and control.followers is not None:
        loss = control.followers.lost(RANK_PATIENCE_S)
        if loss is not None and loss.ending is None:
            ended_by(loss)
        return ending if loss is None or loss.ending is None else loss.ending
    return ending


def resolve(target: str) -> Callable[[TrialOrder, Control], Ending]:
    """The function that `module:function` names."""
    module, _, name = target.partition(":")
    function: Callable[[TrialOrder, Control], Ending] = getattr(importlib.import_module(module), name)
    return function


def redirect(log: Path) -> None:
    """What this process and its children print goes to the end of `log` from now on, as far as the disk has room."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout, sys.stderr = _stream(1), _stream(2)


class _LogFile(io.FileIO):
    """A log that a full disk cuts short: what is printed is worth less than the training that prints it."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if not is_full(error):
                raise
            return memoryview(data).nbytes


def _stream(descriptor: int) -> io.TextIOWrapper:
    raw = _LogFile(descriptor, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "backslashreplace", line_buffering=True)
