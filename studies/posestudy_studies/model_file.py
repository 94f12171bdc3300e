"""The network of a study that names an MMPose config file of the user's instead of a preset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posestudy.errors import PoseStudyError
from posestudy_studies.training import Training

_HEATMAP_CODECS = ("MSRAHeatmap", "UDPHeatmap", "MegviiHeatmap")
_KEPT_OPTIM_OPTIONS = ("paramwise_cfg", "clip_grad", "accumulative_counts", "constructor")


@dataclass(frozen=True)
class FileModel:
    """What a study keeps of a config file: the network and what trains it in a special way.

    Attributes:
        model: the file's `model`, fitted to the study's keypoints and input size.
        codec: the target encoding, the same as the head's `decoder`.
        imports, hooks: the file's `custom_imports` and `custom_hooks`.
        optim: options of its `optim_wrapper` besides the optimizer.
    """

    model: dict[str, Any]
    codec: dict[str, Any]
    imports: tuple[str, ...]
    hooks: tuple[dict[str, Any], ...]
    optim: dict[str, Any]


def read_model(path: str, training: Training, keypoints: int) -> FileModel:
    """Read the MMPose config at `path`, which is run as Python, and fit it to `training` and to `keypoints` keypoints.

    A heatmap codec takes the study's input size and sigma and keeps its stride; any other codec must already have
    the study's input size, because the sizes of its network follow from it.

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
    head["out_channels"] = keypoints
    optim = config.get("optim_wrapper") or {}
    return FileModel(
        model=model,
        codec=codec,
        imports=_imports(config.get("custom_imports")),
        hooks=tuple(config.get("custom_hooks") or ()),
        optim={key: optim[key] for key in _KEPT_OPTIM_OPTIONS if optim.get(key) is not None},
    )


def _fitted_codec(path: str, codec: dict[str, Any], training: Training) -> dict[str, Any]:
    had, wanted = tuple(codec.get("input_size", ())), tuple(training.input_size)
    if codec.get("type") not in _HEATMAP_CODECS:
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
    fitted = {**codec, "input_size": wanted, "heatmap_size": tuple(side // stride for side in wanted)}
    return {**fitted, "sigma": training.sigma} if "sigma" in codec else fitted


def _imports(custom: Any) -> tuple[str, ...]:
    found = custom.get("imports", ()) if isinstance(custom, dict) else ()
    return (found,) if isinstance(found, str) else tuple(found or ())
