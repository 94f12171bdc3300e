"""Whatever a study asks of its knobs, the generated config builds in MMPose and its data pipeline runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, PARAM_SCHEDULERS, init_default_scope

import posestudy_runner.plugin  # noqa: F401  (before mmpose, which does not import without it)

from mmpose.registry import DATASETS, MODELS  # isort: skip
import mmpose.models  # noqa: F401

from posestudy_studies import presets
from posestudy_studies.drawn_cats import draw
from posestudy_studies.mmpose_config import build, config_text
from posestudy_studies.optimizers import OPTIMIZERS
from posestudy_studies.spec import Study

FAMILIES = ("resnet18", "resnet50", "resnest50", "hrnet_w32", "resnet18_thin", "hrnet_tiny", "SCNet", "ShuffleNetV2")
BACKBONES = {
    "SCNet": {"backbone": {"type": "SCNet", "depth": 50}, "channels": 2048, "stride": 32},
    "ShuffleNetV2": {"backbone": {"type": "ShuffleNetV2"}, "channels": 1024, "stride": 32},
}
SHARE = st.floats(0, 1)
SWITCH = st.none() | st.booleans()
ARGUMENTS = {
    "frozen_stages": st.none() | st.integers(-1, 3),
    "norm_eval": SWITCH,
    "zero_init_residual": SWITCH,
    "with_cp": SWITCH,
    "deep_stem": SWITCH,
    "avg_down": SWITCH,
    "style": st.sampled_from([None, "pytorch", "caffe"]),
    "radix": st.sampled_from([None, 1, 2, 4]),
    "groups": st.sampled_from([None, 1, 2, 8, 32]),
    "reduction_factor": st.sampled_from([None, 1, 4, 16]),
    "avg_down_stride": SWITCH,
}
AUGMENTATION = {
    "flip": {"prob": SHARE},
    "photometric": {"brightness": st.integers(0, 255), "hue": st.integers(0, 90)},
    "half_body": {
        "min_keypoints": st.integers(0, 17),
        "prob": SHARE,
        "upper_prob": SHARE,
        "padding": st.floats(0.5, 3),
    },
    "scale_rotation": {"rotation": st.floats(0, 180), "scale": st.floats(0, 0.9), "prob": SHARE},
    "translation": {"factor": SHARE, "prob": SHARE},
}
CODECS = {
    "msra": {"unbiased": st.booleans()},
    "udp": {},
    "megvii": {"kernel_size": st.sampled_from([3, 11, 15])},
    "simcc": {"split_ratio": st.sampled_from([1.0, 2.0, 2.5]), "smoothing": st.none() | st.floats(0.01, 0.5)},
    "regression": {},
}


@st.composite
def trainings(draw: st.DrawFn) -> dict[str, Any]:
    """A baseline of any family, as it would stand in a study file."""
    family = draw(st.sampled_from(FAMILIES))
    stride, deconvolutions = 32, True
    baseline: dict[str, Any] = {"model": BACKBONES.get(family, family)}
    if family not in BACKBONES:
        chosen = presets.preset(family)
        stride, deconvolutions = chosen.stride, bool(chosen.deconvolutions)
        named = sorted(chosen.arguments)
        baseline["backbone"] = draw(st.fixed_dictionaries({name: ARGUMENTS[name] for name in named}))
    # SCNet pools its last features by four.
    sides = st.just(128) if family == "SCNet" else st.sampled_from([64, 96])
    size = baseline["input_size"] = [draw(sides), draw(sides)]
    codec = draw(st.sampled_from(sorted(CODECS)))
    baseline["codec"] = {"type": codec, **draw(st.fixed_dictionaries(CODECS[codec]))}
    if deconvolutions and codec != "regression":
        most = 3 if stride == 8 else 4
        count = draw(st.integers(0, most))
        channels = draw(st.sampled_from([None, 8, [8] * count]))
        baseline["head"] = {"deconv_channels": channels, "deconv_kernel": draw(st.sampled_from([2, 3, 4]))}
        if codec != "simcc" and draw(st.booleans()):
            baseline["heatmap_size"] = [side // stride * 2**count for side in size]
    optimizer = draw(st.sampled_from(sorted(OPTIMIZERS)))
    cosine = {"type": "cosine", "warmup_iters": 3, "min_lr_ratio": draw(SHARE)}
    steps = {"milestones": [5, 9], "stretch_from": draw(st.sampled_from([None, 10]))}
    on = draw(st.lists(st.sampled_from(sorted(AUGMENTATION)), unique=True))
    return baseline | {
        "sigma": draw(st.floats(0.5, 4)),
        "epochs": draw(st.integers(1, 400)),
        "batch_size": draw(st.integers(1, 64)),
        "accumulate": draw(st.integers(1, 4)),
        "optimizer": {"type": optimizer, "lr": draw(st.floats(1e-6, 0.1))},
        "lr_scaling": draw(st.sampled_from([None, {"base_batch_size": 32}])),
        "schedule": draw(st.sampled_from([cosine, steps])),
        "augmentation": {name: draw(st.fixed_dictionaries(AUGMENTATION[name])) for name in on},
        "amp": draw(st.sampled_from([False, True, "bfloat16"])),
    }


def study(root: Path, baseline: dict[str, Any]) -> Study:
    splits = {s: {"annotations": f"annotations/{s}.json", "images": "images"} for s in ("train", "val")}
    return Study.model_validate(
        {
            "study": "any",
            "dataset": {"keypoints": "cats", "root": str(root), **splits},
            "baseline": baseline,
            "stages": [{"name": "one", "design": "variants", "variants": {"other": {"batch_size": 3}}}],
        }
    )


@pytest.fixture(scope="module")
def cats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cats")
    draw(root, train=2, val=1, seed=0, size_px=64)
    return root


@pytest.mark.slow
# Shrinking builds a network a try, for minutes; the falsifying example is short enough as it is.
@settings(max_examples=60, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(baseline=trainings(), seed=st.integers(0, 2**32))
def test_every_generated_config_builds_and_its_pipeline_gives_what_its_network_gives(
    cats: Path, baseline: dict[str, Any], seed: int
) -> None:
    init_default_scope("mmpose")
    chosen = study(cats, baseline)
    config = Config(build(chosen, chosen.baseline, seed))
    assert Config.fromstring(config_text(chosen, chosen.baseline, seed), ".py").to_dict() == config.to_dict()
    with torch.device("meta"):
        model = MODELS.build(config.model)
        width, height = chosen.baseline.input_size
        given_back = model.head(model.extract_feat(torch.zeros(2, 3, height, width)))
        # The wrapper of mixed precision asks for a device that computes.
        wrapper = {key: value for key, value in config.optim_wrapper.items() if key not in ("type", "dtype")}
        optimizer = build_optim_wrapper(model, wrapper)
    for scheduler in config.param_scheduler:
        PARAM_SCHEDULERS.build({**scheduler, "optimizer": optimizer})
    for hook in config.custom_hooks:
        assert isinstance(HOOKS.build(hook), Hook)
    sample = DATASETS.build(config.train_dataloader.dataset)[0]
    assert sample["inputs"].shape == (3, height, width)
    target = sample["data_samples"]
    if chosen.baseline.codec.has_heatmaps:
        assert target.gt_fields.heatmaps.shape == given_back.shape[1:]
    elif chosen.baseline.codec.type == "simcc":
        labels = target.gt_instance_labels
        assert labels.keypoint_x_labels.shape[1:] == given_back[0].shape[1:]
        assert labels.keypoint_y_labels.shape[1:] == given_back[1].shape[1:]
    else:
        assert target.gt_instance_labels.keypoint_labels.shape == (1, *given_back.shape[1:])


@pytest.mark.slow
@pytest.mark.parametrize("name", presets.names())
def test_every_preset_gives_heatmaps_of_the_size_its_targets_have(cats: Path, name: str) -> None:
    init_default_scope("mmpose")
    chosen_preset = presets.preset(name)
    side = max(chosen_preset.multiple, -(-chosen_preset.smallest // 2))
    baseline = {"model": name, "input_size": [3 * side, 2 * side], "epochs": 1, "batch_size": 2}
    chosen = study(cats, {**baseline, "optimizer": {"lr": 0.001}})
    config = build(chosen, chosen.baseline, 0)
    with torch.device("meta"):
        model = MODELS.build(config["model"])
        heatmaps = model.head(model.extract_feat(torch.zeros(2, 3, 2 * side, 3 * side)))
    width, height = config["model"]["head"]["decoder"]["heatmap_size"]
    assert heatmaps.shape == (2, 17, height, width)
    if chosen_preset.side is None:
        assert (width, height) == (3 * side // 4, side // 2)
