"""Augmentations of our own: what they change, by how much, and that equal seeds give equal samples."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from posestudy.errors import PoseStudyError
from posestudy_runner.plugin import PhotometricDistortionV0, RandomBBoxTranslation, SeededAlbumentation
from posestudy_runner.plugin.seeding import seed_generators

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)


def test_translation_is_uniform_within_the_padded_box() -> None:
    seed_generators(0)
    boxes = {
        "bbox_center": np.tile(np.float32([50, 60]), (4000, 1)),
        "bbox_scale": np.tile(np.float32([20, 40]), (4000, 1)),
    }
    moved = RandomBBoxTranslation(factor=0.15, prob=0.5).transform(dict(boxes))
    shift = (moved["bbox_center"] - boxes["bbox_center"]) / boxes["bbox_scale"]
    still = (shift == 0).all(axis=1)
    assert 0.45 < still.mean() < 0.55
    assert np.abs(shift).max() <= 0.15 + 1e-6
    # A uniform share's quarters are equally full, a truncated normal's are not.
    quarters = np.histogram(shift[~still][:, 0], bins=4, range=(-0.15, 0.15))[0]
    assert quarters.min() > 0.9 * (~still).sum() / 4
    assert moved["bbox_center"].dtype == np.float32
    assert (moved["bbox_scale"] == boxes["bbox_scale"]).all()


def test_photometric_distortion_at_zero_changes_nothing_but_rounding() -> None:
    none = PhotometricDistortionV0(0, (1.0, 1.0), (1.0, 1.0), 0)
    for seed in range(20):
        seed_generators(seed)
        changed = none.transform({"img": IMAGE.copy()})["img"]
        assert np.abs(changed.astype(int) - IMAGE).max() <= 4  # through HSV and back


def test_photometric_distortion_keeps_channels_and_turns_hues_in_a_circle() -> None:
    red = np.full((4, 4, 3), (0, 0, 255), np.uint8)
    seen = set()
    for seed in range(200):
        seed_generators(seed)
        changed = PhotometricDistortionV0(0, (1.0, 1.0), (1.0, 1.0), 18).transform({"img": red.copy()})["img"]
        seen.add(int(cv2.cvtColor(changed, cv2.COLOR_BGR2HSV)[0, 0, 0]))
    # Hues on both sides of red, which is 0 of 180; a swap of channels would have given green or blue.
    assert all(hue <= 18 or hue >= 162 for hue in seen)
    assert any(0 < hue <= 18 for hue in seen)
    assert any(hue >= 162 for hue in seen)


def test_contrast_is_applied_at_most_once() -> None:
    grey = np.full((2, 2, 3), 100, np.uint8)
    values = set()
    for seed in range(100):
        seed_generators(seed)
        values.add(
            int(PhotometricDistortionV0(0, (0.5, 0.5), (1.0, 1.0), 0).transform({"img": grey.copy()})["img"].max())
        )
    assert values == {100, 50}


def test_albumentations_follow_the_seed() -> None:
    pytest.importorskip("albumentations")
    noise = [
        {"type": "OneOf", "p": 1.0, "transforms": [{"type": "GaussNoise", "p": 1.0}, {"type": "MotionBlur", "p": 1.0}]}
    ]

    def changed(transform: SeededAlbumentation, seed: int) -> Any:
        seed_generators(seed)
        return transform.transform({"img": IMAGE.copy()})["img"]

    first, second = SeededAlbumentation(noise), SeededAlbumentation(noise)
    assert (changed(first, 3) == changed(second, 3)).all()
    changed(second, 4)
    assert (changed(first, 5) == changed(second, 5)).all()
    assert (changed(first, 5) != changed(first, 6)).any()


@pytest.mark.parametrize(
    ("step", "said"),
    [({"type": "MotionBlurr"}, "did you mean 'MotionBlur'"), ({"type": "MotionBlur", "p": "often"}, "does not take")],
)
def test_albumentations_that_do_not_exist_are_named(step: dict[str, Any], said: str) -> None:
    pytest.importorskip("albumentations")
    with pytest.raises(PoseStudyError, match=said):
        SeededAlbumentation([step])
