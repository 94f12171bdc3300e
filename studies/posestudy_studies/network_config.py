"""The network of a training configuration as MMPose config: estimator, backbone, head and codec."""

from __future__ import annotations

from typing import Any

from posestudy.errors import PoseStudyError
from posestudy_studies import fitting, losses
from posestudy_studies.fitting import MisfitError, Shape
from posestudy_studies.losses import USUAL, Loss
from posestudy_studies.model_file import Network, read_model
from posestudy_studies.networks import BackboneModel, ConfigFile
from posestudy_studies.presets import Preset, owners_of, preset
from posestudy_studies.spec import Evaluation
from posestudy_studies.training import Training

Config = dict[str, Any]

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""Of RGB values 0 to 255."""


def network(evaluation: Evaluation, training: Training, keypoints: int) -> Network:
    """The estimator of `training` for `keypoints` keypoints, tested as `evaluation` says.

    Raises:
        PoseStudyError: input size, heatmap size, head or codec do not fit the network, or its config file does not.
    """
    if isinstance(training.model, ConfigFile):
        made = read_model(training.model.config, training, keypoints, training.model.imports)
    else:
        try:
            shape = fitting.shape(training)
        except MisfitError as misfit:
            raise PoseStudyError(
                f"{misfit.found} does not fit {_name(training)}; expected {misfit.expected}"
                + (f" ({misfit.hint})" if misfit.hint else "")
            ) from misfit
        made = _network(training, shape, keypoints)
    if training.init is not None:
        _start_from(training, training.init, made.model)
    _test_as(evaluation, made)
    return made


def _name(training: Training) -> str:
    return training.model if isinstance(training.model, str) else "its network"


def _start_from(training: Training, init: str, model: Config) -> None:
    """Weights of a backbone alone are the backbone's to load; what a file or an address holds shows when it is read.

    A network that is only evaluated starts from nothing: MMEngine loads all of it, by `load_from`.
    """
    pretrained = {"type": "Pretrained", "checkpoint": init}
    if is_backbone(init) and training.epochs:
        model["backbone"]["init_cfg"] = pretrained
        return
    model["backbone"].pop("init_cfg", None)
    if training.epochs:
        model["init_cfg"] = pretrained


def is_backbone(init: str) -> bool:
    """Whether the weights at `init` are known to be those of a classifier, whose backbone alone is of use."""
    return init.partition("://")[0] in _CLASSIFIERS or any(preset(name).weights == init for name in owners_of(init))


_CLASSIFIERS = ("torchvision", "mmcls", "open-mmlab", "openmmlab", "modelzoo")


def _network(training: Training, shape: Shape, keypoints: int) -> Network:
    chosen = None
    if isinstance(training.model, BackboneModel):
        backbone, channels = dict(training.model.backbone), training.model.channels
        imports = tuple(training.model.imports)
    else:
        chosen = preset(str(training.model))
        backbone, channels = {**chosen.backbone, **training.backbone.given()}, chosen.channels
        imports = chosen.imports
    codec = _codec(training, shape)
    model: Config = {
        "type": "TopdownPoseEstimator",
        "data_preprocessor": {
            "type": "PoseDataPreprocessor",
            "mean": list(IMAGENET_MEAN),
            "std": list(IMAGENET_STD),
            "bgr_to_rgb": True,
        },
        "backbone": backbone,
    }
    if training.codec.type == "regression":
        model["neck"] = {"type": "GlobalAveragePooling"}
    model["head"] = {**_head(training, shape, channels, keypoints), "decoder": codec}
    if chosen is not None and chosen.encoder is not None:
        _encode(model, chosen, shape, from_weights=training.init is not None)
    if training.codec.has_heatmaps:
        model["test_cfg"] = {"flip_mode": "heatmap"}
    return Network(model, codec, imports)


def _encode(model: Config, chosen: Preset, shape: Shape, *, from_weights: bool) -> None:
    """Put the encoder between backbone and head, and start their layers as the preset's authors did."""
    model["neck"] = {**(chosen.encoder or {}), "in_featuremap_size": shape.features}
    if from_weights and chosen.torch_defaults:
        # The first layers of the head and of the neck keep what torch gives them.
        last = {"type": "Normal", "name": "final_layer", "std": 0.001}
        if model["head"]["type"] == "HeatmapHead":
            model["head"]["init_cfg"] = {"type": "Normal", "std": 0.001, "override": last}
        return
    narrow = {"type": "Normal", "layer": "Conv2d", "std": 0.001}
    model["neck"]["init_cfg"] = narrow
    if chosen.torch_defaults:
        model["backbone"]["init_cfg"] = [narrow, {"type": "Constant", "layer": "BatchNorm2d", "val": 1}]


def _codec(training: Training, shape: Shape) -> Config:
    codec, size = training.codec, {"input_size": training.input_size}
    heatmaps = {**size, "heatmap_size": shape.output}
    match codec.type:
        case "msra":
            made = {"type": "MSRAHeatmap", **heatmaps, "sigma": training.sigma}
            return {**made, "unbiased": True, **_blur(training.sigma)} if codec.unbiased else made
        case "udp":
            return {"type": "UDPHeatmap", **heatmaps, "sigma": training.sigma, **_blur(training.sigma)}
        case "megvii":
            return {"type": "MegviiHeatmap", **heatmaps, "kernel_size": codec.kernel_size}
        case "simcc":
            made = {"type": "SimCCLabel", **size, "sigma": training.sigma, "simcc_split_ratio": codec.split_ratio}
            if codec.smoothing is not None:
                made |= {"smoothing_type": "standard", "label_smooth_weight": codec.smoothing}
            return made
        case _:
            return {"type": "RegressionLabel", **size}


def _blur(sigma: float) -> Config:
    """The odd kernel size that MMPose pairs with `sigma`, 0.3 ((size - 1) / 2 - 1) + 0.8: 11 for 2, 17 for 3."""
    return {"blur_kernel_size": max(3, 2 * int((sigma - 0.8) / 0.3 + 1 + 1e-9) + 1)}


def _head(training: Training, shape: Shape, channels: int, keypoints: int) -> Config:
    chosen = training.loss or Loss(type=USUAL[training.codec.type])
    loss = losses.config(chosen)
    if training.codec.type == "regression":
        head = "RLEHead" if chosen.type == "rle" else "RegressionHead"
        return {"type": head, "in_channels": channels, "num_joints": keypoints, "loss": loss}
    kernel = training.head.deconv_kernel if training.head is not None else 4
    count = len(shape.deconvolutions)
    common = {
        "in_channels": channels,
        "out_channels": keypoints,
        "deconv_out_channels": shape.deconvolutions or None,
        "deconv_kernel_sizes": (kernel,) * count or None,
    }
    if training.codec.type != "simcc":
        return {"type": "HeatmapHead", **common, "loss": loss}
    return {
        "type": "SimCCHead",
        **common,
        "deconv_num_groups": (1,) * count or None,
        "input_size": training.input_size,
        "in_featuremap_size": shape.features,
        "simcc_split_ratio": training.codec.split_ratio,
        "loss": loss,
    }


def _test_as(evaluation: Evaluation, made: Network) -> None:
    """Test as the study's evaluation says; a model file keeps its own way of flipping."""
    test = made.model.setdefault("test_cfg", {})
    test["flip_test"] = evaluation.flip_test
    if test.get("flip_mode") == "heatmap":
        # UDP's heatmaps are aligned with their mirror images already.
        test["shift_heatmap"] = evaluation.shift_heatmap and made.codec["type"] != "UDPHeatmap"
    if made.codec["type"] == "RegressionLabel":
        test["shift_coords"] = evaluation.shift_heatmap
