"""The table of a stage as model zoos have it: networks, what they cost, how they were evaluated, several metrics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

from posestudy.vocabulary import METRICS, Direction, Metric
from posestudy_reports import cell_numbers, footnotes, networks, words
from posestudy_reports.addressed import Number, Text
from posestudy_reports.footnotes import Footnotes
from posestudy_reports.quantities import QUANTITIES, Quantity, devices, over_seeds
from posestudy_reports.results import CellResult, StageResult, StudyResult
from posestudy_reports.tables import Column, Emphasis, Entry, Row, Table

_TEXTS: Final = {
    "model": "Model",
    "input_size": "Input [px]",
    "score_mode": "Score mode",
    "boxes": "Boxes",
    "flip_test": "Flip test",
}
_RANKED_BY: Final = {Direction.MORE: -1.0, Direction.LESS: 1.0}


def zoo_table(result: StudyResult, stage: StageResult) -> Table | None:
    """The columns that the stage asks for, a row per cell in order; None where it asks for none."""
    asked = [str(name) for name in stage.declared.get("columns") or ()]
    if not asked:
        return None
    notes = Footnotes()
    labels = [_label(result, cell, notes) for cell in stage.cells]
    columns, entries = [Column("label", "Cell")], [labels]
    for name in asked:
        column, mine = _column(result, stage, name, notes)
        columns.append(column)
        entries.append(mine)
    rows = []
    for cell, row in zip(stage.cells, zip(*entries, strict=True), strict=True):
        uids = tuple(t.uid for t in cell.trials)
        rows.append(Row(tuple(row), uids, tuple(result.runs.get(uid, "") for uid in uids)))
    title = f"Costs and metrics: {stage.stage.name}"
    remarks = _remarks(result, stage.cells, asked)
    return Table(stage.stage.name, title, tuple(columns), tuple(rows), tuple(notes.texts), remarks, compact=True)


def _label(result: StudyResult, cell: CellResult, notes: Footnotes) -> Entry:
    why = footnotes.of_evaluation(result.snapshot.study.name, cell)
    if not cell.completed:
        states = dict.fromkeys(result.state(t) for t in cell.trials)
        why.append(f"No number: {words.listing(list(states)) or 'not run'}.")
    return Entry(cell.label, marks=notes.marks(why))


def _column(result: StudyResult, stage: StageResult, name: str, notes: Footnotes) -> tuple[Column, list[Entry]]:
    cells = stage.cells
    if name in _TEXTS:
        return Column(name, _TEXTS[name]), [Entry(_text(result, cell, name)) for cell in cells]
    if name in QUANTITIES:
        quantity = QUANTITIES[name]
        detail = "latency_p95_ms" if name == "latency" else ""
        return Column(name, quantity.header, "right", detail), _quantity(result, stage, quantity, notes)
    metric = METRICS.get(name) or Metric(name, "1", Direction.MORE, name, name)
    return Column(name, words.header(metric), "right"), _metric(result, stage, metric)


def _text(result: StudyResult, cell: CellResult, name: str) -> str:
    if name == "model":
        return networks.name(cell.cell.config) or words.DASH
    if name == "input_size":
        size = cell.cell.config.get("input_size")
        return words.level(size, name) if size else words.DASH
    value = result.level(cell.cell.config, f"evaluation.{name}")
    if value is None:
        return words.DASH
    if name == "boxes":
        return "ground truth" if value == "ground_truth" else PurePath(str(value)).stem
    return str(value) if name == "score_mode" else "yes" if value else "no"


def _quantity(result: StudyResult, stage: StageResult, quantity: Quantity, notes: Footnotes) -> list[Entry]:
    cells = stage.cells
    found = [cell_numbers.cost(result, stage, cell, quantity.name) for cell in cells]
    machines = [devices(quantity, result, cell) for cell in cells]
    mixed = len({m for several in machines for m in several}) > 1
    values, texts = _values(found), _texts(found)
    # A network is not faster for having been measured on a faster machine.
    plain: list[Emphasis] = ["" for _ in cells]
    emphases = plain if mixed else ranked(values, texts, quantity.direction)
    entries = []
    for cell, text, emphasis, several in zip(cells, texts, emphases, machines, strict=True):
        verb = "Measured" if quantity.hardware == "profile" else "Trained"
        marks = notes.marks([f"{verb} on {words.listing(several)}."]) if mixed and several else ()
        entries.append(Entry(text, _p95(stage, cell) if quantity.name == "latency" else "", emphasis, marks))
    return entries


def _p95(stage: StageResult, cell: CellResult) -> str:
    known = {
        t.uid: t.profile["latency_p95_ms"] for t in cell.completed if t.profile and t.profile.get("latency_p95_ms")
    }
    if not known:
        return ""
    mean = sum(known.values()) / len(known)
    text, where = QUANTITIES["latency"].text(mean), cell_numbers.address(stage, cell, "latency_p95")
    formula = f"mean 95th percentile of the latency over {words.count(len(known), 'trial')}, from the ledger"
    return Text(Number(where, text, mean, formula, tuple(known)))


def _metric(result: StudyResult, stage: StageResult, metric: Metric) -> list[Entry]:
    found = [cell_numbers.measured(result, stage, cell, metric.name) for cell in stage.cells]
    values, texts = _values(found), _texts(found)
    emphases = ranked(values, texts, metric.direction)
    return [Entry(text, emphasis=emphasis) for text, emphasis in zip(texts, emphases, strict=True)]


def _values(found: Sequence[Number | None]) -> list[float | None]:
    return [None if number is None else number.value for number in found]


def _texts(found: Sequence[Number | None]) -> list[str]:
    return [words.DASH if number is None else Text(number) for number in found]


def ranked(values: Sequence[float | None], texts: Sequence[str], direction: Direction) -> list[Emphasis]:
    """Best and second among what is printed; nothing where fewer than two entries differ."""
    known = [
        (value * _RANKED_BY[direction], text) for value, text in zip(values, texts, strict=True) if value is not None
    ]
    places = list(dict.fromkeys(text for _, text in sorted(known)))
    if len(places) < 2:
        return ["" for _ in values]
    names: dict[str, Emphasis] = {places[0]: "best", places[1]: "second"}
    return ["" if v is None else names.get(text, "") for v, text in zip(values, texts, strict=True)]


def _remarks(result: StudyResult, cells: Sequence[CellResult], asked: Sequence[str]) -> tuple[str, ...]:
    """What the columns mean, for those that have a number."""
    have = [n for n in asked if n in QUANTITIES and any(over_seeds(QUANTITIES[n], result, c) for c in cells)]
    found = []
    if "gflops" in have:
        found.append("GFLOPs: multiply-adds of one image in 1e9, as papers count them.")
    if "latency" in have or "fps" in have:
        which = words.listing([text for name, text in _SPEEDS.items() if name in have])
        found.append(f"{which}{_conditions(cells)}.")
    if "peak_memory" in have or "train_time" in have:
        what = [text for name, text in _TRAINING.items() if name in have]
        found.append(f"{words.listing(what)} of the training{_machine(result, cells, have)}.")
    if any(len(cell.completed) > 1 for cell in cells):
        found.append("Several seeds: the mean.")
    return tuple(text[0].upper() + text[1:] for text in found)


_SPEEDS: Final = {"fps": "FPS", "latency": "latency (the median, below it the 95th percentile)"}
_TRAINING: Final = {"train_time": "time", "peak_memory": "peak memory"}


def _conditions(cells: Sequence[CellResult]) -> str:
    """`: batch 1, without flip test, 4 threads, on X`, as far as all profiles have it in common."""
    profiles = [t.profile for cell in cells for t in cell.completed if t.profile]
    parts = []
    for key, text in (("batch", "batch {}"), ("flip_test", ""), ("threads", "{} threads"), ("device_name", "on {}")):
        values = {p.get(key) for p in profiles}
        value = values.pop() if len(values) == 1 else None
        if key == "threads" and any(str(p.get("device", "")).startswith("cuda") for p in profiles):
            continue
        if key == "flip_test" and value is not None:
            parts.append("with flip test" if value else "without flip test")
        elif value:
            parts.append(text.format(value))
    return f": {', '.join(parts)}" if parts else ""


def _machine(result: StudyResult, cells: Sequence[CellResult], have: Sequence[str]) -> str:
    quantity = QUANTITIES["train_time" if "train_time" in have else "peak_memory"]
    machines = {device for cell in cells for device in devices(quantity, result, cell)}
    return f", on {machines.pop()}" if len(machines) == 1 else ""
