"""What the rows of a stage say, in sentences that are computed from its differences and their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, Final

from posestudy_reports import cell_numbers, words
from posestudy_reports.addressed import Text, joined, said
from posestudy_reports.cell_numbers import Over
from posestudy_reports.comparison import Comparison, Difference
from posestudy_reports.results import CellResult, StageResult, StudyResult

MOST: Final = 6
"""Rows of a stage that are told one by one; of more only what is resolved, and the ends."""
LONGEST: Final = 90
"""Letters of a change that is told by its levels; a longer one by the row's label."""
_OFF: Final = (None, False)
_VERDICTS: Final = {
    "resolved": "resolved",
    "resolved over images only": "resolved over images only",
    "resolved over seeds only": "resolved over seeds only",
    "not resolved (images)": "not resolved over images",
    "not resolved (seeds)": "not resolved over seeds",
    "not resolved (images, seeds)": "not resolved",
}


def analyses(
    result: StudyResult, comparisons: Sequence[Comparison], margin: float | None
) -> tuple[tuple[str, ...], ...]:
    """Sentences about the rows of each stage, in order of the stages; `comparisons` are theirs."""
    # Where nothing has an interval, one sentence about the whole study is enough.
    doubt = any(row.intervals for comparison in comparisons for row in comparison.rows)
    pairs = zip(result.stages, comparisons, strict=True)
    return tuple(analysis(result, *pair, margin, doubt=doubt) for pair in pairs)


def analysis(
    result: StudyResult, stage: StageResult, comparison: Comparison, margin: float | None, *, doubt: bool = True
) -> tuple[str, ...]:
    """Sentences about the rows of `stage` that have a number beside the baseline's, then about those without one.

    With `doubt` it is said where nothing is known of the uncertainty of the rows. A sentence follows from values and
    intervals alone: where one of them goes, so does what was said of it.
    """
    rows = comparison.rows
    told = rows if len(rows) <= MOST else _outstanding(rows)
    found = [_sentence(result, stage, row, margin) for row in told]
    if len(told) < len(rows):
        found.insert(0, _counted(result, rows))
    if rows and doubt and not any(row.intervals for row in rows):
        found.append("Nothing is known of the uncertainty of these differences.")
    return tuple(found) + _without(result, stage)


def _outstanding(rows: Sequence[Difference]) -> list[Difference]:
    """Of the resolved rows, or of all where none is resolved, the one furthest up and the one furthest down."""
    sure = [row for row in rows if row.verdict.startswith("resolved")] or rows
    ends = {id(end(sure, key=lambda row: row.value)) for end in (max, min)}
    return [row for row in sure if id(row) in ends]


def _counted(result: StudyResult, rows: Sequence[Difference]) -> str:
    better = result.metric.direction.better
    resolved = [row for row in rows if row.verdict.startswith("resolved")]
    unknown = [row for row in rows if not row.verdict]
    kinds = (
        (sum(better(row.value, 0.0) for row in resolved), "better and resolved"),
        (sum(not better(row.value, 0.0) for row in resolved), "worse and resolved"),
        (len(rows) - len(resolved) - len(unknown), "not resolved"),
        (sum(better(row.value, 0.0) for row in unknown), "better by their value alone"),
        (sum(not better(row.value, 0.0) for row in unknown), "not better by their value alone"),
    )
    return f"Of {len(rows)} rows against the baseline: {words.listing([f'{n} {what}' for n, what in kinds if n])}."


def _sentence(result: StudyResult, stage: StageResult, row: Difference, margin: float | None) -> str:
    """`Raising sigma from 1.0 to 2.0 changes AP by -0.012 [-0.019, -0.004] over images; resolved over images only.`"""
    change = cell_numbers.difference(result, stage, row.cell)
    text = said(
        "{what} changes {metric} by {change}",
        what=_what(result, stage, row.cell),
        metric=result.metric.short,
        change=change or words.difference(row.value, result.metric),
    )
    intervals = [_interval(result, stage, row, over) for over, _ in row.intervals if over in ("images", "seeds")]
    if intervals:
        text = Text(text, " ", joined(intervals, ", "))
    verdict = _VERDICTS.get(row.verdict, "")
    if verdict:
        text = Text(text, "; ", verdict)
    if margin is not None and row.equivalent(margin):
        text = said("{text}; equivalent within \u00b1{margin}", text=text, margin=f"{margin:g}")
    return Text(text, ".")


def _interval(result: StudyResult, stage: StageResult, row: Difference, over: str) -> str:
    which: Over = "images" if over == "images" else "seeds"
    interval = row.images if which == "images" else row.seeds
    low, high = cell_numbers.ends(result, stage, row, which)
    kind = f"range of {interval.count} seeds" if interval and interval.method == "range" else f"over {which}"
    return said("[{low}, {high}] {kind}", low=low, high=high, kind=kind)


def _what(result: StudyResult, stage: StageResult, cell: CellResult) -> str:
    """`Raising sigma from 1.0 to 2.0`, `Adding half body`, `Combining a and b`; the row's label where it is neither."""
    combined = stage.combination(cell)
    if combined:
        return f"Combining {words.listing([words.quoted(part) for part in combined])}"
    changed = stage.changed(cell)
    if len(changed) != 1:
        if not changed:
            return f"Row {words.quoted(cell.label)}, which trains the baseline's configuration,"
        names = words.listing([words.factor(name) for name in changed])
        return f"Changing {names} at once ({words.quoted(cell.label)})"
    factor = changed[0]
    reference = stage.baseline.cell.config if stage.baseline else stage.stage.start
    step = _step(factor, result.level(reference, factor), result.level(cell.cell.config, factor))
    return step if len(step) <= LONGEST else f"The change of {words.factor(factor)} in {words.quoted(cell.label)}"


def _step(factor: str, before: Any, now: Any) -> str:
    name = words.factor(factor)
    if before in _OFF:
        told = words.level(now, factor)
        return f"Adding {name}" + ("" if now is True or told == "on" else f" ({told})")
    if now in _OFF:
        return f"Leaving out {name}"
    ends = f"{name} from {words.level(before, factor)} to {words.level(now, factor)}"
    size = _size(before), _size(now)
    if size[0] is None or size[1] is None or size[0] == size[1]:
        return f"Changing {ends}"
    return f"{'Raising' if size[1] > size[0] else 'Lowering'} {ends}"


def _size(level: Any) -> float | None:
    """A number that orders levels: itself, or the product of a size; None where there is no order."""
    if isinstance(level, bool):
        return None
    if isinstance(level, Real):
        return float(level)
    numbers = isinstance(level, Sequence) and not isinstance(level, str) and all(isinstance(v, Real) for v in level)
    if not numbers or len(level) != 2:
        return None
    return float(level[0]) * float(level[1])


def _without(result: StudyResult, stage: StageResult) -> tuple[str, ...]:
    """Which rows have ended and have no number, by how they ended."""
    ends: dict[str, list[str]] = {}
    for cell in stage.cells:
        if cell.completed or cell.open or not cell.trials:
            continue
        for state in dict.fromkeys(result.state(trial) for trial in cell.trials):
            ends.setdefault(state, []).append(words.quoted(cell.label))
    return tuple(f"{words.listing(labels)}: {state}, without a number." for state, labels in ends.items())
