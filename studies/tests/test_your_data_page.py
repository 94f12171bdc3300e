"""The study, the annotations and the keypoint layout of the page on one's own data are a data set that is accepted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from posestudy_studies import dataset
from posestudy_studies.file import load
from posestudy_studies.layouts import layout

PAGE = Path(__file__).parents[2] / "docs" / "your_data.md"
BLOCKS = dict(re.findall(r'```\w+ title="([^"]+)"\n(.*?)```', PAGE.read_text(encoding="utf-8"), re.S))


@pytest.fixture
def study_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "data" / "mine"
    (root / "labels").mkdir(parents=True)
    (root / "photos").mkdir()
    data = json.loads(BLOCKS["labels/train.json"])
    size = data["images"][0]
    for number, split in enumerate(("train", "val", "test")):
        picture = np.random.default_rng(number).integers(0, 255, (size["height"], size["width"], 3), dtype=np.uint8)
        assert cv2.imwrite(str(root / "photos" / f"{split}.jpg"), picture)
        of_split = data | {"images": [size | {"file_name": f"{split}.jpg"}]}
        (root / "labels" / f"{split}.json").write_text(json.dumps(of_split))
    for name in ("my_study.yaml", "my_keypoints.yaml"):
        (tmp_path / name).write_text(BLOCKS[name])
    return tmp_path / "my_study.yaml"


def test_what_the_page_shows_is_accepted_without_a_note(study_file: Path) -> None:
    seen = dataset.inspect(load(study_file))
    assert (seen.problems, seen.notes) == ([], [])
    assert {name: facts.images for name, facts in seen.facts.items()} == {"train": 1, "val": 1, "test": 1}


def test_the_layout_of_the_page_has_its_pairs_and_limbs(study_file: Path) -> None:
    made = layout(str(study_file.with_name("my_keypoints.yaml")))
    assert made.keypoint_names == ("bill", "left_wing", "right_wing", "left_foot", "right_foot")
    assert made.flip_pairs == ((1, 2), (3, 4))
    assert made.skeleton == ((0, 1), (0, 2))


def test_what_the_page_says_may_be_left_out_may_be(study_file: Path) -> None:
    path = study_file.with_name("my_keypoints.yaml")
    text = re.sub(r", type: \w+", "", path.read_text())
    path.write_text(re.sub(r"(?s)skeleton_info:.*?(?=sigmas)", "", text).partition("joint_weights")[0])
    assert layout(str(path)).skeleton == ()
    assert layout(str(path)).metainfo["joint_weights"] == [1.0] * 5
