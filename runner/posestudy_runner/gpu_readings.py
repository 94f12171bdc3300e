"""What the driver says of a GPU just now: its memory, how busy it is and whose processes are on it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

_MIB = 2**20


class UnreadableError(Exception):
    """The driver says nothing of this GPU: NVML is not there, or has lost it."""


@dataclass(frozen=True)
class Reading:
    """One GPU, or one MIG slice of one, at one moment.

    Attributes:
        total_mb, free_mb: MiB; what is not free is taken by anybody's processes and by the driver.
        busy: share, 0 to 1, of the driver's last sampling period (1/6 to 1 s) in which a kernel ran, whosever it was;
            None where that is not told, as of a MIG slice.
        held_mb: MiB by process id of what computes there, None for a process whose memory is not told. Inside a
            container it may name none of the processes, or name them as the host does.
        exclusive: the driver lets one process at a time compute there.
    """

    total_mb: float
    free_mb: float
    busy: float | None
    held_mb: Mapping[int, float | None] = field(default_factory=dict)
    exclusive: bool = False

    @property
    def used_mb(self) -> float:
        return self.total_mb - self.free_mb


class GpuReader(Protocol):
    """Reads GPUs by the identifier that torch knows them by; callable from any thread."""

    def read(self, uuid: str) -> Reading:
        """The GPU just now.

        Raises:
            UnreadableError: nothing can be said of it.
        """


class Nvml:
    """NVIDIA's own library, which only looks: nothing here changes a setting of a GPU."""

    def __init__(self) -> None:
        self._ready = False

    def read(self, uuid: str) -> Reading:
        try:
            import pynvml
        except ImportError as error:
            raise UnreadableError("the package nvidia-ml-py is not installed: pip install 'posestudy[gpu]'") from error
        try:
            if not self._ready:
                # Never shut down: trials of the pool are read until it ends.
                pynvml.nvmlInit()
                self._ready = True
            return _reading(pynvml, _handle(pynvml, uuid))
        except pynvml.NVMLError as error:
            self._ready = False
            raise UnreadableError(f"NVML: {error}") from error


def _handle(nvml: Any, uuid: str) -> Any:
    """torch names a GPU and a MIG slice alike, without the prefix that NVML asks for."""
    if uuid.startswith(("GPU-", "MIG-")):
        return nvml.nvmlDeviceGetHandleByUUID(uuid)
    with contextlib.suppress(nvml.NVMLError_NotFound, nvml.NVMLError_InvalidArgument):
        return nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    return nvml.nvmlDeviceGetHandleByUUID(f"MIG-{uuid}")


def _reading(nvml: Any, handle: Any) -> Reading:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    busy: float | None = None
    held: dict[int, float | None] = {}
    exclusive = False
    # A MIG slice has no such figures, and some drivers do not tell the rest.
    with contextlib.suppress(nvml.NVMLError_NotSupported, nvml.NVMLError_NoPermission):
        busy = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
    with contextlib.suppress(nvml.NVMLError_NotSupported, nvml.NVMLError_NoPermission):
        for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
            taken = process.usedGpuMemory
            held[int(process.pid)] = None if taken is None else taken / _MIB
    with contextlib.suppress(nvml.NVMLError_NotSupported, nvml.NVMLError_NoPermission):
        exclusive = nvml.nvmlDeviceGetComputeMode(handle) != nvml.NVML_COMPUTEMODE_DEFAULT
    return Reading(memory.total / _MIB, memory.free / _MIB, busy, held, exclusive)
