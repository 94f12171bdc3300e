"""What wakes the idle workers of a pool before their next look into the ledger is due."""

from __future__ import annotations

import threading
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait

from posestudy_runner.stop import Stop


class Bell:
    """Rung by a worker after which others may find something to claim; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rung = 0
        self._asleep: list[Connection] = []

    @property
    def rung(self) -> int:
        """How often it was rung so far."""
        return self._rung

    def ring(self) -> None:
        """Wake all who sleep."""
        with self._lock:
            self._rung += 1
            for sleeper in self._asleep:
                sleeper.send_bytes(b"wake")
            self._asleep.clear()

    def sleep(self, seconds: float, stop: Stop, heard: int) -> None:
        """Sleep up to `seconds`, until it is rung, or until the pool is to end.

        Args:
            seconds: at most.
            stop: the pool's request to end.
            heard: `rung` as it was before the sleeper looked; where it was rung since, there is no sleep.
        """
        mine, wake = Pipe(duplex=False)
        with mine, wake:
            with self._lock:
                if self._rung != heard:
                    return
                self._asleep.append(wake)
            wait([mine, stop.politely], seconds)
            with self._lock:
                if wake in self._asleep:
                    self._asleep.remove(wake)
