"""The fast data path gives the samples of MMPose's own pipeline, whatever the augmentation, codec or image."""

from __future__ import annotations

import fast_data  # isort: skip - the plugin first

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fast_data import BLUR, BOX, COLOURS, FLIP, HALF_BODY, SIZE, TRANSLATION, assert_equal, batches, options, training
from mmpose.structures.bbox import get_udp_warp_matrix, get_warp_matrix
from scipy.stats import truncnorm

from posestudy_runner.plugin.data_path.colours import ColourChange
from posestudy_runner.plugin.data_path.draws import truncated_normal
from posestudy_runner.plugin.data_path.warping import Warp
from posestudy_studies.drawn_cats import draw
from posestudy_studies.layouts import layout

CATS = layout("cats").metainfo
ALL = (FLIP, COLOURS, BLUR, HALF_BODY, BOX, TRANSLATION)
CODECS: dict[str, dict[str, Any]] = {
    "unbiased": {**fast_data.CODEC, "unbiased": True, "blur_kernel_size": 7},
    "megvii": {"type": "MegviiHeatmap", "heatmap_size": (12, 16), "kernel_size": 7},
    "udp": {"type": "UDPHeatmap", "heatmap_size": (12, 16), "sigma": 1.5},
    "simcc": {"type": "SimCCLabel", "sigma": 4.0, "simcc_split_ratio": 2.0},
    "smooth": {
        "type": "SimCCLabel",
        "sigma": 4.0,
        "simcc_split_ratio": 2.0,
        "smoothing_type": "standard",
        "label_smooth_weight": 0.1,
    },
    "regression": {"type": "RegressionLabel"},
}


@pytest.fixture(scope="module")
def cats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cats")
    draw(root, train=6, val=4, seed=0, size_px=70, test=2)
    return root


@pytest.fixture(scope="module")
def large_cats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So large beside the network's input that only a region of an image is looked at."""
    root = tmp_path_factory.mktemp("large")
    draw(root, train=4, val=0, seed=1, size_px=180)
    return root


@pytest.fixture(scope="module")
def photographs() -> dict[str, Any]:
    folder = Path(os.environ.get("POSESTUDY_LSPET") or Path(__file__).parents[3] / "shared" / "data" / "lspet")
    if not folder.exists():
        pytest.skip("the photographs are not there; POSESTUDY_LSPET names them")
    return options(folder, layout("lspet").metainfo, "val", indices=8)


@pytest.mark.parametrize(
    "augmentations",
    [(), *((step,) for step in ALL), (FLIP, BOX), (FLIP, COLOURS), (BLUR, FLIP), ALL, ALL[::-1]],
    ids=lambda steps: "+".join(step["type"].removeprefix("mmpose.") for step in steps) or "none",
)
def test_each_augmentation_draws_and_does_what_the_stock_transform_does(
    cats: Path, augmentations: tuple[dict[str, Any], ...]
) -> None:
    if BLUR in augmentations:
        pytest.importorskip("albumentations")
    assert_equal(*batches(training(*augmentations), epoch=2, **options(cats, CATS)))


@pytest.mark.parametrize("augmentations", [(), (FLIP, BOX), (FLIP, COLOURS)])
def test_unbiased_data_processing_meets_pixel_centres(cats: Path, augmentations: tuple[dict[str, Any], ...]) -> None:
    assert_equal(*batches(training(*augmentations, use_udp=True), **options(cats, CATS)))


@pytest.mark.parametrize("augmentations", [(FLIP, BOX), (FLIP, COLOURS, BOX), (TRANSLATION,)])
@pytest.mark.parametrize("size", [(16, 16), (32, 48)])
def test_regions_of_large_images_are_warped_as_the_whole_images(
    large_cats: Path, augmentations: tuple[dict[str, Any], ...], size: tuple[int, int]
) -> None:
    assert_equal(*batches(training(*augmentations, size=size), **options(large_cats, CATS)))


@pytest.mark.parametrize("augmentations", [(FLIP, BOX), ALL[:2] + ALL[3:]], ids=["usual", "all"])
@pytest.mark.parametrize("size", [(128, 128), (192, 256), (256, 256)])
def test_photographs_become_the_stock_samples(
    photographs: dict[str, Any], augmentations: tuple[dict[str, Any], ...], size: tuple[int, int]
) -> None:
    codec = {**fast_data.CODEC, "heatmap_size": (size[0] // 4, size[1] // 4)}
    assert_equal(*batches(training(*augmentations, codec=codec, size=size), **photographs))


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_targets_of_every_codec_lie_where_the_stock_sample_has_them(cats: Path, codec: dict[str, Any]) -> None:
    use_udp = codec["type"] == "UDPHeatmap"
    assert_equal(*batches(training(FLIP, BOX, codec=codec, use_udp=use_udp), **options(cats, CATS)))


def test_weights_of_keypoints_count_where_the_pipeline_says_so(cats: Path) -> None:
    weighted = {**CATS, "joint_weights": list(np.linspace(0.5, 1.5, len(CATS["keypoint_info"])))}
    pipeline = training(FLIP)
    pipeline[-2]["use_dataset_keypoint_weights"] = True
    expected, made = batches(pipeline, **options(cats, weighted))
    assert_equal(expected, made)
    assert len(np.unique(made["data_samples"][0].gt_instance_labels.keypoint_weights)) > 2


def test_without_a_seed_of_its_own_a_sample_takes_the_next_numbers(cats: Path) -> None:
    assert_equal(*batches(training(FLIP, COLOURS, HALF_BODY, BOX, TRANSLATION, seed=None), **options(cats, CATS)))


@pytest.mark.parametrize("kind", ["truth", "detections", "unlabelled", "squares"])
def test_validation_samples_are_the_stock_ones(cats: Path, tmp_path: Path, kind: str) -> None:
    given = options(cats, CATS, "val", test_mode=True)
    annotations = json.loads(Path(given["ann_file"]).read_text())
    if kind == "detections":
        (tmp_path / "boxes.json").write_text(
            json.dumps(
                [
                    {
                        "image_id": image["id"],
                        "category_id": 1,
                        "bbox": [3.5, 7.0, 40.0 + n, 50.0],
                        "score": 0.5 + n / 50,
                    }
                    for n, image in enumerate(annotations["images"])
                ]
            )
        )
        given["bbox_file"] = str(tmp_path / "boxes.json")
    elif kind == "unlabelled":
        given = options(cats, CATS, "test", test_mode=True, keep_unlabelled=True)
    elif kind == "squares":
        for annotation in annotations["annotations"]:
            left, top, width, height = annotation["bbox"]
            annotation |= {"center": [left + width / 2, top + height / 2], "scale": max(width, height) / 150}
        for image in annotations["images"]:
            image["crowdIndex"] = 0.25
        given["ann_file"] = str(tmp_path / "squares.json")
        Path(given["ann_file"]).write_text(json.dumps(annotations))
        given["box_from"] = "center_scale"
    assert_equal(*batches(fast_data.validation(), **given))


def test_a_box_beside_its_image_gives_a_black_input(cats: Path, tmp_path: Path) -> None:
    annotations = json.loads((cats / "annotations/train.json").read_text())
    for annotation in annotations["annotations"]:
        annotation |= {"center": [-900.0, 40.0], "scale": 0.2}
    (tmp_path / "beside.json").write_text(json.dumps(annotations))
    given = options(cats, CATS, box_from="center_scale") | {"ann_file": str(tmp_path / "beside.json")}
    for pipeline in (training(COLOURS), training(size=(16, 16))):
        expected, made = batches(pipeline, **given)
        assert_equal(expected, made)
        assert made["inputs"].max() == 0


def test_deviates_are_those_of_scipy() -> None:
    np.random.seed(1)
    expected = truncnorm.rvs(-1.0, 1.0, size=(5000, 4))
    np.random.seed(1)
    np.testing.assert_allclose(truncated_normal(np.random.random_sample((5000, 4))), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("use_udp", [False, True])
def test_matrices_are_those_of_mmpose(use_udp: bool) -> None:
    numbers = np.random.default_rng(0)
    stock = get_udp_warp_matrix if use_udp else get_warp_matrix
    for size in ((48, 64), (256, 256)):
        warp = Warp(size, use_udp=use_udp)
        for _ in range(200):
            center = numbers.uniform(-50, 700, 2).astype(np.float32)
            scale = warp.fitted(numbers.uniform(5, 900, (1, 2)).astype(np.float32))[0]
            rotation = np.float32(numbers.uniform(-180, 180))
            expected = stock(center, scale, rotation, output_size=size)
            np.testing.assert_array_equal(warp.matrix(center, scale, rotation), expected)


def test_colours_change_as_in_floating_point() -> None:
    numbers = np.random.default_rng(0)
    image = numbers.integers(0, 256, (37, 51, 3), np.uint8)
    for _ in range(100):
        change = ColourChange(
            brightness=numbers.uniform(-32, 32) if numbers.random() < 0.5 else None,
            contrast=numbers.uniform(0.5, 1.5) if numbers.random() < 0.5 else None,
            contrast_first=bool(numbers.random() < 0.5),
            saturation=numbers.uniform(0.5, 1.5) if numbers.random() < 0.5 else None,
            hue=int(numbers.integers(-18, 19)) if numbers.random() < 0.5 else None,
        )
        before = image.copy()
        np.testing.assert_array_equal(change.apply(image), _in_floating_point(change, image))
        np.testing.assert_array_equal(image, before)


def _in_floating_point(change: ColourChange, image: np.ndarray) -> np.ndarray:
    """Photometric distortion as MMPose 0.x writes it down."""

    def scaled(values: np.ndarray, factor: float = 1.0, shift: float = 0.0) -> np.ndarray:
        return np.clip(values.astype(np.float32) * factor + shift, 0, 255).astype(np.uint8)

    if change.brightness is not None:
        image = scaled(image, shift=change.brightness)
    if change.contrast is not None and change.contrast_first:
        image = scaled(image, change.contrast)
    if change.saturation is not None or change.hue is not None:
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        if change.saturation is not None:
            hsv[..., 1] = scaled(hsv[..., 1], change.saturation)
        if change.hue is not None:
            hsv[..., 0] = (hsv[..., 0].astype(int) + change.hue) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    if change.contrast is not None and not change.contrast_first:
        image = scaled(image, change.contrast)
    return image


def test_the_input_has_the_size_asked_for(cats: Path) -> None:
    assert batches(training(), **options(cats, CATS))[1]["inputs"].shape[1:] == (3, SIZE[1], SIZE[0])


def test_a_box_without_area_gives_one_colour_as_the_stock_pipeline_does() -> None:
    """Half a body whose visible keypoints lie on one point has such a box."""
    image = np.full((30, 40, 3), 77, np.uint8)
    colours = ColourChange(contrast=1.0, contrast_first=True, brightness=0.0, saturation=None, hue=None)
    out = np.empty((3, SIZE[1], SIZE[0]), np.uint8)
    Warp(SIZE, use_udp=False).cut(image, np.zeros((2, 3)), out, mirror=False, colours=colours)
    assert (out == cv2.warpAffine(image, np.zeros((2, 3)), SIZE)[0, 0, 0]).all()
