"""CocoMetric's file of results by the fast encoder: the same bytes, and MMEngine's writer for all that it is not."""

from __future__ import annotations

from posestudy_runner import plugin  # isort: skip - before MMPose

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmpose.evaluation.metrics import coco_metric

from posestudy_runner.plugin.validation.result_file import indented, writing_results

ROW: dict[str, Any] = {
    "image_id": 12,
    "category_id": 1,
    "keypoints": [1.5, -2.25e-9, 3.0, 1e22, 0.1 + 0.2, 7],
    "score": 0.25,
    "bbox": [1, 2, 3, 4],
}
STRANGE = [
    [{"score": float("nan"), "keypoints": [float("inf"), 1.0]}],
    [{"name": 'a "quoted", [name]', "keypoints": []}],
    [{"keypoints": np.float64(2.5), "of": np.int64(3)}],
    [{"keypoints": [[1, 2], [3]]}],
    [{"keypoints": ["a, b", "c"]}],
    [{"of": {"one": 1}}],
    [{}],
    [],
    {"images": []},
    [1, 2],
]


@pytest.mark.parametrize("results", [[ROW], [ROW] * 3, *STRANGE])
def test_the_file_is_the_same_byte_for_byte(results: Any, tmp_path: Path) -> None:
    stock, ours = tmp_path / "stock.json", tmp_path / "deeper" / "ours.json"
    coco_metric.dump(results, str(stock), sort_keys=True, indent=4)
    with writing_results():
        coco_metric.dump(results, str(ours), sort_keys=True, indent=4)
    assert ours.read_bytes() == stock.read_bytes()


def test_only_flat_rows_are_ours_to_encode() -> None:
    assert indented([ROW]) == json.dumps([ROW], sort_keys=True, indent=4)
    assert [indented(results) for results in STRANGE[3:]] == [None] * 7


def test_another_layout_is_left_to_mmengine(tmp_path: Path) -> None:
    with writing_results():
        coco_metric.dump([ROW], str(tmp_path / "plain.json"))
    assert (tmp_path / "plain.json").read_text() == json.dumps([ROW])


def test_mmengine_writes_again_afterwards(tmp_path: Path) -> None:
    stock = coco_metric.dump
    with pytest.raises(TypeError), writing_results():
        coco_metric.dump([{"score": object()}], str(tmp_path / "x.json"), sort_keys=True, indent=4)
    assert coco_metric.dump is stock
    assert plugin.__name__ == "posestudy_runner.plugin"
