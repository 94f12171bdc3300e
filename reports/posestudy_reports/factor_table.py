"""The cells of a stage by factor: a column per factor with check marks or levels, then what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from posestudy_reports import cell_numbers, footnotes, words
from posestudy_reports.addressed import Number, Text, said
from posestudy_reports.comparison import Comparison
from posestudy_reports.footnotes import Footnotes
from posestudy_reports.results import CellResult, Spread, StageResult, StudyResult
from posestudy_reports.tables import Column, Emphasis, Entry, Row, Table
from posestudy_reports.zoo_table import ranked

CHECK: Final = "\u2713"
CROSS: Final = "\u2717"
PREFIX: Final = "factor "
"""Begins the key of a factor's column."""


def varied(result: StudyResult, stages: Sequence[StageResult]) -> tuple[str, ...]:
    """The factors in which the cells of these stages differ, in order of first use; none that a group holds already."""
    names = list(dict.fromkeys(name for stage in stages for name in stage.factors))
    whole = [name for name in names if not any(name.startswith(f"{group}.") for group in names)]
    cells = [cell for stage in stages for cell in stage.cells]
    return tuple(name for name in whole if len({_key(_level(result, cell, name)) for cell in cells}) > 1)


def says_more(stage: StageResult, names: Sequence[str]) -> bool:
    """Whether a pivot by factor tells what the list of cells does not: components taken away, or put together."""
    several = len(names) > 1 and len(stage.cells) > 2
    return several and (stage.stage.design == "leave_one_out" or any(stage.combination(cell) for cell in stage.cells))


def factor_table(
    result: StudyResult, stage: StageResult, comparison: Comparison, names: Sequence[str], marked: Sequence[str]
) -> Table:
    """A row per cell of `stage`, a column per factor of `names`; those `marked` have a check mark or a cross."""
    notes = Footnotes()
    labels = [_label(result, stage, cell, notes) for cell in stage.cells]
    columns, entries = [Column("label", "Cell")], [labels]
    for name in names:
        columns.append(Column(f"{PREFIX}{name}", words.factor(name)))
        entries.append([Entry(_told(result, cell, name, mark=name in marked)) for cell in stage.cells])
    columns.append(Column("final", words.header(result.metric), "right"))
    entries.append(values(result, stage, lambda cell: cell.final, cell_numbers.final, outcomes=True))
    columns.append(Column("best", f"Best {words.header(result.metric)}", "right"))
    entries.append(values(result, stage, lambda cell: cell.best, cell_numbers.best))
    columns.append(Column("delta", "Difference", "right", "resolved"))
    entries.append([_difference(result, stage, comparison, cell) for cell in stage.cells])
    rows = [addressed_row(result, cell, row) for cell, row in zip(stage.cells, zip(*entries, strict=True), strict=True)]
    remarks = [f"{CHECK}: with it, {CROSS}: without it."] if set(names) & set(marked) else []
    if any(len(cell.completed) > 1 for cell in stage.cells):
        remarks.append("Several seeds: the mean, below it the smallest and the largest value and the number of seeds.")
    title = f"Factors and results: {stage.stage.name}"
    return Table(stage.stage.name, title, tuple(columns), tuple(rows), tuple(notes.texts), tuple(remarks))


def marked(result: StudyResult, stages: Sequence[StageResult], names: Iterable[str]) -> tuple[str, ...]:
    """Those of `names` that are on in one way or off in all cells of these stages, as augmentations are."""
    return tuple(name for name in names if _switch([_level(result, c, name) for s in stages for c in s.cells]))


def values(
    result: StudyResult,
    stage: StageResult,
    spread: Callable[[CellResult], Spread | None],
    number: Callable[..., Number | None],
    *,
    outcomes: bool = False,
) -> list[Entry]:
    """A mean for each cell with its range below, best and second marked; in words why there is none, if `outcomes`."""
    found = [spread(cell) for cell in stage.cells]
    numbers = [number(result, stage, cell) for cell in stage.cells]
    entries = []
    for cell, mine, mean, emphasis in zip(stage.cells, found, numbers, marks(result, found), strict=True):
        if mine is None or mean is None:
            entries.append(Entry(missing(result, cell) if outcomes else words.DASH))
            continue
        low, high = number(result, stage, cell, "low"), number(result, stage, cell, "high")
        template = f"{{low}}{words.DASH}{{high}}, n = {{count}}"
        several = mine.count > 1 and low is not None and high is not None
        detail = said(template, low=low or "", high=high or "", count=mine.count) if several else ""
        entries.append(Entry(Text(mean), detail, emphasis))
    return entries


def marks(result: StudyResult, spreads: Sequence[Spread | None]) -> list[Emphasis]:
    """Best and second of the study's metric, among what is printed."""
    means = [spread.mean if spread else None for spread in spreads]
    texts = [words.DASH if mean is None else words.score(mean, result.metric) for mean in means]
    return ranked(means, texts, result.metric.direction)


def missing(result: StudyResult, cell: CellResult) -> str:
    """Why a cell has no number, in words."""
    return words.listing(list(dict.fromkeys(result.state(trial) for trial in cell.trials))) or "not run"


def addressed_row(result: StudyResult, cell: CellResult, entries: Sequence[Entry]) -> Row:
    uids = tuple(trial.uid for trial in cell.trials)
    return Row(tuple(entries), uids, tuple(result.runs.get(uid, "") for uid in uids))


def _label(result: StudyResult, stage: StageResult, cell: CellResult, notes: Footnotes) -> Entry:
    why = [*footnotes.of_label(result, stage, cell), *footnotes.of_number(result.snapshot.study.name, cell)]
    return Entry(cell.label, marks=notes.marks([*why, *footnotes.of_outcome(result, cell)]))


def _difference(result: StudyResult, stage: StageResult, comparison: Comparison, cell: CellResult) -> Entry:
    number, compared = cell_numbers.difference(result, stage, cell), comparison.by_cell.get(cell.cell.name)
    if number is None:
        return Entry(words.DASH)
    return Entry(Text(number), "not resolved" if compared and compared.unresolved else "")


def _level(result: StudyResult, cell: CellResult, name: str) -> Any:
    return result.level(cell.cell.config, name)


def _key(level: Any) -> str:
    return json.dumps(None if level is False else level, sort_keys=True, default=str)


def _told(result: StudyResult, cell: CellResult, name: str, *, mark: bool) -> str:
    level = _level(result, cell, name)
    if mark:
        return CROSS if level in (None, False) else CHECK
    return words.level(level, name)


def _switch(levels: Sequence[Any]) -> bool:
    on = [level for level in levels if level not in (None, False)]
    switched = all(level is True or isinstance(level, dict) for level in on)
    return switched and 0 < len(on) < len(levels) and len({_key(level) for level in on}) == 1
