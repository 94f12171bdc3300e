"""The files of a trial, killed at every step of writing them: whatever the ledger points at is whole, and so is the
best epoch it speaks of."""

from __future__ import annotations

import errno
import json
import os
import signal
import traceback
from collections import OrderedDict
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from posestudy import journal
from posestudy.durable import sha256_file
from posestudy.home import AttemptPaths
from posestudy.ledger.records import Checkpoint
from posestudy_runner import (
    plugin,  # noqa: F401  (before MMPose)
    trained,
)
from posestudy_runner.checkpoints import META_KEY, Best, TrialFiles, best_files, usable
from posestudy_runner.control import Control
from posestudy_runner.epoch_loop import Position
from posestudy_runner.hooks import _Patient
from posestudy_runner.outcomes import Preempted
from posestudy_runner.tidying import tidy_after_end, tidy_after_epoch

EPOCHS = range(1, 6)
BEST_AT = (1, 2, 3, 5)
SAVED_AT = (1, 4, 5)


class Runner:
    """Saves as MMEngine's does, whatever the weights are."""

    iter = 7

    def save_checkpoint(self, folder: str, name: str, meta: dict[str, Any]) -> None:
        with (Path(folder) / name).open("wb") as file:
            torch.save({"meta": meta}, file)


def files_of(folder: Path, **options: Any) -> TrialFiles:
    folder.mkdir(parents=True, exist_ok=True)
    connection, _other = Pipe()
    control = Control(connection, journal.JournalWriter(folder / "journal"), **options)
    control.other_end = _other  # type: ignore[attr-defined]
    return TrialFiles(AttemptPaths(folder), control)


def train(folder: Path) -> None:
    """Five epochs with best weights at some and checkpoints at fewer, as with a `min_interval_s`.

    The ledger's part is a line a checkpoint in `ledger`, and the worker's is to tidy up after it.
    """
    files, best = files_of(folder), None
    for epoch in EPOCHS:
        files.paths.validating.write_text(json.dumps([epoch]))
        files.keep_predictions()
        if epoch in BEST_AT:
            best = Best(epoch / 10, epoch, files.save_best(OrderedDict(epoch=torch.tensor(epoch)), epoch))
        if epoch in SAVED_AT:
            saved = files.save_checkpoint(Runner(), epoch, best)
            with (folder.parent / "ledger").open("a") as ledger:
                ledger.write(json.dumps([saved.path, saved.sha, saved.epoch]) + "\n")
            known = ledger_of(folder)
            if len(known) > 1:
                tidy_after_epoch(folder.parent, 1, known[1].epoch)


def ledger_of(folder: Path) -> list[Checkpoint]:
    """The two newest checkpoints the ledger knows, the newest first."""
    lines = (folder.parent / "ledger").read_text().splitlines() if (folder.parent / "ledger").exists() else []
    return [Checkpoint(*json.loads(line)) for line in lines[:-3:-1]]


def killed_at(step: int, folder: Path) -> bool:
    """Train in a child that is killed before its `step`-th change of a name; false where it has fewer."""
    child = os.fork()
    if child == 0:
        left = step

        def dying(change: Callable[..., Any]) -> Callable[..., Any]:
            def instead(*args: Any, **options: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return change(*args, **options)

            return instead

        for name in ("replace", "link", "unlink"):
            setattr(os, name, dying(getattr(os, name)))
        try:
            train(folder)
        except Exception:  # noqa: BLE001 - shown, and told by the exit status
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.slow
def test_killed_anywhere_both_checkpoints_of_the_ledger_find_the_best_weights_they_speak_of(tmp_path: Path) -> None:
    steps = 0
    for step in range(1, 200):
        folder = tmp_path / str(step) / "1"
        was_killed = killed_at(step, folder)
        known = ledger_of(folder)
        for checkpoint in known:
            assert usable([checkpoint]) == checkpoint
            best = Best(**torch.load(checkpoint.path)["meta"][META_KEY])
            assert best.epoch == max(epoch for epoch in BEST_AT if epoch <= checkpoint.epoch)
            later = files_of(tmp_path / str(step) / f"2-{checkpoint.epoch}")
            assert later.adopt_best(best, folder), (step, checkpoint.epoch)
            assert sha256_file(later.paths.best_weights) == best.sha
            assert json.loads(later.paths.best_predictions.read_text()) == [best.epoch]
        predicted = AttemptPaths(folder).predictions
        assert not predicted.exists() or len(json.loads(predicted.read_text())) == 1
        if not was_killed:
            break
        steps += 1
    assert steps > 30
    assert [c.epoch for c in known] == [5, 4]
    # Those of epochs 1 and 2 are of no checkpoint that may be used.
    assert [torch.load(path)["epoch"].item() for path, _ in best_files(AttemptPaths(folder))] == [5, 3]


def test_weights_that_came_after_the_last_checkpoint_are_the_best_where_the_ledger_says_so(tmp_path: Path) -> None:
    files = files_of(tmp_path / "1")
    first = Best(0.1, 1, files.save_best(OrderedDict(epoch=torch.tensor(1)), 1))
    files.save_checkpoint(Runner(), 1, first)
    files.save_best(OrderedDict(epoch=torch.tensor(2)), 2)
    tidy_after_end(tmp_path, 1, [files.paths.checkpoint(1)])
    assert trained._best((files.paths,), 2) == files.paths.best_weights
    # Had epoch 1 been the best, these are not its weights.
    assert trained._best((files.paths,), 1) is None


def raise_full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_stop_on_a_full_disk_saves_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    files = files_of(tmp_path / "1")

    class Full(Runner):
        def save_checkpoint(self, folder: str, name: str, meta: dict[str, Any]) -> None:
            (Path(folder) / name).write_bytes(b"half of it")
            raise_full()

    assert files.save_preempted(Full(), 3, 40, Position(4), None) is None
    assert {path.name for path in files.paths.folder.iterdir()} == {"journal"}
    saved = files.save_preempted(Runner(), 3, 40, Position(4, told={"sums": {"loss": 0.1}}), None)
    assert saved is not None
    meta = torch.load(saved.path)["meta"]
    assert (saved.epoch, meta["epoch"], meta["iter"]) == (3, 3, 40)
    assert Position(**meta["posestudy_position"]) == Position(4, told={"sums": {"loss": 0.1}})


def test_a_metric_waits_for_a_full_disk_and_a_stop_ends_the_wait(tmp_path: Path) -> None:
    files = files_of(tmp_path / "1", disk_retry_s=0.01)
    control, tries = files._control, []

    def evaluate(size: int) -> dict[str, float]:
        tries.append(size)
        if len(tries) < 3:
            raise_full()
        return {"AP": 0.5}

    assert _Patient(evaluate, control)(12) == {"AP": 0.5}
    assert tries == [12, 12, 12]
    assert json.loads(control.other_end.recv_bytes())["type"] == "paused"  # type: ignore[attr-defined]
    tries.clear()
    control.stop("the user")
    with pytest.raises(Preempted):
        _Patient(lambda size: raise_full(), control)(12)


def test_results_of_a_validation_get_their_name_when_it_is_over(tmp_path: Path) -> None:
    files = files_of(tmp_path / "1")
    files.paths.predictions.write_text("[1]")
    files.paths.validating.write_text("[2, 3")
    # Killed now, the earlier ones are what the next attempt takes over.
    later = files_of(tmp_path / "2")
    later.adopt_predictions(files.paths.folder)
    assert later.paths.predictions.read_text() == "[1]"
    files.paths.validating.write_text("[2, 3]")
    files.keep_predictions()
    assert files.paths.predictions.read_text() == "[2, 3]"
    assert not files.paths.validating.exists()


def test_accumulated_gradients_are_never_in_a_checkpoint() -> None:
    from mmengine.optim import OptimWrapper

    from posestudy_runner.hooks import _gathers_gradients

    weight = torch.nn.Linear(1, 1)
    wrapper = OptimWrapper(torch.optim.SGD(weight.parameters(), lr=0.1), accumulative_counts=3)
    wrapper.initialize_count_status(weight, 0, 7)
    seen = []
    for _ in range(7):
        wrapper.update_params(weight(torch.ones(1)).sum())
        seen.append(_gathers_gradients(SimpleNamespace(optim_wrapper=wrapper)))
    assert seen == [True, True, False, True, True, False, False]
