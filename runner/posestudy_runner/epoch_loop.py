"""A training loop that goes on in the middle of an epoch, where an attempt was asked to stop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import DataLoader

from posestudy.ledger.records import Json


@dataclass(frozen=True)
class Position:
    """How far into the epoch after the finished ones a saved state is.

    Attributes:
        iteration: iterations of it that are done.
        validates: its training is done, and its validation comes next.
        told: what the reporter of epochs has gathered of it so far, as JSON.
    """

    iteration: int = 0
    validates: bool = False
    told: Json = field(default_factory=dict)

    def document(self) -> Json:
        """As JSON, for `Position(**document)`."""
        return asdict(self)


@LOOPS.register_module()
class ResumableEpochLoop(EpochBasedTrainLoop):  # type: ignore[misc]
    """MMEngine's loop over epochs, which starts where `position` says.

    The first iterations of an epoch that are done are skipped without loading their samples; `batch_idx` goes on where
    it was, so that hooks which seed by it draw the same numbers.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.position = Position()

    def run(self) -> torch.nn.Module:
        """Train and validate to the last epoch, or until `stop_training`."""
        self.runner.call_hook("before_train")
        while self._epoch < self._max_epochs and not self.stop_training:
            if self.position.validates:
                self._epoch += 1
            else:
                self.run_epoch()
            self.position = Position()
            self._decide_current_val_interval()
            if self.validates_after(self._epoch):
                self.runner.val_loop.run()
        self.runner.call_hook("after_train")
        model: torch.nn.Module = self.runner.model
        return model

    def run_epoch(self) -> None:
        """Train what is left of one epoch."""
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        for index, batch in self._batches(self.position.iteration):
            self.run_iter(index, batch)
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1

    def validates_after(self, epoch: int) -> bool:
        """Whether a validation follows finished epoch `epoch`; MMEngine's condition."""
        due = epoch >= self.val_begin and (epoch % self.val_interval == 0 or epoch == self._max_epochs)
        return self.runner.val_loop is not None and due

    def _batches(self, first: int) -> Iterator[tuple[int, Any]]:
        loader = self.dataloader
        if first:
            # The sampler knows the epoch only now, and a loader's own order cannot be exchanged.
            left = list(loader.batch_sampler)[first:]
            loader = DataLoader(
                loader.dataset,
                batch_sampler=left,
                num_workers=loader.num_workers,
                collate_fn=loader.collate_fn,
                pin_memory=loader.pin_memory,
                worker_init_fn=loader.worker_init_fn,
                timeout=loader.timeout,
            )
        return enumerate(loader, start=first)
