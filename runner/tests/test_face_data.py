"""Faces are cut out of their images as MMPose's WFLWDataset cuts them, not by their `bbox`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from face_data import draw_faces

import posestudy_runner.plugin  # noqa: F401  (before mmpose, which does not import without it)

from mmengine.registry import init_default_scope  # isort: skip
from mmpose.datasets.datasets.face import WFLWDataset

from posestudy.errors import PoseStudyError
from posestudy_runner.plugin.dataset import KeypointDataset
from posestudy_studies.layouts import layout

ANNOTATIONS = "annotations/face_landmarks_wflw_test.json"
PIPELINE = [
    {"type": "LoadImage"},
    {"type": "GetBBoxCenterScale", "padding": 1.25},
    {"type": "TopdownAffine", "input_size": (64, 64)},
    {"type": "PackPoseInputs"},
]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faces") / "wflw"
    draw_faces(root, train=1, val=3)
    return root


def options(root: Path) -> dict[str, Any]:
    init_default_scope("mmpose")
    return {
        "ann_file": str(root / ANNOTATIONS),
        "data_prefix": {"img": str(root / "images")},
        "pipeline": PIPELINE,
        "test_mode": True,
    }


def ours(root: Path, **more: Any) -> KeypointDataset:
    return KeypointDataset(metainfo=layout("wflw").metainfo, **options(root), **more)


def test_samples_are_those_of_mmposes_own_class(faces: Path) -> None:
    stock, made = WFLWDataset(**options(faces)), ours(faces, box_from="center_scale")
    assert len(made) == len(stock) == 3
    for one, other in zip(made, stock, strict=True):
        assert np.abs(one["inputs"].int() - other["inputs"].int()).max() <= 1
        mine, theirs = one["data_samples"], other["data_samples"]
        np.testing.assert_allclose(mine.input_scale, theirs.input_scale, rtol=1e-5)
        np.testing.assert_allclose(mine.gt_instances.bboxes, theirs.gt_instances.bboxes, atol=1e-4)
        np.testing.assert_array_equal(mine.gt_instances.keypoints, theirs.gt_instances.keypoints)
        assert mine.flip_indices == theirs.flip_indices
    assert made.metainfo["num_keypoints"] == 98


def test_a_box_from_bbox_is_another_one(faces: Path) -> None:
    square = ours(faces, box_from="center_scale")[0]["data_samples"].input_scale
    box = ours(faces)[0]["data_samples"].input_scale
    assert (box > square * 1.05).all()


def test_a_square_may_leave_the_image_as_mmposes_does(faces: Path, tmp_path: Path) -> None:
    data = json.loads((faces / ANNOTATIONS).read_text())
    data["annotations"][0]["center"] = [5.0, 5.0]
    moved = tmp_path / ANNOTATIONS
    moved.parent.mkdir()
    moved.write_text(json.dumps(data))
    (tmp_path / "images").symlink_to(faces / "images")
    stock, made = WFLWDataset(**options(tmp_path)), ours(tmp_path, box_from="center_scale")
    np.testing.assert_allclose(made.get_data_info(0)["bbox"], stock.get_data_info(0)["bbox"], atol=1e-4)
    assert made.get_data_info(0)["bbox"].min() < 0


def test_an_annotation_without_center_is_named(faces: Path, tmp_path: Path) -> None:
    data = json.loads((faces / ANNOTATIONS).read_text())
    del data["annotations"][1]["center"]
    moved = tmp_path / ANNOTATIONS
    moved.parent.mkdir()
    moved.write_text(json.dumps(data))
    with pytest.raises(PoseStudyError, match=r"annotation 1002 of .* has no center"):
        ours(tmp_path, box_from="center_scale")
