"""Instants: the preloaded library that logs syncs and renames and stops a process at the call the campaign names."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_LAYOUT = struct.Struct("<iiiii16s200s")
_ARMED, _HIT, _STASHED = 0, 8, 12


@dataclass(frozen=True)
class Instant:
    """Before or after the n-th call of its kind on a path that holds `path`.

    Attributes:
        call: `sync` (fsync or fdatasync), `rename` or `commit` (a COMMIT sent to PostgreSQL).
    """

    call: str
    path: str
    after: bool
    countdown: int = 1

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.call} of {self.path or 'a transaction'}"


class Trap:
    """The trap in `folder`, for processes started with `environment`, which touch files below `root`."""

    def __init__(self, folder: Path, root: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise RuntimeError("the campaign compiles its library and finds no C compiler: apt-get install gcc")
        self.library = folder / "instants.so"
        self.events, self.stash = folder / "events", folder / "stash"
        self.stash.mkdir()
        source = Path(__file__).with_name("instants.c")
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(self.library), str(source), "-ldl"], check=True)
        shared = folder / "trap"
        shared.write_bytes(bytes(_LAYOUT.size))
        with shared.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _LAYOUT.size)
        self.environment = {
            "LD_PRELOAD": str(self.library),
            "FAULTS_ROOT": str(root),
            "FAULTS_LOG": str(self.events),
            "FAULTS_TRAP": str(shared),
            "FAULTS_STASH": str(self.stash),
        }

    def arm(self, instant: Instant) -> None:
        """Stop the process that makes this call next."""
        self._set(_ARMED, 0)
        stashed = self._get(_STASHED)
        layout = (0, instant.countdown, 0, stashed, int(instant.after), instant.call.encode(), instant.path.encode())
        self._memory[:] = _LAYOUT.pack(*layout)
        self._set(_ARMED, 1)

    def wait(self, limit_s: float) -> int | None:
        """The process that stopped there; None, and nothing armed any more, where none came by in `limit_s` seconds."""
        ends = time.monotonic() + limit_s
        while not (pid := self._get(_HIT)) and time.monotonic() < ends:
            time.sleep(0.005)
        self._set(_ARMED, 0)
        return pid or self._get(_HIT) or None

    def _get(self, offset: int) -> int:
        return int(struct.unpack_from("<i", self._memory, offset)[0])

    def _set(self, offset: int, number: int) -> None:
        struct.pack_into("<i", self._memory, offset, number)


def stopped(pid: int) -> bool:
    """Whether the process is stopped by a signal."""
    return _state(pid) == "T"


def alive(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    return _state(pid) not in ("", "Z", "X")


def _state(pid: int) -> str:
    """The kernel's letter for it; empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return ""
