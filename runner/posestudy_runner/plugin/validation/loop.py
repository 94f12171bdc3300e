"""MMEngine's validation loop, in which nothing is done one by one or twice that can be done at once or kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from mmengine.registry import LOOPS
from mmengine.runner import ValLoop

from posestudy_runner.components import Component, in_use
from posestudy_runner.plugin.validation.decoding import decoding_batches
from posestudy_runner.plugin.validation.kept_batches import KeptBatches
from posestudy_runner.plugin.validation.result_file import writing_results

_MIB = 2**20


@LOOPS.register_module()
class BatchedValLoop(ValLoop):
    """`ValLoop` with its hooks, predictions, metrics and files, in less time.

    The images of the split are cut out once and kept, keypoints decoded for a batch at once, and CocoMetric's results
    written by a faster encoder. Keypoints are those of the stock codecs bit for bit where the network's outputs are;
    what measures them are MMPose's own metrics. With the component `validation` left out it is `ValLoop`.

    Args:
        runner, dataloader, evaluator, **options: as ValLoop's.
        kept_mib: MiB that the images of the split may take to be kept; 0: never.
        batch_decoding: whether keypoints are decoded for a batch at once.
        fast_results: whether CocoMetric's results are written by the faster encoder.
        channels_last: whether images come to the backbone with the channels innermost, in which order CPUs and GPUs
            convolve faster. Rounds otherwise, by some 1e-7 of a heatmap's range. None: where `channels_last` is in use.
    """

    dataloader: Any
    """What the batches come from."""

    def __init__(
        self,
        runner: Any,
        dataloader: Any,
        evaluator: Any,
        *,
        kept_mib: int = 256,
        batch_decoding: bool = True,
        fast_results: bool = True,
        channels_last: bool | None = None,
        **options: Any,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, **options)
        fast = in_use(Component.VALIDATION)
        if fast and kept_mib:
            self.dataloader = KeptBatches(self.dataloader, kept_mib * _MIB)
        self._batch_decoding = fast and batch_decoding
        self._fast_results = fast and fast_results
        self._channels_last = fast and (in_use(Component.CHANNELS_LAST) if channels_last is None else channels_last)

    def run(self) -> dict[str, float]:
        """Launch validation."""
        with writing_results() if self._fast_results else nullcontext():
            metrics: dict[str, float] = super().run()
        return metrics

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Iterate one mini-batch."""
        model = self.runner.model.module if is_model_wrapper(self.runner.model) else self.runner.model
        with ExitStack() as stack:
            if self._batch_decoding:
                stack.enter_context(decoding_batches(getattr(model, "head", None)))
            if self._channels_last:
                stack.enter_context(_channels_innermost(getattr(model, "backbone", None)))
            super().run_iter(idx, data_batch)


@contextmanager
def _channels_innermost(backbone: torch.nn.Module | None) -> Iterator[None]:
    """Have what `backbone` is given lie with the channels innermost meanwhile."""
    if backbone is None:
        yield
        return

    def laid_out(module: torch.nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        images, *rest = given or (None,)
        if not isinstance(images, torch.Tensor) or images.dim() != 4:
            return given
        return images.contiguous(memory_format=torch.channels_last), *rest

    handle = backbone.register_forward_pre_hook(laid_out)
    try:
        yield
    finally:
        handle.remove()
