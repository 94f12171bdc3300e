"""How a cell is looked at, as factors: keys, configs, mistakes with their place, prices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posestudy.errors import InputError, PoseStudyError
from posestudy_studies import cells, factors, leaks, mmpose_config
from posestudy_studies.drawn_cats import draw
from posestudy_studies.file import load
from posestudy_studies.plan import plan, work
from posestudy_studies.spec import Study

HEAD = """study: looks
dataset:
  keypoints: cats
  root: .
  train: {annotations: train.json, images: images}
  val: {annotations: val.json, images: images}
metric: coco/AP
evaluation: {flip_test: true, score_mode: bbox}
baseline:
  model: resnet_tiny
  input_size: [64, 64]
  epochs: 2
  batch_size: 4
  optimizer: {type: Adam, lr: 1.0e-3}
"""


def study(tmp_path: Path, stages: str) -> Study:
    file = tmp_path / "looks.yaml"
    file.write_text(f"{HEAD}stages:\n{stages}")
    return load(file)


def refused(tmp_path: Path, stages: str) -> str:
    with pytest.raises(InputError) as told:
        study(tmp_path, stages)
    return str(told.value)


def one(variants: str) -> str:
    return f"  - name: one\n    design: variants\n    variants:\n      a: {variants}\n"


def test_what_is_not_changed_is_as_the_study_says_and_changes_no_key(tmp_path: Path) -> None:
    made = study(tmp_path, one("{evaluation.flip_test: false}"))

    def keys(levels: dict[str, Any]) -> tuple[str, str | None]:
        training = factors.apply(made.baseline, levels)
        return cells.key(made, training), cells.training_key(made, training)

    own = keys({})
    assert keys({"evaluation.flip_test": True}) == own, "the study's own level is no difference"
    assert keys({"evaluation.flip_test": None}) == own
    assert keys({"evaluation": {"score_mode": "bbox"}}) == own
    assert keys({"evaluation.flip_test": False})[0] != own[0]
    assert keys({"evaluation.flip_test": False})[1] == own[1], "training is the same"
    assert keys({"sigma": 3.0})[1] != own[1]
    given = {"epochs": 0, "init": "all.pth"}
    assert keys(given)[1] is None, "nothing is trained"


def test_the_config_follows_the_cell(tmp_path: Path) -> None:
    made = study(tmp_path, one("{evaluation.flip_test: false}"))
    levels = {"evaluation.boxes": "found.json", "evaluation.flip_test": False, "evaluation.nms_thr": 0.5}
    changed = factors.apply(made.baseline, levels)
    config = mmpose_config.build(made, changed, 0)
    assert config["val_dataloader"]["dataset"]["bbox_file"].endswith("/found.json")
    assert config["model"]["test_cfg"]["flip_test"] is False
    assert (config["val_evaluator"]["nms_thr"], config["val_evaluator"]["score_mode"]) == (0.5, "bbox")
    assert leaks.leaks(made, changed, made.baseline, list(levels)) == []
    assert leaks.leaks(made, changed, made.baseline, ["sigma"]) != []


def test_epochs_0_loads_the_whole_network_and_starts_from_nothing(tmp_path: Path) -> None:
    made = study(tmp_path, one("{evaluation.flip_test: false}"))
    for init in ("all.pth", "https://example.org/all.pth"):
        config = mmpose_config.build(made, factors.apply(made.baseline, {"epochs": 0, "init": init}), 0)
        assert config["load_from"] == init
        assert "init_cfg" not in config["model"]
        assert "init_cfg" not in config["model"]["backbone"]
        assert "save_best" not in config["default_hooks"]["checkpoint"]
    assert mmpose_config.build(made, made.baseline, 0)["load_from"] is None
    with pytest.raises(PoseStudyError, match="epochs 0 without init"):
        factors.apply(made.baseline, {"epochs": 0})


@pytest.mark.parametrize(
    ("variants", "place", "words"),
    [
        ("{evaluation.flip: false}", "19:11", "unknown factor 'evaluation.flip'"),
        ("{evaluation.boxes: ../out.json}", "19:29", "expected a path inside dataset.root"),
        ("{evaluation.score_mode: rle}", "19:34", "expected bbox, bbox_keypoint or bbox_rle"),
        ("{epochs: 0}", "19:7", "expected init, the weights that are evaluated"),
        ("{evaluation.submission: true}", "19:34", "found true without dataset.test"),
        ("{evaluation.nms_thr: 2.0}", "19:31", "at most 1"),
    ],
)
def test_mistakes_name_their_place(tmp_path: Path, variants: str, place: str, words: str) -> None:
    message = refused(tmp_path, one(variants))
    assert words in message
    assert f"looks.yaml:{place}" in message


def test_a_level_is_held_against_the_metric(tmp_path: Path) -> None:
    text = HEAD.replace("metric: coco/AP", "metric: pck")
    (tmp_path / "looks.yaml").write_text(f"{text}stages:\n" + one("{evaluation.boxes: found.json}"))
    with pytest.raises(InputError, match=r"looks.yaml:19:29: .*evaluation.boxes.*expected ground_truth"):
        load(tmp_path / "looks.yaml")


def test_missing_detections_of_a_level_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    from posestudy_studies import dataset

    draw(tmp_path / "cats", train=2, val=2, seed=0)
    made = study(tmp_path, one("{evaluation.boxes: none.json}"))
    root = str(tmp_path / "cats")
    split = {"annotations": "annotations/val.json", "images": "images"}
    data = made.dataset.model_copy(update={"root": root})
    data = data.model_validate({**data.model_dump(), "train": split, "val": split})
    told = dataset.problems(made.model_copy(update={"dataset": data}))
    assert [(Path(p.file).name, p.expected) for p in told] == [
        ("none.json", "a JSON list of detections with image_id, category_id, bbox and score, inside dataset.root")
    ]


def test_only_the_first_of_cells_trained_alike_is_priced_as_training(tmp_path: Path) -> None:
    made = study(tmp_path, one("{evaluation.flip_test: false}") + "      b: {sigma: 3.0}\n")
    assert [(w.cell, w.only_evaluated) for w in work(made)] == [("baseline", False), ("a", True), ("b", False)]
    rows = {c["name"]: c for c in plan(made)["stages"][0]["cells"]}
    assert rows["a"]["config"]["evaluation.flip_test"] is False
    none = made.model_copy(update={"reuse": "none"})
    assert [w.only_evaluated for w in work(none)] == [False, False, False]
