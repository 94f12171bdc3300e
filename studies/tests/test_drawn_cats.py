"""Drawn cats: the same for the same seed, another for another, and labelled as COCO keypoints are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from posestudy_studies.drawn_cats import draw
from posestudy_studies.layouts import layout


def files(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()
    }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("cats")
    draw(root, train=60, val=12, seed=3)
    return root


def document(root: Path, split: str = "train") -> dict:
    return json.loads((root / "annotations" / f"{split}.json").read_text())


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    draw(tmp_path / "a", train=4, val=2, seed=5)
    draw(tmp_path / "b", train=4, val=2, seed=5)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_a_longer_set_starts_with_the_shorter(drawn, tmp_path):
    draw(tmp_path, train=3, val=1, seed=3)
    pictures = {k: v for k, v in files(tmp_path).items() if k.startswith("images")}
    assert pictures.items() <= files(drawn).items()


def test_no_picture_repeats_over_splits_and_seeds(drawn, tmp_path):
    draw(tmp_path, train=12, val=12, seed=4)
    digests = [v for root in (drawn, tmp_path) for k, v in files(root).items() if k.startswith("images")]
    assert len(set(digests)) == len(digests) == 96


def test_annotations_describe_the_pictures_that_lie_there(drawn):
    for split, count in (("train", 60), ("val", 12)):
        described = document(drawn, split)
        assert len(described["images"]) == count
        assert {a["image_id"] for a in described["annotations"]} == {i["id"] for i in described["images"]}
        for image in described["images"]:
            picture = cv2.imread(str(drawn / "images" / image["file_name"]))
            assert picture.shape == (image["height"], image["width"], 3) == (96, 96, 3)
    train, val = (document(drawn, s) for s in ("train", "val"))
    for part in ("images", "annotations"):
        assert not {row["id"] for row in train[part]} & {row["id"] for row in val[part]}


def test_names_are_the_assignments(drawn):
    (category,) = document(drawn)["categories"]
    assert category["id"] == 1
    assert category["keypoints"] == list(layout("cats").keypoint_names)
    assert len(category["keypoints"]) == 17
    assert category["keypoints"][3:5] == ["Neck", "Root of tail"]
    assert [4, 6] in category["skeleton"]


def test_labelled_joints_lie_in_the_picture_and_in_the_box(drawn):
    for annotation in document(drawn)["annotations"]:
        x, y, width, height = annotation["bbox"]
        assert width > 10
        assert height > 10
        assert x >= 0 <= y
        assert x + width <= 96 >= y + height
        assert annotation["area"] == width * height
        keypoints = np.array(annotation["keypoints"]).reshape(17, 3)
        seen = keypoints[keypoints[:, 2] > 0]
        assert annotation["num_keypoints"] == len(seen) > 0
        assert (seen[:, :2] >= (x - 1, y - 1)).all()
        assert (seen[:, :2] <= (x + width + 1, y + height + 1)).all()
        assert not keypoints[keypoints[:, 2] == 0].any()


def test_cats_vary(drawn):
    described = document(drawn)
    keypoints = np.array([a["keypoints"] for a in described["annotations"]]).reshape(-1, 17, 3)
    whole = keypoints[(keypoints[:, :, 2] > 0).all(axis=1)]
    right = whole[:, 3, 0] > whole[:, 4, 0]
    assert 0.25 < right.mean() < 0.75
    lengths = np.linalg.norm(whole[:, 3, :2] - whole[:, 4, :2], axis=1)
    assert lengths.max() > 1.5 * lengths.min()
    assert {1, 2} <= set(keypoints[:, :, 2].ravel())
    assert (keypoints[:, :, 2] == 1).mean() > 0.03
    assert 60 < len(described["annotations"]) < 75


def test_left_and_right_are_the_cats_own(drawn):
    """Seen from its right side a cat's right legs are nearer, so drawn over the left and lower in the picture."""
    keypoints = np.array([a["keypoints"] for a in document(drawn)["annotations"]]).reshape(-1, 17, 3)
    whole = keypoints[(keypoints[:, :, 2] > 0).all(axis=1)]
    facing = np.where(whole[:, 3, 0] > whole[:, 4, 0], 1, -1)
    lower = whole[:, (8, 14), 1].mean(axis=1) - whole[:, (5, 11), 1].mean(axis=1)
    assert (np.sign(lower) == facing).mean() > 0.8


@pytest.mark.parametrize("wrong", [{"train": -1}, {"val": -1}, {"size_px": 8}])
def test_senseless_sizes_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match="expected counts >= 0 and a size >= 32"):
        draw(tmp_path, **({"train": 1, "val": 1, "seed": 0} | wrong))
