"""The pixels that a batch shows, as they lie in the images: what a loader hands on when the device does the warping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from posestudy_runner.plugin.data_path.device_colours import ColourTables


@dataclass(frozen=True, slots=True)
class RawPixels:
    """The regions that N images of a batch read, one after the other, and how they come into the input.

    Attributes:
        pixels: uint8 [P, 3] BGR, row by row, region after region.
        regions: int32 [N, 3], of each the place of its first pixel in `pixels`, its height and its width, px.
        inverse: float32 [N, 2, 3], from px (x, y) of the input to px of the region.
        size: width and height of the input, px.
        colours: changes of the regions' colours; None: there are none in this batch.
    """

    pixels: torch.Tensor
    regions: torch.Tensor
    inverse: torch.Tensor
    size: tuple[int, int]
    colours: ColourTables | None = None

    @property
    def nbytes(self) -> int:
        """What the pixels come to."""
        return int(self.pixels.nbytes)

    def of(self, images: slice) -> RawPixels:
        """That of some of the images; a view."""
        return replace(
            self,
            regions=self.regions[images],
            inverse=self.inverse[images],
            colours=None if self.colours is None else self.colours.each(lambda tensor: tensor[images]),
        )

    def pin_memory(self) -> RawPixels:
        """A copy in pinned memory; torch calls this where a loader's `pin_memory` is on."""
        return self._each(lambda tensor: tensor.pin_memory())

    def to(self, device: torch.device, *, non_blocking: bool = False) -> RawPixels:
        """A copy on `device`."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> RawPixels:
        return replace(
            self,
            pixels=change(self.pixels),
            regions=change(self.regions),
            inverse=change(self.inverse),
            colours=None if self.colours is None else self.colours.each(change),
        )
