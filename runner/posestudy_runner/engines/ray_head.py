"""Whether the head of a Ray cluster is there: a call that needs it waits a minute, then Ray ends the whole process."""

from __future__ import annotations

import socket
import time

_ANSWER_S = 2.0
LOOK_S = 5.0
GONE_S = 20.0
"""So long without an answer the head counts as gone; before Ray's minute is over, trials must be saved."""


def connect(address: str, timeout_s: float) -> None:
    """Raises OSError or OverflowError where nobody answers at `address`, as `HOST:PORT`, within so many seconds."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s).close()


class Head:
    """The head at `address`, asked every `LOOK_S` seconds."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._looked = time.monotonic()
        self._silent_since: float | None = None

    def silent_s(self, *, now: bool = False) -> float:
        """For how many seconds it has not answered; 0.0 where it does, by a look of this moment if `now`."""
        if now or time.monotonic() - self._looked >= LOOK_S:
            asked = time.monotonic()
            try:
                connect(self.address, _ANSWER_S)
                self._silent_since = None
            except OSError:
                self._silent_since = self._silent_since or asked
            self._looked = time.monotonic()
        return 0.0 if self._silent_since is None else time.monotonic() - self._silent_since
