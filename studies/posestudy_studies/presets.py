"""Networks by name: published ones with their usual head, and thin ones that learn on a CPU in minutes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from posestudy.errors import NotFoundError, nearest

HEATMAP_STRIDE = 4
"""Input pixels per heatmap pixel where a study asks for no other heatmap size."""


@dataclass(frozen=True)
class Preset:
    """A backbone and the deconvolutions that usually follow it.

    Attributes:
        backbone: config of the backbone, without initialisation.
        channels: of the backbone's last features.
        stride: input pixels per pixel of the backbone's last features.
        multiple: width and height of the input are multiples of it.
        deconvolutions: channels of the head's deconvolutions, each doubling width and height; empty for a network
            whose features have the heatmap's size already, which then takes none.
        arguments: names of the arguments of the backbone that a study may set.
        weights: where weights trained on ImageNet lie, None for a network nobody has trained.
    """

    name: str
    backbone: Mapping[str, Any]
    channels: int
    stride: int
    multiple: int
    deconvolutions: tuple[int, ...]
    arguments: frozenset[str]
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


def owner_of(weights: str) -> str | None:
    """The preset whose ImageNet weights lie at `weights`; None where they are no preset's."""
    return next((name for name, chosen in _PRESETS.items() if chosen.weights == weights), None)


_ANY = frozenset({"frozen_stages", "norm_eval", "with_cp", "zero_init_residual"})
_RESNET = _ANY | {"deep_stem", "avg_down", "style"}
_RESNEST = _ANY | {"style", "radix", "groups", "reduction_factor", "avg_down_stride"}
_SIMPLE_BASELINES = (256, 256, 256)
_POSE_WEIGHTS = "https://download.openmmlab.com/mmpose/pretrain_models/"


def _resnet(depth: int) -> Preset:
    """ResNet as published, with the head of Simple Baselines."""
    return Preset(
        name=f"resnet{depth}",
        backbone=MappingProxyType({"type": "ResNet", "depth": depth}),
        channels=512 if depth < 50 else 2048,
        stride=32,
        multiple=32,
        deconvolutions=_SIMPLE_BASELINES,
        arguments=_RESNET,
        weights=f"torchvision://resnet{depth}",
    )


def _resnest(depth: int) -> Preset:
    """ResNeSt as published, whose weights need the wide stem that MMPose's own configs of it leave out."""
    stem = {"stem_channels": 64 if depth == 50 else 128}
    return Preset(
        name=f"resnest{depth}",
        backbone=MappingProxyType({"type": "ResNeSt", "depth": depth, **stem}),
        channels=2048,
        stride=32,
        multiple=32,
        deconvolutions=_SIMPLE_BASELINES,
        arguments=_RESNEST,
        weights=f"mmcls://resnest{depth}",
    )


def _thin_resnet(name: str, channels: int) -> Preset:
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
        channels=4 * channels,
        stride=8,
        multiple=8,
        deconvolutions=(32,),
        arguments=_RESNET,
    )


def _hrnet(
    name: str, width: int, modules: Sequence[int], blocks: int, stem: tuple[int, int], weights: str | None = None
) -> Preset:
    """HRNet whose branch of the highest resolution has `width` channels, at stride 4: no deconvolution follows.

    Args:
        modules: exchange modules of stages 2 to 4.
        blocks: residual blocks per branch and module.
        stem: blocks and channels of the first stage.
    """
    stages: dict[str, Any] = {
        "stage1": {
            "num_modules": 1,
            "num_branches": 1,
            "block": "BOTTLENECK",
            "num_blocks": stem[:1],
            "num_channels": stem[1:],
        }
    }
    for stage, number in zip((2, 3, 4), modules, strict=True):
        stages[f"stage{stage}"] = {
            "num_modules": number,
            "num_branches": stage,
            "block": "BASIC",
            "num_blocks": (blocks,) * stage,
            "num_channels": tuple(width << branch for branch in range(stage)),
        }
    return Preset(
        name=name,
        backbone=MappingProxyType({"type": "HRNet", "in_channels": 3, "extra": stages}),
        channels=width,
        stride=4,
        # The lowest of its four branches is 32 times smaller than the input, and is scaled up again.
        multiple=32,
        deconvolutions=(),
        arguments=_ANY,
        weights=None if weights is None else f"{_POSE_WEIGHTS}{weights}",
    )


_PUBLISHED_HRNET: tuple[Sequence[int], int, tuple[int, int]] = ((1, 4, 3), 4, (4, 64))

_PRESETS: dict[str, Preset] = {
    p.name: p
    for p in (
        *map(_resnet, (18, 34, 50, 101, 152)),
        *map(_resnest, (50, 101, 200, 269)),
        _hrnet("hrnet_w32", 32, *_PUBLISHED_HRNET, "hrnet_w32-36af842e.pth"),
        _hrnet("hrnet_w48", 48, *_PUBLISHED_HRNET, "hrnet_w48-8ef0771d.pth"),
        _thin_resnet("resnet18_thin", 16),
        _thin_resnet("resnet_tiny", 8),
        _hrnet("hrnet_tiny", 8, (1, 1, 1), 1, (1, 16)),
    )
}
