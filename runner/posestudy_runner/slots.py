"""A slot of the pool and the process in it: the slot is free when the kernel says the process is gone, not before."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from posestudy.ledger.records import Json
from posestudy_runner.child import entry
from posestudy_runner.devices import Device
from posestudy_runner.forkserver import Starter


@dataclass(frozen=True)
class Slot:
    """A place for one trial at a time.

    Attributes:
        index: its number in the pool.
        device: where a trial trains that asks for one GPU.
        threads: computing threads of a trial, all of its ranks together.
        others: the devices that a trial on several GPUs takes beside `device`.
    """

    index: int
    device: Device
    threads: int
    others: tuple[Device, ...] = ()

    @property
    def devices(self) -> tuple[Device, ...]:
        """All that a trial here may take, the first one first."""
        return (self.device, *self.others)


class TrialProcess:
    """A trial process and the three ways to it: the control pipe, its pidfd and its process group.

    The exit code multiprocessing reports is not proof of death: after SIGKILL of the forkserver it is
    reported while the trial runs on. Only the pidfd decides.
    """

    def __init__(
        self,
        starter: Starter,
        order: Path,
        name: str,
        run: Callable[[Connection, str, str | None], None] = entry,
    ) -> None:
        self._starter = starter
        ours, theirs = starter.pipe()
        try:
            self._process = starter.start(run, (theirs, str(order), starter.preload), name)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.connection = ours
        self._sending = threading.Lock()
        self.pid = int(self._process.pid or 0)
        # The child does nothing before it is told to begin, so that it is alive, or dead, under this very pid here.
        try:
            self._pidfd: int | None = os.pidfd_open(self.pid)
        except ProcessLookupError:
            self._pidfd = None
        self.send({"type": "begin"})

    def fileno(self) -> int:
        """The pidfd, readable once the process is dead; for `multiprocessing.connection.wait`."""
        if self._pidfd is None:
            raise ProcessLookupError(f"process {self.pid} died before it began")
        return self._pidfd

    @property
    def alive(self) -> bool:
        return self._pidfd is not None and not wait([self._pidfd], 0)

    def wait_dead(self, timeout_s: float | None = None) -> bool:
        return self._pidfd is None or bool(wait([self._pidfd], timeout_s))

    def send(self, message: Json, *, patient: bool = True) -> None:
        """Tell the trial; safe from any thread. A trial that is gone hears nothing, which its pidfd reports anyway.

        Without patience nothing is sent while the pipe is full, as that of a frozen process is some day.
        """
        with self._sending, contextlib.suppress(OSError):
            if patient or self._has_room():
                self.connection.send_bytes(json.dumps(message).encode())

    def _has_room(self) -> bool:
        poll = select.poll()
        poll.register(self.connection, select.POLLOUT)
        return bool(poll.poll(0))

    def receive(self) -> Json | None:
        """The next message, or None when the trial closed its end."""
        try:
            message: Json = json.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            return None
        return message

    def drain(self) -> list[Json]:
        """What is left in the pipe of a dead process."""
        messages: list[Json] = []
        while True:
            try:
                if not self.connection.poll(0):
                    return messages
            except OSError:
                return messages
            message = self.receive()
            if message is None:
                return messages
            messages.append(message)

    def kill(self) -> None:
        """SIGKILL to the trial and to everything in its session: its data loaders die with it."""
        # The group is the trial's own since it called setsid; it outlives its leader while a loader runs.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> int | None:
        """Free the slot: kill what is left, wait for the kernel, give back descriptors. Returns the exit code."""
        self.kill()
        self.wait_dead()
        code = self._starter.exit_code(self._process)
        self._starter.forget(self._process)
        self.connection.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        return code
