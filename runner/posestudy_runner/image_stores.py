"""The folder of the stores of decoded images: its lock, what lies there, and room made by removing what nobody uses.

A store is in use as long as some process holds a shared `flock` on it; the lock goes with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".images"
TABLE_BYTES = 1 << 24
"""What a store has before its pixels; mostly a hole, so no room is counted for it."""

_BLOCK = 512
"""Unit of `st_blocks`, bytes, whatever the block of the file system."""
_POLL_S = 0.0005


class BusyError(OSError):
    """Another process holds the lock of the folder."""


@dataclass(frozen=True)
class StoreFile:
    """A store on the disk.

    Attributes:
        path: the file.
        size: what it takes of the disk, bytes.
        promised: what its pixels may grow to without asking for room again, bytes.
        used: when a trial last began to use it or wrote into it, seconds since the epoch.
    """

    path: Path
    size: int
    promised: int
    used: float


@contextmanager
def locked(folder: Path, wait_s: float) -> Iterator[None]:
    """Alone among the processes of this machine that make, give out room in, or remove stores in `folder`.

    The lock is on the folder itself, so that there is no file that could be removed under those who hold it.

    Raises:
        BusyError: others held it for `wait_s` seconds, as a process that was frozen would: nobody waits for ever.
        OSError: the folder is not there.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        limit = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= limit:
                    raise BusyError(f"the lock of {folder} is held by another process") from error
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


def is_store(path: Path) -> bool:
    """Whether `path` is named as a store; one that is being made has a leading dot."""
    return path.suffix == SUFFIX and not path.name.startswith(".")


def stores(folder: Path) -> list[StoreFile]:
    """The stores in `folder`, the least recently used first; none where there is no folder."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if is_store(Path(entry.path)):
                with suppress(OSError):
                    state = entry.stat(follow_symlinks=False)
                    promised = max(0, state.st_size - TABLE_BYTES)
                    size = state.st_blocks * _BLOCK
                    found.append(StoreFile(Path(entry.path), size, max(promised, size), state.st_mtime))
    return sorted(found, key=lambda store: (store.used, store.path.name))


def in_use(store: Path) -> bool:
    """Whether a process has `store` open; False where it is gone. To be called with the folder `locked`."""
    try:
        descriptor = os.open(store, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def remove(store: Path) -> bool:
    """Remove `store` unless it is in use; returns whether it is gone. To be called with the folder `locked`.

    Raises:
        OSError: it may not be removed.
    """
    if in_use(store):
        return False
    store.unlink(missing_ok=True)
    return True


def make_room(folder: Path, wanted: int, limit: int) -> int:
    """How many bytes stores in `folder` may grow by, after removing what it takes to get `wanted`.

    All of them together take `limit` bytes at most, and never more than they leave free on the disk. Removed are whole
    stores that are not in use, the least recently used first. To be called with the folder `locked`.

    Raises:
        OSError: the disk cannot be asked.
    """
    room = _room(folder, limit)
    for store in stores(folder):
        if room >= wanted:
            break
        with suppress(OSError):
            if remove(store.path):
                room = _room(folder, limit)
    return max(0, room)


def _room(folder: Path, limit: int) -> int:
    present = stores(folder)
    disk = os.statvfs(folder)
    unused = disk.f_bavail * disk.f_frsize
    half = (unused + sum(store.size for store in present)) // 2
    return min(limit, half) - sum(store.promised for store in present)
