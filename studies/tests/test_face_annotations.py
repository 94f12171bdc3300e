"""What is checked of annotations is what a study reads of them: boxes, COCO's evaluation, normalising keypoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from posestudy_studies import dataset
from posestudy_studies.designs.contract import study_with
from posestudy_studies.spec import Study

POINTS = 98
Change = Callable[[list[dict[str, Any]]], object]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    folder.mkdir()
    for number in range(4):
        assert cv2.imwrite(str(folder / f"{number}.png"), np.full((32, 32, 3), 60 * number, dtype=np.uint8))
    for split, numbers in (("train", (0, 1)), ("val", (2, 3))):
        images = [{"id": i, "file_name": f"{i}.png", "width": 32, "height": 32} for i in numbers]
        annotations = [
            {"id": i, "image_id": i, "category_id": 1, "center": [16.0, 15.5], "scale": 0.1,
             "keypoints": [float(v) for k in range(POINTS) for v in (k % 30, k // 4, 1)]}
            for i in numbers
        ]  # fmt: skip
        data = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "face"}]}
        (folder / f"{split}.json").write_text(json.dumps(data))
    return folder


def study(root: Path, metric: str = "nme", evaluation: dict[str, Any] | None = None, **data: Any) -> Study:
    made = study_with({"name": "s", "design": "variants", "variants": {"a": {"sigma": 1.0}}})
    splits = {split: {"annotations": f"{split}.json", "images": "."} for split in ("train", "val")}
    document = made.model_dump(mode="json") | {
        "dataset": {"keypoints": "wflw", "root": str(root), **splits, **data},
        "metric": metric,
        "evaluation": evaluation or {},
    }
    return Study.model_validate(document)


def change(root: Path, split: str, edit: Change) -> None:
    path = root / f"{split}.json"
    data = json.loads(path.read_text())
    edit(data["annotations"])
    path.write_text(json.dumps(data))


def said(root: Path, **options: Any) -> list[str]:
    return [str(problem) for problem in dataset.inspect(study(root, **options)).problems]


def test_faces_need_neither_bbox_nor_what_cocos_evaluation_reads(root: Path) -> None:
    seen = dataset.inspect(study(root))
    assert (seen.problems, seen.notes) == ([], [])
    assert seen.facts["val"].instances == 2


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda a: a[1].pop("center"), "annotations[1].center: found nothing, expected [x, y] in pixels"),
        (lambda a: a[1].update(center=[1, 2, 3]), "annotations[1].center: found [1, 2, 3]"),
        (lambda a: a[0].update(scale=0), "annotations[0].scale: found 0, expected the box's side in units of 200"),
        (lambda a: a[0].update(keypoints=[1, 2, 1] * 68), "found 204 numbers, expected 294 (98 keypoints of layout"),
    ],
)
def test_mistakes_of_a_face(root: Path, edit: Change, expected: str) -> None:
    change(root, "train", edit)
    assert any(expected in line for line in said(root)), said(root)


def test_boxes_are_taken_from_bbox_where_a_study_says_so(root: Path) -> None:
    assert any("bbox: found nothing" in line for line in said(root, box_from="bbox"))
    for split in ("train", "val"):
        change(root, split, lambda rows: [row.update(bbox=[4, 4, 20, 20]) for row in rows])
    assert said(root, box_from="bbox") == []


def test_instances_that_nme_leaves_out_are_noted_and_all_of_them_are_refused(root: Path) -> None:
    def unlabel(row: dict[str, Any]) -> None:
        row["keypoints"][3 * 72 : 3 * 72 + 3] = [0, 0, 0]

    change(root, "val", lambda rows: unlabel(rows[0]))
    seen = dataset.inspect(study(root))
    assert seen.problems == []
    assert seen.notes == [
        "1 of 2 instances of val have no label at kpt-60 or kpt-72, by whose distance NME is normalised: it leaves "
        "them out."
    ]
    change(root, "val", lambda rows: unlabel(rows[1]))
    assert any("2 of 2 instances of val have no label at kpt-60 or kpt-72" in line for line in said(root))
    assert said(root, metric="epe") == []
    assert said(root, evaluation={"nme_keypoints": [60, 71]}) == []


def test_the_fingerprint_tells_what_boxes_are_made_of(root: Path) -> None:
    for split in ("train", "val"):
        change(root, split, lambda rows: [row.update(bbox=[4, 4, 20, 20]) for row in rows])
    square, box = (dataset.fingerprint(study(root, box_from=kind).dataset) for kind in ("center_scale", "bbox"))
    assert square != box
    assert dataset.fingerprint(study(root).dataset) == square
