"""What children of the real preload are asked to do."""

from __future__ import annotations

import json
import os
from multiprocessing.connection import Connection


def compute(connection: Connection) -> None:
    """A tensor operation on two threads, and a data loader, as a trial does them."""
    import multiprocessing
    import threading

    import torch

    from posestudy_runner.trial import compute_on

    before = multiprocessing.get_start_method()
    compute_on("cpu", 2)
    square = torch.ones(512, 512) @ torch.ones(512, 512)
    loader = torch.utils.data.DataLoader(Parents(), batch_size=None, num_workers=2)
    answer = {
        "sum": float(square.sum()),
        "threads": torch.get_num_threads(),
        "default_start": before,
        "start": multiprocessing.get_start_method(),
        "loader_parents": sorted({int(parent) for parent in loader}),
        "pid": os.getpid(),
        "python_threads": threading.active_count(),
    }
    connection.send_bytes(json.dumps(answer).encode())


class Parents:
    """Each item is the parent process of whoever loads it: the trial itself where loaders are forked."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        return os.getppid()
