"""The share of keypoints a training batch gets right (PCK), computed where the heatmaps are."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS

THRESHOLD = 0.05
"""Of the heatmap's size; that of MMPose's heads."""


def heatmap_pck(output: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """What `mmpose.evaluation.pose_pck_accuracy` says of a batch, without a copy to the host.

    A keypoint is right where the two highest places are nearer to each other than `THRESHOLD`; the mean over its
    images, then over the keypoints that any image has.

    Args:
        output: predicted heatmaps, [N, K, H, W].
        target: heatmaps of the ground truth, [N, K, H, W].
        weights: above 0 where the keypoint is labelled, [N, K].

    Returns:
        A scalar in [0, 1], float64 as MMPose's; 0 where nothing is labelled.
    """
    height, width = output.shape[2:]
    x, y = (_highest(output) - _highest(target)).unbind(-1)
    # MMPose divides x by the height and y by the width, in float64, and keeps float32.
    distance = ((x / height).square() + (y / width).square()).sqrt().float()
    labelled = weights > 0
    images = labelled.sum(0)
    right = ((distance < THRESHOLD) & labelled).sum(0)
    seen = images > 0
    shares = right.double() / images.clamp(min=1)
    return (shares * seen).sum() / seen.sum().clamp(min=1)


def _highest(heatmaps: torch.Tensor) -> torch.Tensor:
    """x and y of the highest place in each heatmap, -1 where none is above 0: [N, K, 2], float64."""
    value, place = heatmaps.flatten(2).max(dim=2)
    width = heatmaps.shape[3]
    found = torch.stack([place % width, place // width], dim=-1)
    return found.masked_fill((value <= 0)[..., None], -1).double()


@HOOKS.register_module()
class DeviceAccuracyHook(Hook):
    """Gives each training iteration the `acc_pose` that MMPose's `HeatmapHead` would, for a model with
    `train_cfg=dict(compute_acc=False)`.

    The head copies all heatmaps to the host for it, in every iteration.
    """

    priority = "HIGHEST"

    def __init__(self) -> None:
        self._accuracy: torch.Tensor | None = None

    def before_train(self, runner: Any) -> None:
        """Look at what the head's loss is computed from.

        The loss module is called with predicted heatmaps, those of the ground truth and the keypoints' weights.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.head.loss_module.register_forward_hook(self._look)

    @torch.no_grad()
    def _look(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], result: torch.Tensor) -> None:
        output, target, weights = inputs[:3]
        self._accuracy = heatmap_pck(output, target, weights)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Add it to the iteration's `outputs`, for the hooks that come later."""
        if outputs is not None and self._accuracy is not None:
            outputs["acc_pose"], self._accuracy = self._accuracy, None
