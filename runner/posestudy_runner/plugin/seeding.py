"""Random numbers that depend on (seed, epoch, sample) alone: resumed equals undisturbed, for any number of workers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmpose.registry import TRANSFORMS

_SAMPLE, _ITERATION = 0, 1
"""Kinds of streams, so that sample i and iteration i of an epoch do not share random numbers."""


def seed_generators(*entropy: int) -> None:
    """Seed Python's, numpy's and torch's global generators from non-negative integers of any size."""
    words = np.random.SeedSequence(entropy).generate_state(4, np.uint32)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    seed = int(words[2]) << 32 | int(words[3])
    # As torch.manual_seed, which takes a hundred times as long to leave word for devices that nothing has used yet:
    # too much for something that is done for every sample.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)


@TRANSFORMS.register_module()
class SeedSample(BaseTransform):
    """Seeds the global generators for one sample; first in the training pipeline.

    The epoch lies in shared memory, so a data-loading process sees a change of it however it was started and
    however long it lives.

    Args:
        seed: the seed of the trial, not negative.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.epoch: torch.Tensor = torch.zeros((), dtype=torch.int64)
        self.epoch.share_memory_()  # type: ignore[no-untyped-call]

    def __deepcopy__(self, memo: dict[int, Any]) -> SeedSample:
        # Copied as it is, the epoch would leave shared memory.
        copy = SeedSample(self.seed)
        copy.epoch.copy_(self.epoch)
        return copy

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Seed from `results["sample_idx"]`, the sample's place in the data set; `results` stay as they are."""
        seed_generators(self.seed, int(self.epoch), _SAMPLE, int(results["sample_idx"]))
        return results


@HOOKS.register_module()
class SeedEpochHook(Hook):
    """Tells every `SeedSample` the epoch, and seeds the model's own random numbers before each iteration.

    Without the second, dropout would depend on how many numbers data loading drew in this process, which differs
    with the number of workers and after a resume.

    Args:
        seed: the seed of the trial, not negative.
    """

    priority = "VERY_HIGH"

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_train(self, runner: Any) -> None:
        """Have cuDNN choose algorithms that give equal results each time, without which no resume is exact."""
        torch.backends.cudnn.deterministic = True

    def before_train_epoch(self, runner: Any) -> None:
        """Set the epoch before the loader starts its workers."""
        for transform in _transforms(runner.train_dataloader.dataset):
            if isinstance(transform, SeedSample):
                transform.epoch.fill_(runner.epoch)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed from the epoch and the iteration within it, after the batch was loaded; each rank draws its own."""
        rank = get_rank()
        seed_generators(self.seed, runner.epoch, _ITERATION, batch_idx, *([rank] if rank else []))


def _transforms(dataset: Any) -> Iterator[Any]:
    """The pipeline steps of a data set and of all data sets it wraps."""
    for inner in (getattr(dataset, "dataset", None), *getattr(dataset, "datasets", ())):
        if inner is not None:
            yield from _transforms(inner)
    pipeline = getattr(dataset, "pipeline", None)
    yield from getattr(pipeline, "transforms", ())
