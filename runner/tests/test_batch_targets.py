"""Targets made for a whole batch are those of MMPose's own codecs, sample by sample."""

from __future__ import annotations

from posestudy_runner import plugin  # noqa: F401 - MMPose loads only after it

# isort: split
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmpose.registry import KEYPOINT_CODECS

from posestudy_runner.plugin.data_path.targets import batch_encoder

Codec = dict[str, Any]

SIZES = [((192, 256), (48, 64)), ((256, 192), (128, 96)), ((96, 64), (12, 8)), ((128, 128), (32, 32))]
"""Input sizes with heatmap sizes, (width, height) px."""
FROM_BORDER = (-1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 4.0)
"""px of the input; where a stock codec rounds or refuses, it does so at one of these."""


def points(seed: int, size: tuple[int, int], samples: int = 24, keypoints: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints inside, far outside, on whole pixels and at all borders, labelled in every way that occurs."""
    rng = np.random.default_rng(seed)
    shape = (samples, keypoints, 2)
    places = rng.uniform(-0.6, 1.6, shape) * size
    places[::4] = np.round(places[::4])
    places[1::4] = rng.choice(FROM_BORDER, shape)[1::4]
    places[2::4] = size - rng.choice(FROM_BORDER, shape)[2::4]
    visible = rng.choice([0.0, 0.4, 0.5, 1.0, 2.0], shape[:2], p=[0.15, 0.1, 0.1, 0.45, 0.2])
    return places.astype(np.float32), visible.astype(np.float32)


def farthest_from_stock(codec: Codec, seed: int = 0) -> float:
    """The largest difference over all targets of a batch; keys, shapes and dtypes are checked to be the same."""
    encoder = batch_encoder(codec)
    assert encoder is not None, codec
    stock = KEYPOINT_CODECS.build(codec)
    keypoints, visible = points(seed, codec["input_size"])
    made = encoder.encode(keypoints.copy(), visible.copy())
    expected = [stock.encode(keypoints[[i]], visible[[i]]) for i in range(len(keypoints))]
    assert made.keys() == expected[0].keys()
    assert encoder.codec.label_mapping_table == stock.label_mapping_table
    farthest = 0.0
    for key, values in made.items():
        reference = np.stack([sample[key] for sample in expected])
        assert (values.shape, values.dtype) == (reference.shape, reference.dtype), key
        farthest = max(farthest, float(np.abs(values - reference).max()))
    return farthest


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["MSRAHeatmap", "UDPHeatmap"]),
    sizes=st.sampled_from(SIZES),
    sigma=st.one_of(st.integers(1, 4), st.floats(0.5, 4.0)),
    seed=st.integers(0, 2**16),
)
def test_gaussian_heatmaps_are_the_stock_ones(
    kind: str, sizes: tuple[tuple[int, int], tuple[int, int]], sigma: float, seed: int
) -> None:
    codec = {"type": kind, "input_size": sizes[0], "heatmap_size": sizes[1], "sigma": sigma}
    # The last bit of a float32 below 1; most are equal.
    assert farthest_from_stock(codec, seed) <= 2**-24


@settings(max_examples=30, deadline=None)
@given(sizes=st.sampled_from(SIZES), sigma=st.floats(0.5, 4.0), seed=st.integers(0, 2**16))
def test_unbiased_heatmaps_are_the_stock_ones_to_a_millionth(
    sizes: tuple[tuple[int, int], tuple[int, int]], sigma: float, seed: int
) -> None:
    size = {"input_size": sizes[0], "heatmap_size": sizes[1]}
    assert farthest_from_stock({"type": "MSRAHeatmap", **size, "sigma": sigma, "unbiased": True}, seed) <= 1e-6


@pytest.mark.parametrize("kernel_size", [3, 9, 11, 17, 31])
@pytest.mark.parametrize(("input_size", "heatmap_size"), SIZES)
def test_megvii_heatmaps_are_the_stock_ones_up_to_every_border(
    input_size: tuple[int, int], heatmap_size: tuple[int, int], kernel_size: int
) -> None:
    codec = {
        "type": "MegviiHeatmap", "input_size": input_size, "heatmap_size": heatmap_size, "kernel_size": kernel_size
    }  # fmt: skip
    # They reach up to 255, where the last bit of a float32 is 1.5e-5.
    assert farthest_from_stock(codec) <= 2**-16


def test_a_megvii_keypoint_at_any_pixel_has_the_stock_target() -> None:
    codec = {"type": "MegviiHeatmap", "input_size": (60, 48), "heatmap_size": (15, 12), "kernel_size": 5}
    encoder = batch_encoder(codec)
    assert encoder is not None
    rows, columns = np.mgrid[:12, :15]
    keypoints = np.stack([columns, rows], -1).reshape(1, -1, 2).astype(np.float32) * 4
    visible = np.ones(keypoints.shape[:2], np.float32)
    expected = KEYPOINT_CODECS.build(codec).encode(keypoints, visible)["heatmaps"]
    np.testing.assert_allclose(encoder.encode(keypoints, visible)["heatmaps"][0], expected, rtol=0, atol=2**-16)


@pytest.mark.parametrize(
    "smoothing",
    [
        {},
        {"normalize": False},
        {"sigma": (4.9, 5.66)},
        {"smoothing_type": "standard"},
        {"smoothing_type": "standard", "label_smooth_weight": 0.1},
    ],
)
@pytest.mark.parametrize("split_ratio", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("input_size", [(192, 256), (97, 64)])
def test_simcc_labels_are_the_stock_ones(input_size: tuple[int, int], split_ratio: float, smoothing: Codec) -> None:
    codec = {"type": "SimCCLabel", "input_size": input_size, "simcc_split_ratio": split_ratio, **smoothing}
    for sigma in ({"sigma": 0.5}, {"sigma": 6.0}, {}):
        assert farthest_from_stock({**sigma, **codec}) == 0


@pytest.mark.parametrize("input_size", [(192, 256), (97, 64)])
def test_regression_labels_are_the_stock_ones(input_size: tuple[int, int]) -> None:
    assert farthest_from_stock({"type": "RegressionLabel", "input_size": input_size}) == 0


def test_sizes_as_lists_are_taken_as_well() -> None:
    size = {"input_size": [192, 256], "heatmap_size": [48, 64]}
    assert farthest_from_stock({"type": "MSRAHeatmap", **size, "sigma": 1.5}) == 0
    assert farthest_from_stock({"type": "UDPHeatmap", **size}) <= 2**-24


@pytest.mark.parametrize("kind", ["MSRAHeatmap", "UDPHeatmap", "MegviiHeatmap", "SimCCLabel", "RegressionLabel"])
def test_a_batch_without_a_labelled_keypoint_has_empty_targets(kind: str) -> None:
    needs: dict[str, Codec] = {
        "MSRAHeatmap": {"heatmap_size": (12, 8), "sigma": 1.0},
        "UDPHeatmap": {"heatmap_size": (12, 8)},
        "MegviiHeatmap": {"heatmap_size": (12, 8), "kernel_size": 5},
    }
    encoder = batch_encoder({"type": kind, "input_size": (48, 32), **needs.get(kind, {})})
    assert encoder is not None
    made = encoder.encode(np.full((3, 2, 2), 7, np.float32), np.zeros((3, 2), np.float32))
    assert made["keypoint_weights"].shape == (3, 1, 2)
    assert not made["keypoint_weights"].any()
    assert all(not values.any() for key, values in made.items() if key != "keypoint_labels")


@pytest.mark.parametrize(
    "codec",
    [
        {"type": "AssociativeEmbedding", "input_size": (64, 64), "heatmap_size": (16, 16)},
        {"type": "UDPHeatmap", "input_size": (64, 64), "heatmap_size": (16, 16), "heatmap_type": "combined"},
        {"type": "MSRAHeatmap", "input_size": (64, 64), "heatmap_size": (16, 16), "sigma": (1.0,)},
        {"type": "MSRAHeatmap", "input_size": (64, 64), "heatmap_size": (16, 16), "sigma": 1.0, "invented": 3},
        {"type": "SimCCLabel", "input_size": (64, 64), "smoothing_type": "gaussian", "label_smooth_weight": 0.1},
        {"type": "MSRAHeatmap"},
        {},
    ],
)
def test_codecs_and_arguments_that_are_not_known_are_left_to_the_stock_pipeline(codec: Codec) -> None:
    assert batch_encoder(codec) is None
