"""Images warped, recoloured and targets drawn by torch are those that OpenCV and MMPose make on the CPU."""

from __future__ import annotations

from posestudy_runner import plugin  # noqa: F401 - MMPose loads only after it

# isort: split
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmpose.datasets.transforms import TopdownAffine
from torch.utils.data._utils.pin_memory import pin_memory

from posestudy_runner.plugin import PhotometricDistortionV0
from posestudy_runner.plugin.data_path import device_warp
from posestudy_runner.plugin.data_path.colours import ColourChange
from posestudy_runner.plugin.data_path.device_pixels import RawPixels
from posestudy_runner.plugin.data_path.device_targets import UndrawnTargets, device_encoder
from posestudy_runner.plugin.data_path.device_warp import warped
from posestudy_runner.plugin.data_path.inputs import RawInputs
from posestudy_runner.plugin.data_path.targets import batch_encoder
from posestudy_runner.plugin.data_path.warping import Warp
from posestudy_runner.plugin.seeding import seed_generators

SIZE = (48, 64)


def photograph(seed: int, width: int, height: int) -> np.ndarray:
    """Smooth colours with sharp edges and some noise, uint8 [height, width, 3]."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    image[height // 3 : height // 2, width // 4 :] = rng.integers(0, 256, 3)
    noise = rng.normal(0, 12, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def boxes(seed: int, count: int, width: int, height: int) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Centre, scale and rotation of boxes inside, across the borders and all outside, small and large."""
    rng = np.random.default_rng(seed)
    return [
        (
            rng.uniform((-0.3 * width, -0.3 * height), (1.3 * width, 1.3 * height)).astype(np.float32),
            rng.uniform(10, 1.2 * width, 2).astype(np.float32),
            float(rng.uniform(-180, 180)),
        )
        for _ in range(count)
    ]


def taken(warp: Warp, matrix: np.ndarray, images: list[np.ndarray], colours: ColourChange | None = None) -> RawPixels:
    """What a loader hands on of `images`, all cut alike."""
    inputs = RawInputs(warp, len(images))
    for image in images:
        inputs.add(image, matrix, mirror=False, colours=colours)
    return inputs.made()


def difference(made: torch.Tensor, expected: list[np.ndarray]) -> np.ndarray:
    """Grey levels, int [N, H, W, 3]."""
    return np.abs(made.permute(0, 2, 3, 1).numpy().astype(int) - np.stack(expected))


@pytest.mark.parametrize("use_udp", [False, True])
@pytest.mark.parametrize(("width", "height"), [(120, 90), (201, 333), (16, 9)])
def test_images_are_those_of_topdown_affine(width: int, height: int, use_udp: bool) -> None:
    warp, stock = Warp(SIZE, use_udp=use_udp), TopdownAffine(SIZE, use_udp=use_udp)
    raw, expected = RawInputs(warp, 32), []
    for place, (center, scale, rotation) in enumerate(boxes(3, 24, width, height)):
        image = photograph(place, width, height)
        flip = place % 3 == 0
        # What RandomFlip would have left to TopdownAffine.
        results: dict[str, Any] = {
            "img": cv2.flip(image, 1) if flip else image,
            "bbox_center": center[None],
            "bbox_scale": scale[None],
            "bbox_rotation": [rotation],
        }
        expected.append(stock.transform(results)["img"])
        matrix = warp.matrix(center, warp.fitted(scale[None])[0], rotation)
        raw.add(image, matrix, mirror=flip, colours=None)
    apart = difference(warped(raw.made()), expected)
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.005


def test_a_region_far_larger_than_the_input_is_handed_on_warped() -> None:
    warp = Warp(SIZE, use_udp=False)
    image = photograph(0, 640, 480)
    change = ColourChange(brightness=20.0, saturation=1.3)
    matrix = warp.matrix(np.float32([320, 240]), np.float32([450, 600]), 10.0)
    raw = taken(warp, matrix, [image], change)
    assert raw.pixels.shape == (SIZE[0] * SIZE[1], 3)
    expected = cv2.warpAffine(change.apply(image), matrix, SIZE, flags=cv2.INTER_LINEAR)
    assert difference(warped(raw), [expected]).max() <= 1


def test_images_warped_in_several_goes_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    warp = Warp(SIZE, use_udp=False)
    matrix = warp.matrix(np.float32([60, 40]), np.float32([60, 80]), 10.0)
    raw = taken(warp, matrix, [photograph(seed, 120, 90) for seed in range(7)], ColourChange(contrast=0.8, hue=5))
    together = warped(raw)
    monkeypatch.setattr(device_warp, "AT_ONCE", 3 * 4 * SIZE[0] * SIZE[1])
    assert (warped(raw) == together).all()


def test_only_the_region_that_is_shown_is_handed_on() -> None:
    warp = Warp(SIZE, use_udp=False)
    images = [photograph(seed, 640, 480) for seed in range(3)]
    matrix = warp.matrix(np.float32([300, 200]), np.float32([30, 40]), 0.0)
    assert taken(warp, matrix, images).pixels.shape[0] < 3 * 45 * 55


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("width", [128, 150, 191, 20])
def test_colours_are_changed_before_the_warp_as_opencv_does(width: int, flip: bool) -> None:
    warp, stock = Warp(SIZE, use_udp=False), PhotometricDistortionV0()
    raw, expected = RawInputs(warp, 32), []
    for place, (center, scale, rotation) in enumerate(boxes(1, 32, width, 100)):
        image = photograph(place, width, 100)
        shown = cv2.flip(image, 1) if flip else image
        matrix = warp.matrix(center, warp.fitted(scale[None])[0], rotation)
        seed_generators(place)
        distorted = stock.transform({"img": shown})["img"]
        expected.append(cv2.warpAffine(distorted, matrix, SIZE, flags=cv2.INTER_LINEAR))
        seed_generators(place)
        raw.add(image, matrix, mirror=flip, colours=stock.draw())
    made = raw.made()
    assert made.colours is not None
    assert made.colours.in_hsv.any()
    assert difference(warped(made), expected).max() <= 1


def test_every_colour_goes_through_hsv_as_in_opencv() -> None:
    steps = np.arange(0, 256, 5, dtype=np.uint8)
    image = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(52 * 52, 52, 3)
    warp = Warp((52, 52 * 52), use_udp=False)
    still = np.float64([[1, 0, 0], [0, 1, 0]])
    for change in (ColourChange(hue=0), ColourChange(hue=-7), ColourChange(saturation=1.37, hue=11)):
        made = warped(taken(warp, still, [image], change))
        assert difference(made, [change.apply(image)]).max() == 0


@pytest.mark.parametrize(
    "codec",
    [
        *(
            {"type": kind, "heatmap_size": (12, 16), "sigma": sigma, **options}
            for kind, options in (("MSRAHeatmap", {}), ("MSRAHeatmap", {"unbiased": True}), ("UDPHeatmap", {}))
            for sigma in (0.5, 1, 1.7, 2.0, 4.0)
        ),
        {"type": "MSRAHeatmap", "heatmap_size": (16, 21), "sigma": 1.5},
        {"type": "SimCCLabel", "sigma": 6.0},
        {"type": "SimCCLabel", "sigma": (4.9, 5.66), "simcc_split_ratio": 1.5, "normalize": False},
    ],
)
def test_targets_are_those_made_on_the_cpu(codec: dict[str, Any]) -> None:
    codec = {**codec, "input_size": SIZE}
    making = batch_encoder(codec)
    assert making is not None
    drawing = device_encoder(making)
    assert drawing is not None
    rng = np.random.default_rng(0)
    keypoints = (rng.uniform(-0.6, 1.6, (64, 9, 2)) * SIZE).astype(np.float32)
    # Between two pixels of the heatmap, and on its borders.
    keypoints[::2] = np.round(keypoints[::2] * 2) / 2
    visible = rng.choice([0.0, 0.4, 0.5, 1.0, 2.0], (64, 9)).astype(np.float32)
    expected = making.encode(keypoints, visible)
    drawn = drawing.encode(torch.from_numpy(keypoints), torch.from_numpy(visible))
    assert drawn.keys() == expected.keys()
    for name, values in expected.items():
        assert drawn[name].dtype == torch.float32
        np.testing.assert_allclose(drawn[name].numpy(), values, rtol=0, atol=1e-6, err_msg=name)


def test_keypoints_are_weighted_as_the_data_set_has_them() -> None:
    codec = {"type": "MSRAHeatmap", "input_size": SIZE, "heatmap_size": (12, 16), "sigma": 2.0}
    making = batch_encoder(codec)
    assert making is not None
    drawing = device_encoder(making)
    assert drawing is not None
    weights = torch.tensor([1.0, 1.5, 0.2])
    undrawn = UndrawnTargets(
        drawing, torch.full((2, 3, 2), 20.0), torch.ones(2, 3), weights, {"keypoint_weights": "named"}, {}
    )
    labels, fields = undrawn.drawn()
    assert labels["named"].tolist() == [[weights.tolist()]] * 2
    assert not fields


def test_small_targets_are_left_to_the_loader() -> None:
    making = batch_encoder({"type": "RegressionLabel", "input_size": SIZE})
    assert making is not None
    assert device_encoder(making) is None


def test_a_batch_of_regions_can_be_pinned_as_a_loader_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # There is no GPU here; what counts is that torch finds and pins every tensor of the batch.
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor, *_: pinned.append(tensor) or tensor)
    warp = Warp(SIZE, use_udp=False)
    matrix = warp.matrix(np.float32([30, 20]), np.float32([30, 40]), 0.0)
    raw = taken(warp, matrix, [photograph(0, 80, 60)], ColourChange(hue=3))
    again = pin_memory({"inputs": raw})["inputs"]
    assert isinstance(again, RawPixels)
    assert len(pinned) == 6
    assert (warped(again) == warped(raw)).all()


def test_the_host_reads_nothing_back_from_the_device() -> None:
    # A tensor on the meta device has no values: whoever asked for one, as a copy to the host does, would fail.
    meta = torch.device("meta")
    warp = Warp(SIZE, use_udp=False)
    matrix = warp.matrix(np.float32([30, 20]), np.float32([30, 40]), 5.0)
    raw = taken(warp, matrix, [photograph(seed, 80, 60) for seed in range(2)], ColourChange(contrast=1.2, hue=3))
    assert warped(raw.to(meta)).shape == (2, 3, SIZE[1], SIZE[0])
    heatmaps = {"heatmap_size": (12, 16), "input_size": SIZE, "sigma": 2.0}
    codecs: list[dict[str, Any]] = [{"type": kind, **heatmaps} for kind in ("MSRAHeatmap", "UDPHeatmap")]
    for codec in [*codecs, {"type": "SimCCLabel", "input_size": SIZE}]:
        making = batch_encoder(codec)
        assert making is not None
        drawing = device_encoder(making)
        assert drawing is not None
        drawn = drawing.encode(torch.zeros(2, 9, 2, device=meta), torch.ones(2, 9, device=meta))
        assert all(values.is_meta for values in drawn.values())
