"""Files of a trial that a kill at any moment leaves whole: epoch checkpoints and the best weights."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner.checkpoint import weights_to_cpu

from posestudy.durable import commit_file, sha256_file
from posestudy.home import AttemptPaths
from posestudy.ledger.records import Checkpoint, Json
from posestudy_runner.control import Control

META_KEY = "posestudy_best"


@dataclass(frozen=True)
class Best:
    """The best evaluated epoch so far: the metric's value, its epoch, and the sha256 of the weights' file."""

    value: float
    epoch: int
    sha: str


class TrialFiles:
    """Writes the files of one attempt; each is there whole or not at all, and a full disk only makes it wait."""

    def __init__(self, paths: AttemptPaths, control: Control) -> None:
        self.paths = paths
        self._control = control

    def save_checkpoint(self, runner: Any, epoch: int, best: Best | None) -> Checkpoint:
        """The resumable state after `epoch` finished epochs. Call it only between epochs."""
        final = self.paths.checkpoint(epoch)
        temporary = final.with_suffix(".tmp")

        def write() -> None:
            # MMEngine's own count is one too high after a validation; the iteration is right everywhere.
            meta: Json = {"epoch": epoch, "iter": runner.iter}
            if best is not None:
                meta[META_KEY] = asdict(best)
            runner.save_checkpoint(str(temporary.parent), temporary.name, meta=meta)
            commit_file(temporary, final)

        self._control.written(write, temporary)
        return Checkpoint(str(final), sha256_file(final), epoch)

    def save_best(self, model: torch.nn.Module) -> str:
        """The weights of `model` as the best so far, with the predictions of the validation that found them so; the
        ones before stay as the fallback. Returns the sha256 of the weights."""
        final = self.paths.best_weights
        inner: Any = model.module if is_model_wrapper(model) else model

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                torch.save(weights_to_cpu(inner.state_dict()), file)

        self._replace(final, write)
        if self.paths.predictions.is_file():
            self._copy(self.paths.predictions, self.paths.best_predictions)
        return sha256_file(final)

    def adopt_best(self, best: Best, folder: Path) -> bool:
        """Copy the best weights an earlier attempt wrote in `folder`, and what they predicted; False where the weights
        are not there any more."""
        if folder == self.paths.folder:
            return True
        weights, predicted = AttemptPaths(folder).best_weights, AttemptPaths(folder).best_predictions
        for source, beside in ((weights, predicted), (fallback_of(weights), fallback_of(predicted))):
            if source.exists() and sha256_file(source) == best.sha:
                self._copy(source, self.paths.best_weights)
                if beside.exists():
                    self._copy(beside, self.paths.best_predictions)
                return True
        return False

    def adopt_predictions(self, folder: Path) -> None:
        """Copy the last validation's results of an earlier attempt, should none follow in this one."""
        source = AttemptPaths(folder).predictions
        if folder != self.paths.folder and source.exists():
            self._copy(source, self.paths.predictions)

    def _copy(self, source: Path, final: Path) -> None:
        self._replace(final, lambda temporary: shutil.copyfile(source, temporary))

    def _replace(self, final: Path, write: Callable[[Path], Any]) -> None:
        temporary = final.with_suffix(".tmp")

        def step() -> None:
            write(temporary)
            if final.exists():
                # The ledger may still point at a checkpoint for which these are the best weights.
                before = fallback_of(final)
                with suppress(FileNotFoundError):
                    before.unlink()
                os.link(final, before)
            commit_file(temporary, final)

        self._control.written(step, temporary)


def fallback_of(path: Path) -> Path:
    """The name under which the file that `path` replaced stays."""
    return path.with_name(f"{path.stem}.before{path.suffix}")


def usable(candidates: Sequence[Checkpoint]) -> Checkpoint | None:
    """The first checkpoint whose bytes are what the ledger says; None means to start from epoch 0."""
    for candidate in candidates:
        path = Path(candidate.path)
        try:
            sound = sha256_file(path) == candidate.sha
        except OSError as error:
            print_log(f"checkpoint {path} cannot be read ({error.strerror}), trying the one before", "current")
            continue
        if sound:
            return candidate
        print_log(f"checkpoint {path} is damaged (its checksum differs), trying the one before", "current")
    return None
