"""What `posestudy attention` feeds a network with: its weights from files, and an image's instances."""

from __future__ import annotations

# The plugin first: it holds what MMPose needs to be importable here.
from posestudy_runner import plugin  # isort: skip

import contextlib
import copy
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.runner.checkpoint import CheckpointLoader
from mmpose.apis import init_model
from mmpose.registry import DATASETS

from posestudy.errors import PoseStudyError

__all__ = ["Box", "annotated_samples", "build", "load", "plugin", "sample"]

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels of the image."""


def build(config: Path) -> Any:
    """The network of `config`, without weights, on the CPU.

    Raises:
        PoseStudyError: the file makes none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return init_model(Config.fromfile(config), None, device="cpu")
    except Exception as error:
        raise PoseStudyError(
            f"{config} makes no MMPose model: {_first_line(error)}; expected an MMPose config"
        ) from error


def load(model: Any, weights: Path) -> None:
    """Put a checkpoint or a state_dict into `model`, strictly.

    Raises:
        PoseStudyError: the file holds none, or one of another network.
    """
    try:
        loaded = CheckpointLoader.load_checkpoint(str(weights), map_location="cpu", logger="silent")
        state = loaded.get("state_dict", loaded)
        model.load_state_dict({key.removeprefix("module."): value for key, value in state.items()}, strict=True)
    except PoseStudyError:
        raise
    except Exception as error:
        raise PoseStudyError(f"the weights {weights} do not fit {model.cfg.filename}: {_first_line(error)}") from error
    odd = next((name for name, value in model.state_dict().items() if not torch.isfinite(value).all()), None)
    if odd is not None:
        raise PoseStudyError(f"the weights {weights} are of no use: {odd} holds values that are not finite")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # The first line of torch's complaint names no tensor.
    return " ".join(lines[:2])[:300] or type(error).__name__


def sample(model: Any, image: Path, box: Box) -> dict[str, Any]:
    """The instance in `box` as the validation pipeline gives it. Raises PoseStudyError where the config has none."""
    x, y, width, height = box
    instance = {
        "img_path": str(image),
        "bbox": np.array([[x, y, x + width, y + height]], dtype=np.float32),
        "bbox_score": np.ones(1, dtype=np.float32),
        **model.dataset_meta,
    }
    made: dict[str, Any] = Compose(_pipeline(model.cfg))(instance)
    return made


def annotated_samples(model: Any, image: Path) -> list[dict[str, Any]]:
    """The instances of `image` in the first of the config's validation, training and test data that has any.

    Raises:
        PoseStudyError: the config has no validation pipeline.
    """
    config, image = model.cfg, image.resolve()
    pipeline = _pipeline(config)
    for loader in ("val_dataloader", "train_dataloader", "test_dataloader"):
        described = (config.get(loader) or {}).get("dataset") or {}
        if not _may_hold(described, image):
            continue
        changed = {**copy.deepcopy(dict(described)), "pipeline": pipeline, "test_mode": True}
        changed.pop("bbox_file", None)
        # COCO's reader prints how it gets on.
        with contextlib.redirect_stdout(io.StringIO()):
            dataset = DATASETS.build(changed)
        paths = (Path(dataset.get_data_info(index)["img_path"]) for index in range(len(dataset)))
        found = [index for index, path in enumerate(paths) if path.name == image.name and path.resolve() == image]
        if found:
            return [dataset[index] for index in found]
    return []


def _pipeline(config: Config) -> Any:
    try:
        return config.test_dataloader.dataset.pipeline
    except AttributeError as error:
        raise PoseStudyError(
            f"{config.filename} has no test_dataloader.dataset.pipeline, which says how an image is prepared"
        ) from error


def _may_hold(described: Any, image: Path) -> bool:
    """Whether a data set's annotations are here and `image` lies in its folder: large files are not read in vain."""
    annotations, folder = described.get("ann_file"), (described.get("data_prefix") or {}).get("img")
    if not annotations or not folder:
        return False
    root = Path(described.get("data_root") or "")
    return (root / annotations).is_file() and image.is_relative_to((root / folder).resolve())
