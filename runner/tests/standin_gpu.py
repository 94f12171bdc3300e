"""Stand-in GPUs: folders in which stand-in trials write what they take, read as NVML would tell it."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from posestudy.durable import write_text
from posestudy_runner.gpu_readings import Reading, UnreadableError
from posestudy_runner.order import TrialOrder

NAME = "Stand-in GPU"
STRANGER = 1
"""The process id of somebody else's process: it lives as long as the machine."""


class StandinGpus:
    """The GPUs of a machine.

    Args:
        folder: where trials write what they take.
        count: how many there are.
        total_mb: memory of each.
        tells_processes: whether the driver says which process holds how much; it does not inside many containers.
    """

    def __init__(self, folder: Path, count: int = 1, total_mb: float = 10_000.0, *, tells_processes: bool = True):
        self.folder = folder
        self.names = [f"cuda:{index}" for index in range(count)]
        self.tells_processes = tells_processes
        self.lost: set[str] = set()
        self.asked = 0
        for name in self.names:
            (folder / name).mkdir(parents=True)
        (folder / "total_mb").write_text(str(total_mb))

    def probe(self, _starter: object) -> dict[str, Any]:
        """What a trial process with torch would find."""
        return {"problem": None, "gpus": [NAME] * len(self.names), "uuids": self.names}

    def strangers(self, name: str, mb: float) -> None:
        """Let somebody else's process hold so much of a GPU."""
        _hold(self.folder / name, STRANGER, mb, 0.0)

    def read(self, uuid: str) -> Reading:
        self.asked += 1
        if uuid in self.lost:
            raise UnreadableError("NVML: GPU is lost")
        holders = _holders(self.folder / uuid)
        total = float((self.folder / "total_mb").read_text())
        held = {pid: mb for pid, (mb, _) in holders.items() if mb}
        busy = min(1.0, sum(busy for _, busy in holders.values()))
        return Reading(total, total - sum(held.values()), busy, held if self.tells_processes else {})


def take(order: TrialOrder, mb: float, busy: float) -> None:
    """Have this process hold `mb` MiB of the order's GPU.

    Raises:
        RuntimeError: there is not so much left.
    """
    folder = Path(order.training["gpu_folder"]) / order.device
    with _locked(folder):
        others = sum(held for pid, (held, _) in _holders(folder).items() if pid != os.getpid())
        total = float((folder.parent / "total_mb").read_text())
        if others + mb > total:
            raise RuntimeError(f"CUDA out of memory. Tried to allocate {mb} MiB, {total - others} MiB are free")
        _hold(folder, os.getpid(), mb, busy)


def company(order: TrialOrder) -> int:
    """How many trials compute on the order's GPU, this one included."""
    return sum(pid != STRANGER for pid in _holders(Path(order.training["gpu_folder"]) / order.device))


def wait_for_company(order: TrialOrder, wanted: int, limit_s: float = 400.0) -> None:
    until = time.monotonic() + limit_s
    while company(order) < wanted:
        if time.monotonic() > until:
            raise TimeoutError(f"never {wanted} trials on {order.device}")
        time.sleep(0.01)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder.parent / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _hold(folder: Path, pid: int, mb: float, busy: float) -> None:
    write_text(folder / f"{pid}.json", json.dumps([mb, busy]))


def _holders(folder: Path) -> dict[int, tuple[float, float]]:
    found = {}
    for file in folder.glob("*.json"):
        if file.stem.isdecimal() and _lives(int(file.stem)):
            mb, busy = json.loads(file.read_text())
            found[int(file.stem)] = (mb, busy)
    return found


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
