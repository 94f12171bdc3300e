"""What NVML says, in our words; the library itself is stood in for, since no GPU is here."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from posestudy_runner.gpu_readings import Nvml, UnreadableError


class NvmlError(Exception):
    pass


class NotFoundError(NvmlError):
    pass


class NotSupportedError(NvmlError):
    pass


def library(**changes: Any) -> SimpleNamespace:
    """`pynvml` of a machine with one GPU, `GPU-aa`, and one MIG slice, `MIG-bb`."""

    def handle(uuid: str) -> str:
        if uuid not in ("GPU-aa", "MIG-bb"):
            raise NotFoundError(uuid)
        return uuid

    def use(handle: str) -> SimpleNamespace:
        if handle.startswith("MIG"):
            raise NotSupportedError
        return SimpleNamespace(gpu=37)

    found = {
        "NVMLError": NvmlError,
        "NVMLError_NotFound": NotFoundError,
        "NVMLError_InvalidArgument": NotFoundError,
        "NVMLError_NotSupported": NotSupportedError,
        "NVMLError_NoPermission": NotSupportedError,
        "NVML_COMPUTEMODE_DEFAULT": 0,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": handle,
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=80 * 2**30, free=60 * 2**30),
        "nvmlDeviceGetUtilizationRates": use,
        "nvmlDeviceGetComputeRunningProcesses": lambda handle: [
            SimpleNamespace(pid=7, usedGpuMemory=3 * 2**30),
            SimpleNamespace(pid=8, usedGpuMemory=None),
        ],
        "nvmlDeviceGetComputeMode": lambda handle: 0,
    }
    return SimpleNamespace(**{**found, **changes})


def test_a_gpu_is_found_by_the_identifier_torch_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library())
    reading = Nvml().read("aa")
    assert (reading.total_mb, reading.free_mb, reading.used_mb) == (81920.0, 61440.0, 20480.0)
    assert reading.busy == pytest.approx(0.37)
    assert reading.held_mb == {7: 3072.0, 8: None}
    assert not reading.exclusive
    assert Nvml().read("GPU-aa") == reading


def test_a_slice_of_a_gpu_tells_its_memory_and_not_how_busy_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library())
    reading = Nvml().read("bb")
    assert reading.total_mb == 81920.0
    assert reading.busy is None


def test_a_gpu_set_to_one_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library(nvmlDeviceGetComputeMode=lambda handle: 3))
    assert Nvml().read("aa").exclusive


def test_what_cannot_be_read_says_why_and_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(handle: str) -> None:
        raise NvmlError("GPU is lost")

    reader = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", library(nvmlDeviceGetMemoryInfo=gone))
    with pytest.raises(UnreadableError, match="GPU is lost"):
        reader.read("aa")
    with pytest.raises(UnreadableError):
        reader.read("cc")
    monkeypatch.setitem(sys.modules, "pynvml", library())
    assert reader.read("aa").busy == pytest.approx(0.37)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(UnreadableError, match="nvidia-ml-py"):
        reader.read("aa")


def test_the_real_library_without_a_driver_is_unreadable() -> None:
    pynvml = pytest.importorskip("pynvml")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        with pytest.raises(UnreadableError, match="NVML"):
            Nvml().read("00000000-0000-0000-0000-000000000000")
    else:
        pytest.skip("this machine has an NVIDIA driver")
