"""A report made of the saved predictions alone: every value is evaluated again before anything is computed of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from posestudy.errors import MissingDataError, PoseStudyError
from posestudy.home import Home
from posestudy.ledger.records import Snapshot, TrialRecord
from posestudy.vocabulary import Metric
from posestudy_reports import bootstrap, distances
from posestudy_reports.bootstrap import Evidence
from posestudy_reports.footnotes import imported_from
from posestudy_reports.report import StudyReport
from posestudy_reports.saved_matches import SavedMatches, same
from posestudy_reports.saved_pictures import SavedPictures
from posestudy_studies.spec import Study, Training

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Evaluation(Protocol):
    """What `posestudy_runner.re_evaluation.ReEvaluation` does."""

    def evidence(self, training: Training, predictions: Path) -> dict[str, NDArray[Any]]: ...

    def metrics(self, training: Training, predictions: Path) -> dict[str, float]: ...


@dataclass(frozen=True)
class Recomputed:
    """A report as the predictions give it.

    Attributes:
        finals, bests: uids of the trials whose final or best value the predictions gave.
        differing: by uid, what the predictions give where that is not what the ledger says, as a sentence's end.
        without: by uid, why a value of a trial that was trained here could not be evaluated again.
    """

    report: StudyReport
    finals: frozenset[str]
    bests: frozenset[str]
    differing: Mapping[str, str]
    without: Mapping[str, str]


class _Again(SavedMatches):
    """Matches that are made of the predictions there and then; nothing saved of an earlier evaluation is believed."""

    def __init__(self, home: Home | None, evidence: Mapping[str, Evidence]) -> None:
        super().__init__(home)
        self._evidence = evidence

    def of(self, study: str, trial: TrialRecord) -> Evidence | None:
        return self._evidence.get(trial.uid)

    def contradiction(self, study: str, metric: Metric, trial: TrialRecord) -> str:
        return ""


def recomputed(
    snapshot: Snapshot,
    runs: Mapping[str, str],
    home: Home,
    disk_bytes: int | None,
    evaluation: Callable[[Study], Evaluation],
) -> Recomputed:
    """The report of `snapshot` from the predictions in `home`.

    Raises:
        PoseStudyError: the study is not understood, or its validation data cannot be read.
    """
    saved, bare = SavedMatches(home), StudyReport(snapshot, runs)
    if bare.material.study is None:
        raise PoseStudyError(f"the study file of '{bare.name}' in the ledger is not understood by this posestudy")
    again = _Evaluator(bare, saved, evaluation(bare.material.study))
    trials = tuple(again.trial(trial) for trial in snapshot.trials)
    report = StudyReport(
        replace(snapshot, trials=trials), runs, _Again(home, again.found), disk_bytes, SavedPictures(home)
    )
    report.result = replace(report.result, evaluated_again=again.metrics)
    return Recomputed(report, frozenset(again.finals), frozenset(again.bests), again.differing, again.without)


class _Evaluator:
    def __init__(self, report: StudyReport, saved: SavedMatches, evaluation: Evaluation) -> None:
        self._name, self._metric, self._saved, self._evaluation = report.name, report.result.metric, saved, evaluation
        self._configs = {cell.id: cell.config for cell in report.result.snapshot.cells}
        self.found: dict[str, Evidence] = {}
        self.metrics: dict[str, dict[str, float]] = {}
        self.finals: set[str] = set()
        self.bests: set[str] = set()
        self.differing: dict[str, str] = {}
        self.without: dict[str, str] = {}

    def trial(self, trial: TrialRecord) -> TrialRecord:
        """The trial with the values that its predictions give, where it has any."""
        if (trial.final_value is None and trial.best_value is None) or imported_from(trial) is not None:
            return trial
        training = Training.model_validate(self._configs[trial.cell_id])
        final = self._saved.predictions(self._name, trial)
        best = self._saved.best_predictions(self._name, trial)
        missing = (trial.final_value is not None and final is None) or (trial.best_value is not None and best is None)
        if missing:
            self.without[trial.uid] = "has no predictions"
        try:
            if final is not None and trial.final_value is not None:
                trial = self._with_final(trial, training, final)
            return self._with_best(trial, training, best) if best else trial
        except MissingDataError:
            raise
        except (OSError, PoseStudyError) as error:
            self.without[trial.uid] = f"cannot be evaluated again: {error}"
            return trial

    def _with_final(self, trial: TrialRecord, training: Training, predictions: Path) -> TrialRecord:
        metrics = self._evaluation.metrics(training, predictions)
        given = metrics.get(self._metric.name)
        if given is None:
            self.without[trial.uid] = f"has predictions without {self._metric.short}"
            return trial
        arrays = self._evaluation.evidence(training, predictions) | {"epoch": np.asarray(trial.final_epoch or 0)}
        self.found[trial.uid] = bootstrap.of(arrays) if "dt_score" in arrays else distances.of(arrays)
        self.metrics[trial.uid] = metrics
        self.finals.add(trial.uid)
        if same(given, trial.final_value or 0.0):
            self.metrics[trial.uid] = metrics | {self._metric.name: trial.final_value or 0.0}
            return trial
        self.differing[trial.uid] = self._said(trial.final_value, given)
        return replace(trial, final_value=given)

    def _with_best(self, trial: TrialRecord, training: Training, predictions: Path) -> TrialRecord:
        given = self._evaluation.metrics(training, predictions).get(self._metric.name)
        if given is None or trial.best_value is None:
            return trial
        self.bests.add(trial.uid)
        if same(given, trial.best_value):
            return trial
        self.differing.setdefault(trial.uid, self._said(trial.best_value, given))
        return replace(trial, best_value=given)

    def _said(self, recorded: float | None, given: float) -> str:
        return f"the ledger says {self._metric.short} {recorded:.6g}, its predictions give {given:.6g}"
