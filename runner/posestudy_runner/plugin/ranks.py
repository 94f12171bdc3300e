"""What a network that is trained by several processes needs beside MMEngine's own: one set of running statistics."""

from __future__ import annotations

from typing import Any

from mmengine.dist import broadcast, is_distributed
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class FirstRankBuffersHook(Hook):
    """Gives every rank the buffers of the first before they evaluate together, as running statistics of the batches.

    Where batches are normalised by each rank's own samples (no SyncBatchNorm), MMEngine leaves each rank its own
    statistics, evaluates a share of the images by each, and saves those of the first alone: the metric would be of
    weights that nobody has. Training reads no running statistics, so that nothing else changes.
    """

    # After averaged weights were put in place of those that are trained, before anything is predicted.
    priority = "LOW"

    def before_val_epoch(self, runner: Any) -> None:
        """Have the ranks validate with the same buffers."""
        self._share(runner)

    def before_test_epoch(self, runner: Any) -> None:
        """Have the ranks test with the same buffers."""
        self._share(runner)

    def _share(self, runner: Any) -> None:
        if is_distributed():
            for buffer in runner.model.buffers():
                broadcast(buffer)
