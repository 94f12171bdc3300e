"""What all workers of one pool share."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Json
from posestudy_runner.display import Display
from posestudy_runner.forkserver import Starter
from posestudy_runner.order import TARGET
from posestudy_runner.steering import Steering
from posestudy_runner.stop import Stop

LEASE_S = 60.0


@dataclass(frozen=True)
class PoolOptions:
    """How a pool works; the defaults are what `launch` uses.

    Attributes:
        lease_s: seconds a trial stays with a worker that is not heard of; it renews three times as often.
        target: `module:function` that trains in the trial process.
        preload: module the forkserver imports; None for none.
        memory_limit_mb: MiB of its own memory a trial may take; None for no limit.
        poll_s: seconds between two looks into the ledger by a worker that has nothing to do.
        stop_grace_s: seconds a trial has for its step when it is asked to give way.
        disk_retry_s: seconds between two tries on a full disk.
        projects: whether to keep MLflow and Optuna's tables up to date meanwhile.
    """

    lease_s: float = LEASE_S
    start: str = "forkserver"
    target: str = TARGET
    preload: str | None = "posestudy_runner.preload"
    memory_limit_mb: float | None = None
    poll_s: float = 2.0
    stop_grace_s: float = 30.0
    disk_retry_s: float = 10.0
    projects: bool = True


@dataclass
class PoolContext:
    """One pool's ledger, study, places and ways to end."""

    ledger: Ledger
    study: str
    home: Home
    steering: Steering
    starter: Starter
    stop: Stop
    display: Display
    options: PoolOptions
    provenance: Json
    metric: str
    direction: str
    trial_limit_s: float | None = None
    budget_s: float | None = None
    advancing: threading.Lock = field(default_factory=threading.Lock)


def this_boot() -> str:
    """This machine, this boot and this process namespace: within it a process id names one process at a time."""
    parts = [socket.gethostname()]
    for source in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        path = Path(source)
        try:
            parts.append(os.readlink(path) if path.is_symlink() else path.read_text(encoding="ascii").strip())
        except OSError:
            parts.append("?")
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:8]


def _start_ticks(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command name in parentheses may hold spaces; the start time is the 20th field after it.
    return text.rpartition(")")[2].split()[19]


def owner_name(slot: int) -> str:
    """The name of a worker in the ledger: host, then what tells whether it still lives."""
    pid = os.getpid()
    return f"{socket.gethostname()}/{this_boot()}/{pid}/{_start_ticks(pid)}/{slot}"


def owner_is_dead(owner: str | None) -> bool:
    """Whether `owner` certainly lives no more: a process of this very machine and boot that is gone."""
    parts = (owner or "").split("/")
    if len(parts) != 5 or parts[:2] != [socket.gethostname(), this_boot()] or not parts[2].isdigit():
        return False
    return _start_ticks(int(parts[2])) != parts[3]
