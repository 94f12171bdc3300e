"""The study as a tidy pandas frame: one row per trial, documented columns, one `factor.*` column per factor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from posestudy.ledger.records import TrialRecord
from posestudy.ledger.value_columns import ValueColumns
from posestudy_reports import words
from posestudy_reports.footnotes import origin
from posestudy_reports.results import CellResult, StageResult, StudyResult

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

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
    "key": "64 hexadecimal digits: equal where two cells are one configuration on one data set",
    "device": "what it was trained on; missing where that is not known",
    "parameters": "of the network",
    "gmacs": "multiply-adds of one image in 1e9, which papers print as GFLOPs",
    "latency_p50_ms": "median time of one image, in milliseconds, on `profile_device`",
    "latency_p95_ms": "its 95th percentile",
    "fps": "images a second there",
    "profile_device": "what the three were measured on; missing where the network was not measured",
}
"""What the columns hold; after them one column `factor.NAME` per factor of the study, its resolved level in words."""


_WHOLE: Final = ("number", "stage_ordinal", "seed", "final_epoch", "best_epoch", "attempts", "parameters")
_REAL: Final = (
    "final", "best", "delta", "duration_s", "peak_memory_mb", "gmacs", "latency_p50_ms", "latency_p95_ms", "fps",
)  # fmt: skip


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
            of_cell = _cell_columns(result, stage, cell, factors)
            rows += [
                of_cell
                | _trial_columns(trial)
                | {
                    "attempts": attempts.get(trial.uid, 0),
                    "mlflow_run_id": result.runs.get(trial.uid),
                }
                for trial in cell.trials
            ]
    table = pd.DataFrame(rows, columns=[*COLUMNS, *(f"factor.{name}" for name in factors)])
    return table.astype(dict.fromkeys(_WHOLE, "Int64") | dict.fromkeys(_REAL, "Float64"))


def _cell_columns(result: StudyResult, stage: StageResult, cell: CellResult, factors: Sequence[str]) -> dict[str, Any]:
    """What all trials of a cell have alike."""
    levels = {f"factor.{name}": words.level(result.level(cell.cell.config, name), name) for name in factors}
    return {
        "stage": stage.stage.name,
        "stage_ordinal": stage.stage.ordinal,
        "cell": cell.cell.name,
        "label": cell.label,
        "note": cell.cell.note,
        "levels": words.levels(cell.cell.levels),
        "delta": stage.delta(cell),
        "key": cell.cell.key,
        **levels,
    }


def _trial_columns(trial: TrialRecord) -> dict[str, Any]:
    profile = trial.profile or {}
    return {
        "uid": trial.uid,
        "number": trial.number,
        "seed": trial.seed,
        "outcome": trial.outcome.value if trial.outcome else None,
        "final": trial.final_value,
        "final_epoch": trial.final_epoch,
        "best": trial.best_value,
        "best_epoch": trial.best_epoch,
        "duration_s": trial.duration_s,
        "peak_memory_mb": trial.peak_memory_mb,
        "source": origin(trial),
        "device": trial.provenance.get("device_name") or trial.provenance.get("device"),
        "profile_device": profile.get("device_name"),
        **{name: profile.get(name) for name in ("parameters", "gmacs", "latency_p50_ms", "latency_p95_ms", "fps")},
    }


def values(result: StudyResult) -> pd.DataFrame:
    """Every number of every epoch: uid, mlflow_run_id, number, epoch, metric, value; in that order of rows.

    uid, mlflow_run_id and metric are categories, so that a row takes some 20 bytes.
    """
    import numpy as np
    import pandas as pd

    columns = result.columns
    numbers = {trial.uid: trial.number for trial in result.snapshot.trials}
    order = sorted((uid for uid in columns.uids if uid in numbers), key=lambda uid: numbers[uid])
    names = sorted(columns.metrics)
    parts = [_trial_values(columns.rows_of(uid), columns, names) for uid in order]
    counts = [len(number) for _, _, number in parts]
    places = np.repeat(np.arange(len(order), dtype=np.int32), counts)
    epochs, metrics, found = (
        np.concatenate([part[i] for part in parts]) if parts else np.zeros(0, kind)
        for i, kind in enumerate((np.int32, np.int16, np.float64))
    )
    runs = [result.runs.get(uid) for uid in order]
    known = list(dict.fromkeys(run for run in runs if run))
    by_run = {run: place for place, run in enumerate(known)}
    codes = np.array([by_run[run] if run else -1 for run in runs], dtype=np.int32)
    return pd.DataFrame(
        {
            "uid": pd.Categorical.from_codes(places, categories=pd.Index(order, dtype="str")),
            "mlflow_run_id": pd.Categorical.from_codes(codes[places], categories=pd.Index(known, dtype="str")),
            "number": np.array([numbers[uid] for uid in order], dtype=np.int32)[places],
            "epoch": epochs,
            "metric": pd.Categorical.from_codes(metrics, categories=pd.Index(names, dtype="str")),
            "value": found,
        },
        copy=False,
    )


def _trial_values(
    rows: range, columns: ValueColumns, names: Sequence[str]
) -> tuple[NDArray[np.int32], NDArray[np.int16], NDArray[np.float64]]:
    """Epoch, place of the name and number of all that one trial has; in order of epoch and name."""
    import numpy as np

    part = slice(rows.start, rows.stop)
    picked = [columns.metrics[name] for name in names]
    numbers = np.stack([column.numbers[part] for column in picked], axis=1)
    known = np.ones_like(numbers, dtype=np.bool_)
    for place, column in enumerate(picked):
        if column.known is not None:
            known[:, place] = column.known[part]
    row, name = np.nonzero(known)
    return columns.epochs[part][row], name.astype(np.int16), numbers[known]
