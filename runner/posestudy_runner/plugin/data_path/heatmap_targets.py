"""Heatmaps of a whole batch by the codecs MSRA, UDP and Megvii; where a stock codec rounds, so does its twin here."""

from __future__ import annotations

import cv2
import numpy as np
from mmpose.codecs import MegviiHeatmap, MSRAHeatmap, UDPHeatmap

Targets = dict[str, np.ndarray]


class MSRAEncoder:
    """`MSRAHeatmap` without `unbiased`: every keypoint has the same Gaussian, at its nearest heatmap pixel."""

    def __init__(self, codec: MSRAHeatmap) -> None:
        self.codec = codec
        # As mmpose.codecs.utils.generate_gaussian_heatmaps has it, for its roundings where sigma is no integer.
        size = 2 * (codec.sigma * 3) + 1
        offset = np.arange(0, size, 1, dtype=np.float32) - size // 2
        self._gaussian = np.exp(-(offset**2 + (offset**2)[:, None]) / (2 * codec.sigma**2))

    def encode(self, keypoints: np.ndarray, visible: np.ndarray) -> Targets:
        """See `targets.BatchEncoder`; bit for bit the stock values."""
        mu = (keypoints / self.codec.scale_factor + 0.5).astype(np.int64)
        windows = _Windows(mu, self.codec.sigma * 3, visible, self.codec.heatmap_size)
        patches = np.broadcast_to(self._gaussian, (windows.count, *self._gaussian.shape))
        return _targets(windows.pasted(patches), windows.weights)


class UDPEncoder:
    """`UDPHeatmap` of type `gaussian`: a Gaussian at the very place of the keypoint, cut out around its pixel."""

    def __init__(self, codec: UDPHeatmap) -> None:
        self.codec = codec
        self._size = 2 * (codec.sigma * 3) + 1
        # float64, which the stock codec comes to by mixing float32 with integers.
        self._grid = np.arange(0, self._size, 1, dtype=np.float64)

    def encode(self, keypoints: np.ndarray, visible: np.ndarray) -> Targets:
        """See `targets.BatchEncoder`; within the last bit of the stock values."""
        centre = keypoints / self.codec.scale_factor
        mu = (centre + 0.5).astype(np.int64)
        windows = _Windows(mu, self.codec.sigma * 3, visible, self.codec.heatmap_size)
        drawn = (self._size // 2 + (centre - mu))[windows.drawn]
        rows = np.exp(-((self._grid - drawn[..., None]) ** 2) / (2 * self.codec.sigma**2))
        return _targets(windows.pasted(rows[:, 1, :, None] * rows[:, 0, None, :]), windows.weights)


class UnbiasedMSRAEncoder:
    """`MSRAHeatmap` with `unbiased`: a Gaussian at the very place of the keypoint, over the whole heatmap."""

    def __init__(self, codec: MSRAHeatmap) -> None:
        self.codec = codec
        width, height = codec.heatmap_size
        self._grid_x = np.arange(0, width, 1, dtype=np.float32)
        self._grid_y = np.arange(0, height, 1, dtype=np.float32)

    def encode(self, keypoints: np.ndarray, visible: np.ndarray) -> Targets:
        """See `targets.BatchEncoder`; within 1e-6 of the stock values."""
        codec = self.codec
        mu = keypoints / codec.scale_factor
        radius = codec.sigma * 3
        size = np.asarray(codec.heatmap_size)
        outside = ((mu - radius >= size) | (mu + radius + 1 < 0)).any(-1)
        labelled = visible >= 0.5
        rows = np.exp(-((self._grid_x - mu[..., 0, None]) ** 2) / (2 * codec.sigma**2))
        rows *= (labelled & ~outside)[..., None]
        columns = np.exp(-((self._grid_y - mu[..., 1, None]) ** 2) / (2 * codec.sigma**2))
        heatmaps = columns[..., :, None] * rows[..., None, :]
        return _targets(heatmaps, np.where(labelled & outside, np.zeros_like(visible), visible))


class MegviiEncoder:
    """`MegviiHeatmap`: one pixel, blurred with the border mirrored and scaled to 255 at its place."""

    def __init__(self, codec: MegviiHeatmap) -> None:
        self.codec = codec
        width, height = codec.heatmap_size
        self._reach = codec.kernel_size // 2
        self._x_kinds, xs = _kinds(width, self._reach)
        self._y_kinds, ys = _kinds(height, self._reach)
        self._patches = np.stack([[self._patch(x, y) for x in xs] for y in ys])

    def encode(self, keypoints: np.ndarray, visible: np.ndarray) -> Targets:
        """See `targets.BatchEncoder`; within the last bit of the stock values."""
        mu = (keypoints / self.codec.scale_factor).astype(np.int64)
        outside = ((mu < 0) | (mu >= self.codec.heatmap_size)).any(-1)
        windows = _Windows(mu, self._reach, visible, self.codec.heatmap_size, outside)
        x, y = mu[windows.drawn].T
        return _targets(windows.pasted(self._patches[self._y_kinds[y], self._x_kinds[x]]), windows.weights)

    def _patch(self, x: int, y: int) -> np.ndarray:
        """The target of a keypoint at pixel (x, y), cut to the reach of the kernel and 0 beyond the heatmap."""
        reach = self._reach
        width, height = self.codec.heatmap_size
        heatmap = np.zeros((height, width), np.float32)
        heatmap[y, x] = 1.0
        heatmap = cv2.GaussianBlur(heatmap, (self.codec.kernel_size,) * 2, 0)
        heatmap = heatmap / heatmap[y, x] * 255.0
        return np.pad(heatmap, reach)[y : y + 2 * reach + 1, x : x + 2 * reach + 1]


def _kinds(length: int, reach: int) -> tuple[np.ndarray, list[int]]:
    """Which positions along an axis have the same patch: the kind of each, and one position of each kind.

    Within `reach` of a border the mirrored part of the blur falls back into the heatmap; elsewhere all are alike.
    """
    edge = min(reach + 1, length // 2)
    kinds = np.minimum(np.arange(length), edge)
    kinds[length - edge :] = edge + 1 + np.arange(edge)
    return np.unique(kinds, return_inverse=True)[1], np.unique(kinds, return_index=True)[1].tolist()


class _Windows:
    """The squares around keypoints into which their Gaussians are drawn.

    Args:
        mu: int64 [N, K, 2], nearest heatmap pixel (x, y).
        radius: of the square, heatmap px; not always whole.
        visible: float [N, K].
        size: (width, height) of a heatmap.
        outside: bool [N, K], which keypoints weigh nothing for lying outside; those whose square does, where not given.

    Attributes:
        drawn: bool [N, K], keypoints with a target.
        weights: as `visible`, 0 for labelled keypoints outside.
        count: keypoints drawn.
    """

    def __init__(
        self,
        mu: np.ndarray,
        radius: float,
        visible: np.ndarray,
        size: tuple[int, int],
        outside: np.ndarray | None = None,
    ) -> None:
        # Cut towards zero as the stock codecs do, by which a square at the left or upper border may be smaller.
        start = (mu - radius).astype(np.int64)
        stop = (mu + radius + 1).astype(np.int64)
        beyond: np.ndarray = np.any((start >= size) | (stop < 0), axis=-1) if outside is None else outside
        labelled = visible >= 0.5
        self.drawn = labelled & ~beyond
        self.weights = np.where(labelled & beyond, np.zeros_like(visible), visible)
        self._size = size
        self._start = start[self.drawn]
        self._stop = np.minimum(stop[self.drawn], size)
        self.count = len(self._start)

    def pasted(self, patches: np.ndarray) -> np.ndarray:
        """Heatmaps, float32 [N, K, h, w], with `patches`, [count, side, side], at the places of those drawn."""
        width, height = self._size
        heatmaps = np.zeros((*self.drawn.shape, height, width), np.float32)
        steps = np.arange(patches.shape[-1])
        at = self._start[:, :, None] + steps
        inside = (at >= 0) & (at < self._stop[:, :, None])
        first = np.flatnonzero(self.drawn) * (width * height)
        flat = (first[:, None] + at[:, 1] * width)[:, :, None] + at[:, 0, None, :]
        chosen = inside[:, 1, :, None] & inside[:, 0, None, :]
        heatmaps.reshape(-1)[flat[chosen]] = patches[chosen]
        return heatmaps


def _targets(heatmaps: np.ndarray, weights: np.ndarray) -> Targets:
    return {"heatmaps": heatmaps, "keypoint_weights": weights[:, None]}
