"""Drawn changes of colours, applied to pixels on any device in the arithmetic of OpenCV's 8-bit conversions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import torch

from posestudy_runner.plugin.data_path.colours import HUES, ColourChange

_SHIFT: Final = 12
"""Fractional bits of OpenCV's integer arithmetic from BGR to HSV."""


@dataclass(frozen=True, slots=True)
class ColourTables:
    """The colour changes of N images.

    Attributes:
        tables: uint8 [N, 4, 256]: where each value goes before the conversion to HSV, each hue, each saturation, and
            each value after the conversion back.
        in_hsv: bool [N], which images are converted at all.
        rounded: int32 [N, 2], columns of the region, first and last excluded, in which OpenCV rounds to the nearest
            grey level on the way back from HSV. It cuts off elsewhere: only what does not fill a vector at the end of
            an image's row takes its scalar path, which rounds.
    """

    tables: torch.Tensor
    in_hsv: torch.Tensor
    rounded: torch.Tensor

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> ColourTables:
        """A copy with every tensor as `change` gives it."""
        return ColourTables(change(self.tables), change(self.in_hsv), change(self.rounded))

    def apply(self, pixels: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """The pixels with their colours changed, uint8 [N, M, 3] BGR.

        Args:
            pixels: uint8 [N, M, 3] BGR.
            columns: integer [N, M], the column of each in its region.
        """
        pixels = _looked_up(self.tables[:, 0], pixels)
        hue, saturation, value = _to_hsv(pixels)
        hue, saturation = _looked_up(self.tables[:, 1], hue), _looked_up(self.tables[:, 2], saturation)
        rounds = (columns >= self.rounded[:, :1]) & (columns < self.rounded[:, 1:])
        back = _from_hsv(hue, saturation, value, rounds)
        return _looked_up(self.tables[:, 3], torch.where(self.in_hsv[:, None, None], back, pixels))


def colour_tables(changes: Sequence[ColourChange | None], rounded: Sequence[tuple[int, int]]) -> ColourTables | None:
    """The tables of `changes`, one of each image; None where there is no change at all.

    Args:
        changes: None is an image that stays as it is.
        rounded: see `ColourTables.rounded`.
    """
    if not any(change is not None for change in changes):
        return None
    unchanged = ColourChange()
    tables = np.stack([(change or unchanged).tables() for change in changes])
    in_hsv = np.asarray([change is not None and change.in_hsv for change in changes])
    return ColourTables(
        torch.from_numpy(tables), torch.from_numpy(in_hsv), torch.from_numpy(np.asarray(rounded, np.int32))
    )


@lru_cache(maxsize=4096)
def truncated_columns(width: int) -> int:
    """How many columns of an image of `width` px OpenCV converts back from HSV in whole vectors, on this machine."""
    row = np.empty((1, width, 3), np.uint8)
    # Blue comes to 12.65 here.
    row[...] = (18, 40, 15)
    return int((cv2.cvtColor(row, cv2.COLOR_HSV2BGR)[0, :, 0] == 12).sum())


def _looked_up(table: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """`values`, uint8 [N, ...], each replaced by its entry in the `table` of its image, uint8 [N, 256]."""
    return table.gather(1, values.flatten(1).long()).reshape(values.shape)


def _to_hsv(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hue, saturation and value, each uint8 [N, M], equal to OpenCV's COLOR_BGR2HSV."""
    per_value, per_spread, _ = _constants(pixels.device)
    blue, green, red = pixels.int().unbind(-1)
    value = pixels.amax(-1).int()
    spread = value - pixels.amin(-1).int()
    half = 1 << (_SHIFT - 1)
    saturation = (spread * per_value[value] + half) >> _SHIFT
    sixths = torch.where(
        value == red,
        green - blue,
        torch.where(value == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    hue = (sixths * per_spread[spread] + half) >> _SHIFT
    return torch.where(hue < 0, hue + HUES, hue).byte(), saturation.byte(), value.byte()


def _from_hsv(hue: torch.Tensor, saturation: torch.Tensor, value: torch.Tensor, rounds: torch.Tensor) -> torch.Tensor:
    """uint8 [N, M, 3] BGR from uint8 [N, M] each; cut off, or rounded where `rounds`, as OpenCV's COLOR_HSV2BGR."""
    sixths = hue * (6 / HUES)
    sector = sixths.floor()
    along, pale, share = sixths - sector, saturation * (1 / 255), value * (1 / 255)
    lowest, falling, rising = (
        # OpenCV multiplies and subtracts in one rounding, which float64 comes to.
        share * (1 - pale.double() * part.double()).float()
        for part in (torch.ones_like(along), along, 1 - along)
    )
    order = _constants(hue.device)[2][sector.long()]
    colours = torch.stack([share, lowest, falling, rising], -1).gather(-1, order) * 255
    return torch.where(rounds[..., None], colours.round(), colours.floor()).clamp(0, 255).byte()


@lru_cache
def _constants(device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """On `device`: OpenCV's 255 / i and 30 / i with `_SHIFT` fractional bits, int32 [256] each, 0 for 0; and of each
    sixth of the circle of hues which of value, lowest, falling and rising are blue, green and red, int64 [6, 3].

    Kept there, since copying them for each batch would wait for the device.
    """
    over_value, over_spread = (
        np.concatenate([[0], np.rint(numerator * (1 << _SHIFT) / np.arange(1, 256))]) for numerator in (255, HUES / 6)
    )
    order = [(1, 3, 0), (1, 0, 2), (3, 0, 1), (0, 2, 1), (0, 1, 3), (2, 1, 0)]
    return (
        torch.tensor(over_value, dtype=torch.int32, device=device),
        torch.tensor(over_spread, dtype=torch.int32, device=device),
        torch.tensor(order, device=device),
    )
