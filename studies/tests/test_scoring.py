"""Which of MMPose's evaluators measure a study's metric, and what is said where none can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posestudy.errors import InputError, PoseStudyError
from posestudy.vocabulary import METRICS
from posestudy_studies import scoring
from posestudy_studies.file import load
from posestudy_studies.layouts import layout
from posestudy_studies.mmpose_config import build

STUDY = """\
study: measured
dataset:
  keypoints: {keypoints}
  root: data
  train: {{annotations: train.json, images: images}}
  val:   {{annotations: val.json,   images: images}}
  test:  {{annotations: test.json,  images: images}}
metric: {metric}
evaluation: {evaluation}
baseline: {{model: resnet_tiny, codec: regression, input_size: [64, 64], epochs: 2, batch_size: 2, optimizer: {{lr: 1.0e-3}}}}
stages:
  - {{name: only, design: variants, variants: {{other: {{loss: l1}}}}}}
"""  # noqa: E501


def config(folder: Path, metric: str, evaluation: str = "{}", keypoints: str = "cats") -> dict[str, Any]:
    path = folder / "measured.yaml"
    path.write_text(STUDY.format(metric=metric, evaluation=evaluation, keypoints=keypoints))
    study = load(path)
    return build(study, study.baseline, 0)


def test_coco_is_measured_by_cocometric_alone(tmp_path: Path) -> None:
    made = config(tmp_path, "coco/AR", "{score_mode: bbox_rle, nms_mode: none}")["val_evaluator"]
    assert (made["type"], made["score_mode"], made["nms_mode"]) == ("CocoMetric", "bbox_rle", "none")
    assert made["ann_file"].endswith("/val.json")


@pytest.mark.parametrize("metric", [name for name in METRICS if not name.startswith("coco/")])
def test_every_other_metric_comes_with_all_that_distances_give(tmp_path: Path, metric: str) -> None:
    made = config(tmp_path, metric, "{nme_keypoints: [L_Eye, 4], pck_thr: 0.1}")
    assert [one["type"] for one in made["val_evaluator"]] == ["LabelledNME", "PCKAccuracy", "AUC", "EPE"]
    assert made["val_evaluator"][0]["keypoint_indices"] == (0, 4)
    assert made["val_evaluator"][1]["thr"] == 0.1
    checkpoint = made["default_hooks"]["checkpoint"]
    assert checkpoint["save_best"] == METRICS[metric].mmpose
    assert checkpoint["rule"] == {"nme": "less", "epe": "less", "pck": "greater", "auc": "greater"}[metric]


def test_the_pair_of_a_face_is_mmposes(tmp_path: Path) -> None:
    made = config(tmp_path, "nme", keypoints="wflw")["val_evaluator"]
    assert made[0]["keypoint_indices"] == (60, 72)


def test_without_a_pair_there_is_no_nme_but_the_others(tmp_path: Path) -> None:
    made = config(tmp_path, "epe")["val_evaluator"]
    assert [one["type"] for one in made] == ["PCKAccuracy", "AUC", "EPE"]


def test_a_test_split_is_written_and_not_measured(tmp_path: Path) -> None:
    for keypoints, nms in (("cats", "oks_nms"), ("wflw", "none")):
        made = config(tmp_path, "epe", keypoints=keypoints)["test_evaluator"]
        assert (made["type"], made["format_only"], made["nms_mode"]) == ("CocoMetric", True, nms)


@pytest.mark.parametrize(
    ("metric", "evaluation", "keypoints", "said"),
    [
        (
            "nme", "{}", "cats",
            ":8:9: metric: found nme with keypoints cats, expected evaluation.nme_keypoints: [A, B]",
        ),
        (
            "nme", "{nme_keypoints: [L_Eye, R_Ey]}", "cats",
            ":9:29: evaluation.nme_keypoints: found 'R_Ey', expected a keypoint of cats: L_Eye, R_Eye, Nose, ",
        ),
        ("nme", "{nme_keypoints: [L_Eye, R_Ey]}", "cats", "(did you mean 'R_Eye'?)"),
        ("nme", "{nme_keypoints: [0, 17]}", "cats", "found 17, expected a keypoint of cats"),
        ("epe", "{nme_keypoints: [0, -1]}", "cats", "found -1, expected a keypoint of cats"),
        ("nme", "{nme_keypoints: [L_Eye, 0]}", "cats", "found L_Eye twice, expected two keypoints"),
        ("nme", "{nme_keypoints: [L_Eye]}", "cats", "evaluation.nme_keypoints"),
        ("nme", "{nme_keypoints: L_Eye}", "cats", "evaluation.nme_keypoints"),
        ("pck", "{pck_thr: 2}", "cats", "evaluation.pck_thr: found 2, expected a number of at most 1"),
        (
            "coco/AP", "{}", "wflw",
            ":8:9: metric: found coco/AP with keypoints wflw, expected nme, epe, pck or auc (it has no sigmas",
        ),
        (
            "epe", "{boxes: boxes.json}", "cats",
            ":9:21: evaluation.boxes: found 'boxes.json' with metric epe, expected ground_truth",
        ),
        ("nmee", "{}", "cats", "expected one of coco/AP, coco/AP50, coco/AP75, coco/AP_M, coco/AP_L, coco/AR,"),
        ("nmee", "{}", "cats", "(did you mean 'nme'?)"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_said_where_it_stands(
    tmp_path: Path, metric: str, evaluation: str, keypoints: str, said: str
) -> None:
    with pytest.raises(InputError) as caught:
        config(tmp_path, metric, evaluation, keypoints)
    assert said in str(caught.value)


def test_a_cell_that_cannot_be_measured_is_no_config(tmp_path: Path) -> None:
    path = tmp_path / "measured.yaml"
    path.write_text(STUDY.format(metric="epe", evaluation="{}", keypoints="cats"))
    study = load(path)
    with_boxes = study.evaluation.model_copy(update={"boxes": "boxes.json"})
    with pytest.raises(PoseStudyError, match=r"evaluation\.boxes: found 'boxes\.json' with metric epe"):
        scoring.evaluators(study.metric, with_boxes, layout("cats"), "val.json")
