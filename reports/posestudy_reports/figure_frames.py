"""The numbers behind the figures of a study, as frames for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from posestudy_reports.budget_time import history
from posestudy_reports.comparison import Comparison
from posestudy_reports.curves import Curve, bands
from posestudy_reports.effects import effects
from posestudy_reports.factor_space import space
from posestudy_reports.heat_map import heat_maps
from posestudy_reports.importance import importance, measurable
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
CURVE_COLUMNS: Final[dict[str, str]] = {
    "stage": "name of the stage",
    "label": "label of the cell",
    "role": "baseline, carried or empty",
    "epoch": "an epoch that all its seeds have evaluated",
    "mean": "mean of the study's metric over the seeds",
    "low": "smallest",
    "high": "largest",
    "seeds": "how many: the completed ones, or all where none is completed",
    "named": "whether the figure has it in colour and in its legend",
    "trial_uid": "their trials, with spaces between",
    "mlflow_run_id": "their runs in MLflow, likewise; - where one was not projected",
}
"""The columns of `StudyReport.learning_curves`."""
EFFECT_COLUMNS: Final[dict[str, str]] = {
    "figure": "which figure it is in, from 1",
    "stage": "name of the stage",
    "cell": "name of the cell, unique in its stage",
    "label": "its label in the figure",
    "difference": "mean final metric minus the mean of the stage's baseline",
    "images_low": "lower end of the interval over validation images; missing where there is none",
    "images_high": "its upper end",
    "seeds_low": "lower end of the interval over seeds; missing where there is none",
    "seeds_high": "its upper end",
    "seeds_method": "paired t, pooled t, or range (which has no confidence)",
    "resolved": "whether the point is filled",
    "joint": "whether several factors differ at once",
    "trial_uid": "the completed trials of the cell and of the baseline, with spaces between",
    "mlflow_run_id": "their runs in MLflow, likewise; - where one was not projected",
}
"""The columns of `StudyReport.effects`."""
IMPORTANCE_COLUMNS: Final[dict[str, str]] = {
    "stage": "name of the stage",
    "factor": "name of the factor in the study file",
    "fanova": "its share by fANOVA, 0 to 1; missing where scikit-learn is not installed",
    "ped_anova": "its share by PED-ANOVA, 0 to 1",
    "cells": "how many cells with a value they were computed from",
}
"""The columns of `StudyReport.importance`."""
HEAT_MAP_COLUMNS: Final[dict[str, str]] = {
    "stage": "name of the stage",
    "across": "factor along the lower edge",
    "up": "factor along the left edge",
    "across_level": "level of the first, as printed",
    "up_level": "level of the second",
    "value": "final metric, the mean over seeds; missing where the cell has none",
    "ending": "how the cell ended without a value, in words; else missing",
    "cell": "name of the cell; of several with these levels the best",
    "best": "whether it is the best of the map",
    "trial_uid": "its trials, with spaces between",
    "mlflow_run_id": "their runs in MLflow, likewise; - where one was not projected",
}
"""The columns of `StudyReport.heat_maps`."""
HISTORY_COLUMNS: Final[dict[str, str]] = {
    "order": "place among the trials that this study ran, by the time of their end, from 1",
    "stage": "name of the stage",
    "label": "label of the cell",
    "number": "number of the trial",
    "seed": "its seed",
    "ended": "when it ended, UTC",
    "seconds": "device time it took, s; missing where that is not known",
    "spent": "device time of all trials that had ended by then, s",
    "value": "final metric; missing where it has none that counts",
    "ending": "how it ended, in words",
    "best": "best value so far; missing before the first",
    "trial_uid": "the trial",
    "mlflow_run_id": "its run in MLflow; - where it was not projected",
}
"""The columns of `StudyReport.history`."""


def curve_frame(result: StudyResult, drawn: Sequence[Sequence[Curve]]) -> pd.DataFrame:
    """One row per stage, cell and epoch, as the learning curves show them; `drawn` are the curves of each stage."""
    import pandas as pd

    rows = [
        {
            "stage": stage.stage.name,
            "label": band.label,
            "role": band.role,
            "epoch": epoch,
            "mean": band.mean[i],
            "low": band.low[i],
            "high": band.high[i],
            "seeds": len(band.members),
            "named": band.named,
            **_addresses(result, tuple(curve.uid for curve in band.members)),
        }
        for stage, mine in zip(result.stages, drawn, strict=True)
        for band in bands(mine, result.metric.direction)
        for i, epoch in enumerate(band.epochs)
    ]
    return pd.DataFrame(rows, columns=list(CURVE_COLUMNS))


def effect_frame(result: StudyResult, compared: Sequence[Comparison]) -> pd.DataFrame:
    """One row per cell that a figure of effects shows."""
    import pandas as pd

    rows = [
        {
            "figure": figure,
            "stage": row.stage,
            "cell": row.cell,
            "label": row.label,
            "difference": row.value,
            "images_low": row.images.low if row.images else None,
            "images_high": row.images.high if row.images else None,
            "seeds_low": row.seeds.low if row.seeds else None,
            "seeds_high": row.seeds.high if row.seeds else None,
            "seeds_method": row.seeds.method if row.seeds else None,
            "resolved": row.resolved,
            "joint": row.joint,
            **_addresses(result, row.uids),
        }
        for figure, found in enumerate(effects(result, compared), start=1)
        for row in found.rows
    ]
    ends = dict.fromkeys(("images_low", "images_high", "seeds_low", "seeds_high"), "Float64")
    return pd.DataFrame(rows, columns=list(EFFECT_COLUMNS)).astype(ends)


def importance_frame(result: StudyResult) -> pd.DataFrame:
    """One row per factor of every stage whose importance is shown; takes seconds."""
    import pandas as pd

    spaces = [found for stage in result.stages if measurable(found := space(result, stage))]
    rows = [
        {
            "stage": shares.stage,
            "factor": share.factor,
            "fanova": share.fanova,
            "ped_anova": share.ped_anova,
            "cells": shares.cells,
        }
        for shares in (importance(found, result.metric.direction) for found in spaces)
        for share in shares.shares
    ]
    return pd.DataFrame(rows, columns=list(IMPORTANCE_COLUMNS)).astype({"fanova": "Float64"})


def heat_map_frame(result: StudyResult) -> pd.DataFrame:
    """One row per square of every heat map."""
    import pandas as pd

    rows = [
        {
            "stage": heat.stage,
            "across": heat.across.factor,
            "up": heat.up.factor,
            "across_level": heat.across.texts[square.column],
            "up_level": heat.up.texts[square.row],
            "value": square.value.mean if square.value else None,
            "ending": square.ending or None,
            "cell": square.place.cell,
            "best": square.best,
            **_addresses(result, square.place.uids),
        }
        for stage in result.stages
        for heat in heat_maps(space(result, stage), result.metric.direction)
        for square in heat.squares
    ]
    return pd.DataFrame(rows, columns=list(HEAT_MAP_COLUMNS)).astype({"value": "Float64"})


def history_frame(result: StudyResult) -> pd.DataFrame:
    """One row per trial that this study ran to its end, in order of that end; empty where no figure shows them."""
    import pandas as pd

    found = history(result)
    rows = [
        {
            "order": finish.order,
            "stage": finish.stage,
            "label": finish.label,
            "number": finish.number,
            "seed": finish.seed,
            "ended": finish.ended,
            "seconds": finish.seconds,
            "spent": finish.spent,
            "value": finish.value,
            "ending": finish.ending,
            "best": finish.best,
            **_addresses(result, (finish.uid,)),
        }
        for finish in (found.finishes if found else ())
    ]
    table = pd.DataFrame(rows, columns=list(HISTORY_COLUMNS))
    table["ended"] = pd.to_datetime(table["ended"].astype("float64"), unit="s", utc=True)
    return table.astype(dict.fromkeys(("seconds", "spent", "value", "best"), "Float64"))


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
