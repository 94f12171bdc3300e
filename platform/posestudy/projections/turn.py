"""Taking turns: whoever sends to the projections holds the ledger's leased lock, renewed while it works."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from posestudy.errors import LedgerError, LedgerUnavailableError, PoseStudyError
from posestudy.ledger import Ledger
from posestudy.ledger.records import ProjectedRun
from posestudy.process_start import start_ticks

LOCK = "projector"
LEASE_S = 120.0
"""Longer than one slow request; where a holder is frozen, others wait this long at most."""

_RENEW_S = 10.0
_POLL_S = 0.5


class BusyError(PoseStudyError):
    """Another process kept the projector's lock for longer than this one was ready to wait."""


class TurnLostError(Exception):
    """Somebody else holds the lock by now and goes on with the work."""


class Turn:
    """The right to send.

    Args:
        holder: under what name the lock is held; None where nobody else can be sending.
        keep: renews the lock and says whether it is still held.
    """

    def __init__(self, holder: str | None = None, keep: Callable[[], bool] = lambda: True) -> None:
        self._holder = holder
        self.keep = keep

    def record(self, ledger: Ledger, run: ProjectedRun) -> None:
        """Write how far a trial was sent; TurnLostError, and nothing written, where the lock is another's."""
        if not ledger.put_projected(run, None if self._holder is None else (LOCK, self._holder)):
            raise TurnLostError


@contextmanager
def turn(ledger: Ledger, wait_s: float = LEASE_S + 10.0) -> Iterator[Turn]:
    """Hold the lock, which a thread renews meanwhile: a single request may take longer than the lease.

    Raises BusyError where another process keeps it for `wait_s` seconds.
    """
    holder = f"{_this_process()}/{uuid.uuid4().hex[:8]}"
    _wait_for(ledger, holder, wait_s)
    renewed = time.monotonic()
    over = threading.Event()

    def keep() -> bool:
        nonlocal renewed
        if time.monotonic() - renewed > _RENEW_S:
            if not ledger.relock(LOCK, holder, LEASE_S):
                return False
            renewed = time.monotonic()
        return True

    def renew() -> None:
        while not over.wait(LEASE_S / 4):
            # Not reached: the lease may run out, and whoever sends is told when it records what it sent.
            with suppress(LedgerError):
                ledger.relock(LOCK, holder, LEASE_S)

    threading.Thread(target=renew, name="projector's lock", daemon=True).start()
    try:
        yield Turn(holder, keep)
    finally:
        over.set()
        with suppress(LedgerUnavailableError):
            ledger.unlock(LOCK, holder)


def _wait_for(ledger: Ledger, holder: str, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while not ledger.lock(LOCK, holder, LEASE_S):
        other = ledger.lock_holder(LOCK)
        if other is not None and _is_dead(other):
            ledger.unlock(LOCK, other)
            continue
        if time.monotonic() >= deadline:
            raise BusyError(
                f"another posestudy process has been sending to MLflow and Optuna for {wait_s:.0f} s; expected it to "
                "let go between two passes. Wait for it, or end it if it hangs."
            )
        time.sleep(_POLL_S)


def _this_process() -> str:
    return f"{_machine()}/{os.getpid()}/{start_ticks(os.getpid())}"


def _machine() -> str:
    """Host, boot and process namespace: within them a process id and its start name one process."""
    boot, namespace = "?", "?"
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = os.readlink("/proc/self/ns/pid")
    scope = hashlib.sha256(f"{boot}/{namespace}".encode()).hexdigest()[:12] if "?" not in (boot, namespace) else "?"
    return f"{socket.gethostname()[:60]}/{scope}"


def _is_dead(holder: str) -> bool:
    """Whether `holder` certainly lives no more: a process of this machine and boot that is gone."""
    machine, _, rest = holder.rpartition("/")[0].rpartition("/")
    machine, _, pid = machine.rpartition("/")
    return machine == _machine() and "?" not in machine and pid.isdigit() and start_ticks(int(pid)) != rest
