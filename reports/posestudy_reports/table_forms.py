"""The tables of a report in the order of its paper: those the study declares, else the usual ones of every stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from posestudy.home import safe_part
from posestudy.vocabulary import METRICS, Direction
from posestudy_reports import words
from posestudy_reports.addressed import numbers_in
from posestudy_reports.comparison import Comparison
from posestudy_reports.difference_table import difference_table
from posestudy_reports.factor_table import PREFIX, factor_table, marked, says_more, varied
from posestudy_reports.footnotes import Footnotes
from posestudy_reports.grouped_table import Group, GroupedTable
from posestudy_reports.quantities import QUANTITIES, devices
from posestudy_reports.replicate_table import replicate_table
from posestudy_reports.results import CellResult, StageResult, StudyResult
from posestudy_reports.tables import Column, Emphasis, Entry, Row, Table, stage_table
from posestudy_reports.zoo_table import ranked, zoo_table
from posestudy_studies.report_tables import OWN_COLUMNS, Form, ReportTable

_KEYS: Final = {"cell": "label", "levels": "parameters", "difference": "delta"}
"""Of columns that the study file calls otherwise than the table does."""
_TITLES: Final[Mapping[str, str]] = {
    "ablation": "Ablation",
    "zoo": "Costs and metrics",
    "factors": "Factors and results",
    "differences": "Differences from the baseline",
    "replicates": "Means over seeds",
}
_USUAL: Final[Mapping[str, tuple[str, ...]]] = {
    "ablation": tuple(OWN_COLUMNS["ablation"]),
    "factors": ("cell", "factors", "final", "difference"),
    "differences": tuple(OWN_COLUMNS["differences"]),
    "replicates": ("cell", "seeds", "final"),
}
"""The columns of a form where the study names none; of a zoo, those its stage asks for or that hold a number."""


@dataclass(frozen=True)
class PaperTable:
    """A table of the report, its form and the stages whose cells are its rows."""

    table: Table
    form: Form
    stages: tuple[str, ...]


@dataclass(frozen=True)
class _Part:
    """Some cells of a stage in the order of the rows, with what is known of their differences."""

    stage: StageResult
    comparison: Comparison


def declared(result: StudyResult) -> tuple[ReportTable, ...]:
    """The tables that the study file asks for; none of another version's that this one does not know."""
    report = result.snapshot.study.document.get("report")
    found = []
    for raw in (report.get("tables") or ()) if isinstance(report, Mapping) else ():
        try:
            found.append(ReportTable.model_validate(raw))
        except ValueError:
            continue
    return tuple(found)


def paper_tables(
    result: StudyResult, comparisons: Sequence[Comparison], margin: float | None
) -> tuple[PaperTable, ...]:
    """The declared tables that have rows, in their order; the usual ones where none is declared."""
    asked = declared(result)
    if asked:
        return tuple(t for spec in asked if (t := _declared(result, comparisons, margin, spec)) is not None)
    return tuple(_usual(result, comparisons, margin))


def by_stage(
    result: StudyResult, tables: Sequence[PaperTable], usual: Sequence[Table]
) -> tuple[tuple[Table, ...], tuple[tuple[Table, ...], ...]]:
    """The tables over several stages, then those of each stage alone: of a stage that is in none, its `usual` one."""
    several = tuple(found.table for found in tables if len(found.stages) != 1)
    covered = {stage for found in tables for stage in found.stages}
    alone = []
    for stage, table in zip(result.stages, usual, strict=True):
        name = stage.stage.name
        mine = tuple(found.table for found in tables if found.stages == (name,))
        alone.append(mine if name in covered else (replace(table, name=usual_name(stage)),))
    return several, tuple(alone)


def usual_name(stage: StageResult) -> str:
    """Of the ablation table of a stage: `1_augmentation`."""
    return f"{stage.stage.ordinal + 1}_{safe_part(stage.stage.name)}"


def _usual(result: StudyResult, comparisons: Sequence[Comparison], margin: float | None) -> Iterator[PaperTable]:
    for stage, comparison in zip(result.stages, comparisons, strict=True):
        name, places = usual_name(stage), (stage.stage.name,)
        yield PaperTable(replace(stage_table(result, stage, comparison), name=name), "ablation", places)
        differences = difference_table(result, stage, comparison, margin)
        if differences:
            named = replace(differences, name=f"{name}_differences", priority=30)
            yield PaperTable(named, "differences", places)
        zoo = zoo_table(result, stage)
        if zoo:
            yield PaperTable(replace(zoo, name=f"{name}_columns", priority=12), "zoo", places)
        names = varied(result, [stage])
        if says_more(stage, names):
            table = factor_table(result, stage, comparison, names, marked(result, [stage], names))
            chosen = _chosen(table, _USUAL["factors"])
            yield PaperTable(replace(chosen, name=f"{name}_factors", priority=25), "factors", places)


def _declared(
    result: StudyResult, comparisons: Sequence[Comparison], margin: float | None, spec: ReportTable
) -> PaperTable | None:
    asked = [spec.stage] if spec.stage else spec.stages or [s.stage.name for s in result.stages]
    by_name = {s.stage.name: _Part(s, c) for s, c in zip(result.stages, comparisons, strict=True)}
    chosen = [_rows(by_name[name], spec.rows) for name in asked if name in by_name]
    parts = [part for part in chosen if part.stage.cells]
    columns = _columns(result, parts, spec)
    tables = [t for part in parts if (t := _form(result, parts, part, margin, spec, columns)) is not None]
    if not tables:
        return None
    names = tuple(part.stage.stage.name for part in parts)
    table = _merged(result, parts, tables) if len(tables) > 1 else tables[0]
    title = spec.title or (f"{_TITLES[spec.form]}: {words.listing(names)}" if len(names) > 1 else table.title)
    table = replace(table, name=spec.name, title=title, caption=spec.caption, label=spec.label, priority=spec.priority)
    return PaperTable(table if spec.footnotes else _without_notes(table), spec.form, names)


def _rows(part: _Part, rows: Sequence[str]) -> _Part:
    """The cells that `rows` name, in its order; all of them where it names none."""
    if not rows:
        return part
    wanted = [row.rpartition("/") for row in rows]
    mine = [cell for stage, slash, cell in wanted if not slash or stage == part.stage.stage.name]
    cells = [cell for name in dict.fromkeys(mine) if (cell := part.stage.named(name)) is not None]
    compared = [part.comparison.by_cell[c.cell.name] for c in cells if c.cell.name in part.comparison.by_cell]
    return _Part(replace(part.stage, cells=tuple(cells)), replace(part.comparison, rows=tuple(compared)))


def _columns(result: StudyResult, parts: Sequence[_Part], spec: ReportTable) -> tuple[str, ...]:
    """The columns of a table as the study file names them; first the label, and the factors of a pivot, where it leaves
    them out. Of an ablation they are just those that are named."""
    asked = tuple(spec.columns) or _USUAL.get(spec.form, ())
    if not asked:
        own = [str(name) for part in parts for name in part.stage.declared.get("columns") or ()]
        asked = tuple(dict.fromkeys(own)) or tuple(_known(result, parts))
    if spec.form == "ablation":
        return asked
    first = ("cell", "factors") if spec.form == "factors" else ("cell",)
    return (*(name for name in first if name not in asked), *asked)


def _known(result: StudyResult, parts: Sequence[_Part]) -> Iterator[str]:
    """What is known of any of these cells: networks, costs, metrics."""
    cells = [cell for part in parts for cell in part.stage.cells]
    yield from ("model", "input_size")
    trials = [trial for cell in cells for trial in cell.completed]
    yield from (q.name for q in QUANTITIES.values() if any(q.of(result, t) is not None for t in trials))
    measured = {name for t in trials for value in result.values.get(t.uid, ()) for name in value.metrics}
    yield result.metric.name
    yield from (name for name in METRICS if name in measured and name != result.metric.name)


def _form(
    result: StudyResult,
    parts: Sequence[_Part],
    part: _Part,
    margin: float | None,
    spec: ReportTable,
    columns: Sequence[str],
) -> Table | None:
    """The rows of one stage in the form that was asked for, with these columns."""
    stages = [p.stage for p in parts]
    table: Table | None
    if spec.form == "ablation":
        table = stage_table(result, part.stage, part.comparison)
    elif spec.form == "factors":
        names = spec.factors or varied(result, stages)
        table = factor_table(result, part.stage, part.comparison, names, marked(result, stages, names))
    elif spec.form == "differences":
        table = difference_table(result, part.stage, part.comparison, margin)
    elif spec.form == "replicates":
        table = replicate_table(result, part.stage)
    else:
        table = _zoo(result, part.stage, [name for name in columns if name != "cell"])
    if table is None:
        return None
    own = OWN_COLUMNS[spec.form]
    further = [name for name in columns if name not in own]
    if further and spec.form != "zoo":
        table = _beside(table, _zoo(result, part.stage, further))
    return _chosen(table, columns)


def _zoo(result: StudyResult, stage: StageResult, columns: Sequence[str]) -> Table | None:
    return zoo_table(result, replace(stage, declared={**stage.declared, "columns": list(columns)}))


def _beside(left: Table, right: Table | None) -> Table:
    """Two tables of the same rows as one; the label of the second is left out."""
    if right is None:
        return left
    rows = [
        (
            replace(a, entries=(*a.entries, *b.entries[1:])),
            (*(left.notes,) * len(a.entries), *(right.notes,) * len(b.entries[1:])),
        )
        for a, b in zip(left.rows, right.rows, strict=True)
    ]
    remarks = tuple(dict.fromkeys((*left.remarks, *right.remarks)))
    return _noted(replace(left, columns=(*left.columns, *right.columns[1:]), remarks=remarks), rows)


def _chosen(table: Table, names: Iterable[str]) -> Table:
    """The table with these columns in this order; `factors` stands for all columns of factors."""
    keys = [column.key for column in table.columns]
    places: list[int] = []
    for name in names:
        if name == "factors":
            places += [i for i, key in enumerate(keys) if key.startswith(PREFIX)]
        elif (key := _KEYS.get(name, name)) in keys:
            places.append(keys.index(key))
    rows = [
        (replace(row, entries=tuple(row.entries[i] for i in places)), (table.notes,) * len(places))
        for row in table.rows
    ]
    return _noted(replace(table, columns=tuple(table.columns[i] for i in places)), rows)


def _noted(table: Table, rows: Sequence[tuple[Row, Sequence[Sequence[str]]]]) -> Table:
    """The table with these rows, their footnotes numbered as they are read; each entry comes with its own notes."""
    notes = Footnotes()
    numbered = []
    for row, of in rows:
        entries = [
            replace(entry, marks=tuple(sorted(notes.marks([mine[mark - 1] for mark in entry.marks]))))
            for entry, mine in zip(row.entries, of, strict=True)
        ]
        numbered.append(replace(row, entries=tuple(entries)))
    return replace(table, rows=tuple(numbered), notes=tuple(notes.texts))


def _without_notes(table: Table) -> Table:
    rows = [replace(row, entries=tuple(replace(e, marks=()) for e in row.entries)) for row in table.rows]
    return replace(table, rows=tuple(rows), notes=())


def _merged(result: StudyResult, parts: Sequence[_Part], tables: Sequence[Table]) -> GroupedTable:
    """Tables of the same columns as one, a group of rows for each stage; best and second are those of the whole."""
    titled = dict(zip([t.name for t in tables], tables, strict=True))
    mine = [part for part in parts if part.stage.stage.name in titled]
    rows = [(row, (table.notes,) * len(row.entries)) for table in tables for row in table.rows]
    firsts = [sum(len(t.rows) for t in tables[:i]) for i in range(len(tables))]
    groups = tuple(Group(i, part.stage.stage.name) for i, part in zip(firsts, mine, strict=True))
    first = tables[0]
    remarks = tuple(dict.fromkeys(remark for table in tables for remark in table.remarks))
    grouped = GroupedTable(
        first.name, first.title, first.columns, (), (), remarks, any(t.compact for t in tables), groups=groups
    )
    noted = _noted(grouped, rows)
    assert isinstance(noted, GroupedTable)
    return _ranked_again(result, [cell for part in mine for cell in part.stage.cells], noted)


def _ranked_again(result: StudyResult, cells: Sequence[CellResult], table: GroupedTable) -> GroupedTable:
    """Best and second of each column over all groups; none where its machines differ between them."""
    rows = [list(row.entries) for row in table.rows]
    remarks = list(table.remarks)
    if len(cells) != len(rows):  # differences have no rows for baselines, and rank nothing
        return table
    for i, column in enumerate(table.columns):
        emphases = _emphases(result, cells, column, [row[i] for row in rows])
        if emphases is None:
            continue
        quantity = QUANTITIES.get(column.key)
        if quantity and len({m for cell in cells for m in devices(quantity, result, cell)}) > 1:
            emphases = ["" for _ in rows]
            note = f"{quantity.header.partition(' [')[0]} was measured on several machines and is not ranked."
            remarks += [note] if note not in remarks else []
        for row, emphasis in zip(rows, emphases, strict=True):
            row[i] = replace(row[i], emphasis=emphasis)
    done = tuple(replace(row, entries=tuple(entries)) for row, entries in zip(table.rows, rows, strict=True))
    return replace(table, rows=done, remarks=tuple(remarks))


def _emphases(
    result: StudyResult, cells: Sequence[CellResult], column: Column, entries: Sequence[Entry]
) -> list[Emphasis] | None:
    metric = result.metric
    if column.key in ("final", "best"):
        of: Callable[[CellResult], object] = (lambda c: c.final) if column.key == "final" else (lambda c: c.best)
        spreads = [of(cell) for cell in cells]
        means = [getattr(spread, "mean", None) for spread in spreads]
        texts = [words.DASH if mean is None else words.score(mean, metric) for mean in means]
        return ranked(means, texts, metric.direction)
    if column.key in QUANTITIES:
        direction = QUANTITIES[column.key].direction
    elif column.key in METRICS:
        direction = METRICS[column.key].direction
    elif any(entry.emphasis for entry in entries):
        direction = Direction.MORE
    else:
        return None
    numbers = [next(numbers_in([entry.text]), None) for entry in entries]
    values = [number.value if number else None for number in numbers]
    return ranked(values, [number.text if number else words.DASH for number in numbers], direction)
