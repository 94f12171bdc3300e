"""What a report reads of a home: the saved matches of a trial's last validation, and the size of its files."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

from posestudy.durable import sha256_file
from posestudy.home import AttemptPaths, Home
from posestudy.ledger.records import Snapshot, TrialRecord
from posestudy.vocabulary import Metric
from posestudy_reports import bootstrap
from posestudy_reports.bootstrap import Evidence

_SAME: Final = {"abs_tol": 1e-6, "rel_tol": 1e-5}


def same(left: float, right: float) -> bool:
    """Whether two evaluations of a metric agree: MMPose measures distances in float32."""
    return math.isclose(left, right, **_SAME)


class SavedMatches:
    """The matches or distances of trials, each read once. Without a home there are none."""

    def __init__(self, home: Home | None = None) -> None:
        self.home = home
        self._read: dict[str, tuple[AttemptPaths, Evidence] | None] = {}
        self._against: dict[str, str] = {}

    def of(self, study: str, trial: TrialRecord) -> Evidence | None:
        """Those of the epoch of the trial's final value, from whichever attempt evaluated it; None: not there.

        A reused trial has no folder: its source's is looked into. What is gone, damaged or of another epoch is
        as good as missing; the report then says that it is.
        """
        found = self._found(study, trial)
        return found[1] if found else None

    def _found(self, study: str, trial: TrialRecord) -> tuple[AttemptPaths, Evidence] | None:
        if trial.uid not in self._read:
            where = attempts(self.home, study, trial) if self.home else ()
            found = ((paths, _whole(paths)) for paths in where)
            whole = ((paths, m) for paths, m in found if m is not None and m.epoch == trial.final_epoch)
            self._read[trial.uid] = next(whole, None)
        return self._read[trial.uid]

    def contradiction(self, study: str, metric: Metric, trial: TrialRecord) -> str:
        """What the saved files say against the recorded final value, as the end of a sentence; empty: nothing.

        Files that are gone say nothing. Predictions that were changed, or exchanged with another trial's, are not those
        that the matches beside them were made from, or their matches give another value.
        """
        if trial.uid not in self._against:
            self._against[trial.uid] = self._contradiction(study, metric, trial)
        return self._against[trial.uid]

    def _contradiction(self, study: str, metric: Metric, trial: TrialRecord) -> str:
        if trial.final_value is None or metric.name not in bootstrap.REBUILT:
            return ""
        found = self._found(study, trial)
        if found is None or metric.name not in found[1].metrics:
            return ""
        paths, evidence = found
        given = bootstrap.value(evidence, metric.name)
        if not same(given, trial.final_value):
            return f"the ledger says {metric.short} {trial.final_value:.6g}, the saved matches give {given:.6g}"
        known = evidence.predictions_sha256 if paths.predictions.is_file() else ""
        if known and sha256_file(paths.predictions) != known:
            return "the saved predictions are not those that were evaluated (their checksum differs)"
        return ""

    def predictions(self, study: str, trial: TrialRecord) -> Path | None:
        """The file of the predictions that gave the trial its final value; None where it is gone."""
        return self._file(study, trial, lambda paths: paths.predictions)

    def best_predictions(self, study: str, trial: TrialRecord) -> Path | None:
        """The file of the predictions of its best evaluated epoch, likewise."""
        return self._file(study, trial, lambda paths: paths.best_predictions)

    def _file(self, study: str, trial: TrialRecord, of: Callable[[AttemptPaths], Path]) -> Path | None:
        where = attempts(self.home, study, trial) if self.home else ()
        return next((of(paths) for paths in where if of(paths).is_file()), None)


def attempts(home: Home, study: str, trial: TrialRecord) -> tuple[AttemptPaths, ...]:
    """The attempts that made the results of a trial of `study`, the latest first: of a reused one its source's."""
    source = trial.source
    if source is None:
        return home.attempts(study, trial.number)
    if source.get("kind") == "reused":
        return home.attempts(str(source["study"]), int(source["number"]))
    return ()


def _whole(paths: AttemptPaths) -> Evidence | None:
    try:
        return bootstrap.read(paths.matches)
    except (OSError, bootstrap.UnreadableMatchesError):
        return None


def disk_bytes(home: Home, snapshot: Snapshot) -> int | None:
    """What the folders of a study's trials take; None where there are none."""
    folders = [paths.folder for trial in snapshot.trials for paths in home.attempts(snapshot.study.name, trial.number)]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum(path.stat().st_size for path in files) if files else None
