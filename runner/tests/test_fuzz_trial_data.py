"""A data set that passes `check` trains and evaluates: MMPose takes every instance, and CocoMetric gives a number."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import posestudy_runner.plugin  # noqa: F401  (before mmpose, which does not import without it)
from posestudy import fuzzing
from posestudy.errors import InputError, PoseStudyError, UnreadableImageError
from posestudy_runner.detections import Detections
from posestudy_studies import dataset, mmpose_config
from posestudy_studies.designs.contract import study_with
from posestudy_studies.spec import Dataset, Study


def coco(first: int, count: int) -> dict[str, Any]:
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 32, "height": 24} for i in range(first, first + count)],
        "annotations": [
            {"id": i + 10, "image_id": i, "category_id": 1, "iscrowd": 0, "bbox": [2, 2, 20, 18], "area": 360.0,
             "num_keypoints": 17, "keypoints": [5, 6, 2] * 17}
            for i in range(first, first + count)
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": ["nose"], "skeleton": [[1, 2]]}],
    }  # fmt: skip


BOXES = [{"image_id": i, "category_id": 1, "bbox": [2, 2, 20, 18], "score": 0.9} for i in (2, 3)]
GOOD: dict[str, Any] = {"train": coco(0, 2), "val": coco(2, 2), "test": coco(0, 2), "boxes": BOXES}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    (folder / "images").mkdir()
    for i in range(4):
        picture = np.random.default_rng(i).integers(0, 255, (24, 32, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / "images" / f"{i}.png"), picture)
    return folder


def study_of(root: Path, changed: dict[str, Any]) -> Study:
    for name, data in {**GOOD, **changed}.items():
        (root / f"{name}.json").write_bytes(json.dumps(data).encode("utf-8", "surrogatepass"))
    described = {"keypoints": "coco", "root": str(root)} | {
        name: {"annotations": f"{name}.json", "images": "images"} for name in ("train", "val", "test")
    }
    made = study_with({"name": "s", "design": "variants", "variants": {"a": {"sigma": 1.0}}})
    boxes = made.evaluation.model_copy(update={"boxes": "boxes.json" if "boxes" in changed else "ground_truth"})
    return made.model_copy(update={"dataset": Dataset.model_validate(described), "evaluation": boxes})


def average_precision(study: Study) -> float:
    """What CocoMetric says where every prediction is the ground truth; all samples of all splits are made first."""
    from mmengine.registry import init_default_scope
    from mmengine.structures import InstanceData
    from mmpose.registry import DATASETS, METRICS

    init_default_scope("mmpose")
    config = mmpose_config.build(study, study.baseline, 0)
    split = DATASETS.build(copy.deepcopy(config["train_dataloader"]["dataset"]))
    assert all("inputs" in split[i] for i in range(len(split)))
    # A test split may hold images alone; that there are no boxes to predict is then said in a sentence.
    with contextlib.suppress(PoseStudyError):
        split = DATASETS.build(copy.deepcopy(config["test_dataloader"]["dataset"]))
        assert all("inputs" in split[i] for i in range(len(split)))
    split = DATASETS.build(copy.deepcopy(config["val_dataloader"]["dataset"]))
    found = config["val_evaluator"]
    metric = METRICS.build(copy.deepcopy(found[0] if isinstance(found, list) else found))
    metric.dataset_meta = split.metainfo
    for i in range(len(split)):
        sample, info = split[i]["data_samples"], split.get_data_info(i)
        sample.pred_instances = InstanceData(
            keypoints=np.array(info["keypoints"]), keypoint_scores=np.ones((1, 17), np.float32),
            bboxes=np.array(info["bbox"]), bbox_scores=np.ones(1, np.float32),
        )  # fmt: skip
        metric.process(None, [sample.to_dict()])
    return float(metric.evaluate(len(split))["coco/AP"])


def look(root: Path, seed: int) -> None:
    chance = random.Random(seed)
    name = chance.choice(list(GOOD))
    data, _ = fuzzing.mutated(GOOD[name], chance)
    study = study_of(root, {name: data})
    if not dataset.problems(study):
        with contextlib.redirect_stdout(io.StringIO()):
            assert math.isfinite(average_precision(study))


@fuzzing.drawn(8)
def test_what_passes_check_is_trained_on_and_evaluated(root: Path, seed: int) -> None:
    look(root, seed)


@pytest.mark.slow
@fuzzing.drawn(20)
def test_many_that_pass_check_are_trained_on_and_evaluated(root: Path, seed: int) -> None:
    look(root, seed)


def test_the_good_files_are_good(root: Path) -> None:
    study = study_of(root, {})
    assert dataset.problems(study) == []
    with contextlib.redirect_stdout(io.StringIO()):
        assert average_precision(study) == pytest.approx(1.0)


def bomb() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("raw", [b"", b"hello", bomb()], ids=["empty", "text", "bomb"])
def test_an_image_that_is_spoilt_while_a_trial_runs_is_named(tmp_path: Path, root: Path, raw: bytes) -> None:
    from mmengine.registry import init_default_scope
    from mmpose.registry import DATASETS

    init_default_scope("mmpose")
    study = study_of(root, {})
    with contextlib.redirect_stdout(io.StringIO()):
        config = mmpose_config.build(study, study.baseline, 0)["train_dataloader"]["dataset"]
        split = DATASETS.build({**copy.deepcopy(config), "data_prefix": {"img": str(tmp_path)}})
    for name in ("0.png", "1.png"):
        (tmp_path / name).write_bytes(raw)
    with pytest.raises(UnreadableImageError, match=r"image .*/[01]\.png cannot be read"):
        split[0]


def detect(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    given = chance.choice((BOXES, GOOD["val"]))
    raw = json.dumps(fuzzing.mutated(given, chance)[0]).encode("utf-8", "surrogatepass")
    path.write_bytes(fuzzing.damaged(raw, chance) if chance.random() < 0.3 else raw)
    with contextlib.suppress(InputError):
        found = Detections(path).of(Path("2.png"))
        assert all(math.isfinite(number) for box, score in found for number in (*box, score))


@fuzzing.drawn(100)
def test_boxes_for_images_of_your_own(root: Path, seed: int) -> None:
    detect(root / "own.json", seed)


@pytest.mark.parametrize(
    "data",
    [
        {"images": [3], "annotations": []},
        {"images": [{"id": {}, "file_name": "a"}], "annotations": BOXES},
        [{"image_id": [], "bbox": [1, 2, 3, 4]}],
        [{"file_name": ["a"], "bbox": [1, 2, 3, 4]}],
        [{"image_id": 2, "bbox": [1, 2, 10**400, 4]}],
        [{"image_id": 2, "bbox": [float("inf"), 2, 3, 4]}],
        [{"image_id": 2, "bbox": [1, 2, 3, 4], "score": 10**400}],
        [{"image_id": True, "bbox": [1, 2, 3, 4]}],
    ],
)
def test_boxes_that_are_none(tmp_path: Path, data: Any) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(data))
    with contextlib.suppress(InputError):
        assert Detections(path).of(Path("1.png")) == ()
