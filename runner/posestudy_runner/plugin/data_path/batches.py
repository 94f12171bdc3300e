"""A batch as few arrays: cheap to hand from process to process, and data samples only where they are used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from mmpose.structures import PoseDataSample

from posestudy_runner.plugin.data_path.annotations import Described
from posestudy_runner.plugin.data_path.device_pixels import RawPixels
from posestudy_runner.plugin.data_path.device_targets import UndrawnTargets

Column = Sequence[Any] | np.ndarray
"""Of each sample a value."""


class Batch(TypedDict):
    """N samples, under the keys of a stock batch.

    Attributes:
        inputs: uint8 [N, 3, H, W] BGR.
        data_samples: what belongs to the images.
    """

    inputs: torch.Tensor | RawPixels
    data_samples: PackedSamples


@dataclass(frozen=True)
class PackedSamples:
    """The data samples of N images, not yet unpacked.

    A sequence of what a stock batch has as `data_samples`, on the CPU, for whoever looks at a batch on its way.

    Attributes:
        described: of each sample the metainfo that its data set fixes.
        metainfo: by name, of each sample, the metainfo that its pipeline adds.
        instances: by name, [N, ...] with one instance each, the fields of `gt_instances`.
        labels: by name, [N, ...], the fields of `gt_instance_labels`.
        fields: by name, [N, ...], the fields of `gt_fields`.
        undrawn: further labels and fields, drawn where the samples are unpacked.
    """

    described: tuple[Described, ...]
    metainfo: Mapping[str, Column]
    instances: Mapping[str, np.ndarray]
    labels: Mapping[str, torch.Tensor]
    fields: Mapping[str, torch.Tensor]
    undrawn: UndrawnTargets | None = None
    _unpacked: list[PoseDataSample] = field(default_factory=list, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.described)

    def __getitem__(self, place: int) -> PoseDataSample:
        return self._samples()[place]

    def __iter__(self) -> Iterator[PoseDataSample]:
        return iter(self._samples())

    def _samples(self) -> list[PoseDataSample]:
        if not self._unpacked:
            self._unpacked.extend(self.unpack())
        return self._unpacked

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_unpacked": []}

    def pin_memory(self) -> PackedSamples:
        """A copy in pinned memory; torch calls this where a loader's `pin_memory` is on."""
        return self._each(lambda tensor: tensor.pin_memory())

    def to(self, device: torch.device, *, non_blocking: bool = False) -> PackedSamples:
        """A copy with labels and fields on `device`."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def _each(self, change: Any) -> PackedSamples:
        return replace(
            self,
            labels={name: change(tensor) for name, tensor in self.labels.items()},
            fields={name: change(tensor) for name, tensor in self.fields.items()},
            undrawn=None if self.undrawn is None else self.undrawn.each(change),
            _unpacked=[],
        )

    def unpack(self, **common: Any) -> list[PoseDataSample]:
        """The N samples; labels and fields are views of the batch's tensors.

        Args:
            **common: further metainfo, the same for all.
        """
        drawn_labels, drawn_fields = ({}, {}) if self.undrawn is None else self.undrawn.drawn()
        labels = _rows({**self.labels, **drawn_labels}, len(self))
        fields = _rows({**self.fields, **drawn_fields}, len(self))
        instances = _rows(self.instances, len(self))
        names, columns = tuple(self.metainfo), tuple(self.metainfo.values())
        added = zip(*columns, strict=True) if columns else ((),) * len(self)
        return [
            _sample(described, {**dict(zip(names, own, strict=True)), **common}, instance, label, pixels)
            for described, own, instance, label, pixels in zip(
                self.described, added, instances, labels, fields, strict=True
            )
        ]


class PackedPoseDataSample(PoseDataSample):
    """A data sample that copies the metainfo which its data set fixes when that is first asked for."""

    def __getattr__(self, name: str) -> Any:
        # Reached only for what is not there yet.
        if "_described" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self._copy_described()
        return getattr(self, name)

    def __delattr__(self, item: str) -> None:
        self._copy_described()
        super().__delattr__(item)

    __delitem__ = __delattr__

    def pop(self, *args: Any) -> Any:
        """As MMEngine's."""
        self._copy_described()
        return super().pop(*args)

    def _copy_described(self) -> None:
        described: Described | None = self.__dict__.pop("_described", None)
        for key, value in described.read().items() if described is not None else ():
            self.__dict__.setdefault(key, value)


def _sample(
    described: Described,
    metainfo: dict[str, Any],
    instances: dict[str, Any],
    labels: dict[str, Any],
    fields: dict[str, Any],
) -> PoseDataSample:
    sample = PackedPoseDataSample()
    # MMEngine would copy all metainfo deeply for every sample.
    sample._metainfo_fields.update(described.keys, metainfo)
    sample.__dict__.update(metainfo, _described=described)
    parts: dict[str, Any] = {
        "gt_instances": _element(InstanceData, instances),
        "gt_instance_labels": _element(InstanceData, labels),
    }
    if fields:
        parts["gt_fields"] = _element(PixelData, fields)
    for name, part in parts.items():
        sample._data_fields.update((name, f"_{name}"))
        sample.__dict__[f"_{name}"] = part
    return sample


def _element(kind: type[BaseDataElement], values: dict[str, Any]) -> BaseDataElement:
    """An element of `values`, without the checks of each that the batch's shape has made already."""
    element = kind()
    element._data_fields.update(values)
    element.__dict__.update(values)
    return element


def _rows(columns: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    names = tuple(columns)
    if not names:
        return [{} for _ in range(count)]
    split = [column.unbind() if isinstance(column, torch.Tensor) else list(column) for column in columns.values()]
    return [dict(zip(names, row, strict=True)) for row in zip(*split, strict=True)]


@FUNCTIONS.register_module()
def collate_batch(samples: Any) -> Any:
    """What `FastKeypointDataset.__getitems__` gives: a batch as it is, a list of stock samples as MMEngine collates it.

    Args:
        samples: a `Batch`, or a list of what the stock pipeline gives.
    """
    return pseudo_collate(samples) if isinstance(samples, list) else samples
