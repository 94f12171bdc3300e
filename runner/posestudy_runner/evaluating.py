"""An attempt that trains nothing: weights that are there already are evaluated as the cell asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log

from posestudy.durable import sha256_file
from posestudy.errors import PoseStudyError
from posestudy.home import AttemptPaths
from posestudy.ledger.records import Checkpoint
from posestudy_runner.checkpoints import META_KEY, Best, best_files, usable
from posestudy_runner.hooks import EpochReporter
from posestudy_runner.order import TrialOrder
from posestudy_runner.transpose_weights import load, state_dict_of
from posestudy_runner.weights import local_file

MOST_TOLD = 2000
"""Characters of a message that names tensors: another network's file has hundreds."""


@dataclass(frozen=True)
class Weights:
    """A whole network's weights, `source` they were read from, and the epochs they were trained for here."""

    epoch: int
    source: Path
    state: Mapping[str, torch.Tensor]


def given(order: TrialOrder) -> tuple[Weights, ...]:
    """What `order` only evaluates, in order of epoch; nothing where it is to be trained.

    With epochs 0 these are the weights the cell starts from. Of a trial that was trained alike these are its best and
    its last weights; where its files are damaged, the trial is trained after all.

    Raises:
        PoseStudyError: the weights of a cell with epochs 0 cannot be read.
    """
    if order.epochs == 0:
        file = local_file(str(order.training["init"]))
        return (Weights(0, file, state_dict_of(file)),)
    if order.evaluate is None:
        return ()
    checkpoint = usable([Checkpoint(**order.evaluate["checkpoint"])])
    if checkpoint is None:
        return ()
    document, path = load(Path(checkpoint.path)), Path(checkpoint.path)
    last = Weights(checkpoint.epoch, path, document["state_dict"])
    known = document.get("meta", {}).get(META_KEY)
    best = _best(Best(**known), path.parent) if known else None
    return (last,) if best is None or best.epoch == last.epoch else (best, last)


def _best(best: Best, folder: Path) -> Weights | None:
    for file, _ in best_files(AttemptPaths(folder)):
        if sha256_file(file) == best.sha:
            return Weights(best.epoch, file, load(file))
    print_log(f"the best weights (epoch {best.epoch}) are gone from {folder}: only the last are evaluated", "current")
    return None


def evaluate(runner: Any, reporter: EpochReporter, weights: Sequence[Weights]) -> None:
    """Validate with each of `weights` in turn; the metrics are recorded at their epoch.

    Raises:
        PoseStudyError: some are not those of this network, every tensor of it.
    """
    for one in weights:
        fill(runner.model, one)
        reporter.evaluating = one.epoch
        runner.val()


def fill(model: Any, weights: Weights) -> None:
    """Put `weights` into `model`.

    Raises:
        PoseStudyError: a tensor is missing, left over or of another shape; a network half at random is worth nothing.
    """
    try:
        model.load_state_dict(weights.state, strict=True)
    except RuntimeError as error:
        told = " ".join(line.strip() for line in str(error).splitlines()[1:])
        if len(told) > MOST_TOLD:
            told = f"{told[:MOST_TOLD]} ..."
        raise PoseStudyError(f"the weights {weights.source} are not those of this whole network: {told}") from error
