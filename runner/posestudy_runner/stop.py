"""One request to end, seen by every thread of a pool: first politely, then at once."""

from __future__ import annotations

from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait


class Stop:
    """A flag with two levels, each with a connection that becomes and stays readable; safe in a signal handler."""

    def __init__(self) -> None:
        self.politely, self._ask = Pipe(duplex=False)
        self.at_once, self._demand = Pipe(duplex=False)
        self.why = ""

    def request(self, why: str) -> None:
        """First call: give leases back in good order. Second call: kill."""
        if not self.why:
            self.why = why
            self._ask.send_bytes(b"stop")
        else:
            self._demand.send_bytes(b"kill")

    def now(self, why: str) -> None:
        """Kill without asking first."""
        self.request(why)
        self.request(why)

    @property
    def requested(self) -> bool:
        return bool(wait([self.politely], 0))

    @property
    def demanded(self) -> bool:
        return bool(wait([self.at_once], 0))

    def unheard(self) -> Connection | None:
        """What to wait for to hear the next level of the request; None when there is none."""
        if self.demanded:
            return None
        return self.at_once if self.requested else self.politely

    def pause(self, seconds: float) -> bool:
        """Sleep up to `seconds`; True where the pool is to end."""
        return bool(wait([self.politely], seconds))

    def pause_although_requested(self, seconds: float) -> bool:
        """Sleep up to `seconds` although an end is requested; True where it must be at once."""
        return bool(wait([self.at_once], seconds))
