"""Scalars of a training step that stay on the device until somebody looks at them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import RuntimeInfoHook
from mmengine.registry import HOOKS


class Readings:
    """What the iterations since the last look put out, brought to the host in one transfer.

    A look at a number on a GPU waits until everything asked of the GPU before is done; between two looks it computes
    without a pause.
    """

    def __init__(self) -> None:
        self._pending: list[dict[str, float | torch.Tensor]] = []

    @property
    def waiting(self) -> bool:
        """Whether there are iterations that were not looked at."""
        return bool(self._pending)

    def add(self, outputs: Mapping[str, Any]) -> None:
        """Keep the scalars among `outputs` of one iteration: numbers, and tensors of one element on any device."""
        self._pending.append({name: value for name, value in map(_scalar, outputs.items()) if value is not None})

    def take(self) -> list[dict[str, float]]:
        """The scalars of each iteration since the last call, oldest first, exactly; waits for the device."""
        pending, self._pending = self._pending, []
        tensors = [value for row in pending for value in row.values() if isinstance(value, torch.Tensor)]
        if not tensors:
            return [dict(row) for row in pending]  # type: ignore[arg-type]
        places = {tensor.device for tensor in tensors}
        if len(places) > 1 or places == {torch.device("cpu")}:
            # Together they can be brought over from one device only.
            numbers = iter([tensor.item() for tensor in tensors])
        else:
            # Every float of 32 bits or fewer is one of 64.
            numbers = iter(torch.stack([tensor.reshape(()).double() for tensor in tensors]).tolist())
        return [
            {name: next(numbers) if isinstance(value, torch.Tensor) else value for name, value in row.items()}
            for row in pending
        ]


def _scalar(item: tuple[str, Any]) -> tuple[str, float | torch.Tensor | None]:
    name, value = item
    if isinstance(value, torch.Tensor):
        return name, value.detach() if value.numel() == 1 else None
    return name, float(value) if isinstance(value, (int, float)) else None


@HOOKS.register_module()
class DeferredRuntimeInfoHook(RuntimeInfoHook):
    """MMEngine's `RuntimeInfoHook`, whose history has the losses of all iterations, but only when they are logged.

    The stock one reads every number of every iteration from the device.

    Args:
        interval: iterations of an epoch from one look at the losses to the next; one more follows the epoch's last.
    """

    def __init__(self, interval: int) -> None:
        super().__init__()
        self.interval = interval
        self._readings = Readings()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Keep `outputs`, and write down what was kept where it is about to be logged."""
        self._readings.add(outputs or {})
        if looks(self, runner, batch_idx, self.interval):
            self._write_down(runner)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Write down what was kept: a checkpoint holds the history of the losses."""
        if self._readings.waiting:
            self._write_down(runner)
            checkpoint["message_hub"] = runner.message_hub.state_dict()

    def _write_down(self, runner: Any) -> None:
        for scalars in self._readings.take():
            for name, value in scalars.items():
                runner.message_hub.update_scalar(f"train/{name}", value)


def looks(hook: Any, runner: Any, batch_idx: int, interval: int) -> bool:
    """Whether the losses are read after iteration `batch_idx` (from 0) of an epoch."""
    due: bool = hook.every_n_inner_iters(batch_idx, interval) or hook.end_of_epoch(runner.train_dataloader, batch_idx)
    return due


def look_interval(runner: Any) -> int:
    """Iterations from one look at the losses to the next in this run; 1 where its device does not run ahead."""
    found = (hook.interval for hook in runner.hooks if isinstance(hook, DeferredRuntimeInfoHook))
    return next(found, 1)
