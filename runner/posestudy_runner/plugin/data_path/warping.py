"""Where an instance's box lies in its image, and its pixels cut out into the network's input."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from mmpose.structures.bbox import get_udp_warp_matrix

from posestudy_runner.plugin.data_path.colours import ColourChange

MARGIN_PX = 2
"""Around the region of an image that is read; linear interpolation reads one pixel further than it lies."""
VECTOR_PX = 64
"""A multiple of the pixels that OpenCV computes at once on any processor."""
SMALL = 20
"""Pixels of an image for each of the input's, up to which a fourth channel costs less than it saves."""


class Warp:
    """MMPose's TopdownAffine: the box, at the input's aspect ratio, fills the network's input.

    Args:
        size: width and height of the input, px.
        use_udp: whether pixel centres instead of pixel edges meet, as unbiased data processing wants.
    """

    def __init__(self, size: tuple[int, int], *, use_udp: bool) -> None:
        self.size = size
        self.use_udp = use_udp
        width, height = size
        self._scratch: np.ndarray | None = None
        # What MMPose's third point of the box comes to, the first two being the centre and the middle of the left.
        self._corners = np.array(
            [(width * 0.5, height * 0.5), (0, height * 0.5), (0, height * 0.5 + width * 0.5)], np.float32
        )

    def fitted(self, scale: np.ndarray) -> np.ndarray:
        """`scale`, float [1, 2] px, made wider or higher until it has the input's aspect ratio."""
        aspect = self.size[0] / self.size[1]
        width, height = scale[0]
        if width > height * aspect:
            return np.array([[width, width / aspect]], scale.dtype)
        return np.array([[height * aspect, height]], scale.dtype)

    def matrix(self, center: np.ndarray, scale: np.ndarray, rotation: float | np.floating) -> np.ndarray:
        """float [2, 3], from px of the image to px of the input.

        Args:
            center: float [2] of the box, px of the image.
            scale: float [2], width and height as fitted, px.
            rotation: of the box, degrees.
        """
        if self.use_udp:
            udp: np.ndarray = get_udp_warp_matrix(center, scale, rotation, output_size=self.size)
            return udp
        # `mmpose.structures.bbox.get_warp_matrix`, with its roundings to float32, in a quarter of its time.
        angle = np.deg2rad(rotation)
        half = float(scale[0] * -0.5)
        x, y = np.float32(center[0]), np.float32(center[1])
        left_x = np.float32(float(center[0]) + float(np.cos(angle)) * half)
        left_y = np.float32(float(center[1]) + float(np.sin(angle)) * half)
        source = np.array([(x, y), (left_x, left_y), (left_x - (y - left_y), left_y + (x - left_x))], np.float32)
        matrix: np.ndarray = cv2.getAffineTransform(source, self._corners)
        return matrix

    def cut(
        self, image: np.ndarray, matrix: np.ndarray, out: np.ndarray, *, mirror: bool, colours: ColourChange | None
    ) -> None:
        """Warp `image` by `matrix`; what lies beyond its edges is black.

        Args:
            image: uint8 [H, W, 3].
            matrix: float [2, 3], as `matrix` gives it.
            out: uint8 [3, height, width], written to.
            mirror: whether the image is mirrored before.
            colours: changes the image before it is warped; only the region that the input shows is changed.
        """
        matrix = matrix.astype(np.float64)
        if colours is not None or not self._is_small(image):
            height, width = image.shape[:2]
            left, top, right, bottom = self._region(matrix, width, height)
            if left >= right or top >= bottom:
                out[...] = 0
                return
            image = image[top:bottom, width - right : width - left] if mirror else image[top:bottom, left:right]
            matrix[:, 2] += matrix[:, :2] @ (left, top)
        if colours is not None:
            # Where the stock transforms see a mirror image, its last pixels of a row are rounded their own way.
            image, mirror = colours.apply(cv2.flip(image, 1) if mirror else image), False
        if mirror:
            matrix = _mirrored(matrix, image.shape[1])
        cv2.split(self._warped(image, matrix), tuple(out))

    def _warped(self, image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """uint8 [height, width, 3]. OpenCV warps four channels in half the time of three, to the same values."""
        if not self._is_small(image):
            three: np.ndarray = cv2.warpAffine(image, matrix, self.size, flags=cv2.INTER_LINEAR)
            return three
        height, width = image.shape[:2]
        wide = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA, dst=self._room()[: height * width * 4].reshape(height, width, 4))
        four = cv2.warpAffine(wide, matrix, self.size, flags=cv2.INTER_LINEAR)
        cut: np.ndarray = cv2.cvtColor(four, cv2.COLOR_BGRA2BGR)
        return cut

    def _room(self) -> np.ndarray:
        """uint8, for a small image with four channels; fresh memory for each takes longer to get than to fill."""
        if self._scratch is None:
            self._scratch = np.empty(SMALL * self.size[0] * self.size[1] * 4, np.uint8)
        return self._scratch

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_scratch": None}

    def _is_small(self, image: np.ndarray) -> bool:
        return bool(image.shape[0] * image.shape[1] <= SMALL * self.size[0] * self.size[1])

    def _region(self, matrix: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom (right and bottom excluded) that cover what `cut` reads, within the image.

        OpenCV rounds colours otherwise in the last pixels of a row that do not fill a vector. Cut at whole vectors or
        at the end of the image's row, the same pixels are in the last ones here and there.
        """
        (a, b, x), (c, d, y) = matrix.tolist()
        scale = a * d - b * c
        if not scale:  # of a box without area
            return 0, 0, width, height
        across, down = (self.size[0] - 1) / scale, (self.size[1] - 1) / scale
        # The input's first pixel in the image, and from there how far its right and lower edges reach.
        first_x, first_y = (b * y - d * x) / scale, (c * x - a * y) / scale
        xs, ys = (d * across, -b * down), (-c * across, a * down)
        left, right = first_x + sum(min(0.0, reach) for reach in xs), first_x + sum(max(0.0, reach) for reach in xs)
        top, bottom = first_y + sum(min(0.0, reach) for reach in ys), first_y + sum(max(0.0, reach) for reach in ys)
        end = math.ceil((right + MARGIN_PX + 1) / VECTOR_PX) * VECTOR_PX
        return (
            max(0, math.floor((left - MARGIN_PX) / VECTOR_PX) * VECTOR_PX),
            max(0, math.floor(top) - MARGIN_PX),
            end if end <= width // VECTOR_PX * VECTOR_PX else width,
            min(height, math.ceil(bottom) + MARGIN_PX + 1),
        )


def _mirrored(matrix: np.ndarray, width: int) -> np.ndarray:
    """`matrix`, float64 [2, 3], for an image of `width` px that is yet to be mirrored."""
    flipped = matrix.copy()
    flipped[:, 2] += matrix[:, 0] * (width - 1)
    flipped[:, 0] = -matrix[:, 0]
    return flipped
