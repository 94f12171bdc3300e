"""The images of a batch as its samples bring them, one after the other."""

from __future__ import annotations

from typing import Final, Protocol

import cv2
import numpy as np
import torch

from posestudy_runner.plugin.data_path.colours import ColourChange
from posestudy_runner.plugin.data_path.device_colours import colour_tables, truncated_columns
from posestudy_runner.plugin.data_path.device_pixels import RawPixels
from posestudy_runner.plugin.data_path.warping import MARGIN_PX, Warp

LARGEST_REGION: Final = 8
"""Pixels of a region per pixel of the input. A larger one costs more time copied to the process that trains, and from
there to the device, than warped here."""


class Inputs(Protocol):
    """Takes images, and gives what a batch holds of them."""

    def add(self, image: np.ndarray, matrix: np.ndarray, *, mirror: bool, colours: ColourChange | None) -> None:
        """Take the next image, which is not needed afterwards; the arguments are those of `Warp.cut`."""

    def made(self) -> torch.Tensor | RawPixels:
        """The images taken, in their order."""


class WarpedInputs:
    """Warps each image as it comes.

    Args:
        warp: to the network's input.
        count: of images to come.
    """

    def __init__(self, warp: Warp, count: int) -> None:
        width, height = warp.size
        self._warp = warp
        self._images = np.empty((count, 3, height, width), np.uint8)
        self._taken = 0

    def add(self, image: np.ndarray, matrix: np.ndarray, *, mirror: bool, colours: ColourChange | None) -> None:
        """See `Inputs`."""
        self._warp.cut(image, matrix, self._images[self._taken], mirror=mirror, colours=colours)
        self._taken += 1

    def made(self) -> torch.Tensor:
        """uint8 [N, 3, H, W] BGR."""
        return torch.from_numpy(self._images)


class RawInputs:
    """Copies of each image the region that the input shows, for the device to warp; warps a very large one itself.

    Args:
        warp: to the network's input.
        count: of images to come.
    """

    def __init__(self, warp: Warp, count: int) -> None:
        width, height = warp.size
        self._warp = warp
        # As much as there can be; what is not written to takes no memory.
        self._pixels = np.empty((count * LARGEST_REGION * width * height, 3), np.uint8)
        self._filled = 0
        self._regions: list[tuple[int, int, int]] = []
        self._inverses: list[np.ndarray] = []
        self._colours: list[ColourChange | None] = []
        self._rounded: list[tuple[int, int]] = []

    def add(self, image: np.ndarray, matrix: np.ndarray, *, mirror: bool, colours: ColourChange | None) -> None:
        """See `Inputs`."""
        height, width = image.shape[:2]
        inverse = cv2.invertAffineTransform(matrix.astype(np.float64))
        if mirror:
            inverse[0] = -inverse[0]
            inverse[0, 2] += width - 1
        left, top, right, bottom = self._shown(inverse, width, height)
        if left >= right or top >= bottom:
            self._append(_BLACK, _UNCHANGED)
        elif (right - left) * (bottom - top) > LARGEST_REGION * self._warp.size[0] * self._warp.size[1]:
            made = np.empty((3, self._warp.size[1], self._warp.size[0]), np.uint8)
            self._warp.cut(image, matrix, made, mirror=mirror, colours=colours)
            self._append(cv2.merge(tuple(made)), _UNCHANGED)
        else:
            inverse[:, 2] -= (left, top)
            rounded = (0, 0)
            if colours is not None and colours.in_hsv:
                cut_off = truncated_columns(width)
                rounded = (-left, width - cut_off - left) if mirror else (cut_off - left, width - left)
            self._append(image[top:bottom, left:right], inverse, colours, rounded)

    def made(self) -> RawPixels:
        """The regions, with their changes of colours still to be made."""
        return RawPixels(
            torch.from_numpy(self._pixels[: self._filled]),
            torch.from_numpy(np.array(self._regions, np.int32)),
            torch.from_numpy(np.array(self._inverses, np.float32)),
            self._warp.size,
            colour_tables(self._colours, self._rounded),
        )

    def _append(
        self,
        pixels: np.ndarray,
        inverse: np.ndarray,
        colours: ColourChange | None = None,
        rounded: tuple[int, int] = (0, 0),
    ) -> None:
        height, width = pixels.shape[:2]
        end = self._filled + height * width
        self._pixels[self._filled : end].reshape(height, width, 3)[...] = pixels
        self._regions.append((self._filled, height, width))
        self._filled = end
        self._inverses.append(inverse)
        self._colours.append(colours)
        self._rounded.append(rounded)

    def _shown(self, inverse: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom (right and bottom excluded) of what is read of an image of that size, px."""
        across, down = self._warp.size
        corners = inverse @ [(0, across - 1, 0, across - 1), (0, 0, down - 1, down - 1), (1, 1, 1, 1)]
        (left, top), (right, bottom) = np.floor(corners.min(axis=1)), np.ceil(corners.max(axis=1))
        return (
            max(0, int(left) - MARGIN_PX),
            max(0, int(top) - MARGIN_PX),
            min(width, int(right) + MARGIN_PX + 1),
            min(height, int(bottom) + MARGIN_PX + 1),
        )


_UNCHANGED: Final = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
_BLACK: Final = np.zeros((1, 1, 3), np.uint8)
"""Of an image that lies outside of the input altogether."""
