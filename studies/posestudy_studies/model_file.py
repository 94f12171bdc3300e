"""The network of a study that names an MMPose config file of the user's instead of a preset."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posestudy.errors import PoseStudyError
from posestudy_studies.training import Training

_HEATMAP_CODECS = ("MSRAHeatmap", "UDPHeatmap", "MegviiHeatmap")
_KEPT_OPTIM_OPTIONS = ("paramwise_cfg", "clip_grad", "constructor")


class ModelFileError(PoseStudyError):
    """A config file gives no network for the study; `found` and `expected` are the two halves of the sentence."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"{found}; expected {expected}")
        self.found, self.expected = found, expected


@dataclass(frozen=True)
class Network:
    """A model as MMPose config, and what trains it in a special way where it comes from a file.

    Attributes:
        model: the estimator, fitted to the study's keypoints and input size.
        codec: the target encoding, the same as the head's `decoder`.
        imports: Python modules to import first.
        hooks: `custom_hooks` of the file.
        optim: options of the file's `optim_wrapper` besides the optimizer.
    """

    model: dict[str, Any]
    codec: dict[str, Any]
    imports: tuple[str, ...] = ()
    hooks: tuple[dict[str, Any], ...] = ()
    optim: dict[str, Any] = field(default_factory=dict)


def parsed(path: str) -> dict[str, Any]:
    """The MMPose config at `path`, which is run as Python, with a `model.head.decoder` in it.

    Raises:
        ModelFileError: the file is missing, does not load, or holds no top-down model.
    """
    if not Path(path).is_file():
        raise ModelFileError(f"model config {path}, which does not exist", "an MMPose 1.x config file")
    from mmengine.config import Config

    try:
        with warnings.catch_warnings():
            # MMEngine's own, for every `mmpose::` of the file.
            warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
            config: dict[str, Any] = Config.fromfile(path, import_custom_modules=False).to_dict()
    # A file that calls exit() would end posestudy with its code.
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__}: {error}"
        expected = "an MMPose 1.x config file"
        if isinstance(error, FileNotFoundError):
            expected += (
                " with its `_base_` files beside it as they were; those of MMPose itself can be named from anywhere, "
                "as `mmpose::_base_/default_runtime.py`"
            )
        raise ModelFileError(f"model config {path}, which does not load ({why})", expected) from error
    model = config.get("model")
    head = model.get("head") if isinstance(model, dict) else None
    if not isinstance(head, dict) or not isinstance(head.get("decoder"), dict):
        raise ModelFileError(
            f"model config {path} without `model.head.decoder`",
            "a top-down estimator with one head, such as those of MMPose's configs/*/topdown_heatmap",
        )
    return config


def read_model(path: str, training: Training, keypoints: int, imports: Sequence[str] = ()) -> Network:
    """Read the MMPose config at `path`, which is run as Python, and fit it to `training` and to `keypoints` keypoints.

    A heatmap codec takes the study's input size and sigma and keeps its stride; any other codec must already have
    the study's input size, because the sizes of its network follow from it. What the file says of training beside
    the model is taken over whether the study declares it in `brings` or not: undeclared, it is a leak.

    Raises:
        ModelFileError: the file is missing, does not load, or holds no top-down model that fits.
    """
    config = parsed(path)
    model = config["model"]
    head = model["head"]
    codec = _fitted_codec(path, head["decoder"], training)
    head.update(decoder=codec)
    # A regression head has its own word for it.
    head["num_joints" if "num_joints" in head else "out_channels"] = keypoints
    optim = config.get("optim_wrapper") or {}
    return Network(
        model=model,
        codec=codec,
        imports=tuple(dict.fromkeys((*imports, *_imports(config.get("custom_imports"))))),
        hooks=tuple(config.get("custom_hooks") or ()),
        optim={key: optim[key] for key in _KEPT_OPTIM_OPTIONS if optim.get(key) is not None},
    )


def _fitted_codec(path: str, codec: dict[str, Any], training: Training) -> dict[str, Any]:
    had, wanted = tuple(codec.get("input_size", ())), tuple(training.input_size)
    if codec.get("type") not in _HEATMAP_CODECS:
        if training.heatmap_size is not None:
            raise ModelFileError(
                f"heatmap_size {list(training.heatmap_size)} for model config {path}, whose codec {codec.get('type')} "
                "has no heatmaps",
                "none",
            )
        if had != wanted:
            raise ModelFileError(
                f"model config {path}, which encodes with {codec.get('type')} for input size {list(had)} where the "
                f"study asks for {list(wanted)}",
                f"equal sizes, or a codec that can be resized: {', '.join(_HEATMAP_CODECS)}",
            )
        return dict(codec)
    try:
        stride = int(had[0]) // int(codec["heatmap_size"][0])
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelFileError(
            f"model config {path}, whose `model.head.decoder` has no input_size and heatmap_size", "both, in pixels"
        ) from error
    if any(side % stride for side in wanted):
        raise ModelFileError(
            f"input_size {list(wanted)}, which does not fit model config {path}",
            f"multiples of {stride} px, the input pixels per heatmap pixel",
        )
    heatmap = tuple(side // stride for side in wanted)
    if training.heatmap_size is not None and training.heatmap_size != heatmap:
        raise ModelFileError(
            f"heatmap_size {list(training.heatmap_size)}, which does not fit model config {path}",
            f"{list(heatmap)}, the only size its network gives for input_size {list(wanted)}",
        )
    fitted = {**codec, "input_size": wanted, "heatmap_size": heatmap}
    return {**fitted, "sigma": training.sigma} if "sigma" in codec else fitted


def _imports(custom: Any) -> tuple[str, ...]:
    found = custom.get("imports", ()) if isinstance(custom, dict) else ()
    return (found,) if isinstance(found, str) else tuple(found or ())
