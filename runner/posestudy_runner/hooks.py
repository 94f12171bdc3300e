"""The MMEngine hook that makes each epoch durable and tells the worker."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log

from posestudy.ledger.records import Checkpoint, Json
from posestudy.vocabulary import Direction, ledger_name
from posestudy_runner.checkpoints import META_KEY, Best, TrialFiles
from posestudy_runner.control import Control
from posestudy_runner.floor import missed
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import NotConverged, peak_process_memory_mb

_MIB = 2**20


def peak_memory_mb(device: str) -> float:
    """The peak memory so far in MiB: of the device where it has its own, else of this process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / _MIB
    return peak_process_memory_mb()


def ledger_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Numbers under their ledger names. COCO's -1 (no ground truth of that size) and non-finite ones are left out."""
    # MMPose's NME and EPE are numpy's float32, which is no float.
    numbers = {ledger_name(name): float(value) for name, value in metrics.items() if isinstance(value, Real)}
    return {
        name: value
        for name, value in numbers.items()
        if math.isfinite(value) and not (name.startswith("coco/") and value < 0)
    }


def _cpu_seconds() -> float:
    """CPU time of this process and of the data loaders it has seen end."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


class _EpochSums:
    """Means over the iterations of one epoch, and where its time went."""

    def __init__(self) -> None:
        self.started = self._ready = time.monotonic()
        self._cpu_s = _cpu_seconds()
        self.data_s = 0.0
        self.lr = 0.0
        self._sums: dict[str, float] = {}
        self._steps = 0

    def loaded(self, lr: float) -> None:
        self.data_s += time.monotonic() - self._ready
        self.lr = lr

    def stepped(self, outputs: Mapping[str, float]) -> None:
        for name, value in outputs.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._steps += 1
        self._ready = time.monotonic()

    def metrics(self) -> dict[str, float]:
        means = {name: total / max(1, self._steps) for name, total in self._sums.items()}
        elapsed_s = time.monotonic() - self.started
        cpu_percent = 100 * (_cpu_seconds() - self._cpu_s) / max(elapsed_s, 1e-9)
        times = {
            "data_time_s": self.data_s,
            "epoch_time_s": elapsed_s,
            "iteration_time_s": elapsed_s / max(1, self._steps),
            "cpu_percent": cpu_percent,
        }
        return {**means, **times, "lr": self.lr}


class EpochReporter(Hook):
    """After each epoch (after its validation, where it has one): checkpoint, best weights, journal, worker.

    Its priority is the lowest, so that the schedulers have stepped and the checkpoint is where the next epoch starts.
    """

    priority = "LOWEST"

    def __init__(self, order: TrialOrder, control: Control, files: TrialFiles) -> None:
        self._order = order
        self._control = control
        self._files = files
        self._direction = Direction(order.direction)
        self._sums = _EpochSums()
        self._reported = self._validating_since = time.monotonic()
        self._train: dict[str, float] = {}
        self.best: Best | None = None
        self.evaluated: int | None = None
        """The epoch of the last validation in this process."""
        self.evaluating: int | None = None
        """The epoch whose weights are evaluated where nothing is trained; None while training."""

    def after_load_checkpoint(self, runner: Any, checkpoint: Json) -> None:
        """Take over what the checkpoint knows of the best epoch, and copy that epoch's weights."""
        known = checkpoint.get("meta", {}).get(META_KEY)
        if known is None:
            return
        best, folder = Best(**known), Path(str(runner._load_from)).parent
        if self._files.adopt_best(best, folder):
            self.best = best
        else:
            print_log(f"the best weights (epoch {best.epoch}) are gone from {folder}", "current")
        self._files.adopt_predictions(folder)

    def before_train(self, runner: Any) -> None:
        if runner.epoch >= self._order.last_epoch:
            runner.train_loop.stop_training = True
        self._reported = time.monotonic()

    def before_train_epoch(self, runner: Any) -> None:
        self._sums = _EpochSums()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self._sums.loaded(float(runner.optim_wrapper.get_lr()["lr"][0]))

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Any] | None = None
    ) -> None:
        """Sum up, end a diverged trial at once, and obey what the worker said meanwhile.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        scalars = _scalars(outputs or {})
        loss = scalars.get("loss", 0.0)
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss was {loss} in epoch {runner.epoch + 1}, iteration {batch_idx + 1}")
        self._sums.stepped({name: value for name, value in scalars.items() if name in ("loss", "acc_pose")})
        self._control.check()

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self._control.check()

    def after_train_epoch(self, runner: Any) -> None:
        self._train = {**self._sums.metrics(), "memory_mb": peak_memory_mb(self._order.device)}
        if not _validates(runner, runner.epoch + 1):
            self._report(runner, runner.epoch + 1, {})

    def before_val_epoch(self, runner: Any) -> None:
        self._validating_since = time.monotonic()

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Report what was measured.

        Raises:
            FloatingPointError: the study's metric is no number: the last update made the weights so.
        """
        value = next((v for name, v in (metrics or {}).items() if ledger_name(name) == self._order.metric), 0.0)
        if not math.isfinite(value):
            raise FloatingPointError(f"{self._order.metric} was {value} after epoch {runner.epoch}")
        each_s = (time.monotonic() - self._validating_since) / max(1, len(runner.val_dataloader.dataset))
        evaluated = {**ledger_metrics(metrics or {}), "validation_time_s": each_s}
        if self.evaluating is None:
            self._report(runner, runner.epoch, evaluated)
        else:
            self._train = {"memory_mb": peak_memory_mb(self._order.device)}
            self._tell(runner, self.evaluating, evaluated, None)
            self._control.check()

    def _report(self, runner: Any, epoch: int, evaluated: dict[str, float]) -> None:
        self._keep_best(runner, epoch, evaluated)
        self._tell(runner, epoch, evaluated, self._files.save_checkpoint(runner, epoch, self.best))
        value = evaluated.get(self._order.metric)
        if value is not None:
            self._hold_to_floor(runner, epoch, value)
        if self._order.prunes and value is not None:
            self._control.ask(epoch)
        self._control.check()

    def _keep_best(self, runner: Any, epoch: int, evaluated: dict[str, float]) -> None:
        value = evaluated.get(self._order.metric)
        if value is not None and (self.best is None or self._direction.better(value, self.best.value)):
            self.best = Best(value, epoch, self._files.save_best(runner.model))

    def _tell(self, runner: Any, epoch: int, evaluated: dict[str, float], checkpoint: Checkpoint | None) -> None:
        """Record what was measured at `epoch`; weights that were only evaluated are kept where they are the best."""
        if evaluated:
            self.evaluated = epoch
        if checkpoint is None:
            self._keep_best(runner, epoch, evaluated)
        now = time.monotonic()
        frame: Json = {
            "type": "epoch",
            "epoch": epoch,
            "metrics": {**self._train, **evaluated},
            "checkpoint": None if checkpoint is None else asdict(checkpoint),
            "duration_s": now - self._reported,
        }
        self._reported = now
        self._control.record(frame)

    def _hold_to_floor(self, runner: Any, epoch: int, value: float) -> None:
        """End the trial where the first validation at or after the floor's epoch is below it.

        Raises:
            NotConverged: it is.
        """
        floor = self._order.floor
        if floor is None or any(_validates(runner, before) for before in range(int(floor["epoch"]), epoch)):
            return
        why = missed(floor, self._order.metric, self._direction, epoch, value)
        if why is not None:
            raise NotConverged(why)


def _scalars(outputs: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in outputs.items():
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            found[name] = value.detach().item()
        elif isinstance(value, (int, float)):
            found[name] = float(value)
    return found


def _validates(runner: Any, epoch: int) -> bool:
    """Whether MMEngine's loop validates after finished epoch `epoch`; its own condition."""
    loop = runner.train_loop
    due = epoch >= loop.val_begin and (epoch % loop.val_interval == 0 or epoch == loop.max_epochs)
    return runner.val_loop is not None and due
