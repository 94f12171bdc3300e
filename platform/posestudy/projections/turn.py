"""Taking turns: whoever sends to the projections holds the ledger's leased lock, renewed while it works."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from posestudy.errors import PoseStudyError
from posestudy.ledger import Ledger

LOCK = "projector"
LEASE_S = 120.0
"""Longer than one slow request with its retries; after a killed holder others wait this long at most."""

_RENEW_S = 10.0
_POLL_S = 0.5


class BusyError(PoseStudyError):
    """Another process kept the projector's lock for longer than this one was ready to wait."""


@contextmanager
def turn(ledger: Ledger, wait_s: float = LEASE_S + 10.0) -> Iterator[Callable[[], bool]]:
    """Hold the lock; yields a function that renews it and says whether it is still held.

    Raises BusyError where another process keeps it for `wait_s` seconds.
    """
    holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    deadline = time.monotonic() + wait_s
    while not ledger.lock(LOCK, holder, LEASE_S):
        if time.monotonic() >= deadline:
            raise BusyError(
                f"another posestudy process has been sending to MLflow and Optuna for {wait_s:.0f} s; expected it to "
                "let go between two passes. Wait for it, or end it if it hangs."
            )
        time.sleep(_POLL_S)
    renewed = time.monotonic()

    def keep() -> bool:
        nonlocal renewed
        if time.monotonic() - renewed > _RENEW_S:
            if not ledger.lock(LOCK, holder, LEASE_S):
                return False
            renewed = time.monotonic()
        return True

    try:
        yield keep
    finally:
        ledger.unlock(LOCK, holder)
