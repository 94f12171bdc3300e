"""What a config with `data_path: fast` names: data set, batches and validation loop, registered by importing this."""

from __future__ import annotations

from posestudy_runner import plugin  # isort: skip

from posestudy_runner.plugin.data_path.batches import collate_batch
from posestudy_runner.plugin.data_path.fast_dataset import FastKeypointDataset
from posestudy_runner.plugin.data_path.preprocessor import BatchedPosePreprocessor
from posestudy_runner.plugin.validation.loop import BatchedValLoop

__all__ = ["BatchedPosePreprocessor", "BatchedValLoop", "FastKeypointDataset", "collate_batch", "plugin"]
