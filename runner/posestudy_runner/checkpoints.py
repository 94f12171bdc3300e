"""Files of a trial that a kill at any moment leaves whole: epoch checkpoints and the best weights."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.runner.checkpoint import weights_to_cpu

from posestudy.durable import commit_file, sha256_file
from posestudy.home import AttemptPaths
from posestudy.ledger.records import Checkpoint, Json
from posestudy_runner.control import Control
from posestudy_runner.epoch_loop import Position
from posestudy_runner.plugin.memory_format import lay_out_plainly

META_KEY = "posestudy_best"
POSITION_KEY = "posestudy_position"


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
        # MMEngine's own count is one too high after a validation; the iteration is right everywhere.
        meta: Json = {"epoch": epoch, "iter": runner.iter}
        sha = self._control.written(lambda: _save(runner, temporary, final, meta, best), temporary)
        return Checkpoint(str(final), sha, epoch)

    def save_preempted(
        self, runner: Any, epoch: int, iterations: int, position: Position, best: Best | None
    ) -> Checkpoint | None:
        """The resumable state of an attempt that gives way, tried once; None where the disk has no room for it.

        Args:
            runner: its weights are those that are trained, no averaged ones.
            epoch: finished epochs.
            iterations: iterations of the whole training that are done.
            position: how far into the next epoch it is.
            best: the best evaluated epoch so far.
        """
        final = self.paths.preempted
        temporary = final.with_suffix(".tmp")
        meta: Json = {"epoch": epoch, "iter": iterations, POSITION_KEY: position.document()}
        try:
            return Checkpoint(str(final), _save(runner, temporary, final, meta, best), epoch)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            print_log(f"not saved ({error.strerror}): it goes on from the last epoch's checkpoint", "current")
            return None

    def save_best(self, state: dict[str, Any], epoch: int) -> str:
        """`state` as the best weights so far, found so after `epoch` epochs, with the predictions of that validation;
        the ones before stay as a fallback. Returns the sha256 of the weights."""
        final, predicted = self.paths.best_weights, self.paths.best_predictions
        temporary = final.with_suffix(".tmp")

        def write() -> str:
            with temporary.open("wb") as file:
                torch.save(lay_out_plainly(weights_to_cpu(state)), file)
            return _commit(temporary, final)

        # Both before either is replaced: killed in between, the two that stay belong together.
        self._control.written(lambda: _keep_replaced((final, predicted), epoch))
        sha = self._control.written(write, temporary)
        if self.paths.predictions.is_file():
            # Whatever is predicted next is another file.
            self._replace(predicted, lambda temporary: os.link(self.paths.predictions, temporary))
        return sha

    def keep_predictions(self) -> None:
        """Give what a validation that has ended predicted its name; until then the last one's stand there."""
        if self.paths.validating.is_file():
            self._replace(self.paths.predictions, lambda temporary: os.link(self.paths.validating, temporary))
            self.paths.validating.unlink()

    def adopt_best(self, best: Best, folder: Path) -> bool:
        """Copy the best weights an earlier attempt wrote in `folder`, and what they predicted; False where the weights
        are not there any more."""
        if folder == self.paths.folder:
            return True
        for weights, predicted in best_files(AttemptPaths(folder)):
            if sha256_file(weights) == best.sha:
                self._copy(weights, self.paths.best_weights)
                if predicted.exists():
                    self._copy(predicted, self.paths.best_predictions)
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
            commit_file(temporary, final)

        self._control.written(step, temporary)


def _save(runner: Any, temporary: Path, final: Path, meta: Json, best: Best | None) -> str:
    known = {} if best is None else {META_KEY: asdict(best)}
    runner.save_checkpoint(str(temporary.parent), temporary.name, meta={**meta, **known})
    return _commit(temporary, final)


def _commit(temporary: Path, final: Path) -> str:
    """`commit_file`, and the file's SHA-256, which is computed while the disk writes."""
    with temporary.open("rb") as stream, ThreadPoolExecutor(1) as beside:
        digest = beside.submit(hashlib.file_digest, stream, "sha256")
        commit_file(temporary, final)
        return digest.result().hexdigest()


def _keep_replaced(files: Sequence[Path], epoch: int) -> None:
    """Keep `files`, as far as they are there, under names with the epoch at which better ones replace them.

    The ledger may still point at a checkpoint for which they are the best.
    """
    for path in files:
        before = path.with_name(f"{path.stem}.before_{epoch}{path.suffix}")
        before.unlink(missing_ok=True)
        if path.exists():
            os.link(path, before)


def best_files(paths: AttemptPaths) -> list[tuple[Path, Path]]:
    """The best weights of an attempt and where their predictions are, then those it replaced, the latest first."""
    weights, predicted = paths.best_weights, paths.best_predictions
    found = [(weights, predicted)] if weights.is_file() else []
    replaced = re.compile(rf"{re.escape(weights.stem)}(\.before(?:_(\d+))?){re.escape(weights.suffix)}")
    matches = [match for match in map(replaced.fullmatch, _names(paths.folder)) if match]
    for match in sorted(matches, key=lambda match: int(match[2] or 0), reverse=True):
        beside = predicted.with_name(f"{predicted.stem}{match[1]}{predicted.suffix}")
        found.append((paths.folder / match[0], beside))
    return found


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


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
