"""Batches of a validation split, which are the same every time, made once and kept."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.dataset import DefaultSampler
from mmpose.datasets.transforms import GetBBoxCenterScale, LoadImage, PackPoseInputs, TopdownAffine

_FIXED = (LoadImage, GetBBoxCenterScale, TopdownAffine, PackPoseInputs)
"""Transforms that give the same for the same sample."""


class KeptBatches:
    """A data loader that hands out again the batches of its first whole pass; else it is the loader it is made from.

    They are kept in this process's own memory, as they came: 8-bit images and data samples, which no step changes in
    place. Where they come to more than the limit, or would not be the same again, the loader makes them every time.

    Args:
        loader: a torch DataLoader.
        limit_bytes: what the images of all batches may come to.
    """

    def __init__(self, loader: Any, limit_bytes: int) -> None:
        self._loader = loader
        self._left = limit_bytes if _repeats(loader) else 0
        self._kept: list[Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        if self._kept is None:
            return self._made()
        # A loader draws the seed of its workers each time; what is drawn after it must not depend on ours.
        torch.empty((), dtype=torch.int64).random_()
        return iter(self._kept)

    def _made(self) -> Iterator[Any]:
        kept: list[Any] = []
        left = self._left
        for batch in self._loader:
            left -= _image_bytes(batch)
            if left >= 0:
                # Copied out of the memory that is shared with the loader's processes.
                kept.append(copy.deepcopy(batch))
            else:
                kept.clear()
                self._left = 0
            yield batch
        if left >= 0 and kept:
            self._kept = kept
            # Processes that a persistent loader keeps alive have nothing left to do.
            self._loader._iterator = None


def _repeats(loader: Any) -> bool:
    """Whether each pass gives the same batches."""
    sampler = loader.sampler
    pipeline = getattr(loader.dataset, "pipeline", None)
    transforms = getattr(pipeline, "transforms", None)
    in_order = isinstance(sampler, DefaultSampler) and not sampler.shuffle
    return bool(in_order and transforms) and all(type(one) in _FIXED for one in transforms or ())


def _image_bytes(batch: Mapping[str, Any]) -> int:
    inputs = batch["inputs"]
    return sum(image.nbytes for image in (inputs if isinstance(inputs, list) else [inputs]))
