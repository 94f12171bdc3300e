"""The differences of a stage with their intervals: as a printed table, and as a frame for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from posestudy.vocabulary import Metric
from posestudy_reports import bootstrap, cell_numbers, words
from posestudy_reports.addressed import Text, said
from posestudy_reports.cell_numbers import Over
from posestudy_reports.comparison import CONFIDENCE, FEWEST_PAIRS, RESAMPLES, Comparison, Difference
from posestudy_reports.quantities import fixed
from posestudy_reports.results import StageResult, StudyResult
from posestudy_reports.tables import Column, Entry, Row, Table

if TYPE_CHECKING:
    import pandas as pd

_PERCENT: Final = f"{CONFIDENCE:.0%}".replace("%", " %")
_WITHOUT: Final = {
    "missing": "their saved matches are missing",
    "imported": "they were imported",
    "images": "they were validated on other images than the baseline",
}
COLUMNS: Final[dict[str, str]] = {
    "stage": "name of the stage",
    "cell": "name of the cell, unique in its stage",
    "label": "the author's row label",
    "difference": "mean final metric of the cell minus the mean of its stage's baseline",
    "images_low": "lower end of the interval over validation images; missing where there is none",
    "images_high": "its upper end",
    "images": "validation images that were resampled",
    "seeds_low": "lower end of the interval over seeds; missing where there is none",
    "seeds_high": "its upper end",
    "seeds_method": "paired t, pooled t, or range (which has no confidence)",
    "seeds_count": "pairs of seeds; with pooled t the degrees of freedom",
    "resolved": "what the intervals say, in words",
    "equivalent": "whether all intervals lie inside the declared margin; missing where none is declared",
    "trial_uid": "the cell's trials, with spaces between",
    "mlflow_run_id": "their runs in MLflow, likewise; - where one was not projected",
}
"""The columns of `StudyReport.differences`."""


def difference_table(
    result: StudyResult, stage: StageResult, comparison: Comparison, margin: float | None
) -> Table | None:
    """The rows of `stage` against its baseline with both kinds of interval; None where no row has one."""
    if not any(row.intervals for row in comparison.rows):
        return None
    metric = result.metric
    columns = [
        Column("label", "Cell"),
        Column("delta", "Difference", "right"),
        Column("images", f"Over images, {_PERCENT}", detail_key="images_method"),
        Column("seeds", f"Over seeds, {_PERCENT}", detail_key="seeds_method"),
        Column("resolved", "Resolved"),
    ]
    if margin is not None:
        columns.append(Column("equivalent", f"Within \u00b1{_margin(margin)}"))
    rows = []
    for row in comparison.rows:
        entries = [
            Entry(row.cell.label),
            Entry(Text(cell_numbers.difference(result, stage, row.cell) or words.difference(row.value, metric))),
            _interval(result, stage, row, "images"),
            _interval(result, stage, row, "seeds"),
            Entry(row.verdict or words.DASH),
        ]
        if margin is not None:
            entries.append(Entry("equivalent" if row.equivalent(margin) else "not shown"))
        uids = tuple(t.uid for t in row.cell.trials)
        rows.append(Row(tuple(entries), uids, tuple(result.runs.get(uid, "") for uid in uids)))
    title = f"Differences from the baseline: {stage.stage.name}"
    remarks = _remarks(metric, comparison)
    alike = [row.cell.label for row in comparison.rows if stage.baseline and fixed(row.cell, stage.baseline)]
    if alike:
        remarks += (
            f"The seeds make no difference to {words.listing(alike)}: the baseline's own weights, or given ones.",
        )
    if margin is not None:
        remarks += (
            f"Equivalent: every interval lies within \u00b1{_margin(margin)}; "
            "where that is not shown, nothing is said of a difference.",
        )
    return Table(stage.stage.name, title, tuple(columns), tuple(rows), (), remarks)


def _margin(margin: float) -> str:
    return f"{margin:g}"


def _interval(result: StudyResult, stage: StageResult, row: Difference, over: Over) -> Entry:
    interval = getattr(row, over)
    if interval is None:
        return Entry(words.DASH)
    low, high = cell_numbers.ends(result, stage, row, over)
    ends = said("{low} to {high}", low=low, high=high)
    about = {
        "bootstrap": f"bootstrap, {words.count(interval.count, 'image')}",
        "paired t": f"paired t, {words.count(interval.count, 'seed')}",
        "pooled t": f"pooled t, df {interval.count}",
        "range": f"range of {words.count(interval.count, 'seed')}, no confidence",
    }
    return Entry(ends, about[interval.method])


def _remarks(metric: Metric, comparison: Comparison) -> tuple[str, ...]:
    """What the columns mean, for the kinds of interval that the table has, and what is missing from them."""
    found = []
    methods = {i.method for row in comparison.rows for _, i in row.intervals}
    if "bootstrap" in methods:
        found.append(
            f"Over images: these trained networks on other images of the same kind, from {RESAMPLES} resamples of the "
            f"{comparison.images} validation images, the same for all rows, seeds averaged; {_PERCENT} for all rows "
            "at once (max-t)."
        )
    if methods & {"paired t", "pooled t"}:
        found.append(
            "Over seeds: networks trained again, evaluated on these images; Student's t on the differences of equal "
            f"seeds, {_PERCENT} for all rows at once (Bonferroni)."
        )
    if "pooled t" in methods:
        found.append(
            "Pooled t: too few seeds of its own, so with the spread between seeds of the study's cells about as good; "
            "df are its degrees of freedom."
        )
    if "range" in methods:
        found.append(f"With fewer than {FEWEST_PAIRS} seeds, over seeds is the range of what was seen.")
    if metric.name not in bootstrap.REBUILT:
        found.append(f"{metric.short} cannot be rebuilt from saved matches: no interval over images.")
    for why, numbers in comparison.without.items():
        which = f"No. {', '.join(map(str, numbers))}"
        found.append(f"No interval over images for {which}: {_WITHOUT[why]}.")
    return tuple(found)


def difference_frame(
    result: StudyResult, compared: Sequence[tuple[StageResult, Comparison]], margin: float | None
) -> pd.DataFrame:
    """One row per cell with a difference, in order of stage and cell; `COLUMNS` documents the columns."""
    import pandas as pd

    rows = [_record(result, stage, row, margin) for stage, comparison in compared for row in comparison.rows]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = ("difference", "images_low", "images_high", "seeds_low", "seeds_high")
    types = dict.fromkeys(numbers, "Float64") | {"images": "Int64", "seeds_count": "Int64", "equivalent": "boolean"}
    return table.astype(types)


def _record(result: StudyResult, stage: StageResult, row: Difference, margin: float | None) -> dict[str, Any]:
    images, seeds = row.images, row.seeds
    return {
        "stage": stage.stage.name,
        "cell": row.cell.cell.name,
        "label": row.cell.label,
        "difference": row.value,
        "images_low": images.low if images else None,
        "images_high": images.high if images else None,
        "images": images.count if images else None,
        "seeds_low": seeds.low if seeds else None,
        "seeds_high": seeds.high if seeds else None,
        "seeds_method": seeds.method if seeds else None,
        "seeds_count": seeds.count if seeds else None,
        "resolved": row.verdict or None,
        "equivalent": row.equivalent(margin) if margin is not None else None,
        "trial_uid": " ".join(t.uid for t in row.cell.trials),
        "mlflow_run_id": " ".join(result.runs.get(t.uid) or "-" for t in row.cell.trials),
    }
