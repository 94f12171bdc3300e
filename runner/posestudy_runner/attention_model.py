"""Attention of a TransPose model: what its encoder attends to where it predicts one instance, and files of pictures."""

from __future__ import annotations

# The plugin first: it holds what MMPose needs to be importable here.
from posestudy_runner import plugin  # isort: skip

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.dataset import pseudo_collate

from posestudy.durable import write_bytes
from posestudy_runner.attention import KINDS, Attention, Kind, figure, lines, queries, query_tokens, usual_threshold
from posestudy_runner.pictures import chosen_images

__all__ = ["attend", "has_attention", "plugin", "save_attention", "write_figures"]

COUNT = 2
"""Images of a trial."""


def has_attention(model: Any) -> bool:
    """Whether `model` has an encoder whose attention can be shown."""
    return isinstance(getattr(model, "neck", None), plugin.TransPoseEncoder)


@torch.no_grad()
def attend(model: Any, data: dict[str, Any], metainfo: dict[str, Any]) -> Attention:
    """Predict one instance as the model's `test_cfg` says, and look where its encoder attends meanwhile.

    The maps are those of the image as it is, not of its mirror image, layer by layer; only what the queries need of
    them is kept.

    Args:
        model: an MMPose estimator with a `TransPoseEncoder`; put into evaluation mode.
        data: a sample as the validation pipeline gives it.
        metainfo: MMPose's parsed description of the keypoints.
    """
    model.eval()
    image = np.ascontiguousarray(data["inputs"].numpy().transpose(1, 2, 0))
    sample = model.test_step(pseudo_collate([data]))[0]
    size = (image.shape[1], image.shape[0])
    names = [metainfo["keypoint_id2name"][number] for number in range(len(metainfo["keypoint_id2name"]))]
    points = queries(_input_keypoints(sample), names, size)
    inputs = model.data_preprocessor(pseudo_collate([data]), False)["inputs"]
    neck = model.neck
    # The grid is that of the prediction just made.
    grid, stride = neck.grid, neck.stride_of(image.shape[0])
    tokens = query_tokens(points, stride, grid)

    def needed(matrix: torch.Tensor) -> torch.Tensor:
        return torch.stack([lines(matrix[0], tokens, kind) for kind in KINDS]).cpu()

    with neck.recording(needed) as recorded:
        model.extract_feat(inputs)
    taken = torch.stack(recorded[0]).numpy().reshape(-1, len(KINDS), len(points), *grid)
    links = tuple((int(a), int(b)) for a, b in metainfo.get("skeleton_links", []))
    return Attention(image, points, links, stride, {kind: taken[:, place] for place, kind in enumerate(KINDS)})


def _input_keypoints(sample: Any) -> np.ndarray[Any, Any]:
    """The first instance's predicted keypoints `[K, 2]`, in pixels of the network's input."""
    places = np.asarray(sample.pred_instances.keypoints)[0, :, :2]
    center, scale, size = (np.asarray(sample.metainfo[f"input_{part}"]) for part in ("center", "scale", "size"))
    found: np.ndarray[Any, Any] = (places - center + 0.5 * scale) / scale * size
    return found


def write_figures(
    attention: Attention, folder: Path, name: str, kinds: Sequence[Kind] = KINDS, threshold: float | None = None
) -> list[Path]:
    """Write `NAME_KIND.png` for each kind, with the usual threshold where none is given; the paths."""
    height, width = attention.grid
    if threshold is None:
        threshold = usual_threshold(attention.stride, height * width)
    paths: list[Path] = []
    for kind in kinds:
        # A sixth of the bytes that OpenCV's own choice makes of one hundred panels.
        done, png = cv2.imencode(".png", figure(attention, kind, threshold), [cv2.IMWRITE_PNG_COMPRESSION, 6])
        if done:
            paths.append(folder / f"{name}_{kind}.png")
            write_bytes(paths[-1], png.tobytes())
    return paths


def save_attention(runner: Any, folder: Path, count: int = COUNT) -> int:
    """Attention pictures of the largest instance of the first validation images that predictions are drawn on.

    Args:
        runner: an MMEngine runner with a validation data set; its model predicts as it is.
        folder: where `NNN_dependency.png` and `NNN_affect.png` go, numbered as the pictures of predictions are.

    Returns:
        How many images there are; 0 for a model without attention.
    """
    model = runner.model
    if not has_attention(model):
        return 0
    dataset = runner.val_dataloader.dataset
    chosen = list(chosen_images(dataset).values())[:count]
    for place, instances in enumerate(chosen, start=1):
        largest = max(instances, key=lambda index: _area(dataset.get_data_info(index)))
        write_figures(attend(model, dataset[largest], dataset.metainfo), folder, f"{place:03d}")
    return len(chosen)


def _area(instance: dict[str, Any]) -> float:
    x1, y1, x2, y2 = np.asarray(instance["bbox"]).reshape(-1)[:4]
    return float((x2 - x1) * (y2 - y1))
