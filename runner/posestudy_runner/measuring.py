"""`plan --measure`: a few iterations of each distinct cost class on the device to be used."""

from __future__ import annotations

# The plugin first: it holds what MMPose needs to be importable here.
from posestudy_runner import plugin  # isort: skip

import math
import shutil
import time
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from posestudy_runner.control import Control
from posestudy_runner.hooks import peak_memory_mb
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending
from posestudy_runner.trial import compute_on, prepare

__all__ = ["main", "plugin"]

WARM_UP = 3
ITERATIONS = 10
VALIDATED = 64
"""Instances of the validation that is timed."""


class Clock(Hook):
    """Times the iterations after the first few, and the validation, with the device's work waited for."""

    priority = "LOWEST"

    def __init__(self, device: str) -> None:
        self._device = device
        self._began = 0.0
        self.iterations_s: list[float] = []
        self.validation_s = 0.0

    def _now(self) -> float:
        if self._device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.monotonic()

    def before_train_epoch(self, runner: Any) -> None:
        self._began = self._now()

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        now = self._now()
        self.iterations_s.append(now - self._began)
        self._began = now

    def before_val_epoch(self, runner: Any) -> None:
        self._began = self._now()

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
        self.validation_s = self._now() - self._began


def main(order: TrialOrder, control: Control) -> Ending:
    """Train and validate on as few samples as tell the time; says `measured` with what `costs.Rate` holds."""
    began = time.monotonic()
    compute_on(order.device, order.threads, order.memory_limit_mb)
    config = prepare(order)
    wanted = int(config.train_dataloader.batch_size) * (WARM_UP + ITERATIONS)
    config.train_dataloader.dataset.indices = wanted
    config.val_dataloader.dataset.indices = VALIDATED
    config.train_cfg.max_epochs = config.train_cfg.val_interval = 1
    runner = Runner.from_cfg(config)
    clock = Clock(order.device)
    runner.register_hook(clock, "LOWEST")
    runner.train()
    times = clock.iterations_s[WARM_UP:] or clock.iterations_s[-1:]
    weights = sum(p.numel() * p.element_size() for p in runner.model.state_dict().values())
    state = sum(
        value.numel() * value.element_size()
        for slot in runner.optim_wrapper.optimizer.state.values()
        for value in slot.values()
        if isinstance(value, torch.Tensor)
    )
    control.say(
        {
            "type": "measured",
            "iteration_s": math.fsum(times) / len(times),
            "validation_s": clock.validation_s / max(1, len(runner.val_dataloader.dataset)),
            "start_s": time.monotonic() - began - math.fsum(clock.iterations_s) - clock.validation_s,
            # What a finished trial keeps: its last checkpoint with the optimizer's state, and the best weights.
            "disk_mb": (2 * weights + state) / 1e6,
            "weights_mb": weights / 1e6,
            "checkpoint_mb": (weights + state) / 1e6,
            "peak_memory_mb": peak_memory_mb(order.device),
            "device_name": torch.cuda.get_device_name() if order.device.startswith("cuda") else None,
        }
    )
    shutil.rmtree(config.work_dir, ignore_errors=True)
    return Ending(None)
