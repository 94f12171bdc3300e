"""A drawn change of an image's colours, applied through tables of 256 entries instead of in floating point."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

HUES = 180
"""Hues of OpenCV's 8-bit HSV, of 2 degrees each."""


@dataclass(frozen=True, slots=True)
class ColourChange:
    """What PhotometricDistortionV0 drew for one image; None is a change that does not happen.

    Attributes:
        brightness: added to every value, grey levels.
        contrast: factor of every value, 0 or above.
        contrast_first: whether contrast comes before saturation and hue.
        saturation: factor of the saturation, 0 or above.
        hue: added to the hue, units of 2 degrees, in a circle.
    """

    brightness: float | None = None
    contrast: float | None = None
    contrast_first: bool = True
    saturation: float | None = None
    hue: int | None = None

    @property
    def in_hsv(self) -> bool:
        """Whether the image goes through HSV and back, which alone changes it a little."""
        return self.saturation is not None or self.hue is not None

    def apply(self, image: np.ndarray) -> np.ndarray:
        """`image`, uint8 [H, W, 3] BGR, with its colours changed; it stays as it is."""
        before, hue, saturation, after = self.tables()
        if before is not _SAME:
            image = cv2.LUT(image, before)
        if self.in_hsv:
            hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
            # One table for three interleaved channels would take OpenCV thrice as long.
            for channel, table in enumerate((hue, saturation)):
                if table is not _SAME:
                    cv2.insertChannel(cv2.LUT(cv2.extractChannel(hsv, channel), table), hsv, channel)
            image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        return image if after is _SAME else cv2.LUT(image, after)

    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Where each value goes, uint8 [256] each: values before HSV, hues, saturations, and values after HSV."""
        before, hue, saturation, after = (_SAME,) * 4
        if self.brightness is not None:
            before = _table(shift=self.brightness)
        if self.contrast is not None:
            if self.contrast_first or not self.in_hsv:
                before = _table(self.contrast)[before]
            else:
                after = _table(self.contrast)
        if self.saturation is not None:
            saturation = _table(self.saturation)
        if self.hue is not None:
            hue = ((_SAME.astype(np.int16) + self.hue) % HUES).astype(np.uint8)
        return before, hue, saturation, after


def _table(factor: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """uint8 [256]: where each grey level goes, cut at 0 and 255."""
    changed: np.ndarray = np.clip(_LEVELS * factor + shift, 0, 255).astype(np.uint8)
    return changed


_SAME = np.arange(256, dtype=np.uint8)
_LEVELS = np.arange(256, dtype=np.float32)
