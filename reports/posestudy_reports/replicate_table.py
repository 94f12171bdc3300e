"""The cells of a stage over their seeds: the mean, and how sure it is of networks trained again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

from posestudy_reports import cell_numbers, footnotes, words
from posestudy_reports.addressed import Number, Text, said
from posestudy_reports.comparison import CONFIDENCE, FEWEST_PAIRS
from posestudy_reports.factor_table import addressed_row, marks, missing
from posestudy_reports.footnotes import Footnotes
from posestudy_reports.results import CellResult, Spread, StageResult, StudyResult
from posestudy_reports.tables import Column, Entry, Table
from posestudy_studies import resolution

_PERCENT: Final = f"{CONFIDENCE:.0%}".replace("%", " %")
What = Literal["final", "best"]


def replicate_table(result: StudyResult, stage: StageResult) -> Table:
    """A row per cell: seeds with a number, mean with its interval; a range where seeds are too few for one."""
    notes = Footnotes()
    header = words.header(result.metric)
    columns = (
        Column("label", "Cell"),
        Column("seeds", "Seeds", "right"),
        Column("final", f"Final {header}", "right"),
        Column("best", f"Best {header}", "right"),
    )
    finals = _values(result, stage, "final", lambda cell: cell.final, cell_numbers.final)
    bests = _values(result, stage, "best", lambda cell: cell.best, cell_numbers.best)
    rows = []
    for cell, final, best in zip(stage.cells, finals, bests, strict=True):
        why = [*footnotes.of_number(result.snapshot.study.name, cell), *footnotes.of_outcome(result, cell)]
        label = Entry(cell.label, marks=notes.marks(why))
        rows.append(addressed_row(result, cell, (label, Entry(str(len(cell.completed))), final, best)))
    title = f"Means over seeds: {stage.stage.name}"
    return Table(stage.stage.name, title, columns, tuple(rows), tuple(notes.texts), _remarks(stage.cells))


def half_width(result: StudyResult, stage: StageResult, cell: CellResult, what: What = "final") -> Number | None:
    """Half of Student's interval of the cell's mean over its seeds; None with fewer than three."""
    of = [(t.final_value if what == "final" else t.best_value) for t in cell.completed]
    known = [value for value in of if value is not None]
    ends = resolution.paired(known, CONFIDENCE) if len(known) >= FEWEST_PAIRS else None
    if ends is None:
        return None
    half, metric = (ends[1] - ends[0]) / 2, result.metric
    text = words.score(half, metric)
    if half > 0 and float(text) == 0:
        text = words.precise(half, metric)
    formula = f"half of the {_PERCENT} interval (Student's t) of the mean {what} {metric.name} over {len(known)} seeds"
    where = cell_numbers.address(stage, cell, f"{what}/half_width")
    return Number(where, text, half, formula, tuple(t.uid for t in cell.completed))


def _values(
    result: StudyResult,
    stage: StageResult,
    what: What,
    spread: Callable[[CellResult], Spread | None],
    number: Callable[..., Number | None],
) -> list[Entry]:
    spreads = [spread(cell) for cell in stage.cells]
    entries = []
    for cell, mine, emphasis in zip(stage.cells, spreads, marks(result, spreads), strict=True):
        mean, half = number(result, stage, cell), half_width(result, stage, cell, what)
        if mean is None or mine is None:
            entries.append(Entry(missing(result, cell) if what == "final" else words.DASH))
        elif half is not None:
            entries.append(Entry(said("{mean} \u00b1 {half}", mean=mean, half=half), "", emphasis))
        else:
            low, high = number(result, stage, cell, "low"), number(result, stage, cell, "high")
            seen = mine.count > 1 and low is not None and high is not None
            template = f"{{low}}{words.DASH}{{high}}"
            detail = said(template, low=low or "", high=high or "") if seen else ""
            entries.append(Entry(Text(mean), detail, emphasis))
    return entries


def _remarks(cells: Sequence[CellResult]) -> tuple[str, ...]:
    counts = {len(cell.completed) for cell in cells}
    found = []
    if any(count >= FEWEST_PAIRS for count in counts):
        found.append(
            f"\u00b1: half of the {_PERCENT} interval of the mean over seeds (Student's t), each row by itself: "
            "networks trained again, evaluated on these images."
        )
    if 2 in counts:
        found.append("Two seeds: below the mean the range of what was seen, which has no confidence.")
    if 1 in counts:
        found.append("One seed: its value; nothing is known of others.")
    return tuple(found)
