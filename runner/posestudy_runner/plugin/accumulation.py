"""Gradient accumulation that ends with the epoch, so that a checkpoint after an epoch misses no gradients."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class EpochwiseAccumulationHook(Hook):
    """Has the last iterations of each epoch make a weight update, however few they are, weighted by their number.

    MMEngine counts iterations through the whole training: gradients gathered at the end of an epoch wait for the
    next one and are lost where training is resumed between the two, which then is no longer the same training.
    """

    def before_train_epoch(self, runner: Any) -> None:
        """Count the epoch's iterations to their number: from 0, or from where a loop that can do so goes on."""
        wrapper = runner.optim_wrapper
        iterations = len(runner.train_dataloader)
        position = getattr(getattr(runner, "train_loop", None), "position", None)
        wrapper._inner_count = 0 if position is None else position.iteration
        wrapper._max_counts = iterations
        wrapper._remainder_counts = iterations % wrapper._accumulative_counts
