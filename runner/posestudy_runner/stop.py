"""One request to end, seen by every thread of a pool: first politely, then at once."""

from __future__ import annotations

import os
from multiprocessing.connection import wait


class Stop:
    """A flag with two levels, each with a descriptor that becomes and stays readable; safe in a signal handler."""

    def __init__(self) -> None:
        self._requested = os.pipe()
        self._at_once = os.pipe()
        self.why = ""

    def request(self, why: str) -> None:
        """First call: give leases back in good order. Second call: kill."""
        if not self.why:
            self.why = why
            os.write(self._requested[1], b"x")
        else:
            os.write(self._at_once[1], b"x")

    def now(self, why: str) -> None:
        """Kill without asking first."""
        self.request(why)
        self.request(why)

    @property
    def requested(self) -> bool:
        return bool(wait([self._requested[0]], 0))

    @property
    def at_once(self) -> bool:
        return bool(wait([self._at_once[0]], 0))

    @property
    def requested_fd(self) -> int:
        return self._requested[0]

    @property
    def at_once_fd(self) -> int:
        return self._at_once[0]

    def pause(self, seconds: float) -> bool:
        """Sleep up to `seconds`; True where the pool is to end."""
        return bool(wait([self._requested[0]], seconds))

    def pause_despite_request(self, seconds: float) -> bool:
        """Sleep up to `seconds` although an end is requested; True where it must be at once."""
        return bool(wait([self._at_once[0]], seconds))

    def close(self) -> None:
        for descriptor in (*self._requested, *self._at_once):
            os.close(descriptor)
