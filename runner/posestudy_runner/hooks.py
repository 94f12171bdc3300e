"""The MMEngine hook that makes each epoch durable and tells the worker."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper

from posestudy.ledger.records import Checkpoint, Json
from posestudy.vocabulary import Direction, ledger_name
from posestudy_runner import averaging
from posestudy_runner.checkpoints import META_KEY, POSITION_KEY, Best, TrialFiles
from posestudy_runner.control import Control
from posestudy_runner.epoch_loop import Position
from posestudy_runner.floor import missed
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import NotConverged, Preempted, TimeLimit, peak_process_memory_mb
from posestudy_runner.plugin.readings import Readings, look_interval, looks

_MIB = 2**20
_MEANS = ("loss", "acc_pose")
"""Outputs of an iteration whose mean over the epoch is recorded."""


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
    """Means over the iterations of one epoch, and where its time went.

    Args:
        before: `document()` of the same epoch in an earlier attempt, which ended in its middle.
    """

    def __init__(self, before: Json | None = None) -> None:
        known = before or {}
        self._started = self._ready = time.monotonic()
        self._cpu_from_s = _cpu_seconds()
        self._elapsed_s = float(known.get("elapsed_s", 0.0))
        self._cpu_s = float(known.get("cpu_s", 0.0))
        self._data_s = float(known.get("data_s", 0.0))
        self._lr = float(known.get("lr", 0.0))
        self._sums: dict[str, float] = dict(known.get("sums", {}))
        self._steps = int(known.get("steps", 0))

    def document(self) -> Json:
        """All of it, as JSON: sums of floats go on exactly where they were."""
        return {
            "elapsed_s": self._elapsed_s + time.monotonic() - self._started,
            "cpu_s": self._cpu_s + _cpu_seconds() - self._cpu_from_s,
            "data_s": self._data_s,
            "lr": self._lr,
            "sums": dict(self._sums),
            "steps": self._steps,
        }

    def loaded(self, lr: float) -> None:
        self._data_s += time.monotonic() - self._ready
        self._lr = lr

    def stepped(self) -> None:
        self._ready = time.monotonic()

    def read(self, outputs: Mapping[str, float]) -> None:
        for name, value in outputs.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._steps += 1

    def metrics(self) -> dict[str, float]:
        now = self.document()
        means = {name: total / max(1, self._steps) for name, total in self._sums.items()}
        times = {
            "data_time_s": self._data_s,
            "epoch_time_s": now["elapsed_s"],
            "iteration_time_s": now["elapsed_s"] / max(1, self._steps),
            "cpu_percent": 100 * now["cpu_s"] / max(now["elapsed_s"], 1e-9),
        }
        return {**means, **times, "lr": self._lr}


class _Patient:
    """A step of a metric, which forgets what it gathered only after all is written: it may be called again."""

    def __init__(self, step: Callable[[Any], dict[str, Any]], control: Control) -> None:
        self._step = step
        self._control = control

    def __call__(self, given: Any) -> dict[str, Any]:
        return self._control.written(lambda: self._step(given))


class EpochReporter(Hook):
    """After each epoch (after its validation, where it has one): checkpoint, best weights, journal, worker.

    Its priority is the lowest, so that the schedulers have stepped and the checkpoint is where the next epoch starts.

    Args:
        order: the attempt.
        control: the worker's orders, obeyed after each step.
        files: where checkpoints go.
        interval_s: seconds between two checkpoints at least; the last epoch and what a pruner is asked of have one.
    """

    priority = "LOWEST"

    def __init__(self, order: TrialOrder, control: Control, files: TrialFiles, interval_s: float = 0.0) -> None:
        self._order = order
        self._control = control
        self._files = files
        self._interval_s = interval_s
        self._direction = Direction(order.direction)
        self._sums = _EpochSums()
        self._readings = Readings()
        self._look_interval = 1
        self._before: Json | None = None  # of the epoch in whose middle an earlier attempt ended
        self._reported = self._saved = self._validating_since = time.monotonic()
        self._train: dict[str, float] = {}
        self.preempted: Checkpoint | None = None
        """What was saved on the way out, where the worker asked this process to stop."""
        self.best: Best | None = None
        self.evaluated: int | None = None
        """The epoch of the last validation in this process."""
        self.evaluating: int | None = None
        """The epoch whose weights are evaluated where nothing is trained; None while training."""

    def after_load_checkpoint(self, runner: Any, checkpoint: Json) -> None:
        """Take over what the checkpoint knows of the best epoch, and copy that epoch's weights."""
        meta = checkpoint.get("meta", {})
        if POSITION_KEY in meta:
            position = Position(**meta[POSITION_KEY])
            runner.train_loop.position = position
            self._before = None if position.validates else position.told.get("sums")
            self._train = position.told.get("train", {})
        known = meta.get(META_KEY)
        if known is None:
            return
        best, folder = Best(**known), Path(str(runner._load_from)).parent
        if self._files.adopt_best(best, folder):
            self.best = best
        else:
            print_log(f"the best weights (epoch {best.epoch}) are gone from {folder}", "current")
        self._files.adopt_predictions(folder)

    @property
    def unreported_s(self) -> float:
        """Seconds of training since the last epoch was reported."""
        return self._clock() - self._reported

    def _clock(self) -> float:
        """Seconds that go on while training does."""
        return time.monotonic() - self._control.waited_s

    def before_train(self, runner: Any) -> None:
        if runner.epoch >= self._order.last_epoch:
            runner.train_loop.stop_training = True
        self._look_interval = look_interval(runner)
        self._reported, self._saved = self._clock(), time.monotonic()

    def before_train_epoch(self, runner: Any) -> None:
        self._sums, self._before = _EpochSums(self._before), None

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self._sums.loaded(float(runner.optim_wrapper.get_lr()["lr"][0]))

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Any] | None = None
    ) -> None:
        """Keep the losses, end a diverged trial where they are read, and obey what the worker said meanwhile.

        Raises:
            FloatingPointError: a loss is not finite.
        """
        self._readings.add({name: value for name, value in (outputs or {}).items() if name in _MEANS})
        self._sums.stepped()
        if looks(self, runner, batch_idx, self._look_interval):
            self._read(runner, batch_idx + 1)
        if not _gathers_gradients(runner):
            done = batch_idx + 1
            self._check(runner, lambda: (runner.epoch, runner.iter + 1, Position(done, told=self._told())), done)

    def _read(self, runner: Any, iterations: int) -> None:
        """Sum up the losses of the last of an epoch's `iterations` that were not read yet.

        Raises:
            FloatingPointError: one of them is not finite.
        """
        rows = self._readings.take()
        for iteration, row in enumerate(rows, start=iterations - len(rows) + 1):
            loss = row.get("loss", 0.0)
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss was {loss} in epoch {runner.epoch + 1}, iteration {iteration}")
            self._sums.read(row)

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self.evaluating is not None:
            self._control.check()
            return
        self._check(
            runner,
            lambda: (runner.epoch - 1, runner.iter, Position(validates=True, told=self._told())),
            restore=lambda: averaging.leave_validation(runner),
        )

    def _told(self) -> Json:
        return {"sums": self._sums.document(), "train": self._train}

    def _check(
        self,
        runner: Any,
        where: Callable[[], tuple[int, int, Position]],
        iterations: int = 0,
        restore: Callable[[], None] | None = None,
    ) -> None:
        """Obey what the worker said meanwhile, and save where training stands before giving way to it.

        Args:
            runner: what is trained.
            where: finished epochs, iterations of the whole training, and how far into the next epoch they reach.
            iterations: iterations of the epoch that are done.
            restore: gives the network the weights that are trained.

        Raises:
            FloatingPointError: it diverged before it had to end.
        """
        try:
            self._control.check()
        except (Preempted, TimeLimit) as ended:
            self._read(runner, iterations)
            if isinstance(ended, Preempted):
                if restore is not None:
                    restore()
                self.preempted = self._files.save_preempted(runner, *where(), self.best)
            raise

    def after_train_epoch(self, runner: Any) -> None:
        self._train = {**self._sums.metrics(), "memory_mb": peak_memory_mb(self._order.device)}
        if not runner.train_loop.validates_after(runner.epoch + 1):
            self._report(runner, runner.epoch + 1, {})

    def before_val(self, runner: Any) -> None:
        self._wait_for_disk(runner.val_evaluator)

    def before_test(self, runner: Any) -> None:
        self._wait_for_disk(runner.test_evaluator)

    def _wait_for_disk(self, evaluator: Any) -> None:
        """Have what MMPose's metrics write wait for a full disk as a checkpoint does."""
        # Of several ranks all gather the results together, once; the first one writes them.
        step = "evaluate" if self._control.followers is None else "compute_metrics"
        for metric in evaluator.metrics:
            if not isinstance(getattr(metric, step), _Patient):
                setattr(metric, step, _Patient(getattr(metric, step), self._control))

    def before_val_epoch(self, runner: Any) -> None:
        self._validating_since = time.monotonic()

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Report what was measured.

        Raises:
            FloatingPointError: the study's metric is no number: the last update made the weights so.
        """
        self._files.keep_predictions()
        value = next((v for name, v in (metrics or {}).items() if ledger_name(name) == self._order.metric), 0.0)
        if not math.isfinite(value):
            raise FloatingPointError(f"{self._order.metric} was {value} after epoch {runner.epoch}")
        each_s = (time.monotonic() - self._validating_since) / max(1, len(runner.val_dataloader.dataset))
        evaluated = {**ledger_metrics(metrics or {}), "validation_time_s": each_s}
        if self.evaluating is None:
            self._report(runner, runner.epoch, evaluated)
        else:
            self._train = {"memory_mb": peak_memory_mb(self._order.device)}
            self._keep_best(runner, self.evaluating, evaluated)
            self._tell(self.evaluating, evaluated, None)
            self._control.check()

    def _report(self, runner: Any, epoch: int, evaluated: dict[str, float]) -> None:
        """Keep and tell what epoch `epoch` came to, and learn whether the trial goes on.

        Raises:
            NotConverged, Pruned, Paused, Preempted, TimeLimit: it does not.
        """
        self._keep_best(runner, epoch, evaluated)
        value = evaluated.get(self._order.metric)
        below = None if value is None else self._below_floor(runner, epoch, value)
        asks = self._order.prunes and value is not None
        last = epoch >= self._order.last_epoch or below is not None
        checkpoint = None
        if asks or last or time.monotonic() - self._saved >= self._interval_s:
            checkpoint = self._files.save_checkpoint(runner, epoch, self.best)
            self._saved = time.monotonic()
        self._tell(epoch, evaluated, checkpoint)
        if below is not None:
            raise NotConverged(below)
        if asks:
            self._control.ask(epoch)
        if checkpoint is not None:
            self._control.check()
        else:
            self._check(runner, lambda: (epoch, runner.iter, Position()))

    def _keep_best(self, runner: Any, epoch: int, evaluated: dict[str, float]) -> None:
        value = evaluated.get(self._order.metric)
        if value is not None and (self.best is None or self._direction.better(value, self.best.value)):
            self.best = Best(value, epoch, self._files.save_best(averaging.evaluated(runner), epoch))

    def _tell(self, epoch: int, evaluated: dict[str, float], checkpoint: Checkpoint | None) -> None:
        """Record what was measured at `epoch`."""
        if evaluated:
            self.evaluated = epoch
        frame: Json = {
            "type": "epoch",
            "epoch": epoch,
            "metrics": {**self._train, **evaluated},
            "checkpoint": None if checkpoint is None else asdict(checkpoint),
            "duration_s": self.unreported_s,
        }
        self._reported = self._clock()
        self._control.record(frame)

    def _below_floor(self, runner: Any, epoch: int, value: float) -> str | None:
        """How the first validation at or after the floor's epoch missed it; None where it did not, or is another."""
        floor, validates = self._order.floor, runner.train_loop.validates_after
        if floor is None or any(validates(before) for before in range(int(floor["epoch"]), epoch)):
            return None
        return missed(floor, self._order.metric, self._direction, epoch, value)


def _gathers_gradients(runner: Any) -> bool:
    """Whether gradients of past iterations wait for an update, which no saved state would hold."""
    wrapper = runner.optim_wrapper
    return isinstance(wrapper, OptimWrapper) and not wrapper.should_update()
