"""The study as a tidy pandas frame: one row per trial, documented columns, one `factor.*` column per factor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from posestudy_reports import words
from posestudy_reports.footnotes import origin
from posestudy_reports.results import StudyResult

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: Final[dict[str, str]] = {
    "uid": "address of every number of the trial, 32 hexadecimal digits",
    "number": "trial number, unique in the study",
    "stage": "name of the stage",
    "stage_ordinal": "place of the stage in the study, from 0",
    "cell": "name of the cell, unique in its stage",
    "label": "the author's row label",
    "note": "the author's policy text",
    "seed": "seed of the replicate",
    "levels": "the factors the cell sets, in words; empty for a baseline",
    "outcome": "how the trial ended; missing while it is open",
    "final": "the study's metric at the last evaluated epoch",
    "final_epoch": "that epoch",
    "best": "the study's metric at its best evaluated epoch",
    "best_epoch": "that epoch",
    "delta": "mean final metric of the cell minus the mean of its stage's baseline; missing for the baseline",
    "duration_s": "seconds of training over all attempts",
    "attempts": "tries it took",
    "peak_memory_mb": "peak memory in MiB, of the device or the process",
    "mlflow_run_id": "the run in MLflow; missing where it was not projected",
    "source": "where the result comes from that was not trained for this row; missing where it was",
}
"""What the columns hold; after them one column `factor.NAME` per factor of the study, its resolved level in words."""


def frame(result: StudyResult) -> pd.DataFrame:
    """One row per trial in order of stage, cell and number."""
    import pandas as pd

    factors = list(dict.fromkeys(name for stage in result.stages for name in stage.factors))
    attempts: dict[str, int] = {}
    for attempt in result.snapshot.attempts:
        attempts[attempt.trial_uid] = attempts.get(attempt.trial_uid, 0) + 1
    rows: list[dict[str, Any]] = []
    for stage in result.stages:
        for cell in stage.cells:
            for trial in cell.trials:
                row: dict[str, Any] = {
                    "uid": trial.uid,
                    "number": trial.number,
                    "stage": stage.stage.name,
                    "stage_ordinal": stage.stage.ordinal,
                    "cell": cell.cell.name,
                    "label": cell.label,
                    "note": cell.cell.note,
                    "seed": trial.seed,
                    "levels": words.levels(cell.cell.levels),
                    "outcome": trial.outcome.value if trial.outcome else None,
                    "final": trial.final_value,
                    "final_epoch": trial.final_epoch,
                    "best": trial.best_value,
                    "best_epoch": trial.best_epoch,
                    "delta": stage.delta(cell),
                    "duration_s": trial.duration_s,
                    "attempts": attempts.get(trial.uid, 0),
                    "peak_memory_mb": trial.peak_memory_mb,
                    "mlflow_run_id": result.runs.get(trial.uid),
                    "source": origin(trial),
                }
                row |= {f"factor.{name}": words.level(result.level(cell.cell.config, name), name) for name in factors}
                rows.append(row)
    table = pd.DataFrame(rows, columns=[*COLUMNS, *(f"factor.{name}" for name in factors)])
    numbers = dict.fromkeys(("number", "stage_ordinal", "seed", "final_epoch", "best_epoch", "attempts"), "Int64")
    numbers |= dict.fromkeys(("final", "best", "delta", "duration_s", "peak_memory_mb"), "Float64")
    return table.astype(numbers)


def values(result: StudyResult) -> pd.DataFrame:
    """Every number of every epoch: uid, mlflow_run_id, number, epoch, metric, value; in that order of rows."""
    import pandas as pd

    names = ["uid", "mlflow_run_id", "number", "epoch", "metric", "value"]
    rows = [
        (trial.uid, result.runs.get(trial.uid), trial.number, value.epoch, name, number)
        for trial in sorted(result.snapshot.trials, key=lambda t: t.number)
        for value in result.values.get(trial.uid, ())
        for name, number in sorted(value.metrics.items())
    ]
    return pd.DataFrame(rows, columns=names)
