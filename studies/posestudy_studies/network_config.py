"""The network of a training configuration as MMPose config: estimator, backbone, head and codec."""

from __future__ import annotations

from typing import Any

from posestudy.errors import PoseStudyError
from posestudy_studies import fitting
from posestudy_studies.fitting import MisfitError, Shape
from posestudy_studies.model_file import Network, read_model
from posestudy_studies.networks import BackboneModel, ConfigFile
from posestudy_studies.presets import preset
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
        made.model["backbone"]["init_cfg"] = {"type": "Pretrained", "checkpoint": training.init}
    _test_as(evaluation, made)
    return made


def _name(training: Training) -> str:
    return training.model if isinstance(training.model, str) else "its network"


def _network(training: Training, shape: Shape, keypoints: int) -> Network:
    if isinstance(training.model, BackboneModel):
        backbone, channels = dict(training.model.backbone), training.model.channels
        imports = tuple(training.model.imports)
    else:
        chosen = preset(str(training.model))
        backbone, channels = {**chosen.backbone, **training.backbone.given()}, chosen.channels
        imports = ()
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
    if training.codec.has_heatmaps:
        model["test_cfg"] = {"flip_mode": "heatmap"}
    return Network(model, codec, imports)


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
    if training.codec.type == "regression":
        loss = {"type": "SmoothL1Loss", "use_target_weight": True}
        return {"type": "RegressionHead", "in_channels": channels, "num_joints": keypoints, "loss": loss}
    kernel = training.head.deconv_kernel if training.head is not None else 4
    count = len(shape.deconvolutions)
    common = {
        "in_channels": channels,
        "out_channels": keypoints,
        "deconv_out_channels": shape.deconvolutions or None,
        "deconv_kernel_sizes": (kernel,) * count or None,
    }
    if training.codec.type != "simcc":
        return {"type": "HeatmapHead", **common, "loss": {"type": "KeypointMSELoss", "use_target_weight": True}}
    return {
        "type": "SimCCHead",
        **common,
        "deconv_num_groups": (1,) * count or None,
        "input_size": training.input_size,
        "in_featuremap_size": shape.features,
        "simcc_split_ratio": training.codec.split_ratio,
        "loss": {"type": "KLDiscretLoss", "use_target_weight": True},
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
