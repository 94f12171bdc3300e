"""The ablation table of a stage as data: what every writer prints, already in words, with no markup in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from posestudy.ledger.records import TrialRecord
from posestudy.vocabulary import Metric, TrialState
from posestudy_reports import cell_numbers, footnotes, words
from posestudy_reports.addressed import Number, Text, said
from posestudy_reports.footnotes import Footnotes
from posestudy_reports.results import WITHOUT_NUMBERS, CellResult, Spread, StageResult, StudyResult

if TYPE_CHECKING:
    from posestudy_reports.comparison import Comparison

Emphasis = Literal["", "best", "second"]


@dataclass(frozen=True)
class Column:
    """A column: `key` for programs, `header` for people; `detail_key` where its details are a column to programs."""

    key: str
    header: str
    align: Literal["left", "right"] = "left"
    detail_key: str = ""


@dataclass(frozen=True)
class Entry:
    """One cell of the printed table: `detail` is the smaller second line, `marks` are footnotes (from 1)."""

    text: str
    detail: str = ""
    emphasis: Emphasis = ""
    marks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Row:
    """A row and where its numbers come from: trial uids and MLflow runs (empty string: not projected), paired."""

    entries: tuple[Entry, ...]
    uids: tuple[str, ...]
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table with numbered notes; every row has as many entries as there are columns."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    remarks: tuple[str, ...]
    """What holds for the whole table and has no mark."""
    compact: bool = False
    """Many short columns: set small, and across the page where the text is not wide enough for them."""
    caption: str = ""
    """A sentence under or over it in print; the title where it is empty."""
    label: str = ""
    """What a paper refers to it by; made of the name where it is empty."""
    priority: int = 20
    """1 stays longest where room is short."""

    def __repr__(self) -> str:
        return f"<table {self.name}: {len(self.rows)} rows of {len(self.columns)} columns>"

    def _repr_html_(self) -> str:
        from posestudy_reports.notebook import table_html

        return table_html(self)


def stage_table(result: StudyResult, stage: StageResult, comparison: Comparison) -> Table:
    """The ablation table of one stage: a row per cell, in the student's form `epoch: value`."""
    metric, notes = result.metric, Footnotes()
    finals = _emphasis(stage.cells, lambda c: c.final, metric)
    bests = _emphasis(stage.cells, lambda c: c.best, metric)
    rows = [
        _row(result, stage, comparison, cell, notes, final, best)
        for cell, final, best in zip(stage.cells, finals, bests, strict=True)
    ]
    remarks: list[str] = []
    if any(len(cell.completed) > 1 for cell in stage.cells):
        remarks.append("Several seeds: the mean, below it the smallest and the largest value and the number of seeds.")
    provenance = _provenance(stage)
    if provenance:
        remarks.append(provenance)
    columns = (
        Column("number", "No."),
        Column("label", "Cell"),
        Column("policy", "Policy"),
        Column("parameters", "Parameters"),
        Column("final", f"Final {words.header(metric)}"),
        Column("best", f"Best {words.header(metric)}"),
        Column("delta", "Difference", "right", "resolved"),
        Column("time", "Time", "right"),
        Column("outcome", "Outcome"),
    )
    title = f"Stage {stage.stage.ordinal + 1}: {stage.stage.name}"
    return Table(stage.stage.name, title, columns, tuple(rows), tuple(notes.texts), tuple(remarks))


def _row(
    result: StudyResult,
    stage: StageResult,
    comparison: Comparison,
    cell: CellResult,
    notes: Footnotes,
    final: Emphasis,
    best: Emphasis,
) -> Row:
    where = notes.marks(footnotes.of_number(result.snapshot.study.name, cell))
    what = notes.marks(footnotes.of_label(result, stage, cell))
    odd = notes.marks(footnotes.of_values(cell))
    why = notes.marks(footnotes.of_outcome(result, cell))
    entries = (
        Entry(", ".join(str(t.number) for t in cell.trials) or words.DASH, footnotes.lines(cell), marks=where),
        Entry(cell.label, marks=what),
        Entry(_policy(result, stage, cell)),
        Entry(_parameters(result, stage, cell)),
        replace(_numbers(result, stage, cell, cell.final, last=True), emphasis=final),
        replace(_numbers(result, stage, cell, cell.best, last=False), emphasis=best, marks=odd),
        _delta(result, stage, comparison, cell),
        Entry(_time(stage, cell)),
        replace(_outcome(result, cell), detail=footnotes.peak(cell), marks=why),
    )
    return _addressed(result, cell, entries)


def _addressed(result: StudyResult, cell: CellResult, entries: tuple[Entry, ...]) -> Row:
    uids = tuple(t.uid for t in cell.trials)
    return Row(entries, uids, tuple(result.runs.get(uid, "") for uid in uids))


def _time(stage: StageResult, cell: CellResult) -> str:
    """The mean training time of the trials that have ended, however they did."""
    times = {t.uid: t.duration_s for t in cell.trials if t.duration_s is not None and t.state is TrialState.DONE}
    if not times:
        return words.DASH
    mean, where = sum(times.values()) / len(times), cell_numbers.address(stage, cell, "duration")
    formula = f"mean duration over {words.count(len(times), 'trial')}, from the ledger"
    return Text(Number(where, words.duration(mean), mean, formula, tuple(times)))


def _delta(result: StudyResult, stage: StageResult, comparison: Comparison, cell: CellResult) -> Entry:
    """The difference from the baseline, and below it that it is not resolved, where that is so."""
    delta, compared = stage.delta(cell), comparison.by_cell.get(cell.cell.name)
    if delta is None:
        return Entry(words.DASH)
    text = Text(cell_numbers.difference(result, stage, cell) or words.difference(delta, result.metric))
    return Entry(text, "not resolved" if compared and compared.unresolved else "")


def _policy(result: StudyResult, stage: StageResult, cell: CellResult) -> str:
    """What the row tries: the author's words, or what it changes."""
    if cell.cell.note or stage.baseline is cell:
        return cell.cell.note or "baseline"
    reference = stage.baseline.cell.config if stage.baseline else stage.stage.start
    pairs = [(n, result.level(reference, n), result.level(cell.cell.config, n)) for n in stage.changed(cell)]
    changes = [
        f"{words.factor(n)} {words.level(before, n)} {words.ARROW} {words.level(now, n)}" for n, before, now in pairs
    ]
    return ", ".join(changes) or "no change"


def _parameters(result: StudyResult, stage: StageResult, cell: CellResult) -> str:
    """The resolved levels of every factor the stage varies, so that rows can be read side by side; without those
    that are off here as in the baseline, and those that a group of factors holds already."""
    reference = stage.baseline.cell.config if stage.baseline else stage.stage.start
    whole = [n for n in stage.factors if not any(n.startswith(f"{group}.") for group in stage.factors)]
    levels = {name: result.level(cell.cell.config, name) for name in whole}
    shown = {
        n: v for n, v in levels.items() if not (v in (None, False) and result.level(reference, n) in (None, False))
    }
    return words.levels(shown) or words.DASH


def _numbers(result: StudyResult, stage: StageResult, cell: CellResult, spread: Spread | None, *, last: bool) -> Entry:
    """`150: 0.485`, with the range of the seeds below; where there is no final number, an outcome stands.

    Weights that were evaluated as they were given have no epoch to tell.
    """
    number = cell_numbers.final if last else cell_numbers.best
    mean, low, high = (number(result, stage, cell, end) for end in cell_numbers.ENDS)
    if spread is not None and mean and low and high:
        first, final = spread.epochs
        epochs = str(first) if first == final else f"{first}{words.DASH}{final}"
        detail = said("{low}\u2013{high}, n = {n}", low=low, high=high, n=spread.count) if spread.count > 1 else ""
        return Entry(said("{epochs}: {mean}", epochs=epochs, mean=mean) if final else Text(mean), detail)
    stopped = [t for t in cell.trials if t.best_value is not None and _has_numbers(t) and not cell.contradiction(t)]
    if stopped and not last:  # pruned or out of time: what it reached is a result, though not one to rank
        reached = cell_numbers.reached(result, stage, cell, stopped[0])
        return Entry(said("{epoch}: {reached}", epoch=stopped[0].best_epoch or 0, reached=reached))
    if not last:
        return Entry(words.DASH)
    return Entry(words.listing(list(dict.fromkeys(result.state(t) for t in cell.trials))) or "not run")


def _has_numbers(trial: TrialRecord) -> bool:
    return trial.state is TrialState.DONE and trial.outcome not in WITHOUT_NUMBERS


def _outcome(result: StudyResult, cell: CellResult) -> Entry:
    states = [words.OUTCOMES[t.outcome] if t.outcome else result.state(t) for t in cell.trials]
    kinds = list(dict.fromkeys(states))
    if len(kinds) == 1:
        return Entry(kinds[0])
    return Entry(", ".join(f"{states.count(kind)} {kind}" for kind in kinds) or "not run")


def _emphasis(
    cells: Sequence[CellResult], spread: Callable[[CellResult], Spread | None], metric: Metric
) -> list[Emphasis]:
    """Best and second among the values as printed, so that two rows that read the same are marked the same."""
    printed: list[float | None] = []
    for cell in cells:
        found = spread(cell)
        printed.append(None if found is None else round(found.mean, words.decimals(metric)))
    ranked = sorted({v for v in printed if v is not None}, reverse=metric.direction.better(1.0, 0.0))
    if len([v for v in printed if v is not None]) < 2:
        return ["" for _ in printed]
    places: list[Emphasis] = ["best", "second"]
    return [places[ranked.index(v)] if v is not None and ranked.index(v) < 2 else "" for v in printed]


_DIFFER_IN = (
    "device_name", "torch", "mmpose", "posestudy", "threads", "amp_dtype", "data_path", "without", "git_commit",
)  # fmt: skip


def _provenance(stage: StageResult) -> str:
    """A note where the trials of one table ran on different code or machines; empty where they did not."""
    parts = []
    for key in _DIFFER_IN:
        groups: dict[str, list[int]] = {}
        for cell in stage.cells:
            for trial in cell.completed:
                if trial.provenance.get(key) is not None:
                    groups.setdefault(str(trial.provenance[key]), []).append(trial.number)
        if len(groups) > 1:
            which = "; ".join(f"{value} (no. {', '.join(map(str, numbers))})" for value, numbers in groups.items())
            parts.append(f"{key.replace('_', ' ')}: {which}")
    return f"The trials differ in {' | '.join(parts)}." if parts else ""
