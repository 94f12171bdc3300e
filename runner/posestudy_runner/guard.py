"""What must reach a trial in time whatever its worker waits for: heartbeats, a request to stop, the end of its time."""

from __future__ import annotations

import math
import threading
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait

from posestudy_runner.boot_clock import boot_time
from posestudy_runner.slots import TrialProcess
from posestudy_runner.stop import Stop

BEATS_A_LEASE = 6


class Guard:
    """A thread beside the one that speaks SQL, which may wait for its ledger by the minute.

    A heartbeat says until when the trial may train on. That is the end of the lease as it was last confirmed; where the
    ledger has not answered for long, a third of a lease from now, since training goes on during an outage. A worker
    that was frozen itself promises nothing before its ledger was asked again: another may have the trial by now.

    Args:
        process: the trial.
        stop: the pool's request to end.
        lease_s: seconds a renewal lasts.
        grace_s: seconds a trial has for its step when it is asked to stop.
        confirmed: `boot_time()` just before the lease was granted.
        limit_s: seconds until the trial is killed; None for no limit.
    """

    def __init__(
        self,
        process: TrialProcess,
        stop: Stop,
        *,
        lease_s: float,
        grace_s: float,
        confirmed: float,
        limit_s: float | None = None,
    ) -> None:
        self._process = process
        self._stop = stop
        self._lease_s = lease_s
        self._grace_s = grace_s
        self._lock = threading.Lock()
        self._confirmed = self._asked = self._beaten = confirmed
        self._awoke: float | None = None
        self._waits_since: float | None = None
        self._kill_at = None if limit_s is None else boot_time() + limit_s
        self._woken, self._wake = Pipe(duplex=False)
        self._leaving = False
        self.stop_sent = False
        self.out_of_time = False
        self._thread = threading.Thread(target=self._run, name="guard", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Let the process go its way; returns when the thread is gone."""
        self._leaving = True
        self._wake.send_bytes(b"end")
        self._thread.join()
        self._wake.close()
        self._woken.close()

    def renewed(self, asked: float, *, answered: bool) -> None:
        """The ledger was asked at `asked` (`boot_time()`) to renew the lease, and said yes, or could not be reached."""
        with self._lock:
            self._asked = max(self._asked, asked)
            if answered:
                self._confirmed = max(self._confirmed, asked)

    def paused(self, seconds: float) -> None:
        """The trial waits so long for room on the disk, which is not its time."""
        with self._lock:
            if self._kill_at is not None and not self.stop_sent:
                self._kill_at += seconds

    def waits(self, *, waits: bool) -> None:
        """The trial waits for an answer from now on, or has it: what is between is not its time."""
        now = boot_time()
        with self._lock:
            if self._waits_since is not None and self._kill_at is not None and not self.stop_sent:
                self._kill_at += now - self._waits_since
            self._waits_since = now if waits else None

    def all_is_said(self) -> None:
        """What still runs now is the interpreter's way out, which may hang: it gets the grace time."""
        with self._lock:
            self._kill_at, self._waits_since = boot_time() + self._grace_s, None
        # It may be gone already: what a dead process wrote last is read after it.
        with suppress(OSError):
            self._wake.send_bytes(b"look")

    def _run(self) -> None:
        process, stop = self._process, self._stop
        while process.alive and not self._leaving:
            self._beat()
            if stop.demanded:
                process.kill()
                return
            if stop.requested and not self.stop_sent:
                self.stop_sent = True
                with self._lock:
                    self._kill_at = boot_time() + self._grace_s
                process.send({"type": "stop", "why": stop.why})
            if self._left() <= 0:
                self.out_of_time = not self.stop_sent
                process.kill()
                return
            sources: list[int | Connection] = [process.fileno(), self._woken]
            if (unheard := stop.unheard()) is not None:
                sources.append(unheard)
            if self._woken in wait(sources, self._timeout()):
                self._woken.recv_bytes()

    def _timeout(self) -> float:
        return max(0.0, min(self._lease_s / BEATS_A_LEASE, self._left()))

    def _left(self) -> float:
        """Seconds until the trial is killed."""
        with self._lock:
            its_own = self._waits_since is None or self.stop_sent
            return math.inf if self._kill_at is None or not its_own else self._kill_at - boot_time()

    def _beat(self) -> None:
        now, lease = boot_time(), self._lease_s
        with self._lock:
            asleep_s, self._beaten = now - self._beaten, now
            if asleep_s > lease / 3:
                self._awoke = now
                # The trial's time does not run while nobody could have told it anything.
                if self._kill_at is not None and not self.stop_sent:
                    self._kill_at += asleep_s
            until = self._confirmed + lease
            if until - now < lease / 3:
                if self._awoke is not None and self._asked <= self._awoke:
                    return
                # Enough until the next beats. A whole lease would let the trial of a worker that freezes just now train
                # on for long after another may have taken it.
                until = now + lease / 3
        self._process.send({"type": "alive", "until": until}, patient=False)
