"""Two ranks of stock MMPose, as its distributed launchers start them: `python stock_ranks.py CONFIG.py`.

Both are forked from one process that has imported MMPose and the plugin, which takes longer than the training.
"""

from __future__ import annotations

import multiprocessing
import os
import sys

import posestudy_runner.plugin  # noqa: F401  isort: skip

import torch
from mmengine.config import Config
from mmengine.runner import Runner

RANKS = 2


def train(rank: int, config: str) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(RANKS)}
    torch.set_num_threads(1)
    # MMEngine's launcher would ask for a GPU first.
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{os.getcwd()}/rendezvous", rank=rank, world_size=RANKS
    )
    # MMEngine formats a config for each of its files, which takes longer than everything else here.
    read = Config(Config.fromfile(config).to_dict(), format_python_code=False)
    read.launcher, read.sync_bn, read.work_dir = "pytorch", None, "stock"
    # Which changes no weights, and four more processes for each pass would take most of the time.
    read.train_dataloader.num_workers = read.val_dataloader.num_workers = 0
    read.train_cfg.val_interval = read.train_cfg.max_epochs
    runner = Runner.from_cfg(read)
    runner.train()
    torch.save(runner.model.module.state_dict(), f"rank_{rank}.pth")


if __name__ == "__main__":
    processes = [multiprocessing.get_context("fork").Process(target=train, args=(i, sys.argv[1])) for i in range(RANKS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(max(abs(process.exitcode or 0) for process in processes))
