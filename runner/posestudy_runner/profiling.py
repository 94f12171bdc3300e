"""What a network costs to run: parameters, multiply-adds, latency and memory of a forward pass."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from posestudy.errors import PoseStudyError, nearest
from posestudy.ledger.records import Json
from posestudy_runner.counting import count, evaluating
from posestudy_runner.devices import cpu_model
from posestudy_runner.timing import Timing

_MIB = 2**20
_MOST_PASSES = 200
_WARM_UP = {"cuda": 20, "cpu": 3}
"""Passes before the clock starts: kernels are chosen, caches filled and memory is taken in the first ones."""


def profile(
    model: nn.Module, input_size: tuple[int, int], device: torch.device, timing: Timing, *, fresh: bool = True
) -> Json:
    """Count and time `model`, which is on `device`, for random images of (width, height) px; float32.

    Args:
        fresh: this process has computed nothing large so far. Of one that has, the memory that a CPU needs cannot be
            told, because what was freed before is taken again.

    Returns:
        `parameters`, `trainable_parameters`; `gmacs` (1e9 multiply-adds an image), `gflops` (twice that), `macs` by
        kind of operator, each doubled by the flip test; `latency_p50_ms`, `latency_p95_ms` of a batch, from `passes`
        timed ones; `fps`, images a second at the median; `batch`, `flip_test`, `input` [width, height], `device`,
        `device_name`, `threads`, and `peak_memory_mb`: MiB of weights and of what a pass takes beside them at its
        peak (CUDA: allocated tensors; CPU: growth of the process), None where that is not known.
    """
    work = count(model, input_size)
    width, height = input_size
    images = torch.randn(timing.batch, 3, height, width, generator=torch.Generator().manual_seed(0)).to(device)
    with evaluating(model), torch.no_grad():
        memory = _Memory(device, known=fresh or device.type == "cuda")
        times = _times(lambda: predict(model, images, flip_test=timing.flip_test), device, timing)
        added = memory.added()
    median, late = (float(number) for number in np.percentile(times, (50, 95)))
    passes = 2 if timing.flip_test else 1
    return {
        "parameters": work.parameters,
        "trainable_parameters": work.trainable,
        "gmacs": passes * work.macs / 1e9,
        "gflops": 2 * passes * work.macs / 1e9,
        "macs": {kind: passes * number for kind, number in work.by_operator.items()},
        "latency_p50_ms": median * 1e3,
        "latency_p95_ms": late * 1e3,
        "passes": len(times),
        "fps": timing.batch / median,
        "batch": timing.batch,
        "flip_test": timing.flip_test,
        "input": [width, height],
        "device": str(device),
        "device_name": device_name(device),
        "threads": torch.get_num_threads(),
        "peak_memory_mb": None if added is None else (_weights(model) + added) / _MIB,
    }


def predict(model: nn.Module, images: torch.Tensor, *, flip_test: bool) -> Any:
    """The head's output for `images`, `[batch, 3, height, width]`; with `flip_test` the mean over two passes.

    Heatmaps and distributions are mirrored back before. Left and right keypoints stay exchanged: their names are not
    known here, and exchanging them takes no time.
    """
    straight = model(images, None, mode="tensor")
    if not flip_test:
        return straight
    return _mean(straight, model(images.flip(-1), None, mode="tensor"))


def _mean(straight: Any, mirrored: Any) -> Any:
    if isinstance(straight, (tuple, list)):
        return tuple(_mean(a, b) for a, b in zip(straight, mirrored, strict=True))
    return (straight + (mirrored.flip(-1) if straight.ndim == 4 else mirrored)) / 2


def _times(run: Callable[[], object], device: torch.device, timing: Timing) -> list[float]:
    """Seconds of each timed pass."""

    def once() -> float:
        began = time.perf_counter()
        run()
        _wait_for(device)
        return time.perf_counter() - began

    ends = time.perf_counter() + timing.budget_s
    _wait_for(device)
    for _ in range(_WARM_UP["cuda" if device.type == "cuda" else "cpu"]):
        # Half of a time that is too short for all passes is for the timed ones.
        if once() + time.perf_counter() > ends - timing.budget_s / 2:
            break
    times: list[float] = []
    while len(times) < timing.least or (len(times) < _MOST_PASSES and time.perf_counter() + times[-1] < ends):
        times.append(once())
    return times


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _weights(model: nn.Module) -> int:
    """Bytes of parameters and buffers."""
    return sum(tensor.numel() * tensor.element_size() for tensor in (*model.parameters(), *model.buffers()))


class _Memory:
    """What passes take beside what was taken before, at their peak."""

    def __init__(self, device: torch.device, *, known: bool) -> None:
        self._device = device
        self._known = known
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before = float(torch.cuda.memory_allocated(device))
        elif known:
            self._known = _forget_peak()
            self._before = _status("VmRSS")

    def added(self) -> float | None:
        """Bytes; None where they are not known."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - self._before
        if not self._known:
            return None
        grown = _status("VmHWM") - self._before
        return max(0.0, grown) if math.isfinite(grown) else None


def _forget_peak() -> bool:
    """Make the kernel measure this process's peak anew; whether it did."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _status(key: str) -> float:
    """Bytes that the kernel states of this process under `key`; NaN where it does not."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return math.nan
    found = (line.split()[1] for line in lines if line.startswith(f"{key}:"))
    return float(next(found, math.nan)) * 1024


def device_name(device: torch.device) -> str:
    """What the hardware is called."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_model()


def chosen_device(name: str | None) -> torch.device:
    """The device that `cpu`, `cuda` or `cuda:N` names; with None the first GPU, else the CPU.

    Raises:
        PoseStudyError: torch cannot use it, or no device is called so.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name is None:
        return torch.device("cuda:0" if count else "cpu")
    kind, _, index = name.partition(":")
    if name == "cpu":
        return torch.device("cpu")
    if kind != "cuda" or not (index.isdecimal() or name == "cuda"):
        hint = nearest(name, ("cpu", "cuda", "cuda:0"))
        raise PoseStudyError(f"--device: found {name!r}, expected cpu, cuda or cuda:N" + (f" ({hint})" if hint else ""))
    number = int(index or 0)
    if number >= count:
        built = "" if torch.version.cuda else ", built without CUDA,"
        seen = f"{count} CUDA device{'s' * (count > 1)}" if count else "no CUDA device"
        usable = f"cuda:0 to cuda:{count - 1}, or cpu" if count else "cpu"
        raise PoseStudyError(
            f"--device: found {name!r}, but torch {torch.__version__}{built} sees {seen}; expected {usable}"
        )
    return torch.device(f"cuda:{number}")
