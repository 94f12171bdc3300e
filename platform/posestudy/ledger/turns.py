"""Whose turn it is to write to a SQLite file: processes queue up instead of asking again and again.

SQLite lets one writer in and makes the others poll, up to 100 ms apart, so that among many writers whoever comes just
now is faster than whoever has waited longest. Here they wait in the order in which the kernel keeps them. The turn is a
courtesy: what holds is SQLite's own lock, and who cannot get a turn soon writes without one.
"""

from __future__ import annotations

import fcntl
import io
import os
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_LONGEST_WAIT_S = 1.0
"""For a turn. A process that was frozen while it had one, or while it was next, holds the others up for no longer."""
_CLOSING_S = 0.1


class Turn:
    """The right to write to the SQLite file `path` next, among threads and processes of this host.

    A context manager for any number of threads. It raises nothing: where `path` lies in a folder that cannot be
    written, only the threads of this process take turns.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".turn")
        self._threads = threading.Lock()
        self._file: io.FileIO | None = None
        self._stuck: threading.Event | None = None
        self._holds = False

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            self._holds = self._taken()
        except BaseException:
            self._threads.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._holds and self._file is not None:
                with suppress(OSError):
                    fcntl.flock(self._file, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def close(self) -> None:
        """Close the file; the next turn opens it again. Where a write still hangs, it goes with the process."""
        if self._threads.acquire(timeout=_CLOSING_S):
            try:
                if self._file is not None:
                    self._file.close()
                    self._file = None
            finally:
                self._threads.release()

    def _taken(self) -> bool:
        if self._stuck is not None:
            if not self._stuck.is_set():
                # Whoever has the turn does not move: one of us in line is enough.
                return False
            self._stuck = None
        try:
            if self._file is None:
                # Reading is enough for a lock, also on the file of another user.
                descriptor = os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
                self._file = io.FileIO(descriptor)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._queued()
        except OSError:
            return False
        return True

    def _queued(self) -> bool:
        """Wait in line. The kernel knows no limit for that, so it is another thread that waits."""
        file, granted = self._file, threading.Event()

        def wait() -> None:
            if file is not None:
                with suppress(OSError):
                    fcntl.flock(file, fcntl.LOCK_EX)
            granted.set()

        try:
            threading.Thread(target=wait, name="turn to write", daemon=True).start()
        except RuntimeError:  # no thread to be had
            return False
        if granted.wait(_LONGEST_WAIT_S):
            return True
        # The place in line goes with the file, which nobody but that thread knows any more.
        self._file, self._stuck = None, granted
        return False
