"""Networks by name: full ResNets with their usual head, and thin ones that learn on a CPU in minutes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from posestudy.errors import NotFoundError, nearest

HEATMAP_STRIDE = 4
"""Input pixels per heatmap pixel, for every preset."""


@dataclass(frozen=True)
class Preset:
    """A backbone and a heatmap head that fit each other, as MMPose config.

    Attributes:
        backbone: config of the backbone, without initialisation.
        head: config of `HeatmapHead` without `out_channels`, `loss` and `decoder`, which depend on the study.
        stride: input pixels per pixel of the backbone's last features; width and height of the input are
            multiples of it, or the head's output would not be a quarter of them.
        weights: where weights trained on ImageNet lie, None for a network nobody has trained.
    """

    name: str
    backbone: Mapping[str, Any]
    head: Mapping[str, Any]
    stride: int
    weights: str | None = None


def names() -> tuple[str, ...]:
    """The names a study may give as `model`."""
    return tuple(_PRESETS)


def preset(name: str) -> Preset:
    """The preset called `name`.

    Raises:
        NotFoundError: there is none of that name; the nearest is named.
    """
    if name not in _PRESETS:
        hint = nearest(name, _PRESETS)
        raise NotFoundError(
            f"no preset is called {name!r}; expected one of {', '.join(_PRESETS)}" + (f"; {hint}" if hint else "")
        )
    return _PRESETS[name]


def _full(depth: int) -> Preset:
    """ResNet as published, with the head of Simple Baselines: three deconvolutions of 256 channels."""
    return Preset(
        name=f"resnet{depth}",
        backbone=MappingProxyType({"type": "ResNet", "depth": depth}),
        head=MappingProxyType({"type": "HeatmapHead", "in_channels": 512 if depth < 50 else 2048}),
        stride=32,
        weights=f"torchvision://resnet{depth}",
    )


def _thin(name: str, channels: int) -> Preset:
    """The first three stages of a ResNet-18 with `channels` instead of 64, at stride 8, and one deconvolution.

    Measured on drawn cats at 64 px, learning per second of CPU: two deconvolutions from stride 16 are no faster
    and learn less, the fourth stage doubles the time. On such inputs its features would be two pixels wide.
    """
    return Preset(
        name=name,
        backbone=MappingProxyType(
            {
                "type": "ResNet",
                "depth": 18,
                "stem_channels": channels,
                "base_channels": channels,
                "num_stages": 3,
                "strides": (1, 2, 1),
                "dilations": (1, 1, 1),
                "out_indices": (2,),
            }
        ),
        head=MappingProxyType(
            {
                "type": "HeatmapHead",
                "in_channels": 4 * channels,
                "deconv_out_channels": (32,),
                "deconv_kernel_sizes": (4,),
            }
        ),
        stride=8,
    )


_PRESETS: dict[str, Preset] = {
    p.name: p for p in (*map(_full, (18, 34, 50, 101, 152)), _thin("resnet18_thin", 16), _thin("resnet_tiny", 8))
}
