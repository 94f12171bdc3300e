"""The first function of a trial process: a session of its own, its log, its control pipe; then the order's target."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from posestudy.journal import JournalWriter
from posestudy_runner.control import Control
from posestudy_runner.forkserver import preload_problem
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending, classify, limit_memory, peak_process_memory_mb


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
    order = TrialOrder.read(Path(order_path))
    redirect(order.paths.log)
    left = None if order.limit_s is None else order.limit_s - order.used_s
    control = Control(connection, JournalWriter(order.paths.journal), limit_s=left, disk_retry_s=order.disk_retry_s)
    control.listen()
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda signum, _frame: control.stop(f"signal {signal.Signals(signum).name}"))
    problem = preload_problem(preload)
    if problem is not None:
        control.say({"type": "unusable", "why": problem})
        return
    control.end(_run(order, control))
    sys.stdout.flush()
    sys.stderr.flush()


def _run(order: TrialOrder, control: Control) -> Ending:
    try:
        if order.device == "cpu":
            limit_memory(order.memory_limit_mb)
        return resolve(order.target)(order, control)
    except Exception as error:  # noqa: BLE001 - every way a trial can end is classified here
        # The log is what the user reads: the traceback belongs in it, and the last lines of it into the message.
        sys.excepthook(type(error), error, error.__traceback__)
        sys.stderr.flush()
        return classify(
            error,
            log=order.paths.log,
            peak_memory_mb=peak_process_memory_mb(),
            memory_limit_mb=order.memory_limit_mb,
        )


def resolve(target: str) -> Callable[[TrialOrder, Control], Ending]:
    """The function that `module:function` names."""
    module, _, name = target.partition(":")
    function: Callable[[TrialOrder, Control], Ending] = getattr(importlib.import_module(module), name)
    return function


def redirect(log: Path) -> None:
    """Everything this process and its children print goes to the end of `log` from now on."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
