"""AlexNet, and SCNet: a ResNet with self-calibrated convolutions (Liu et al., CVPR 2020)."""

from __future__ import annotations

from types import MappingProxyType

from posestudy_studies.presets.preset import ANY_BACKBONE, POSE_WEIGHTS, Preset
from posestudy_studies.presets.resnets import SIMPLE_BASELINES


def _alexnet_side(pixels: int) -> int:
    """A convolution of 11 at stride 4, padded by 2, then three times the largest of 3 at stride 2."""
    side = (pixels + 2 * 2 - 11) // 4 + 1
    for _ in range(3):
        side = (side - 3) // 2 + 1
    return side


_ALEXNET = Preset(
    name="alexnet",
    family="AlexNet",
    backbone=MappingProxyType({"type": "AlexNet"}),
    channels=256,
    stride=32,
    multiple=4,
    deconvolutions=SIMPLE_BASELINES,
    arguments=frozenset(),
    weights="torchvision://alexnet",
    smallest=64,
    side=_alexnet_side,
)


def _scnet(depth: int, digest: str) -> Preset:
    return Preset(
        name=f"scnet{depth}",
        family="SCNet",
        backbone=MappingProxyType({"type": "SCNet", "depth": depth}),
        channels=2048,
        stride=32,
        multiple=32,
        deconvolutions=SIMPLE_BASELINES,
        arguments=ANY_BACKBONE,
        weights=f"{POSE_WEIGHTS}scnet{depth}-{digest}.pth",
        # Its gate averages over 4 x 4 pixels of features that are 32 times smaller than the input.
        smallest=128,
    )


PRESETS = (_ALEXNET, _scnet(50, "7ef0a199"), _scnet(101, "94250a77"))
