"""Which devices are found, and how trials share them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from posestudy_runner import devices
from posestudy_runner.devices import Device
from posestudy_runner.probe import usable_devices


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose driver shows two GPUs."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA A'\necho 'NVIDIA B'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(devices, "_from_nvml", lambda: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["NVIDIA A", "NVIDIA B"]),
        ("1", ["NVIDIA B"]),
        ("1,0", ["NVIDIA B", "NVIDIA A"]),
        ("", []),
        ("-1", []),
        ("0,9,1", ["NVIDIA A"]),
        ("GPU-8f6e", ["GPU-8f6e"]),
    ],
)
def test_visible_gpus_are_numbered_as_torch_does(visible, names, monkeypatch: pytest.MonkeyPatch) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = devices.gpus()
    assert [gpu.description for gpu in found] == names
    assert [gpu.name for gpu in found] == [f"cuda:{i}" for i in range(len(names))]
    if not names:
        assert [device.name for device in devices.devices()] == ["cpu"]


@pytest.mark.parametrize(
    ("visible", "named"), [(None, False), ("", False), ("0", False), ("GPU-8f6e", False), ("MIG-8f6e,MIG-9", True)]
)
def test_slices_of_a_gpu_are_told_from_gpus(visible, monkeypatch: pytest.MonkeyPatch, *, named: bool) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.names_mig_slices() is named


def test_gpus_are_those_of_torch_in_its_order() -> None:
    cpu = Device("cpu", "2 cores")
    assert usable_devices({"gpus": [], "uuids": []}, cpu) == [cpu], "the driver may list some that torch cannot use"
    found = {"gpus": ["B", "A"], "uuids": ["u-b", None]}
    assert usable_devices(found, cpu) == [Device("cuda:0", "B", "u-b"), Device("cuda:1", "A", None)]


def test_workers_are_dealt_over_devices_and_share_the_cores() -> None:
    gpus = [Device("cuda:0", "A"), Device("cuda:1", "B")]
    assert [d.name for d in devices.spread(gpus, 3)] == ["cuda:0", "cuda:1", "cuda:0"]
    cores = devices.cpu_count()
    assert devices.threads_per_slot(1) == cores
    assert devices.threads_per_slot(10 * cores) == 1
