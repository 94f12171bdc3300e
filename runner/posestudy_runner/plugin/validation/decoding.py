"""Whole batches of what a network gives to keypoints, as MMPose's codecs decode one sample after the other.

Each function takes the steps of the codec that it stands for in their order and number types, so that keypoints and
scores are the same bits. With N samples, K keypoints and outputs of H x W px, keypoints are [N, K, 2] in px of the
network's input and scores [N, K].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from mmpose.codecs import MegviiHeatmap, MSRAHeatmap, RegressionLabel, SimCCLabel, UDPHeatmap
from mmpose.codecs.utils import get_heatmap_maximum
from mmpose.utils.tensor_utils import to_numpy
from numpy.typing import NDArray

Decoded = tuple[NDArray[Any], NDArray[Any]]
"""Keypoints and scores."""


@contextmanager
def decoding_batches(head: Any) -> Iterator[None]:
    """Have an MMPose `head` decode whole batches meanwhile, where its codec is known here."""
    codec = getattr(head, "decoder", None)
    decode = None if codec is None else batch_decoder(codec)
    if decode is None:
        yield
        return
    head.decoder = _BatchCodec(codec, decode)
    try:
        yield
    finally:
        head.decoder = codec


def batch_decoder(codec: Any) -> Callable[..., Decoded] | None:
    """What decodes a batch of the network's outputs, numpy arrays, as `codec` does; None where nothing here does."""
    kind = type(codec)
    if kind is MSRAHeatmap:
        return lambda heatmaps: _msra(codec, heatmaps)
    if kind is UDPHeatmap and codec.heatmap_type == "gaussian":
        return lambda heatmaps: _udp(codec, heatmaps)
    if kind is MegviiHeatmap:
        return lambda heatmaps: _megvii(codec, heatmaps)
    if kind is SimCCLabel and not codec.use_dark and not codec.decode_visibility:
        # It takes batches as it is.
        decode: Callable[..., Decoded] = codec.decode
        return decode
    if kind is RegressionLabel:
        return lambda coordinates: _regression(codec, coordinates)
    return None


class _BatchCodec:
    """A codec that also decodes batches, in the form that MMPose's heads ask of one."""

    support_batch_decoding = True

    def __init__(self, codec: Any, decode: Callable[..., Decoded]) -> None:
        self._codec = codec
        self._decode = decode

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codec, name)

    def batch_decode(self, *outputs: Any) -> Decoded:
        """Keypoints [N, 1, K, 2] and scores [N, 1, K]: a top-down network sees one instance in each sample."""
        keypoints, scores = self._decode(*(to_numpy(output) for output in outputs))
        return keypoints[:, None], scores[:, None]


def _msra(codec: Any, heatmaps: NDArray[np.float32]) -> Decoded:
    keypoints, scores = get_heatmap_maximum(heatmaps)
    if codec.unbiased:
        _refine_dark(keypoints, heatmaps, codec.blur_kernel_size)
    else:
        _refine_by_quarter(keypoints, heatmaps)
    return keypoints * codec.scale_factor, scores


def _udp(codec: Any, heatmaps: NDArray[np.float32]) -> Decoded:
    keypoints, scores = get_heatmap_maximum(heatmaps)
    _refine_dark_udp(keypoints, heatmaps, codec.blur_kernel_size)
    width, height = codec.heatmap_size
    return keypoints / [width - 1, height - 1] * codec.input_size, scores


def _megvii(codec: Any, heatmaps: NDArray[np.float32]) -> Decoded:
    height, width = heatmaps.shape[-2:]
    blurred = blur(heatmaps, codec.kernel_size)
    keypoints, scores = get_heatmap_maximum(blurred)
    x, y = _pixels(keypoints)
    at = np.nonzero((x > 1) & (x < width - 1) & (y > 1) & (y < height - 1))
    pixel = _Neighbours(blurred, at, x, y)
    slope = np.stack([pixel(1, 0) - pixel(-1, 0), pixel(0, 1) - pixel(0, -1)], axis=-1)
    keypoints[at] += np.sign(slope) * 0.25 + 0.5
    return keypoints * codec.scale_factor, scores / 255.0 + 0.5


def _regression(codec: Any, coordinates: NDArray[np.float32]) -> Decoded:
    """Of [N, 1, K, 2], or 4 with their spread."""
    keypoints, scores = codec.decode(coordinates[:, 0])
    return keypoints, scores


def blur(heatmaps: NDArray[np.float32], kernel: int) -> NDArray[np.float32]:
    """A copy of `heatmaps` [N, K, H, W], each blurred as by `mmpose.codecs.utils.gaussian_blur`, its maximum kept.

    Args:
        heatmaps: what the network gives.
        kernel: width of the Gaussian, px, odd.
    """
    keypoints, height, width = heatmaps.shape[1:]
    border = (kernel - 1) // 2
    # The maps of a sample lie below each other in one image, as many zeros apart as the Gaussian reaches: a call for
    # each map costs more than its arithmetic, and an image of all samples does not fit into the cache.
    image = np.zeros((border + keypoints * (height + border), width + 2 * border), dtype=np.float32)
    inside = np.s_[:, :height, border : border + width]
    maps = image[border:].reshape(keypoints, height + border, -1)
    blurred = np.empty(heatmaps.shape, dtype=np.float32)
    for sample, out in zip(heatmaps, blurred, strict=True):
        maps[inside] = sample
        out[...] = cv2.GaussianBlur(image, (kernel, kernel), 0)[border:].reshape(maps.shape)[inside]
    highest = heatmaps.max(axis=(2, 3)) / blurred.max(axis=(2, 3))
    blurred *= highest[..., None, None]
    return blurred


def _refine_by_quarter(keypoints: NDArray[np.float32], heatmaps: NDArray[np.float32]) -> None:
    """`mmpose.codecs.utils.refine_keypoints`, of a batch and in place."""
    height, width = heatmaps.shape[-2:]
    x, y = _pixels(keypoints)
    at = np.nonzero((x > 1) & (x < width - 1) & (y > 0) & (y < height))
    pixel = _Neighbours(heatmaps, at, x, y)
    keypoints[..., 0][at] += np.sign(pixel(1, 0) - pixel(-1, 0)) * 0.25
    at = np.nonzero((y > 1) & (y < height - 1) & (x > 0) & (x < width))
    pixel = _Neighbours(heatmaps, at, x, y)
    keypoints[..., 1][at] += np.sign(pixel(0, 1) - pixel(0, -1)) * 0.25


def _refine_dark(keypoints: NDArray[np.float32], heatmaps: NDArray[np.float32], kernel: int) -> None:
    """`mmpose.codecs.utils.refine_keypoints_dark`, of a batch and in place."""
    height, width = heatmaps.shape[-2:]
    x, y = _pixels(keypoints)
    at = np.nonzero((x > 1) & (x < width - 2) & (y > 1) & (y < height - 2))
    pixel = _Neighbours(blur(heatmaps, kernel), at, x, y, lambda value: np.log(np.maximum(value, 1e-10)))
    dx = 0.5 * (pixel(1, 0) - pixel(-1, 0))
    dy = 0.5 * (pixel(0, 1) - pixel(0, -1))
    dxx = 0.25 * (pixel(2, 0) - 2 * pixel(0, 0) + pixel(-2, 0))
    dxy = 0.25 * (pixel(1, 1) - pixel(1, -1) - pixel(-1, 1) + pixel(-1, -1))
    dyy = 0.25 * (pixel(0, 2) - 2 * pixel(0, 0) + pixel(0, -2))
    curved = dxx * dyy - dxy**2 != 0
    hessian = np.stack([dxx, dxy, dxy, dyy], axis=-1).reshape(-1, 2, 2)[curved]
    slope = np.stack([dx, dy], axis=-1)[curved]
    offset = (-np.linalg.inv(hessian) @ slope[..., None])[..., 0]
    keypoints[at[0][curved], at[1][curved]] += offset


def _refine_dark_udp(keypoints: NDArray[np.float32], heatmaps: NDArray[np.float32], kernel: int) -> None:
    """`mmpose.codecs.utils.refine_keypoints_dark_udp`, of a batch and in place."""
    pixel = _PaddedNeighbours(blur(heatmaps, kernel), *_pixels(keypoints))
    here, right, below, left, above = pixel(0, 0), pixel(1, 0), pixel(0, 1), pixel(-1, 0), pixel(0, -1)
    slope = np.stack([0.5 * (right - left), 0.5 * (below - above)], axis=-1).reshape(-1, 2, 1)
    dxx = right - 2 * here + left
    dyy = below - 2 * here + above
    dxy = 0.5 * (pixel(1, 1) - right - below + here + here - left - above + pixel(-1, -1))
    hessian = np.stack([dxx, dxy, dxy, dyy], axis=-1).reshape(-1, 2, 2)
    inverse = np.linalg.inv(hessian + np.finfo(np.float32).eps * np.eye(2))
    keypoints -= np.einsum("imn,ink->imk", inverse, slope).reshape(keypoints.shape)


def _pixels(keypoints: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Columns and rows, [N, K] each."""
    whole = keypoints.astype(np.int64)
    return whole[..., 0], whole[..., 1]


class _Neighbours:
    """Values of maps [N, K, H, W] beside the pixel (x, y) of each keypoint of those `at` names, as `read` gives them.

    Reading only what is asked for is what makes DARK fast: the stock codecs take the logarithm of every pixel.
    """

    def __init__(
        self,
        maps: NDArray[Any],
        at: tuple[NDArray[Any], ...],
        x: NDArray[Any],
        y: NDArray[Any],
        read: Callable[[NDArray[Any]], NDArray[Any]] = lambda value: value,
    ) -> None:
        self._maps = maps.reshape(-1)
        _, keypoints, height, self._width = maps.shape
        self._places = ((at[0] * keypoints + at[1]) * height + y[at]) * self._width + x[at]
        self._read = read

    def __call__(self, right: int, down: int) -> NDArray[Any]:
        return self._read(self._maps[self._places + (down * self._width + right)])


class _PaddedNeighbours:
    """What `refine_keypoints_dark_udp` reads beside (x, y): logarithms of maps [N, K, H, W] padded by their edges.

    The maps of a sample follow each other there, so that beside a keypoint nowhere, (-1, -1), it reads the end of the
    map before, and before the first that of the last.
    """

    def __init__(self, maps: NDArray[Any], x: NDArray[Any], y: NDArray[Any]) -> None:
        self._maps = maps
        _, self._keypoints, self._height, self._width = maps.shape
        numbers = np.arange(self._keypoints)
        self._places = (numbers * (self._height + 2) + y + 1) * (self._width + 2) + x + 1

    def __call__(self, right: int, down: int) -> NDArray[Any]:
        """Float32 [N, K]."""
        places = self._places + (down * (self._width + 2) + right)
        rows, columns = np.divmod(places, self._width + 2)
        numbers, rows = np.divmod(rows, self._height + 2)
        samples = np.arange(len(self._maps))[:, None]
        inside = np.clip(rows - 1, 0, self._height - 1), np.clip(columns - 1, 0, self._width - 1)
        values = self._maps[samples, numbers % self._keypoints, *inside]
        logs: NDArray[Any] = np.log(np.clip(values, 1e-3, 50.0))
        return logs
