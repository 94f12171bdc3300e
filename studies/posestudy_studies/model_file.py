"""The network of a study that names an MMPose config file of the user's instead of a preset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posestudy.errors import PoseStudyError
from posestudy_studies.training import Training

_HEATMAP_CODECS = ("MSRAHeatmap", "UDPHeatmap", "MegviiHeatmap")
_KEPT_OPTIM_OPTIONS = ("paramwise_cfg", "clip_grad", "constructor")


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


def read_model(path: str, training: Training, keypoints: int, imports: Sequence[str] = ()) -> Network:
    """Read the MMPose config at `path`, which is run as Python, and fit it to `training` and to `keypoints` keypoints.

    A heatmap codec takes the study's input size and sigma and keeps its stride; any other codec must already have
    the study's input size, because the sizes of its network follow from it. What the file says of training beside
    the model is taken over whether the study declares it in `brings` or not: undeclared, it is a leak.

    Raises:
        PoseStudyError: the file is missing, does not load, or holds no top-down model that fits.
    """
    if not Path(path).is_file():
        raise PoseStudyError(f"model config {path} does not exist; expected an MMPose 1.x config file")
    from mmengine.config import Config

    try:
        config = Config.fromfile(path, import_custom_modules=False).to_dict()
    except Exception as error:
        raise PoseStudyError(
            f"model config {path} does not load ({error}); expected an MMPose 1.x config file"
        ) from error
    model = config.get("model")
    head = model.get("head") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(head, dict) or not isinstance(head.get("decoder"), dict):
        raise PoseStudyError(
            f"model config {path} has no `model.head.decoder`; expected a top-down estimator with one head, "
            "such as those of MMPose's configs/*/topdown_heatmap"
        )
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
            raise PoseStudyError(
                f"heatmap_size {list(training.heatmap_size)} does not fit model config {path}, whose codec "
                f"{codec.get('type')} has no heatmaps; expected none"
            )
        if had != wanted:
            raise PoseStudyError(
                f"model config {path} encodes with {codec.get('type')} for input size {list(had)}, "
                f"but the study asks for {list(wanted)}; expected equal sizes, or a codec that can be resized: "
                f"{', '.join(_HEATMAP_CODECS)}"
            )
        return dict(codec)
    stride = had[0] // codec["heatmap_size"][0]
    if any(side % stride for side in wanted):
        raise PoseStudyError(
            f"input_size {list(wanted)} does not fit model config {path}; expected multiples of {stride} px, "
            "the input pixels per heatmap pixel"
        )
    heatmap = tuple(side // stride for side in wanted)
    if training.heatmap_size is not None and training.heatmap_size != heatmap:
        raise PoseStudyError(
            f"heatmap_size {list(training.heatmap_size)} does not fit model config {path}; expected "
            f"{list(heatmap)}, the only size its network gives for input_size {list(wanted)}"
        )
    fitted = {**codec, "input_size": wanted, "heatmap_size": heatmap}
    return {**fitted, "sigma": training.sigma} if "sigma" in codec else fitted


def _imports(custom: Any) -> tuple[str, ...]:
    found = custom.get("imports", ()) if isinstance(custom, dict) else ()
    return (found,) if isinstance(found, str) else tuple(found or ())
