"""A trained network as one file that torch alone runs: torch.export's program, any number of images at a time."""

from __future__ import annotations

from posestudy_runner import plugin  # isort: skip  # noqa: F401  (before MMPose)

import io
import warnings
from pathlib import Path
from typing import Any

import torch

from posestudy.durable import write_bytes
from posestudy.errors import PoseStudyError

MOST_IMAGES = 4096
"""Images that one call of an exported program takes at most."""


class Raw(torch.nn.Module):
    """What a pose estimator's head gives, before it is decoded."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> Any:
        """Heatmaps, two distributions, or coordinates for `image`, `[batch, 3, height, width]`, normalised RGB."""
        return self.model(image, None, mode="tensor")


def load(config: Path, checkpoint: Path) -> Any:
    """The model of an MMPose config with the weights of a checkpoint, every one of them, on the CPU.

    Raises:
        PoseStudyError: the config does not load or makes no model, or the weights are not those of this network.
    """
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmpose.models import build_pose_estimator

    from posestudy_runner import transpose_weights

    if not config.is_file():
        raise PoseStudyError(f"{config} does not exist; expected an MMPose 1.x config file")
    try:
        read = Config.fromfile(config)
        init_default_scope(read.get("default_scope", "mmpose"))
        model = build_pose_estimator(read.model)
    except Exception as error:
        raise PoseStudyError(f"{config} makes no model ({error}); expected an MMPose 1.x config file") from error
    weights = transpose_weights.state_dict_of(checkpoint)
    wrong = transpose_weights.misfits(weights, model.state_dict())
    if wrong:
        lines = "\n  ".join(wrong)
        raise PoseStudyError(f"{checkpoint} does not fit the network of {config}:\n  {lines}")
    model.load_state_dict(weights, strict=True)
    model.cfg = read
    return model.eval()


def export(model: Any, size: tuple[int, int], out: Path) -> None:
    """Write `model`, in evaluation mode, for inputs of `size` (width, height) px to `out`.

    Raises:
        PoseStudyError: torch cannot export this network, or the file cannot be written.
    """
    width, height = size
    image = torch.zeros(2, 3, height, width)
    shapes = {"image": {0: torch.export.Dim("batch", min=1, max=MOST_IMAGES)}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(Raw(model), (image,), dynamic_shapes=shapes)
        except Exception as error:
            why = str(error).splitlines()[0]
            raise PoseStudyError(f"torch.export cannot take {type(model.backbone).__name__}: {why}") from error
        stream = io.BytesIO()
        torch.export.save(program, stream)
    try:
        write_bytes(out, stream.getvalue())
    except OSError as error:
        raise PoseStudyError(f"cannot write {out}: {error.strerror}") from error
