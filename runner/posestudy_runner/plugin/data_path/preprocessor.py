"""Batches of the fast data path to what the network takes."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmpose.models.data_preprocessors import PoseDataPreprocessor
from mmpose.registry import MODELS
from torch.nn import functional

from posestudy_runner.plugin.data_path.batches import PackedSamples
from posestudy_runner.plugin.data_path.device_pixels import RawPixels
from posestudy_runner.plugin.data_path.device_warp import warped


@MODELS.register_module()
class BatchedPosePreprocessor(PoseDataPreprocessor):
    """MMPose's PoseDataPreprocessor, which also takes the batches of FastKeypointDataset, and these all at once.

    Args:
        **options: as PoseDataPreprocessor's.
    """

    def forward(self, data: Any, training: bool = False) -> dict[str, Any]:
        """Images normalised and samples unpacked, on the network's device.

        Args:
            data: a `Batch`, or a stock batch, which goes the stock way.
            training: whether `batch_augments` apply.

        Returns:
            `inputs`, float32 [N, 3, H, W], and `data_samples`, a list of N PoseDataSample.
        """
        packed = data["data_samples"]
        if not isinstance(packed, PackedSamples):
            stock: dict[str, Any] = super().forward(data, training)
            return stock
        images = data["inputs"].to(self.device, non_blocking=self._non_blocking)
        inputs = self._padded(self._normalised(warped(images) if isinstance(images, RawPixels) else images))
        shape = tuple(inputs.shape[-2:])
        samples = packed.to(self.device, non_blocking=self._non_blocking).unpack(
            batch_input_shape=shape, pad_shape=shape
        )
        if training and self.batch_augments is not None:
            for augment in self.batch_augments:
                inputs, samples = augment(inputs, samples)
        return {"inputs": inputs, "data_samples": samples}

    def _normalised(self, images: torch.Tensor) -> torch.Tensor:
        """float32 [N, 3, H, W] from uint8, in the stock order of operations."""
        inputs = torch.empty(images.shape, dtype=torch.float32, device=images.device)
        # On a CPU image by image, each of which stays in its cache.
        parts = len(images) if images.device.type == "cpu" else 1
        for given, made in zip(images.chunk(parts), inputs.chunk(parts), strict=True):
            turned = given.flip(1) if self._channel_conversion else given
            if self._enable_normalize:
                torch.sub(turned, self.mean, out=made).div_(self.std)
            else:
                made.copy_(turned)
        return inputs

    def _padded(self, inputs: torch.Tensor) -> torch.Tensor:
        height, width = inputs.shape[-2:]
        below = math.ceil(height / self.pad_size_divisor) * self.pad_size_divisor - height
        right = math.ceil(width / self.pad_size_divisor) * self.pad_size_divisor - width
        if not below and not right:
            return inputs
        return functional.pad(inputs, (0, right, 0, below), value=self.pad_value)
