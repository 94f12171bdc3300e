"""Batches decoded at once give the bits that MMPose's codecs give one sample after the other."""

from __future__ import annotations

from posestudy_runner import plugin  # isort: skip - before MMPose

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mmpose.codecs import (
    IntegralRegressionLabel,
    MegviiHeatmap,
    MSRAHeatmap,
    RegressionLabel,
    SimCCLabel,
    UDPHeatmap,
)
from mmpose.codecs.utils import gaussian_blur
from mmpose.models.heads import HeatmapHead

from posestudy_runner.plugin.validation.decoding import batch_decoder, blur, decoding_batches

SMALL: Any = {"input_size": (64, 48), "heatmap_size": (16, 12)}
HEATMAPS = {
    "msra": MSRAHeatmap(**SMALL, sigma=1.0),
    "dark": MSRAHeatmap(**SMALL, sigma=1.0, unbiased=True, blur_kernel_size=3),
    "dark wide": MSRAHeatmap(**SMALL, sigma=2.0, unbiased=True, blur_kernel_size=11),
    "udp": UDPHeatmap(**SMALL, sigma=1.0, blur_kernel_size=3),
    "udp wide": UDPHeatmap(**SMALL, sigma=2.0, blur_kernel_size=11),
    "megvii": MegviiHeatmap(**SMALL, kernel_size=5),
}


def _peaks(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Gaussians around points in and just outside the image, in noise."""
    rows, columns = np.mgrid[: shape[2], : shape[3]]
    x, y = (rng.uniform(-2, size + 2, (*shape[:2], 1, 1)) for size in (shape[3], shape[2]))
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8) + rng.normal(0, 0.01, shape)


MAPS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "peaks": _peaks,
    "noise": lambda rng, shape: rng.normal(0, 0.05, shape),
    "ties": lambda rng, shape: rng.integers(0, 3, shape),
    "nowhere positive": lambda rng, shape: -np.abs(rng.normal(0, 1, shape)),
    # Where a map has no peak, UDP's codec reads from the map before it.
    "some nowhere positive": lambda rng, shape: (
        np.abs(rng.normal(0, 1, shape)) * np.where(rng.random((*shape[:2], 1, 1)) < 0.5, 1, -1)
    ),
}


def one_by_one(codec: Any, outputs: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, np.ndarray]:
    decoded = [codec.decode(*output) for output in outputs]
    return np.concatenate([points for points, _ in decoded]), np.concatenate([scores for _, scores in decoded])


def assert_same(found: tuple[np.ndarray, np.ndarray], expected: tuple[np.ndarray, np.ndarray]) -> None:
    for ours, stock in zip(found, expected, strict=True):
        assert ours.dtype == stock.dtype
        np.testing.assert_array_equal(ours, stock)


@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("name", HEATMAPS)
def test_heatmaps(name: str, kind: str) -> None:
    codec = HEATMAPS[name]
    heatmaps = MAPS[kind](np.random.default_rng(7), (40, 5, 12, 16)).astype(np.float32)
    decode = batch_decoder(codec)
    assert decode is not None
    with np.errstate(all="ignore"):
        expected = one_by_one(codec, [(one,) for one in heatmaps])
        before = heatmaps.copy()
        assert_same(decode(heatmaps), expected)
    np.testing.assert_array_equal(heatmaps, before)


def test_coordinates_with_and_without_spread() -> None:
    codec = RegressionLabel(input_size=(64, 48))
    decode = batch_decoder(codec)
    assert decode is not None
    for size in (2, 4):
        given = np.random.default_rng(1).normal(0.5, 0.3, (9, 1, 5, size)).astype(np.float32)
        assert_same(decode(given), one_by_one(codec, [(one,) for one in given]))


def test_distributions_of_each_axis() -> None:
    codec = SimCCLabel(input_size=(64, 48), sigma=4.0, simcc_split_ratio=2.0)
    decode = batch_decoder(codec)
    assert decode is not None
    rng = np.random.default_rng(1)
    x, y = rng.normal(0, 1, (9, 5, 128)).astype(np.float32), rng.normal(0, 1, (9, 5, 96)).astype(np.float32)
    assert_same(decode(x, y), one_by_one(codec, list(zip(x, y, strict=True))))


@pytest.mark.parametrize("kernel", [3, 7, 17])
def test_a_blur_reaches_no_other_map(kernel: int) -> None:
    heatmaps = np.random.default_rng(2).random((3, 4, 9, 6)).astype(np.float32) + 0.1
    expected = np.stack([gaussian_blur(one.copy(), kernel) for one in heatmaps])
    np.testing.assert_array_equal(blur(heatmaps, kernel), expected)


@pytest.mark.parametrize(
    "codec",
    [
        UDPHeatmap(**SMALL, heatmap_type="combined"),
        SimCCLabel(input_size=(64, 48), sigma=4.0, use_dark=True),
        SimCCLabel(input_size=(64, 48), sigma=4.0, decode_visibility=True),
        IntegralRegressionLabel(**SMALL, sigma=2.0),
        type("OwnCodec", (MSRAHeatmap,), {})(**SMALL, sigma=1.0),
    ],
)
def test_a_codec_that_is_not_known_decodes_as_it_did(codec: Any) -> None:
    assert batch_decoder(codec) is None
    head = torch.nn.Module()
    head.decoder = codec
    with decoding_batches(head):
        assert head.decoder is codec


def test_a_head_decodes_batches_meanwhile_and_its_own_way_after() -> None:
    torch.manual_seed(0)
    codec = {"type": "MSRAHeatmap", **SMALL, "sigma": 1.0}
    head = HeatmapHead(4, 3, deconv_out_channels=None, deconv_kernel_sizes=None, decoder=codec)
    heatmaps = torch.rand(6, 3, 12, 16)
    stock, own = head.decode(heatmaps), head.decoder
    with decoding_batches(head):
        found = head.decode(heatmaps)
        assert head.decoder.sigma == 1.0
    assert head.decoder is own
    for one, expected in zip(found, stock, strict=True):
        np.testing.assert_array_equal(one.keypoints, expected.keypoints)
        np.testing.assert_array_equal(one.keypoint_scores, expected.keypoint_scores)
        assert one.keypoints.shape == (1, 3, 2)


def test_the_plugin_is_what_makes_mmpose_importable() -> None:
    assert plugin.KeypointDataset.__name__ == "KeypointDataset"
