"""The numbers behind the figures of a study, as frames for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from posestudy_reports.quantities import Range
from posestudy_reports.results import StudyResult
from posestudy_reports.tradeoff import tradeoffs
from posestudy_reports.training_times import training_times

if TYPE_CHECKING:
    import pandas as pd

TRADEOFF_COLUMNS: Final[dict[str, str]] = {
    "cost": "gflops (multiply-adds in 1e9), latency (ms) or train_time (s)",
    "stage": "name of the stage",
    "cell": "name of the cell, unique in its stage",
    "label": "its label in the figure",
    "network": "name of its network",
    "head": "heatmap, SimCC, regression or RLE",
    "cost_mean": "mean cost over the seeds",
    "cost_low": "smallest",
    "cost_high": "largest",
    "metric_mean": "mean final metric over the seeds",
    "metric_low": "smallest",
    "metric_high": "largest",
    "on_front": "whether no other cell is as good and as cheap",
    "device": "where the cost was measured; missing where it makes no difference or is not known",
    "trial_uid": "the cell's completed trials, with spaces between",
    "mlflow_run_id": "their runs in MLflow, likewise; - where one was not projected",
}
"""The columns of `StudyReport.tradeoff`."""
TRAINING_TIME_COLUMNS: Final[dict[str, str]] = {
    "stage": "name of the stage",
    "cell": "name of the cell, unique in its stage",
    "label": "its label in the figure",
    "family": "family of its network",
    "head": "heatmap, SimCC, regression or RLE",
    "epochs": "epochs it was trained",
    "seconds_mean": "mean training time over the seeds",
    "seconds_low": "smallest",
    "seconds_high": "largest",
    "trial_uid": "the cell's completed trials, with spaces between",
    "mlflow_run_id": "their runs in MLflow, likewise; - where one was not projected",
}
"""The columns of `StudyReport.training_times`."""


def tradeoff_frame(result: StudyResult) -> pd.DataFrame:
    """One row per cost and cell, as the figures show them."""
    import pandas as pd

    rows = [
        {
            "cost": found.quantity.name,
            "stage": p.stage,
            "cell": p.cell,
            "label": p.label,
            "network": p.network,
            "head": p.head,
            **_range("cost", p.cost),
            **_range("metric", p.metric),
            "on_front": p.on_front,
            "device": found.device or None,
            **_addresses(result, p.uids),
        }
        for found in tradeoffs(result)
        for p in found.points
    ]
    return pd.DataFrame(rows, columns=list(TRADEOFF_COLUMNS))


def training_time_frame(result: StudyResult) -> pd.DataFrame:
    """One row per bar of the chart of training times."""
    import pandas as pd

    times = training_times(result)
    rows = [
        {
            "stage": bar.stage,
            "cell": bar.cell,
            "label": bar.label,
            "family": bar.family,
            "head": bar.head,
            "epochs": bar.epochs,
            **_range("seconds", bar.seconds),
            **_addresses(result, bar.uids),
        }
        for bar in (times.bars if times else ())
    ]
    return pd.DataFrame(rows, columns=list(TRAINING_TIME_COLUMNS))


def _range(name: str, found: Range) -> dict[str, float]:
    return {f"{name}_mean": found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def _addresses(result: StudyResult, uids: tuple[str, ...]) -> dict[str, Any]:
    return {"trial_uid": " ".join(uids), "mlflow_run_id": " ".join(result.runs.get(uid) or "-" for uid in uids)}
