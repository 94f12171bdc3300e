"""What all workers of one pool share."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Json, Snapshot
from posestudy.process_start import start_ticks
from posestudy_runner.bell import Bell
from posestudy_runner.display import Display
from posestudy_runner.forkserver import Starter
from posestudy_runner.gpu_readings import GpuReader, Nvml
from posestudy_runner.order import TARGET
from posestudy_runner.packing import SAMPLE_S, Packing
from posestudy_runner.packing_rules import PerGpu
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
        cores: cores that the trials on the CPU, or of all GPUs, share; None: those of this machine.
        needs_gpu: whether to refuse to train on the CPU.
        per_gpu: trials at a time on one GPU, or `auto`; None: as many as it takes for all workers, else one.
        notify: the user's command for what happens in the study; None: nobody is told.
        gpu_reader: what tells of GPUs; read every `gpu_sample_s` seconds where trials share them.
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
    cores: int | None = None
    needs_gpu: bool = False
    per_gpu: PerGpu | None = None
    notify: str | None = None
    gpu_reader: GpuReader = field(default_factory=Nvml)
    gpu_sample_s: float = SAMPLE_S


@dataclass
class PoolContext:
    """One pool's ledger, study, places and ways to end.

    Attributes:
        profiles: what its trials have found networks to cost, by the cost class they said it with.
        packing: who is let onto GPUs that trials share; None where none is shared.
        seen: hears of every look at the study, to tell the user of what happened.
        halt_told: whether the user was told that no further trial starts.
    """

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
    profiles: dict[str, Json] = field(default_factory=dict)
    packing: Packing | None = None
    seen: Callable[[Snapshot], None] | None = None
    halt_told: bool = False
    advancing: threading.Lock = field(default_factory=threading.Lock)
    bell: Bell = field(default_factory=Bell)


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


def owner_name(slot: int) -> str:
    """The name of a worker in the ledger: host, then what tells whether it still lives."""
    pid = os.getpid()
    return f"{socket.gethostname()}/{this_boot()}/{pid}/{start_ticks(pid)}/{slot}"


def owner_is_dead(owner: str | None) -> bool:
    """Whether `owner` certainly lives no more: a process of this very machine and boot that is gone."""
    parts = (owner or "").split("/")
    if len(parts) != 5 or parts[:2] != [socket.gethostname(), this_boot()] or not parts[2].isdigit():
        return False
    return start_ticks(int(parts[2])) != parts[3]
