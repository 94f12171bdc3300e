"""Raw pixels into the network's input on any device, in the arithmetic of OpenCV's warpAffine."""

from __future__ import annotations

from typing import Final

import torch

from posestudy_runner.plugin.data_path.device_pixels import RawPixels

AT_ONCE: Final = 1 << 21
"""Pixels that are read at once; each takes 100 to 200 bytes of memory meanwhile."""
_FAR_PX: Final = 1 << 20
"""Coordinates beyond it lie outside of every region, and are cut so that they fit an integer."""


def warped(raw: RawPixels) -> torch.Tensor:
    """The N images of `raw` as the network takes them: linearly interpolated, and black outside of their images.

    Runs on the device of `raw` and does not wait for it.

    Returns:
        uint8 [N, 3, H, W] BGR, with the channels innermost in memory; OpenCV's within 1 grey level.
    """
    width, height = raw.size
    step = max(1, AT_ONCE // (4 * width * height))
    parts = [_warped(raw.of(slice(first, first + step))) for first in range(0, len(raw.regions), step)]
    return torch.cat(parts).reshape(-1, height, width, 3).permute(0, 3, 1, 2)


def _warped(raw: RawPixels) -> torch.Tensor:
    """uint8 [N, H*W, 3]."""
    places = _places(raw)
    corners = places.floor()
    along_x, along_y = (places - corners)[..., None].unbind(1)
    upper_left, upper_right, lower_left, lower_right = _neighbours(raw, corners).unbind(1)
    upper = upper_left + along_x * (upper_right - upper_left)
    lower = lower_left + along_x * (lower_right - lower_left)
    return (upper + along_y * (lower - upper)).round().byte()


def _places(raw: RawPixels) -> torch.Tensor:
    """Where in its region each pixel of the input lies, float32 [N, 2, H*W], x and y in px."""
    width, height = raw.size
    x = torch.arange(width, dtype=torch.float32, device=raw.pixels.device)
    y = torch.arange(height, dtype=torch.float32, device=raw.pixels.device)[:, None]
    by_x, by_y, shift = raw.inverse[..., None, None].unbind(2)
    return (x * by_x + y * by_y + shift).flatten(2)


def _neighbours(raw: RawPixels, corners: torch.Tensor) -> torch.Tensor:
    """The pixels at `corners`, float32 [N, 2, M], and right of, below, and diagonally below them: [N, 4, M, 3]."""
    left, top = corners.clamp(-_FAR_PX, _FAR_PX).int().unbind(1)
    x = torch.cat([left, left + 1, left, left + 1], dim=1)
    y = torch.cat([top, top, top + 1, top + 1], dim=1)
    start, height, width = raw.regions[..., None].unbind(1)
    index = start + y.clamp(min=0).minimum(height - 1) * width + x.clamp(min=0).minimum(width - 1)
    pixels = raw.pixels.index_select(0, index.flatten()).reshape(*index.shape, 3)
    if raw.colours is not None:
        pixels = raw.colours.apply(pixels, x)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return (pixels * inside[..., None]).float().reshape(len(corners), 4, -1, 3)
