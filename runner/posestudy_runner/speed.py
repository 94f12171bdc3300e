"""What makes an attempt faster on the machine it runs on and changes none of its results."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from posestudy_runner.components import Component, in_use
from posestudy_runner.order import TrialOrder
from posestudy_runner.plugin.step import fit_step
from posestudy_studies.spec import FAST

MOST_LOADERS = 4
"""Data-loading processes of one trial on a GPU; a CPU has nothing to hide them behind."""


def fit(config: Config, order: TrialOrder) -> None:
    """Change `config` in place: where decoded images lie, how many processes load data, how a step computes."""
    on_gpu = order.device.startswith("cuda")
    if order.study.get("data_path") == FAST and config.train_dataloader.dataset.type != "FastKeypointDataset":
        print("The network file prepares its batches in a way of its own: they come by MMPose's data path.", flush=True)
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        loader = config.get(name)
        if loader is None:
            continue
        if in_use(Component.LOADERS):
            _fit_loader(loader, order, on_gpu=on_gpu)
        if loader.dataset.type == "FastKeypointDataset":
            _fit_dataset(loader.dataset, order, warped_on_device=on_gpu and name == "train_dataloader")
    fit_step(config, order.device, memory_is_limited=order.memory_limit_mb is not None)


def _fit_loader(loader: Any, order: TrialOrder, *, on_gpu: bool) -> None:
    # On a CPU the loaders would take their time from the training they load for.
    loader.num_workers = min(MOST_LOADERS, order.cores or order.threads) if on_gpu else 0
    loader.persistent_workers = loader.num_workers > 0
    loader.pin_memory = on_gpu


def _fit_dataset(dataset: Any, order: TrialOrder, *, warped_on_device: bool) -> None:
    if in_use(Component.IMAGE_CACHE):
        dataset.cache = order.images
    # Validation keeps its images, and they stay those of the stock pipeline to the last grey level, as do its metrics.
    if warped_on_device and in_use(Component.DEVICE_WARP):
        dataset.warp = "device"
