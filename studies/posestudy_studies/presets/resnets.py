"""ResNet and ResNeSt with the head of Simple Baselines, and thin ResNets."""

from __future__ import annotations

from types import MappingProxyType

from posestudy_studies.presets.preset import ANY_BACKBONE, Preset

_RESNET = ANY_BACKBONE | {"deep_stem", "avg_down", "style"}
_RESNEST = ANY_BACKBONE | {"style", "radix", "groups", "reduction_factor", "avg_down_stride"}
SIMPLE_BASELINES = (256, 256, 256)
"""Channels of the deconvolutions of Xiao, Wu and Wei 2018."""


def _resnet(depth: int) -> Preset:
    """ResNet as published, with the head of Simple Baselines."""
    return Preset(
        name=f"resnet{depth}",
        family="ResNet",
        backbone=MappingProxyType({"type": "ResNet", "depth": depth}),
        channels=512 if depth < 50 else 2048,
        stride=32,
        multiple=32,
        deconvolutions=SIMPLE_BASELINES,
        arguments=_RESNET,
        weights=f"torchvision://resnet{depth}",
    )


def _resnest(depth: int) -> Preset:
    """ResNeSt as published, whose weights need the wide stem that MMPose's own configs of it leave out."""
    stem = {"stem_channels": 64 if depth == 50 else 128}
    return Preset(
        name=f"resnest{depth}",
        family="ResNeSt",
        backbone=MappingProxyType({"type": "ResNeSt", "depth": depth, **stem}),
        channels=2048,
        stride=32,
        multiple=32,
        deconvolutions=SIMPLE_BASELINES,
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
        family="ResNet, thin",
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
        stages=3,
    )


PRESETS = (
    *map(_resnet, (18, 34, 50, 101, 152)),
    *map(_resnest, (50, 101, 200, 269)),
    _thin_resnet("resnet18_thin", 16),
    _thin_resnet("resnet_tiny", 8),
)
