"""The trial a command was asked for, and what its training has left on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from posestudy.errors import NotFoundError
from posestudy.home import AttemptPaths, Home, safe_part
from posestudy.ledger.records import Checkpoint, Snapshot, TrialRecord
from posestudy.projections.standing import metric_of
from posestudy.vocabulary import Direction, Outcome

Which = Literal["best", "last"]
WHICH: tuple[Which, ...] = get_args(Which)

BEST_RULE = "best: the completed trial with the best final value of the study's metric, of equals the lowest number"


@dataclass(frozen=True)
class Trained:
    """A network to predict with.

    Attributes:
        config, weights: MMPose's config file, and a checkpoint or state_dict.
        name: as a sentence names it.
        epoch: after which the weights were kept; None: not known.
        attempts: the folders of the attempts that trained it, the latest first.
    """

    config: Path
    weights: Path
    name: str
    epoch: int | None = None
    attempts: tuple[AttemptPaths, ...] = ()


def choose(snapshot: Snapshot, asked: str) -> TrialRecord:
    """The trial with the number `asked`, or the best one.

    Raises:
        NotFoundError: there is none, saying what there is.
    """
    study, trials = snapshot.study.name, snapshot.trials
    if asked == "best":
        found = best_of(trials, metric_of(snapshot.study).direction)
        if found is None:
            raise NotFoundError(f"no trial of '{study}' is completed, so none is the best; expected --trial N")
        return found
    for trial in trials:
        if str(trial.number) == asked:
            return trial
    numbers = f"its trials are numbered {trials[0].number} to {trials[-1].number}" if trials else "it has no trial"
    raise NotFoundError(f"no trial {asked} in the study '{study}': {numbers}; expected a number or best")


def best_of(trials: Iterable[TrialRecord], direction: Direction) -> TrialRecord | None:
    """The completed trial with the best final value, of equals the lowest number; None where none is completed."""
    best: TrialRecord | None = None
    for trial in sorted(trials, key=lambda t: t.number):
        if trial.outcome is not Outcome.COMPLETED or trial.final_value is None:
            continue
        if best is None or best.final_value is None or direction.better(trial.final_value, best.final_value):
            best = trial
    return best


def files_of(home: Home, snapshot: Snapshot, trial: TrialRecord, which: Which, *, test: bool = False) -> Trained:
    """The config and the weights that training `trial` has left; with `test` the config loads the test split.

    The best weights are held against the checksum that the last checkpoint has of them.

    Raises:
        NotFoundError: it was imported, its config or weights are not on this machine, or its study has no test split;
            the message names what is missing.
    """
    if test and not (snapshot.study.document.get("dataset") or {}).get("test"):
        raise NotFoundError(
            f"the data of '{snapshot.study.name}' have no test split; expected dataset.test in its study file, as "
            "`test: {annotations: annotations/test.json, images: images}`; then launch again, which trains nothing anew"
        )
    name = f"trial {trial.number} of '{snapshot.study.name}'"
    study, number = snapshot.study.name, trial.number
    if trial.source is not None and trial.source.get("kind") == "reused":
        study, number = str(trial.source["study"]), int(trial.source["number"])
    elif trial.source is not None:
        raise NotFoundError(
            f"{name} was imported ({trial.source.get('file', 'a table of results')}), so it has no weights; "
            "expected a trial that was trained here"
        )
    attempts = home.attempts(study, number)
    config = next((paths.config for paths in attempts if paths.config.is_file()), None)
    folder, state = home.runs / safe_part(study) / str(number), f"it is {trial.outcome or trial.state}"
    if config is None:
        raise NotFoundError(f"{name} has no config.py in {folder} ({state}); expected one on the host that trains")
    weights = _last(attempts, trial) if which == "last" else _best(attempts, trial.best_epoch)
    if weights is None:
        other = trial.provenance.get("evaluated")
        if which == "last" and other:
            raise NotFoundError(
                f"{name} only evaluated the weights of trial {other.get('number')} of '{other.get('study')}', so it "
                "has no last checkpoint; expected --weights best, or that trial"
            )
        file = "best.pth, which the first validation writes" if which == "best" else "epoch_N.pth, its last checkpoint"
        raise NotFoundError(f"{name} has no weights in {folder} ({state}); expected {file} on the host that trains")
    if test:
        from posestudy_runner.tested_config import with_test_split

        config = with_test_split(home, config, snapshot, trial)
    epoch = trial.best_epoch if which == "best" else (_epoch(weights) or trial.final_epoch)
    return Trained(config, weights, name, epoch, attempts)


def _best(attempts: tuple[AttemptPaths, ...], best_epoch: int | None) -> Path | None:
    from posestudy.durable import sha256_file
    from posestudy_runner.checkpoints import META_KEY, best_files
    from posestudy_runner.transpose_weights import load

    for paths in attempts:
        kept = [weights for weights, _ in best_files(paths)]
        checkpoint = _newest(paths)
        known: Any = load(checkpoint).get("meta", {}).get(META_KEY) if checkpoint else None
        # A trial that ended between two checkpoints has better weights than its last one speaks of.
        if known and int(known["epoch"]) >= (best_epoch or 0):
            kept = [file for file in kept if sha256_file(file) == known["sha"]]
        if kept:
            return kept[0]
    return None


def _last(attempts: tuple[AttemptPaths, ...], trial: TrialRecord) -> Path | None:
    from posestudy_runner.checkpoints import usable

    rows = ((trial.ckpt_path, trial.ckpt_sha, trial.ckpt_epoch),)
    sound = usable([Checkpoint(path, sha, epoch) for path, sha, epoch in rows if path and sha])
    if sound is not None:
        return Path(sound.path)
    found = [_newest(paths) for paths in attempts] if trial.ckpt_path is None else []
    return next((path for path in found if path is not None), None)


def _newest(paths: AttemptPaths) -> Path | None:
    return max(paths.folder.glob("epoch_*.pth"), key=lambda path: _epoch(path) or 0, default=None)


def _epoch(checkpoint: Path) -> int | None:
    digits = checkpoint.stem.removeprefix("epoch_")
    return int(digits) if digits.isdecimal() else None
