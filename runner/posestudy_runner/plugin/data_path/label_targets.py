"""Targets of a whole batch by the codecs that give vectors: SimCC's classes along each axis, and coordinates."""

from __future__ import annotations

import numpy as np
from mmpose.codecs import RegressionLabel, SimCCLabel
from numpy.lib.stride_tricks import sliding_window_view

Targets = dict[str, np.ndarray]


class SimCCEncoder:
    """`SimCCLabel`, smoothed by a Gaussian or evenly.

    Bins are whole, so that a target is a piece of one table per axis: the piece that has the peak in the right bin.
    """

    def __init__(self, codec: SimCCLabel) -> None:
        self.codec = codec
        self._bins = np.asarray([round(side * codec.simcc_split_ratio) for side in codec.input_size])
        if codec.smoothing_type == "gaussian":
            self._reach = codec.sigma * 3
            self._margin = np.ceil(self._reach).astype(np.int64) + 1
        else:
            self._reach = self._margin = np.zeros(2, np.int64)
        self._windows = [self._table(axis) for axis in (0, 1)]

    def encode(self, keypoints: np.ndarray, visible: np.ndarray) -> Targets:
        """See `targets.BatchEncoder`; bit for bit the stock values."""
        mu = np.around(keypoints * self.codec.simcc_split_ratio).astype(np.int64)
        if self.codec.smoothing_type == "gaussian":
            outside = ((mu - self._reach >= self._bins) | (mu + self._reach + 1 < 0)).any(-1)
        else:
            outside = ((mu >= self._bins) | (mu < 0)).any(-1)
        labelled = visible >= 0.5
        drawn = labelled & ~outside
        weights = np.where(labelled & outside, np.zeros_like(visible), visible)
        x_labels, y_labels = (self._labels(axis, mu[..., axis], drawn)[:, None] for axis in (0, 1))
        return {"keypoint_x_labels": x_labels, "keypoint_y_labels": y_labels, "keypoint_weights": weights[:, None]}

    def _labels(self, axis: int, mu: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """Float32 [N, K, bins]."""
        last = self._bins[axis] - 1 + self._margin[axis]
        # The last window is of zeros, for keypoints without a target.
        labels: np.ndarray = self._windows[axis][np.where(drawn, last - mu, len(self._windows[axis]) - 1)]
        return labels

    def _table(self, axis: int) -> np.ndarray:
        """Every target along `axis`, float32 [starts, bins], as a view; the peak moves to the left by one each row."""
        codec, bins = self.codec, int(self._bins[axis])
        peak = bins - 1 + int(self._margin[axis])
        if codec.smoothing_type == "gaussian":
            offset = np.arange(2 * peak + 1, dtype=np.float64) - peak
            table = np.exp(-(offset**2) / (2 * codec.sigma[axis] ** 2)).astype(np.float32)
            if codec.normalize:
                table = (table / (codec.sigma[axis] * np.sqrt(np.pi * 2))).astype(np.float32)
        else:
            smoothing = codec.label_smooth_weight
            table = np.full(2 * peak + 1, smoothing / (bins - 1) if smoothing > 0 else 0.0, np.float32)
            table[peak] = 1.0 - smoothing
        return sliding_window_view(np.concatenate([table, np.zeros(bins, np.float32)]), bins)


class RegressionEncoder:
    """`RegressionLabel`: coordinates as shares of the input's width and height."""

    def __init__(self, codec: RegressionLabel) -> None:
        self.codec = codec

    def encode(self, keypoints: np.ndarray, visible: np.ndarray) -> Targets:
        """See `targets.BatchEncoder`; bit for bit the stock values."""
        size = np.asarray(self.codec.input_size)
        inside = ((keypoints >= 0) & (keypoints <= size - 1)).all(-1)
        labels = (keypoints / size).astype(np.float32)
        weights = np.where(inside & (visible > 0.5), 1.0, 0.0).astype(np.float32)
        return {"keypoint_labels": labels[:, None], "keypoint_weights": weights[:, None]}
