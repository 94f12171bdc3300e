"""A cell may differ from what its stage carries only in what follows from the factors it declares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posestudy.commands.app import main
from posestudy_studies import factors, leaks
from posestudy_studies.designs.contract import study_with
from posestudy_studies.spec import Study

NONE = {"name": "s", "design": "variants", "variants": {"a": {"sigma": 1.0}}}
LEVELS: dict[str, Any] = {
    "model": "hrnet_w32",
    "init": "torchvision://resnet18",
    "backbone": {"frozen_stages": 1},
    "head": {"deconv_channels": [64, 64, 64]},
    "input_size": [128, 96],
    "heatmap_size": [32, 32],
    "codec": "simcc",
    "loss": {"type": "mse", "weight": 0.5},
    "sigma": 1.0,
    "epochs": 8,
    "validate_every": 2,
    "batch_size": 16,
    "accumulate": 2,
    "gpus": 2,
    "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9},
    "optimizer.type": "AdamW",
    "optimizer.lr": 0.01,
    "lr_scaling": {"base_batch_size": 32},
    "schedule": {"type": "cosine", "warmup_iters": 5},
    "schedule.gamma": 0.5,
    "augmentation": {"flip": {"prob": 0.1}, "half_body": {}},
    "augmentation.translation": {"prob": 0.3},
    "augmentation.scale_rotation.rotation": 10,
    "augmentation.scale_rotation.shift_prob": 0.3,
    "evaluation.score_mode": "bbox_rle",
    "evaluation.flip_test": False,
    "amp": True,
}
BASE = {"augmentation.scale_rotation": {}, "schedule": {"milestones": [2], "stretch_from": 4}}
FILE = """\
custom_imports = dict(imports=[], allow_failed_imports=False)
codec = dict(type='MSRAHeatmap', input_size=(64, 64), heatmap_size=(16, 16), sigma=2)
model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=dict(type='PoseDataPreprocessor', mean=[0] * 3, std=[255] * 3, bgr_to_rgb=True),
    backbone=dict(type='ResNet', depth=18),
    head=dict(type='HeatmapHead', in_channels=512, out_channels=17,
              loss=dict(type='KeypointMSELoss', use_target_weight=True), decoder=codec))
"""
HOOKS = "custom_hooks = [dict(type='EMAHook')]\n"
OPTIM = "optim_wrapper = dict(clip_grad=dict(max_norm=1.0), paramwise_cfg=dict(norm_decay_mult=0.0))\n"


def study() -> Study:
    return study_with(NONE, BASE)


def test_every_knob_is_tried() -> None:
    """A knob of training that this file forgets is told here."""
    from posestudy_studies.training import Training

    # Between one process and itself there is nothing to synchronise: `sync_bn` has a test of its own.
    assert {factor.split(".")[0] for factor in LEVELS} == set(Training.model_fields) - {"sync_bn"}


@pytest.mark.parametrize("factor", list(LEVELS))
def test_what_follows_from_a_declared_factor_is_no_leak_and_undeclared_it_is(factor: str) -> None:
    made = study()
    changed = factors.apply(made.baseline, {factor: LEVELS[factor]})
    assert leaks.leaks(made, changed, made.baseline, [factor]) == []
    assert leaks.leaks(made, changed, made.baseline, []) != []


@pytest.mark.parametrize(
    ("declared", "also", "paths"),
    [
        ("sigma", {"epochs": 8}, ["param_scheduler.0", "train_cfg.max_epochs"]),
        ("epochs", {"augmentation.half_body": {}}, ["train_dataloader.dataset"]),
        ("augmentation.half_body", {"input_size": [96, 96]}, ["model.head", "val_dataloader.dataset"]),
        ("batch_size", {"optimizer.lr": 0.5}, ["optim_wrapper.optimizer"]),
        ("optimizer.lr", {"batch_size": 4}, ["train_dataloader.batch_size"]),
    ],
)
def test_a_second_change_is_named(declared: str, also: dict[str, Any], paths: list[str]) -> None:
    made = study()
    changed = factors.apply(made.baseline, {declared: LEVELS.get(declared, {}), **also})
    found = leaks.leaks(made, changed, made.baseline, [declared])
    assert set(paths) <= set(found), found


def test_a_rate_that_scales_with_the_batch_follows_from_it_only_where_that_is_declared() -> None:
    made = study_with(NONE, {"lr_scaling": {"base_batch_size": 32}})
    larger = factors.apply(made.baseline, {"batch_size": 64})
    assert larger.learning_rate != made.baseline.learning_rate
    assert leaks.leaks(made, larger, made.baseline, ["batch_size"]) == []
    plain = study()
    other = factors.apply(plain.baseline, {"batch_size": 64, "optimizer.lr": 0.008})
    assert leaks.leaks(plain, other, plain.baseline, ["batch_size"]) == ["optim_wrapper.optimizer"]


def test_synchronised_statistics_are_a_factor_of_cells_on_several_gpus() -> None:
    made = study_with(NONE, {"gpus": 2})
    changed = factors.apply(made.baseline, {"sync_bn": False})
    assert leaks.leaks(made, changed, made.baseline, ["sync_bn"]) == []
    assert leaks.leaks(made, changed, made.baseline, []) == ["sync_bn"]


def test_a_rate_that_scales_with_the_gpus_follows_from_them_only_where_that_is_declared() -> None:
    made = study_with(NONE, {"lr_scaling": {"base_batch_size": 32}})
    more = factors.apply(made.baseline, {"gpus": 4})
    assert more.learning_rate == pytest.approx(4 * made.baseline.learning_rate)
    assert leaks.leaks(made, more, made.baseline, ["gpus"]) == []


@pytest.fixture
def with_model(tmp_path: Path) -> Any:
    """`posestudy check` of a study with a variant whose model is a file; gives the exit code."""

    def check(text: str, brings: str) -> int:
        (tmp_path / "net.py").write_text(text)
        (tmp_path / "study.yaml").write_text(
            "study: small\n"
            f"dataset:\n  keypoints: cats\n  root: {tmp_path / 'cats'}\n"
            "  train: {annotations: annotations/train.json, images: images}\n"
            "  val: {annotations: annotations/val.json, images: images}\n"
            "baseline: {model: resnet18, input_size: [64, 64], epochs: 1, batch_size: 2, "
            "optimizer: {type: Adam, lr: 1e-3}}\n"
            "stages:\n"
            "  - name: network\n    design: variants\n"
            f"    variants: {{mine: {{model: {{config: net.py{brings}}}}}}}\n"
        )
        return main(["plan", str(tmp_path / "study.yaml")])

    return check


def test_a_model_file_alone_is_no_leak(with_model: Any) -> None:
    assert with_model(FILE, "") == 0


@pytest.mark.parametrize(
    ("more", "said", "brings"),
    [
        (HOOKS, "custom_hooks.1", "[custom_hooks]"),
        (OPTIM, "optim_wrapper.clip_grad, optim_wrapper.paramwise_cfg", "[clip_grad, paramwise_cfg]"),
    ],
)
def test_what_a_model_file_brings_of_its_own_is_a_leak_until_it_is_declared(
    with_model: Any, capsys: pytest.CaptureFixture[str], more: str, said: str, brings: str
) -> None:
    assert with_model(FILE + more, "") == 2
    error = capsys.readouterr().err
    assert f"cell 'mine', which also changes {said} of the config" in error
    assert "study.yaml:9:" in error
    assert "`brings`" in error
    assert with_model(FILE + more, f", brings: {brings}") == 0
