"""Which metric a study is judged by, and which of its trials stands best at the moment."""

from __future__ import annotations

import math

from posestudy.errors import LedgerError, nearest
from posestudy.ledger.records import Snapshot, StudyRecord, TrialRecord
from posestudy.vocabulary import METRICS, Metric, TrialState


def metric_of(study: StudyRecord) -> Metric:
    """The metric of `study`; LedgerError where its document names none that is known."""
    name = study.document.get("metric")
    metric = METRICS.get(name) if isinstance(name, str) else None
    if metric is None:
        raise LedgerError(
            f"study '{study.name}' names the metric {name!r}, which this posestudy does not know; expected one of "
            f"{', '.join(METRICS)} {nearest(str(name), METRICS)}".rstrip()
        )
    return metric


def best_trial(snapshot: Snapshot) -> str | None:
    """Uid of the finished trial with the best value of the study's metric; of equals the lowest number."""
    direction = metric_of(snapshot.study).direction
    best: TrialRecord | None = None
    for trial in sorted(snapshot.trials, key=lambda t: t.number):
        if trial.state is not TrialState.DONE or trial.outcome is None or not trial.outcome.is_result:
            continue
        if trial.best_value is None or math.isnan(trial.best_value):
            continue
        if best is None or best.best_value is None or direction.better(trial.best_value, best.best_value):
            best = trial
    return best.uid if best else None
