"""The backbone of the preset: trials import this module, because the preset says so."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from mmpose.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class PlainBackbone(BaseModule):
    """One convolution after the other, each of which halves width and height.

    Args:
        channels: of each convolution.
    """

    def __init__(self, channels: Sequence[int], init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        sides = zip((3, *channels[:-1]), channels, strict=True)
        self.layers = nn.Sequential(*(self._layer(*side) for side in sides))

    @staticmethod
    def _layer(before: int, after: int) -> nn.Sequential:
        convolution = nn.Conv2d(before, after, kernel_size=3, stride=2, padding=1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True))

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """(batch, 3, height, width) to the last features alone."""
        return (self.layers(images),)
