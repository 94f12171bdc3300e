"""Studies say MMPose's own regression configs exactly: network, pipelines, optimizer, schedule and metric."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config

from posestudy_studies import mmpose_layouts
from posestudy_studies.mmpose_config import build, on_stock_data_path
from posestudy_studies.spec import Study

SCHEDULE = {"warmup_iters": 500, "warmup_ratio": 0.001, "milestones": [170, 200], "gamma": 0.1}
DEFAULTS = {
    "flip": {"prob": 0.5},
    "half_body": {"min_keypoints": 8, "prob": 0.3, "upper_prob": 0.7, "padding": 1.5},
    "scale_rotation": {"rotation": 40.0, "scale": 0.5, "prob": 0.6, "shift": 0.16, "shift_prob": 0.3},
}
FACE = {
    "flip": {"prob": 0.5},
    "scale_rotation": {"rotation": 30.0, "scale": 0.25, "prob": 0.6, "shift": 0.16, "shift_prob": 0.3},
}
COCO = "body_2d_keypoint/topdown_regression/coco/td-reg_"
WFLW = "face_2d_keypoint/topdown_regression/wflw/td-reg_"
BODY_RLE = {"loss": "rle", "optimizer": {"type": "Adam", "lr": 1e-3}}


def study(keypoints: str, metric: str, evaluation: dict[str, Any], **baseline: Any) -> Study:
    splits = {split: {"annotations": f"{split}.json", "images": "images"} for split in ("train", "val")}
    common = {
        "init": "torchvision://resnet50",
        "codec": "regression",
        "epochs": 210,
        "validate_every": 10,
        "batch_size": 64,
        "optimizer": {"type": "Adam", "lr": 5e-4},
        "schedule": SCHEDULE,
    }
    return Study.model_validate(
        {
            "study": "same",
            "dataset": {"keypoints": keypoints, "root": "/data", **splits},
            "metric": metric,
            "evaluation": evaluation,
            "baseline": {**common, **baseline},
            "stages": [{"name": "one", "design": "variants", "variants": {"other": {"batch_size": 3}}}],
        }
    )


def full(step: dict[str, Any]) -> dict[str, Any]:
    """A step of a pipeline with the defaults of its class filled in."""
    defaults: dict[str, dict[str, Any]] = {
        "GetBBoxCenterScale": {"padding": 1.25},
        "RandomFlip": {"direction": "horizontal", "prob": 0.5},
        "RandomHalfBody": {
            "min_total_keypoints": 9, "min_upper_keypoints": 2, "min_lower_keypoints": 3, "padding": 1.5, "prob": 0.3,
            "upper_prioritized_prob": 0.7,
        },
        "RandomBBoxTransform": {
            "shift_factor": 0.16, "shift_prob": 0.3, "scale_factor": (0.5, 1.5), "scale_prob": 1.0,
            "rotate_factor": 80.0, "rotate_prob": 0.6,
        },
    }  # fmt: skip
    return {**defaults.get(step["type"], {}), **step}


def plain(value: Any) -> Any:
    """Without the difference between lists and tuples, whole numbers and floats."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


CASES = [
    (
        f"{COCO}res50_8xb64-210e_coco-256x192",
        study("coco", "coco/AP", {}, model="resnet50", input_size=[192, 256], augmentation=DEFAULTS),
    ),
    (
        f"{COCO}res101_8xb64-210e_coco-256x192",
        study(
            "coco", "coco/AP", {}, model="resnet101", init="torchvision://resnet101", input_size=[192, 256],
            augmentation=DEFAULTS,
        ),
    ),
    (
        f"{COCO}res50_rle-8xb64-210e_coco-256x192",
        study(
            "coco", "coco/AP", {"score_mode": "bbox_rle"}, model="resnet50", input_size=[192, 256],
            augmentation=DEFAULTS, **BODY_RLE,
        ),
    ),
    (
        f"{WFLW}res50_wingloss_8xb64-210e_wflw-256x256",
        study("wflw", "nme", {}, model="resnet50", input_size=[256, 256], loss="wing", augmentation=FACE),
    ),
    (
        f"{WFLW}res50_softwingloss_8xb64-210e_wflw-256x256",
        study("wflw", "nme", {}, model="resnet50", input_size=[256, 256], loss="soft_wing", augmentation=FACE),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "chosen"), CASES, ids=[name.rpartition("td-reg_")[2] for name, _ in CASES])
def test_a_study_says_mmposes_own_config(name: str, chosen: Study) -> None:
    folder = mmpose_layouts._folder()
    assert folder is not None
    theirs = Config.fromfile(folder.parents[1] / f"{name}.py").to_dict()
    ours = on_stock_data_path(build(chosen, chosen.baseline, 0))

    head = theirs["model"]["head"]
    defaults = {
        "WingLoss": {"omega": 10.0, "epsilon": 2.0},
        "SoftWingLoss": {"omega1": 2.0, "omega2": 20.0, "epsilon": 0.5},
        "RLELoss": {"residual": True, "q_distribution": "laplace"},
    }
    head["loss"] = {**defaults.get(head["loss"]["type"], {}), **head["loss"]}
    model = {key: value for key, value in theirs["model"].items() if key != "train_cfg"}
    assert plain(ours["model"]) == plain(model)

    for loader in ("train_dataloader", "val_dataloader"):
        mine = [full(step) for step in ours[loader]["dataset"]["pipeline"] if step["type"] != "SeedSample"]
        other = [full(step) for step in theirs[loader]["dataset"]["pipeline"]]
        for step in (*mine, *other):
            step.pop("backend_args", None)
        assert plain(mine) == plain(other)
        assert ours[loader]["batch_size"] == theirs[loader]["batch_size"]

    assert ours["optim_wrapper"]["optimizer"] == theirs["optim_wrapper"]["optimizer"]
    assert plain(ours["param_scheduler"]) == plain(theirs["param_scheduler"])
    metric = theirs["val_evaluator"]
    if metric["type"] == "NME":
        assert ours["val_evaluator"][0]["norm_mode"] == metric["norm_mode"]
        assert {key: ours["default_hooks"]["checkpoint"][key] for key in ("save_best", "rule")} == {
            key: theirs["default_hooks"]["checkpoint"][key] for key in ("save_best", "rule")
        }
    else:
        assert ours["val_evaluator"]["type"] == metric["type"]
        assert ours["val_evaluator"]["score_mode"] == metric.get("score_mode", "bbox_keypoint")
