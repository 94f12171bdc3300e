"""The regression studies that ship are the project's configurations, row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from posestudy.commands.app import main
from posestudy_studies import factors, mmpose_config
from posestudy_studies.file import load
from posestudy_studies.plan import plan
from posestudy_studies.spec import Study
from posestudy_studies.training import Training

STUDIES = Path(__file__).parents[1]
# Label, backbone, depth, channels, loss, epochs, rate, steps, epochs between validations, score mode.
ROWS: list[tuple[str, str, int | None, int, str, int, float, list[int], int, str]] = [
    ("Alexnet-20epochs", "AlexNet", None, 256, "SmoothL1Loss", 20, 1e-3, [10, 20], 5, "bbox_keypoint"),
    ("Alexnet-50epochs", "AlexNet", None, 256, "SmoothL1Loss", 50, 1e-3, [10, 20], 10, "bbox_keypoint"),
    ("Alexnet-RLELoss-20epochs", "AlexNet", None, 256, "RLELoss", 20, 1e-3, [80, 120], 5, "bbox_rle"),
    ("Alexnet-RLELoss-50epochs", "AlexNet", None, 256, "RLELoss", 50, 1e-3, [20, 50], 10, "bbox_rle"),
    ("Resnet50-20epochs", "ResNet", 50, 2048, "SmoothL1Loss", 20, 5e-4, [10, 20], 5, "bbox_keypoint"),
    ("Resnet50-RLELoss-20epochs", "ResNet", 50, 2048, "RLELoss", 20, 1e-3, [8, 14], 5, "bbox_rle"),
    ("resnet50-RLELoss-100epochs", "ResNet", 50, 2048, "RLELoss", 100, 1e-3, [60, 90], 10, "bbox_rle"),
    ("resnet101-SmoothL1Loss-20", "ResNet", 101, 2048, "SmoothL1Loss", 20, 5e-4, [170, 200], 5, "bbox_keypoint"),
    ("resnet101-RLELoss-100", "ResNet", 101, 2048, "RLELoss", 100, 5e-4, [60, 90], 10, "bbox_rle"),
    ("resnet152-SmoothL1Loss-20", "ResNet", 152, 2048, "SmoothL1Loss", 20, 5e-4, [170, 200], 5, "bbox_keypoint"),
    ("Resnet152-20epochs", "ResNet", 152, 2048, "RLELoss", 20, 5e-4, [8, 14], 5, "bbox_rle"),
    ("SCnet101-SmoothL1Loss-20", "SCNet", 101, 2048, "SmoothL1Loss", 20, 1e-3, [10, 20], 5, "bbox_keypoint"),
    ("SCnet101-RLELoss-100", "SCNet", 101, 2048, "RLELoss", 100, 1e-3, [50, 100], 30, "bbox_keypoint"),
]


@pytest.fixture(scope="module")
def scnet() -> Study:
    return load(STUDIES / "scnet_rle.yaml")


def cells(study: Study, ordinal: int) -> dict[str, Training]:
    """The cells of a stage that starts from the baseline, by label."""
    stage = study.stages[ordinal]
    opened = stage.opening(study.baseline)
    found = {proposal.label: factors.apply(study.baseline, proposal.levels) for proposal in opened}
    return {stage.baseline_label: study.baseline, **found} if stage.include_baseline else found


def test_the_first_table_has_exactly_the_projects_thirteen_rows(scnet: Study) -> None:
    found = cells(scnet, 0)
    assert list(found) == [row[0] for row in ROWS]
    for label, backbone, depth, channels, loss, epochs, rate, steps, every, score_mode in ROWS:
        config = mmpose_config.build(scnet, found[label], 0)
        model = config["model"]
        assert (model["backbone"]["type"], model["backbone"].get("depth")) == (backbone, depth), label
        assert model["head"]["in_channels"] == channels, label
        assert model["head"]["type"] == ("RLEHead" if loss == "RLELoss" else "RegressionHead"), label
        assert model["head"]["loss"]["type"] == loss, label
        assert model["head"]["loss"]["use_target_weight"] is True, label
        assert model["neck"] == {"type": "GlobalAveragePooling"}, label
        assert model["head"]["decoder"] == {"type": "RegressionLabel", "input_size": (192, 256)}, label
        assert config["train_cfg"] == {"by_epoch": True, "max_epochs": epochs, "val_interval": every}, label
        assert config["optim_wrapper"]["optimizer"] == {"type": "Adam", "lr": rate}, label
        warm_up, decay = config["param_scheduler"]
        assert (warm_up["end"], warm_up["start_factor"], warm_up["by_epoch"]) == (500, 0.001, False), label
        assert (decay["milestones"], decay["gamma"]) == (steps, 0.1), label
        assert config["train_dataloader"]["batch_size"] == 64, label
        assert config["val_dataloader"]["batch_size"] == 32, label
        assert config["val_evaluator"]["score_mode"] == score_mode, label
        assert config["val_dataloader"]["dataset"]["bbox_file"].endswith("COCO_val2017_detections_AP_H_56_person.json")
        assert model["test_cfg"] == {"flip_test": True, "shift_coords": True}, label


def test_only_one_row_is_not_pretrained(scnet: Study) -> None:
    without = [label for label, training in cells(scnet, 0).items() if training.init is None]
    assert without == ["Alexnet-RLELoss-20epochs"]
    assert cells(scnet, 0)["SCnet101-RLELoss-100"].init.endswith("scnet101-94250a77.pth")


def test_the_sources_contradictions_are_in_the_rows_texts(scnet: Study) -> None:
    marked = {proposal.label for proposal in scnet.stages[0].opening(scnet.baseline) if "[!]" in proposal.note}
    assert marked == {
        "Alexnet-RLELoss-20epochs", "resnet101-SmoothL1Loss-20", "resnet152-SmoothL1Loss-20", "Resnet152-20epochs",
        "SCnet101-SmoothL1Loss-20", "SCnet101-RLELoss-100",
    }  # fmt: skip


def test_the_comparison_changes_the_network_or_the_loss_or_both(scnet: Study) -> None:
    found = cells(scnet, 1)
    assert len(found) == 8
    pairs = {(t.model, t.loss.type if t.loss else None) for t in found.values()}
    assert len(pairs) == 8
    assert {model for model, _ in pairs} == {"resnet50", "resnet101", "scnet50", "scnet101"}
    common: set[str] = set()
    for training in found.values():
        changed = factors.differences(training.model_dump(mode="json"), scnet.baseline.model_dump(mode="json"))
        common |= {name.split(".")[0] for name in changed}
        assert training.evaluation.score_mode == ("bbox_rle" if training.loss and training.loss.type == "rle" else None)
    assert common == {"model", "init", "loss", "evaluation"}


def test_heatmaps_stand_beside_regression_on_the_same_backbones(scnet: Study) -> None:
    found = cells(scnet, 2)
    backbones = {"alexnet", "resnet50", "resnet101", "scnet50", "scnet101"}
    assert {training.model for training in found.values()} == backbones
    for training in found.values():
        config = mmpose_config.build(scnet, training, 0)
        assert config["model"]["head"]["type"] == "HeatmapHead"
        assert "neck" not in config["model"]
        assert training.epochs == scnet.baseline.epochs


def test_every_table_states_the_score_mode(scnet: Study) -> None:
    assert all({"score_mode", "parameters", "gflops", "coco/AP"} <= set(stage.columns) for stage in scnet.stages)


def test_the_face_rows(capsys: pytest.CaptureFixture[str]) -> None:
    study = load(STUDIES / "wflw_losses.yaml")
    found = cells(study, 0)
    assert list(found) == ["resnet50-WingLoss-50", "resnet50-SoftWingLoss-50"]
    losses = ["WingLoss", "SoftWingLoss"]
    for training, loss in zip(found.values(), losses, strict=True):
        config = mmpose_config.build(study, training, 0)
        head: dict[str, Any] = config["model"]["head"]
        assert (head["loss"]["type"], head["num_joints"], head["type"]) == (loss, 98, "RegressionHead")
        assert head["decoder"]["input_size"] == (256, 256)
        assert config["train_cfg"] == {"by_epoch": True, "max_epochs": 50, "val_interval": 10}
        assert (config["default_hooks"]["checkpoint"]["save_best"], config["default_hooks"]["checkpoint"]["rule"]) == (
            "NME", "less",
        )  # fmt: skip
        assert config["train_dataloader"]["dataset"]["box_from"] == "center_scale"


@pytest.mark.parametrize(("name", "trials"), [("scnet_rle", 26), ("wflw_losses", 2)])
def test_without_data_only_the_data_is_missing(
    name: str, trials: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(STUDIES / f"{name}.yaml")
    assert main(["check", path, "--json", "--set", f"dataset.root={tmp_path / 'none'}"]) == 2
    [error] = json.loads(capsys.readouterr().out)["errors"]
    assert (error["path"], error["found"]) == ("dataset.root", "no such folder")
    planned = plan(load(Path(path)))
    assert planned["estimate"]["trials"] == trials
    assert planned["leaks"] == []
    assert all(cell["decided"] for stage in planned["stages"] for cell in stage["cells"])


def test_a_loss_or_codec_is_told_by_its_name_and_what_was_set(scnet: Study) -> None:
    from posestudy_studies.cells import level_text

    rle = cells(scnet, 1)["ResNet-50 + RLE"].model_dump(mode="json")
    assert level_text(rle["loss"], "loss") == "rle"
    assert level_text(rle["codec"], "codec") == "regression"
    assert level_text({**rle["loss"], "residual": False}, "loss") == "type rle, residual off"
    assert level_text({"type": "msra", "unbiased": True}, "codec") == "type msra, unbiased on"
