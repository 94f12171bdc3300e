"""Which devices this machine offers, found without importing torch: the pool itself never loads it."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Device:
    """One place to train.

    Attributes:
        name: as torch spells it (`cuda:0`, `cpu`).
        description: what it is called.
        uuid: of a GPU, as torch tells it; None where it was not asked.
    """

    name: str
    description: str
    uuid: str | None = None

    @property
    def is_cpu(self) -> bool:
        return self.name == "cpu"


def cpu_count() -> int:
    """Cores this process may use (its affinity), which is less than the machine has inside many schedulers."""
    return max(1, len(os.sched_getaffinity(0)))


def threads_per_slot(slots: int, cores: int | None = None) -> int:
    """Computing threads of one trial when `slots` trials share `cores` (None: those of this machine); at least 1."""
    return max(1, (cores or cpu_count()) // max(1, slots))


def _from_nvml() -> list[str] | None:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        names = [pynvml.nvmlDeviceGetName(handle) for handle in handles]
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _from_nvidia_smi() -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def _visible(names: list[str]) -> list[str]:
    """What CUDA_VISIBLE_DEVICES leaves of `names`; torch numbers the remaining ones from 0."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return names
    left: list[str] = []
    for part in (word.strip() for word in chosen.split(",")):
        if part.isdecimal() and int(part) < len(names):
            left.append(names[int(part)])
        elif part.startswith(("GPU-", "MIG-")) and names:
            left.append(part)
        else:
            # CUDA itself stops at the first entry it does not know.
            break
    return left


def names_mig_slices() -> bool:
    """Whether CUDA_VISIBLE_DEVICES names slices of a GPU (MIG).

    NVML does not count these for torch, which then asks CUDA itself while the packages are imported: no process that is
    forked afterwards can use the GPU.
    """
    return os.environ.get("CUDA_VISIBLE_DEVICES", "").strip().startswith("MIG-")


def gpus() -> list[Device]:
    """The NVIDIA GPUs the driver shows, or an empty list; torch may still be unable to use them."""
    names = _from_nvml()
    if names is None:
        names = _from_nvidia_smi()
    return [Device(f"cuda:{i}", name) for i, name in enumerate(_visible(names))]


def cpu() -> Device:
    """The CPU as a device."""
    return Device("cpu", f"{cpu_count()} cores of {socket.gethostname()}")


def cpu_model() -> str:
    """What the processor is called, as the kernel says; the architecture where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model", "Hardware")))
    return next(filter(None, named), "") or platform.machine()


def devices() -> list[Device]:
    """Every GPU, else the CPU: where slots are placed unless the user asks otherwise."""
    return gpus() or [cpu()]


def spread(available: list[Device], slots: int) -> list[Device]:
    """The device of each of `slots` slots, dealt round robin: several share one device when more are asked for."""
    return [available[i % len(available)] for i in range(slots)]


def grouped(available: list[Device], size: int) -> list[tuple[Device, ...]]:
    """`available` in groups of `size` neighbours, each for one trial; those left over are in none.

    A CPU is as many devices as are asked for: ranks that share its cores.
    """
    if available[0].is_cpu:
        return [tuple(available[:1] * size)]
    return [tuple(available[i : i + size]) for i in range(0, len(available) - size + 1, size)]
