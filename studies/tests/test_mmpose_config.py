"""From a cell to a plain MMPose config: what each knob becomes, and that the written file gives it back."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from posestudy.errors import PoseStudyError
from posestudy_studies import presets
from posestudy_studies.mmpose_config import build, config_text, on_stock_data_path
from posestudy_studies.python_source import assignments
from posestudy_studies.spec import Study

BASELINE: dict[str, Any] = {
    "model": "resnet50",
    "init": "torchvision://resnet50",
    "input_size": [128, 96],
    "sigma": 1.5,
    "epochs": 20,
    "validate_every": 5,
    "batch_size": 16,
    "optimizer": {"type": "AdamW", "lr": 1e-5, "weight_decay": 0.01, "betas": [0.8, 0.99]},
    "schedule": {"warmup_iters": 10, "warmup_ratio": 0.001, "milestones": [10, 15], "gamma": 0.1},
    "augmentation": {"flip": {"prob": 0.4}, "scale_rotation": {"rotation": 10.0, "scale": 0.25, "prob": 0.6}},
    "amp": True,
}


def study(
    root: str = "/data/cats", *, test: bool = True, evaluation: dict[str, Any] | None = None, **baseline: Any
) -> Study:
    splits = ["train", "val"] + ["test"] * test
    return Study.model_validate(
        {
            "study": "cat_pose",
            "dataset": {
                "keypoints": "cats",
                "root": root,
                **{split: {"annotations": f"annotations/{split}.json", "images": "images"} for split in splits},
            },
            "metric": "coco/AP50",
            "evaluation": evaluation or {},
            "baseline": {**BASELINE, **baseline},
            "stages": [{"name": "one", "design": "variants", "variants": {"wide": {"sigma": 2.0}}}],
        }
    )


def config(**options: Any) -> dict[str, Any]:
    chosen = study(**options)
    return build(chosen, chosen.baseline, 3)


def test_network_codec_and_target_agree() -> None:
    made = config()
    codec = {"type": "MSRAHeatmap", "input_size": (128, 96), "heatmap_size": (32, 24), "sigma": 1.5}
    model = made["model"]
    assert model["backbone"] == {
        "type": "ResNet",
        "depth": 50,
        "init_cfg": {"type": "Pretrained", "checkpoint": "torchvision://resnet50"},
    }
    assert model["head"]["decoder"] == codec
    assert (model["head"]["in_channels"], model["head"]["out_channels"]) == (2048, 17)
    assert model["head"]["loss"] == {"type": "KeypointMSELoss", "use_target_weight": True}
    assert model["data_preprocessor"]["bgr_to_rgb"] is True
    assert model["test_cfg"] == {"flip_mode": "heatmap", "flip_test": True, "shift_heatmap": True}
    pipeline = made["train_dataloader"]["dataset"]["pipeline"]
    assert [step["type"] for step in pipeline] == [
        "SeedSample",
        "LoadImage",
        "GetBBoxCenterScale",
        "RandomFlip",
        "RandomBBoxTransform",
        "TopdownAffine",
        "GenerateTarget",
        "PackPoseInputs",
    ]
    assert pipeline[0]["seed"] == 3
    assert pipeline[5]["input_size"] == (128, 96)
    assert pipeline[6]["encoder"] == codec


def test_augmentation_is_translated_from_the_terms_of_mmpose_0() -> None:
    pipeline = config()["train_dataloader"]["dataset"]["pipeline"]
    assert pipeline[3] == {"type": "RandomFlip", "direction": "horizontal", "prob": 0.4}
    assert pipeline[4] == {
        "type": "RandomBBoxTransform",
        "shift_prob": 0.0,
        "scale_factor": (0.75, 1.25),
        "scale_prob": 1.0,
        "rotate_factor": 20.0,
        "rotate_prob": 0.6,
    }
    without = config(augmentation={})["train_dataloader"]["dataset"]["pipeline"]
    assert not {"RandomFlip", "RandomBBoxTransform"} & {step["type"] for step in without}


def test_nothing_random_happens_in_validation() -> None:
    made = config()
    for loader in ("val_dataloader", "test_dataloader"):
        steps = [step["type"] for step in made[loader]["dataset"]["pipeline"]]
        assert steps == ["LoadImage", "GetBBoxCenterScale", "TopdownAffine", "PackPoseInputs"]
        assert made[loader]["sampler"]["shuffle"] is False
        assert made[loader]["dataset"]["test_mode"] is True


def test_optimizer_and_schedule() -> None:
    made = config()
    assert made["optim_wrapper"] == {
        "type": "DeviceAmpOptimWrapper",
        "optimizer": {"type": "AdamW", "lr": 1e-5, "weight_decay": 0.01, "betas": [0.8, 0.99]},
    }
    assert made["param_scheduler"] == [
        {"type": "LinearLR", "start_factor": 0.001, "begin": 0, "end": 10, "by_epoch": False},
        {"type": "MultiStepLR", "milestones": [10, 15], "gamma": 0.1, "begin": 0, "end": 20, "by_epoch": True},
    ]
    assert made["train_cfg"] == {"by_epoch": True, "max_epochs": 20, "val_interval": 5}
    assert config(schedule={})["param_scheduler"] == []


@pytest.mark.parametrize(
    ("amp", "wrapper"),
    [
        (False, {"type": "OptimWrapper"}),
        (True, {"type": "DeviceAmpOptimWrapper"}),
        ("bfloat16", {"type": "DeviceAmpOptimWrapper", "dtype": "bfloat16"}),
    ],
)
def test_mixed_precision(amp: bool | str, wrapper: dict[str, str]) -> None:
    made = config(amp=amp)["optim_wrapper"]
    assert {key: made[key] for key in made if key != "optimizer"} == wrapper


def test_data_metric_and_best_follow_the_study() -> None:
    made = config(evaluation={"boxes": "boxes/val.json", "nms_thr": 0.8, "flip_test": False, "shift_heatmap": False})
    val = made["val_dataloader"]["dataset"]
    assert val["ann_file"] == made["val_evaluator"]["ann_file"] == "/data/cats/annotations/val.json"
    assert val["data_prefix"] == {"img": "/data/cats/images"}
    assert val["bbox_file"] == "/data/cats/boxes/val.json"
    assert made["val_evaluator"]["nms_thr"] == 0.8
    assert "outfile_prefix" not in made["val_evaluator"]
    assert (made["model"]["test_cfg"]["flip_test"], made["model"]["test_cfg"]["shift_heatmap"]) == (False, False)
    best = made["default_hooks"]["checkpoint"]
    assert (best["save_best"], best["rule"]) == ("coco/AP .5", "greater")
    assert "bbox_file" not in made["train_dataloader"]["dataset"]


def test_a_test_split_is_only_predicted() -> None:
    made = config()
    assert made["test_evaluator"]["format_only"] is True
    assert made["test_dataloader"]["dataset"]["keep_unlabelled"] is True
    without = config(test=False)
    assert without["test_dataloader"] == without["val_dataloader"]
    assert without["test_evaluator"] == without["val_evaluator"]


def test_configs_are_equal_but_for_the_seed() -> None:
    chosen = study()
    first, again, other = (assignments(build(chosen, chosen.baseline, seed)) for seed in (0, 0, 1))
    assert first == again
    changed = [(a, b) for a, b in zip(first.splitlines(), other.splitlines(), strict=True) if a != b]
    assert len(changed) == 3  # randomness, the sample transform, the hook
    assert all("seed=0" in a and a.replace("seed=0", "seed=1") == b for a, b in changed)


def test_changing_one_place_changes_no_other() -> None:
    made = config(test=False)
    made["val_dataloader"]["dataset"]["metainfo"]["keypoint_info"].clear()
    made["model"]["head"]["decoder"]["sigma"] = 9
    assert made["test_dataloader"]["dataset"]["metainfo"]["keypoint_info"]
    assert made["train_dataloader"]["dataset"]["metainfo"]["keypoint_info"]
    assert made["train_dataloader"]["dataset"]["pipeline"][-2]["encoder"]["sigma"] == 1.5


def test_a_cell_may_differ_from_the_baseline() -> None:
    chosen = study()
    cell = chosen.baseline.model_copy(update={"sigma": 3.0, "input_size": (64, 64)})
    assert build(chosen, cell, 0)["model"]["head"]["decoder"]["sigma"] == 3.0
    assert build(chosen, cell, 0)["model"]["head"]["decoder"]["heatmap_size"] == (16, 16)


def test_an_input_size_the_network_cannot_halve_is_refused() -> None:
    chosen = study()
    cell = chosen.baseline.model_copy(update={"input_size": (100, 96)})
    with pytest.raises(PoseStudyError, match=r"\[100, 96\] does not fit resnet50; expected multiples of 32"):
        build(chosen, cell, 0)


def test_a_thin_preset_takes_small_inputs_and_starts_at_random() -> None:
    made = config(input_size=[48, 40], model="resnet_tiny", init=None)
    assert made["model"]["head"]["decoder"]["heatmap_size"] == (12, 10)
    assert "init_cfg" not in made["model"]["backbone"]


@pytest.mark.slow
def test_the_written_file_gives_the_same_config_back(tmp_path: Path) -> None:
    mmengine = pytest.importorskip("mmengine.config")
    chosen = study()
    file = tmp_path / "config.py"
    file.write_text(config_text(chosen, chosen.baseline, 3))
    read = mmengine.Config.fromfile(str(file), import_custom_modules=False)
    assert read.to_dict() == build(chosen, chosen.baseline, 3)


def test_written_source_is_what_it_says() -> None:
    values = {
        "numbers": {0: 1.5e-07, 1: -2},
        "odd": {"a b": None, "class": True, "plain": ("one",), "nothing": ((), [], {})},
        "long": [{"type": "Step", "factor": (0.5, 1.5), "text": 'it\'s "quoted"\n' * 4}] * 4,
    }
    source = assignments(values)
    read: dict[str, Any] = {}
    exec(compile(ast.parse(source), "config", "exec"), read)
    assert {name: read[name] for name in values} == values
    assert "numbers = {0: 1.5e-07, 1: -2}\n" in source
    assert "dict(\n        type='Step'," in source
    assert max(map(len, source.splitlines())) <= 100


MODEL_FILE = """
_secret = 1
codec = dict(type='UDPHeatmap', input_size=(192, 256), heatmap_size=(48, 64), sigma=2)
model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=dict(type='PoseDataPreprocessor', mean=[0, 0, 0], std=[1, 1, 1]),
    backbone=dict(type='ResNet', depth=18, init_cfg=dict(type='Pretrained', checkpoint='own.pth')),
    head=dict(type='HeatmapHead', in_channels=512, out_channels=99, decoder=codec),
    test_cfg=dict(flip_test=False, flip_mode='heatmap', shift_heatmap=False, output_heatmaps=True))
optim_wrapper = dict(optimizer=dict(type='SGD', lr=9), clip_grad=dict(max_norm=1.0))
custom_hooks = [dict(type='EMAHook', momentum=0.1)]
custom_imports = dict(imports=['mmpose.models'], allow_failed_imports=False)
train_cfg = dict(max_epochs=999)
"""


@pytest.mark.slow
def test_a_model_from_a_config_file_keeps_its_network_and_takes_the_studys_data(tmp_path: Path) -> None:
    pytest.importorskip("mmengine.config")
    file = tmp_path / "own_model.py"
    file.write_text(MODEL_FILE)
    made = config(model={"config": str(file)}, init=None, input_size=[96, 128])
    codec = {"type": "UDPHeatmap", "input_size": (96, 128), "heatmap_size": (24, 32), "sigma": 1.5}
    assert made["model"]["head"]["decoder"] == codec
    assert made["train_dataloader"]["dataset"]["pipeline"][-2]["encoder"] == codec
    assert made["model"]["head"]["out_channels"] == 17
    assert made["model"]["backbone"]["init_cfg"]["checkpoint"] == "own.pth"
    assert made["model"]["data_preprocessor"]["mean"] == [0, 0, 0]
    assert made["model"]["test_cfg"] == {
        "flip_test": True,
        "flip_mode": "heatmap",
        "shift_heatmap": False,
        "output_heatmaps": True,
    }
    assert made["train_cfg"]["max_epochs"] == 20
    assert made["optim_wrapper"]["optimizer"]["type"] == "AdamW"
    assert made["optim_wrapper"]["clip_grad"] == {"max_norm": 1.0}
    assert made["custom_hooks"] == [{"type": "SeedEpochHook", "seed": 3}, {"type": "EMAHook", "momentum": 0.1}]
    assert made["custom_imports"]["imports"][-1] == "mmpose.models"
    weights = config(model={"config": str(file)}, init="other.pth", input_size=[96, 128])
    assert weights["model"]["init_cfg"]["checkpoint"] == "other.pth"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model = dict(", "does not load"),
        ("model = dict(type='BottomUp')", "without `model.head.decoder`"),
        ("model = dict(head=dict(decoder=dict(type='SimCCLabel', input_size=(192, 256))))", "SimCCLabel"),
        (MODEL_FILE.replace("(48, 64)", "(19, 25)"), "multiples of 10"),
    ],
)
def test_a_config_file_that_does_not_fit_is_refused(tmp_path: Path, text: str, said: str) -> None:
    pytest.importorskip("mmengine.config")
    file = tmp_path / "own_model.py"
    file.write_text(text)
    with pytest.raises(PoseStudyError, match=said):
        config(model={"config": str(file)}, init=None, input_size=[96, 128])


def test_a_missing_config_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PoseStudyError, match=r"nowhere\.py, which does not exist"):
        config(model={"config": str(tmp_path / "nowhere.py")}, init=None)


def test_augmentations_come_in_the_order_of_mmpose_0_with_their_parameters() -> None:
    blur = {"type": "MotionBlur", "p": 0.2, "blur_limit": 3}
    augmentation = {
        "translation": {"factor": 0.2, "prob": 0.3},
        "scale_rotation": {},
        "half_body": {"min_keypoints": 8, "padding": 1.4},
        "albumentations": {"transforms": [blur]},
        "photometric": {"hue": 9, "contrast": [0.8, 1.2]},
        "flip": {},
    }
    pipeline = config(augmentation=augmentation)["train_dataloader"]["dataset"]["pipeline"]
    assert [step["type"] for step in pipeline[3:-3]] == [
        "RandomFlip",
        "PhotometricDistortionV0",
        "SeededAlbumentation",
        "RandomHalfBody",
        "RandomBBoxTransform",
        "RandomBBoxTranslation",
    ]
    assert (pipeline[4]["hue_delta"], pipeline[4]["contrast_range"]) == (9, (0.8, 1.2))
    assert pipeline[5]["transforms"] == [blur]
    # MMPose 0.x wants more keypoints than it says, 1.x at least as many.
    assert (pipeline[6]["min_total_keypoints"], pipeline[6]["prob"], pipeline[6]["padding"]) == (9, 0.3, 1.4)
    assert (pipeline[8]["factor"], pipeline[8]["prob"]) == (0.2, 0.3)


@pytest.mark.parametrize(
    ("codec", "expected"),
    [
        ({"type": "msra", "unbiased": True}, {"type": "MSRAHeatmap", "unbiased": True, "blur_kernel_size": 11}),
        ("udp", {"type": "UDPHeatmap", "blur_kernel_size": 11}),
        ({"type": "megvii", "kernel_size": 15}, {"type": "MegviiHeatmap", "kernel_size": 15}),
        ({"type": "simcc", "split_ratio": 3.0}, {"type": "SimCCLabel", "simcc_split_ratio": 3.0, "sigma": 2.0}),
        ({"type": "simcc", "smoothing": 0.1}, {"smoothing_type": "standard", "label_smooth_weight": 0.1}),
        ("regression", {"type": "RegressionLabel", "input_size": (128, 96)}),
    ],
)
def test_the_codec_is_the_same_in_target_head_and_affine(codec: Any, expected: dict[str, Any]) -> None:
    made = config(codec=codec, sigma=2.0)
    decoder = made["model"]["head"]["decoder"]
    assert expected.items() <= decoder.items()
    for loader in ("train_dataloader", "val_dataloader"):
        steps = {step["type"]: step for step in made[loader]["dataset"]["pipeline"]}
        assert steps["TopdownAffine"].get("use_udp", False) is (decoder["type"] == "UDPHeatmap")
    assert made["train_dataloader"]["dataset"]["pipeline"][-2]["encoder"] == decoder
    # Mirrored heatmaps of UDP fit without a shift.
    shift = {"udp": False, "simcc": None, "regression": None}
    name = codec if isinstance(codec, str) else codec["type"]
    assert made["model"]["test_cfg"].get("shift_heatmap") is shift.get(name, True)


@pytest.mark.parametrize(("sigma", "kernel"), [(1.0, 3), (1.5, 7), (2.0, 11), (3.0, 17), (0.5, 3)])
def test_sub_pixel_decoding_blurs_as_wide_as_mmpose_says(sigma: float, kernel: int) -> None:
    assert config(codec="udp", sigma=sigma)["model"]["head"]["decoder"]["blur_kernel_size"] == kernel


def test_heatmap_size_is_given_or_follows() -> None:
    for knobs, size, channels in (
        ({}, (32, 24), (256, 256, 256)),
        ({"heatmap_size": [64, 48]}, (64, 48), (256, 256, 256, 256)),
        ({"head": {"deconv_channels": [64, 32], "deconv_kernel": 2}}, (16, 12), (64, 32)),
        ({"heatmap_size": [4, 3]}, (4, 3), None),
    ):
        head = config(**knobs)["model"]["head"]
        assert head["decoder"]["heatmap_size"] == size
        assert head["deconv_out_channels"] == channels
        assert head["deconv_kernel_sizes"] == (
            None if channels is None else (2 if "head" in knobs else 4,) * len(channels)
        )


def test_cosine_scaling_accumulation_and_stretch() -> None:
    made = config(
        schedule={"type": "cosine", "warmup_iters": 10, "min_lr_ratio": 0.05},
        lr_scaling={"base_batch_size": 32},
        accumulate=4,
    )
    assert made["optim_wrapper"]["accumulative_counts"] == 4
    assert made["optim_wrapper"]["optimizer"]["lr"] == pytest.approx(1e-5 * 64 / 32)
    assert made["custom_hooks"][1:] == [{"type": "EpochwiseAccumulationHook"}]
    warmup, cosine = made["param_scheduler"]
    assert (warmup["end"], warmup["by_epoch"]) == (40, False)
    assert cosine == {
        "type": "CosineAnnealingLR",
        "T_max": 20,
        "eta_min_ratio": 0.05,
        "begin": 0,
        "end": 20,
        "by_epoch": True,
    }
    stretched = config(schedule={"milestones": [10, 15], "stretch_from": 20}, epochs=60)
    assert stretched["param_scheduler"][0]["milestones"] == [30, 45]
    assert "accumulative_counts" not in stretched["optim_wrapper"]


def test_networks_by_preset_arguments_or_backbone() -> None:
    hrnet = config(model="hrnet_w32", init=None, input_size=[64, 64])["model"]
    assert hrnet["head"]["deconv_out_channels"] is None
    assert hrnet["backbone"]["extra"]["stage4"]["num_channels"] == (32, 64, 128, 256)
    frozen = config(backbone={"frozen_stages": 2, "norm_eval": True})["model"]["backbone"]
    assert (frozen["frozen_stages"], frozen["norm_eval"]) == (2, True)
    own = {"backbone": {"type": "SCNet", "depth": 50}, "channels": 2048, "stride": 32, "imports": ["my.backbones"]}
    made = config(model=own, init="scnet.pth")
    assert made["custom_imports"]["imports"] == [
        "posestudy_runner.plugin",
        "posestudy_runner.plugin.fast",
        "my.backbones",
    ]
    assert made["model"]["backbone"] == {"type": "SCNet", "depth": 50}
    # What a file holds, a backbone or a whole network, shows when it is read.
    assert made["model"]["init_cfg"] == {"type": "Pretrained", "checkpoint": "scnet.pth"}


def test_presets_name_the_weights_mmpose_trains_from() -> None:
    assert "hrnet_w32-36af842e.pth" in str(presets.preset("hrnet_w32").weights)
    assert presets.preset("resnet50").weights == "torchvision://resnet50"
    assert presets.preset("hrnet_tiny").weights is None


def test_the_fast_data_path_is_the_stock_one_but_for_who_loads_and_validates() -> None:
    chosen = study()
    fast, stock = (
        build(chosen.model_copy(update={"data_path": path}), chosen.baseline, 3) for path in ("fast", "stock")
    )
    assert fast != stock
    assert fast["train_dataloader"]["dataset"]["type"] == "FastKeypointDataset"
    assert fast["train_dataloader"]["dataset"]["pipeline"] == stock["train_dataloader"]["dataset"]["pipeline"]
    assert fast["model"]["data_preprocessor"]["type"] == "BatchedPosePreprocessor"
    assert on_stock_data_path(fast) == stock
    assert on_stock_data_path(stock) == stock


def test_a_network_with_batches_of_its_own_stays_on_the_stock_data_path(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        "model = dict(type='TopdownPoseEstimator', data_preprocessor=dict(type='MyPreprocessor', mean=[0, 0, 0]),\n"
        "    backbone=dict(type='ResNet', depth=18), head=dict(type='HeatmapHead', in_channels=512, out_channels=17,\n"
        "    loss=dict(type='KeypointMSELoss'), decoder=dict(type='MSRAHeatmap', input_size=(64, 64),\n"
        "    heatmap_size=(16, 16), sigma=2)))\n"
    )
    chosen = study(model={"config": str(file)}, init=None, input_size=[64, 64]).model_copy(update={"data_path": "fast"})
    made = build(chosen, chosen.baseline, 0)
    assert made["train_dataloader"]["dataset"]["type"] == "KeypointDataset"
    assert made["val_cfg"] == {}
