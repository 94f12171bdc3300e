"""The knobs of a training: what fits together, what is refused and in which words, and what follows from what."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from posestudy.errors import PoseStudyError
from posestudy_studies import check, factors, fitting
from posestudy_studies.training import Training

BASE: dict[str, Any] = {
    "model": "resnet50",
    "input_size": [256, 256],
    "epochs": 150,
    "batch_size": 32,
    "optimizer": {"type": "Adam", "lr": 5e-4},
}

SCNET = {"backbone": {"type": "SCNet", "depth": 50}, "channels": 2048, "stride": 32}


def training(**knobs: Any) -> Training:
    return Training.model_validate({**BASE, **knobs})


def refused(**knobs: Any) -> str:
    config = {**BASE, **knobs}
    with pytest.raises(ValidationError) as caught:
        Training.model_validate(config)
    return " | ".join(str(mistake) for mistake in check.translated(caught.value, Training, config))


def test_the_misprinted_heatmap_size_is_refused_with_the_sizes_there_are() -> None:
    said = refused(heatmap_size=[65, 64])
    assert "heatmap_size [65, 64]" in said
    assert "resnet50 can give for this input: [128, 128], [64, 64], [32, 32], [16, 16], [8, 8]" in said


@pytest.mark.parametrize(
    ("knobs", "features", "deconvolutions", "output"),
    [
        ({}, (8, 8), (256, 256, 256), (64, 64)),
        ({"input_size": [192, 128]}, (6, 4), (256, 256, 256), (48, 32)),
        ({"heatmap_size": [128, 128]}, (8, 8), (256,) * 4, (128, 128)),
        ({"heatmap_size": [8, 8]}, (8, 8), (), (8, 8)),
        ({"heatmap_size": [32, 32], "head": {"deconv_channels": 64}}, (8, 8), (64, 64), (32, 32)),
        ({"head": {"deconv_channels": [128, 64]}}, (8, 8), (128, 64), (32, 32)),
        ({"head": {"deconv_channels": []}}, (8, 8), (), (8, 8)),
        ({"model": "hrnet_w32"}, (64, 64), (), (64, 64)),
        ({"model": "hrnet_w32", "heatmap_size": [64, 64]}, (64, 64), (), (64, 64)),
        ({"model": "resnet_tiny", "heatmap_size": [256, 256]}, (32, 32), (32, 32, 32), (256, 256)),
        ({"model": SCNET}, (8, 8), (256,) * 3, (64, 64)),
        ({"model": {"backbone": {"type": "X"}, "channels": 9, "stride": 4}}, (64, 64), (), (64, 64)),
        ({"codec": "simcc"}, (8, 8), (256, 256, 256), (64, 64)),
    ],
)  # fmt: skip
def test_sizes_follow_input_head_and_heatmap(
    knobs: dict[str, Any], features: tuple[int, int], deconvolutions: tuple[int, ...], output: tuple[int, int]
) -> None:
    assert fitting.shape(training(**knobs)) == fitting.Shape(features, deconvolutions, output)


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"model": "hrnet_w32", "head": {}}, "head with hrnet_w32"),
        ({"model": "hrnet_w32", "heatmap_size": [32, 32]}, "[64, 64] (it has no deconvolutions)"),
        ({"model": "hrnet_w32", "input_size": [48, 48]}, "multiples of 32 px for hrnet_w32"),
        ({"heatmap_size": [64, 32]}, "a size resnet50 can give"),
        ({"heatmap_size": [64, 64], "head": {"deconv_channels": [256]}}, "3 entries in head.deconv_channels"),
        ({"model": "resnet_tiny", "head": {"deconv_channels": [8] * 4}}, "at most 3 for resnet_tiny"),
        ({"head": {"deconv_kernel": 5}}, "2, 3 or 4"),
        ({"codec": "mrsa"}, "did you mean 'msra'"),
        ({"codec": {"type": "udp", "unbiased": True}}, "unbiased is of msra"),
        ({"codec": {"type": "megvii", "kernel_size": 10}}, "an odd number"),
        ({"codec": "simcc", "heatmap_size": [64, 64]}, "no heatmaps"),
        ({"codec": "regression", "head": {}}, "no head"),
        ({"backbone": {"radix": 2}}, "an argument of ResNet: avg_down"),
        ({"backbone": {"frozen_stage": 2}}, "did you mean 'frozen_stages'"),
        ({"model": "hrnet_w48", "backbone": {"deep_stem": True}}, "an argument of HRNet"),
        ({"model": "resnet_tiny", "backbone": {"frozen_stages": 4}}, "-1 to 3"),
        ({"model": SCNET, "backbone": {"with_cp": True}}, "model.backbone"),
        ({"model": {"backbone": {"depth": 50}, "channels": 9, "stride": 4}}, "`type`"),
        ({"model": {"backbone": {"type": "X"}, "chanels": 9, "stride": 4}}, "did you mean 'channels'"),
        ({"model": "resnet18", "init": "torchvision://resnet50"}, "torchvision://resnet18, a file, or none"),
        ({"model": "resnet_tiny", "init": "torchvision://resnet18"}, "weights of resnet18"),
        ({"schedule": {"type": "cosine", "milestones": [3]}}, "milestones only with type: step"),
        ({"schedule": {"min_lr_ratio": 0.1}}, "only with type: cosine"),
        ({"schedule": {"type": "cosin"}}, "did you mean 'cosine'"),
        ({"augmentation": {"half_body": {"prob": 2}}}, "a number of at most 1"),
        ({"augmentation": {"photometric": {"contrast": [1.5, 0.5]}}}, "[lowest, highest]"),
        ({"augmentation": {"albumentations": {"transforms": []}}}, "at least 1 entries"),
        ({"augmentation": {"albumentations": {"transforms": [{"type": "Blur", "p": 3}]}}}, "a probability"),
        ({"augmentation": {"translate": {}}}, "did you mean 'translation'"),
        ({"optimizer": {"type": "RMSprop", "lr": 0.1, "betas": [0.9, 0.99]}}, "an argument of RMSprop: lr, alpha"),
        ({"optimizer": {"type": "Adadelta", "lr": 1.0, "rho": 2}}, "from 0 to 1 for rho"),
        ({"optimizer": {"type": "Adagrd", "lr": 1.0}}, "did you mean 'Adagrad'"),
        ({"optimizer": {"type": "SGD", "lr": 1.0, "nesterov": True}}, "a momentum above 0"),
        ({"accumulate": 0}, "above 0"),
        ({"lr_scaling": {}}, "this required key"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_words(knobs: dict[str, Any], said: str) -> None:
    assert said in refused(**knobs)


def test_own_weights_of_a_preset_and_foreign_files_are_taken() -> None:
    assert training(init="torchvision://resnet50").init == "torchvision://resnet50"
    assert training(init="https://example.org/mine.pth").init == "https://example.org/mine.pth"


def test_milestones_stretch_with_the_epochs_where_declared() -> None:
    schedule = {"milestones": [170, 200], "stretch_from": 210}
    assert training(schedule=schedule, epochs=105).schedule.steps(105) == [85, 100]
    assert training(schedule=schedule, epochs=210).schedule.steps(210) == [170, 200]
    assert training(schedule={"milestones": [170, 200]}, epochs=105).schedule.steps(105) == [170, 200]
    assert training(schedule={"milestones": [10], "stretch_from": 1000}, epochs=2).schedule.steps(2) == [1]


def test_declared_linear_scaling_follows_the_samples_of_an_update() -> None:
    assert training().learning_rate == 5e-4
    scaled = training(lr_scaling={"base_batch_size": 64}, batch_size=32, accumulate=4)
    assert scaled.effective_batch_size == 128
    assert scaled.learning_rate == pytest.approx(1e-3)


def test_every_new_knob_is_a_factor() -> None:
    wanted = [
        "heatmap_size", "codec", "codec.type", "codec.unbiased", "head.deconv_channels", "backbone.frozen_stages",
        "lr_scaling.base_batch_size", "accumulate", "schedule.type", "schedule.stretch_from", "augmentation.half_body",
        "augmentation.half_body.prob", "augmentation.translation.factor", "augmentation.albumentations",
        "augmentation.photometric.hue", "optimizer.rho",
    ]  # fmt: skip
    assert set(wanted) <= set(factors.known())


def test_levels_turn_codecs_and_groups() -> None:
    start = training(codec={"type": "msra", "unbiased": True})
    assert factors.apply(start, {"codec": "udp"}).codec.type == "udp"
    assert factors.apply(start, {"codec.unbiased": False}).codec.type == "msra"
    with pytest.raises(PoseStudyError, match="unbiased is of msra"):
        factors.apply(start, {"codec.type": "udp"})
    both = factors.apply(start, {"augmentation.half_body": {}, "head": {"deconv_channels": 64}})
    assert (both.augmentation.half_body is not None, both.head is not None) == (True, True)
    assert factors.apply(both, {"augmentation.half_body": None}).augmentation.half_body is None


def test_a_codec_by_name_is_the_codec_with_its_defaults() -> None:
    assert training(codec="msra") == training(codec={"type": "msra"}) == training()
    assert training(codec="msra").model_dump(exclude_defaults=True) == training().model_dump(exclude_defaults=True)
