"""What a preset is: a backbone, what stands between it and the head, and the sizes that follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

ANY_BACKBONE = frozenset({"frozen_stages", "norm_eval", "with_cp", "zero_init_residual"})
"""Arguments that the ResNets and HRNets of MMPose share."""
POSE_WEIGHTS = "https://download.openmmlab.com/mmpose/pretrain_models/"
"""Where OpenMMLab keeps backbones trained on ImageNet."""


@dataclass(frozen=True)
class Preset:
    """A backbone and the deconvolutions that usually follow it.

    Attributes:
        family: what it belongs to, as `TransPose`.
        backbone: config of the backbone, without initialisation.
        channels: of the features that reach the head.
        stride: input pixels per pixel of those features.
        multiple: width and height of the input are multiples of it.
        deconvolutions: channels of the head's deconvolutions, each doubling width and height; empty for a network
            whose features have the heatmap's size already, which then takes none.
        arguments: names of the arguments of the backbone that a study may set.
        weights: where weights of the backbone trained on ImageNet lie, None for a network nobody has trained.
        official: where weights of the whole network, trained on COCO by its authors, lie; None: nowhere.
        encoder: config of a neck that is told the size of its features, or None.
        smallest: least width and height of the input, px.
        stages: of the backbone, of which the first ones may be frozen.
        side: the features' width for the input's, where the stride alone does not give it.
        torch_defaults: beside given backbone weights, the layers that follow start as torch makes them, except the
            last.
        imports: modules that a trial imports first, because they register the backbone or the neck.
    """

    name: str
    family: str
    backbone: Mapping[str, Any]
    channels: int
    stride: int
    multiple: int
    deconvolutions: tuple[int, ...]
    arguments: frozenset[str]
    weights: str | None = None
    official: str | None = None
    encoder: Mapping[str, Any] | None = None
    smallest: int = 1
    stages: int = 4
    side: Callable[[int], int] | None = None
    torch_defaults: bool = False
    imports: tuple[str, ...] = ()

    def features(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) of the features for an input of `size`, px."""
        if self.side is not None:
            return self.side(size[0]), self.side(size[1])
        return size[0] // self.stride, size[1] // self.stride
