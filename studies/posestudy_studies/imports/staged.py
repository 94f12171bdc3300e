"""Plays a table of results through the stages of a study, and says where its author went another way."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from posestudy.errors import PoseStudyError, nearest
from posestudy.ledger import Ledger
from posestudy.ledger.records import (
    AddCells,
    AddSeeds,
    CellRecord,
    Change,
    Json,
    KnownResult,
    NewCell,
    OpenStage,
    Snapshot,
    StageRecord,
    WithdrawStages,
)
from posestudy.vocabulary import METRICS, Outcome, TrialState
from posestudy_studies import cells, dataset, edited
from posestudy_studies.advance import advance
from posestudy_studies.designs.base import View
from posestudy_studies.imports.matching import Entry, TableResults
from posestudy_studies.spec import Study
from posestudy_studies.training import Training


@dataclass
class Imported:
    """What an import did.

    Attributes:
        results: rows whose results the ledger holds now.
        rows: rows in all.
        remarks: contradictions in the source and rows built on another configuration, with their places.
        deviations: where the staged logic and the source went different ways.
        left_out: rows that have no place in the study, and why.
        waiting: replicates that must be trained before the study can go on.
        notes: what else the user should know.
    """

    results: int = 0
    rows: int = 0
    remarks: list[str] = field(default_factory=list)
    deviations: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def import_table(ledger: Ledger, study: Study, text: str, rows: Sequence[Entry]) -> Imported:
    """Bring rows into the study as its trials, and open and close stages as far as they lead.

    Args:
        study: as `posestudy_studies.file.load` gives it; its data need not be on this machine.
        text: the study file, kept with the results.
        rows: as `matching.entries` gives them.

    Raises:
        InputError: a row can be of no cell of the study.
        PoseStudyError: the study is running, or closed with other results.
    """
    done = Imported(rows=len(rows))
    table = TableResults(study, rows)
    study = _sealed(ledger, study, done)
    trained = _prepared(ledger, study, text, table)
    player = _Player(ledger, study, table, trained)
    player.play()
    snapshot = ledger.snapshot(study.study, values=False)
    done.results = sum(1 for trial in snapshot.trials if trial.source and trial.source.get("kind") == "imported")
    done.remarks = [
        f"{_at(trial.source)}: {remark}"
        for trial in snapshot.trials
        if trial.source and trial.source.get("kind") == "imported"
        for remark in trial.source.get("remarks", ())
    ]
    done.left_out = [*player.kept, *table.left_out, *_left_out(study, snapshot, table)]
    done.deviations = list(_deviations(study, snapshot, table))
    done.waiting = _waiting(snapshot)
    done.notes += _stale(snapshot, table)
    return done


def _sealed(ledger: Ledger, study: Study, done: Imported) -> Study:
    """The study with the fingerprint of its data; without the data with the one that the ledger knows, or with none."""
    if Path(study.dataset.root).is_dir():
        return dataset.sealed(study)
    if study.study in {record.name for record in ledger.studies()}:
        known = Study.model_validate(ledger.study(study.study).document).dataset
        if known.fingerprint and known.model_copy(update={"fingerprint": None}) == study.dataset:
            return study.model_copy(update={"dataset": known})
    done.notes.append(
        f"the data set is not here ({study.dataset.root}), so the results go in without its fingerprint; "
        "import again where it is before `posestudy launch`."
    )
    # Without it nothing tells the cells of this study from those of another one on other data.
    return study.model_copy(update={"reuse": "study"}) if study.reuse == "home" else study


def _prepared(ledger: Ledger, study: Study, text: str, table: TableResults) -> set[tuple[str, int]]:
    """Put the study into the ledger, its stages withdrawn where rows change them; key and seed of what was trained."""
    document = study.model_dump(mode="json")
    if study.study not in {record.name for record in ledger.studies()}:
        ledger.put_study(study.study, document, text)
        return set()
    before = ledger.snapshot(study.study, values=False)
    keys = {cell.id: cell.key for cell in before.cells}
    trained = {
        (keys[t.cell_id], t.seed)
        for t in before.trials
        if t.state is TrialState.DONE and t.source is None and t.outcome is not None and t.outcome.is_result
    }
    anew = edited.first_changed(study, before) is not None or _news(before, table, trained)
    if anew and any(t.state is TrialState.RUNNING for t in before.trials):
        raise PoseStudyError(f"study '{study.study}' is running; import when it is not")
    if anew and before.study.state == "closed" and before.study.document == document:
        raise PoseStudyError(
            f"study '{study.study}' is closed with other results than these rows; "
            "import them as another one with --set study=NAME"
        )
    ledger.put_study(study.study, document, text, withdraw=WithdrawStages(0) if anew else None)
    return trained


def _news(snapshot: Snapshot, table: TableResults, trained: set[tuple[str, int]]) -> bool:
    """Whether a replicate of the study has another result by the table than the ledger holds."""
    stages = {stage.id: stage for stage in snapshot.stages}
    found = {cell.id: cell for cell in snapshot.cells}
    for trial in snapshot.trials:
        cell = found[trial.cell_id]
        entry = table.entry(stages[cell.stage_id].name, cell, trial.seed)
        if entry is None or (cell.key, trial.seed) in trained:
            continue
        source = trial.source or {}
        if _told_by(source) != (entry.sha256, entry.row.line):
            return True
    return False


def _told_by(source: Json) -> tuple[str | None, int]:
    """The file and line of a result; a whole log has no line."""
    return source.get("sha256"), source.get("line") or 0


def _at(source: Json) -> str:
    """Where a reader finds it."""
    return f"{source['file']}:{source['line']}" if source.get("line") else str(source["file"])


class _Player:
    """Applies what `advance` wants, with the results that the table has for new replicates."""

    def __init__(self, ledger: Ledger, study: Study, table: TableResults, trained: set[tuple[str, int]]) -> None:
        self._ledger = ledger
        self._study = study
        self._table = table
        self._trained = trained
        self.kept: list[str] = []

    def play(self) -> None:
        while True:
            snapshot = self._ledger.snapshot(self._study.study)
            changes = advance(snapshot)
            if not changes:
                return
            self._ledger.apply(snapshot.study.id, [self._with_results(snapshot, change) for change in changes])

    def _with_results(self, snapshot: Snapshot, change: Change) -> Change:
        if isinstance(change, OpenStage):
            start = cells.key(self._study, Training.model_validate(change.start))
            new = [self._cell(snapshot, change.name, start, cell) for cell in change.cells]
            return dataclasses.replace(change, cells=tuple(new))
        if not isinstance(change, AddCells | AddSeeds):
            return change
        stage = next(s for s in snapshot.stages if s.id == change.stage_id)
        start = cells.key(self._study, Training.model_validate(stage.start))
        if isinstance(change, AddCells):
            new = [self._cell(snapshot, stage.name, start, cell) for cell in change.cells]
            return dataclasses.replace(change, cells=tuple(new))
        if stage.state != "open":
            return change
        # Seeds with results come as a cell that the stage has already.
        records = {cell.name: cell for cell in View(snapshot, stage).cells}
        again = [_again(records[name], seeds) for name, seeds in change.seeds.items()]
        new = [self._cell(snapshot, stage.name, start, cell) for cell in again]
        return AddCells(change.stage_id, change.version, tuple(new))

    def _cell(self, snapshot: Snapshot, stage: str, start: str, cell: NewCell) -> NewCell:
        known: dict[int, KnownResult] = {}
        for seed in cell.seeds:
            result = self._table.result(stage, cell, seed)
            entry = self._table.entry(stage, cell, seed)
            if result is None or entry is None:
                continue
            if (cell.key, seed) in self._trained:
                self.kept.append(f"{entry.place}: '{entry.row.shown}' was trained here; that result stands.")
                continue
            known[seed] = _with_start(result, snapshot, stage, start, entry)
        return dataclasses.replace(cell, known=known)


def _again(cell: CellRecord, seeds: tuple[int, ...]) -> NewCell:
    return NewCell(cell.name, cell.label, cell.note, cell.key, cell.levels, cell.config, seeds)


def _with_start(result: KnownResult, snapshot: Snapshot, stage: str, start: str, entry: Entry) -> KnownResult:
    """The result, with a remark where its author built it on another configuration than the stage starts from."""
    base = _named(snapshot, entry.row.start, before=stage)
    if base is None:
        return result
    if base.key == start:
        # What was built on a row that has a remark is of another configuration too, and needs none of its own.
        return dataclasses.replace(result, source=result.source | _inherited(snapshot, base))
    here = next((c for c in snapshot.cells if c.key == start), None)
    on = f"'{_shown(here)}'" if here else "another configuration"
    remark = f"it was built on '{entry.row.start}'; the staged logic builds this row on {on}."
    # `elsewhere`: no other study takes this result for one of the cell's configuration.
    source = {**result.source, "remarks": [*result.source["remarks"], remark], "elsewhere": True}
    return dataclasses.replace(result, source=source)


def _inherited(snapshot: Snapshot, base: CellRecord) -> Json:
    """The mark that a result gets because of the one it was built on."""
    of_base = (t.source for t in snapshot.trials if t.cell_id == base.id)
    return {"elsewhere": True} if any(source and source.get("elsewhere") for source in of_base) else {}


def _named(snapshot: Snapshot, name: str, before: str) -> CellRecord | None:
    """The cell of an earlier stage with this name or label, of the latest such stage; None where none is meant."""
    stages = sorted(snapshot.stages, key=lambda s: s.ordinal)
    here = next((i for i, s in enumerate(stages) if s.name == before), len(stages))
    for stage in reversed(stages[:here]):
        for cell in View(snapshot, stage).cells:
            if name and name in (cell.name, cell.label):
                return cell
    return None


def _shown(cell: CellRecord) -> str:
    return cell.label or cell.name


def _deviations(study: Study, snapshot: Snapshot, table: TableResults) -> Iterator[str]:
    """Where the source, or the study file in its stead, went on with another cell than the numbers say."""
    stages = sorted(snapshot.stages, key=lambda s: s.ordinal)
    keys = {stage.id: cells.key(study, Training.model_validate(stage.start)) for stage in stages}
    for stage, following in itertools.pairwise(stages):
        best = _best(study, snapshot, stage)
        if best is None:
            continue
        cell, value = best
        said = f"stage '{stage.name}': by the numbers '{_shown(cell)}' is best ({study.metric} {value:.3f})"
        told = False
        for name, base, entry in _bases(snapshot, table, following):
            told = True
            if base.key != cell.key:
                has = _mean(snapshot, base)
                number = "" if has is None else f" ({has:.3f})"
                yield f"{said}; {entry.place} went on from '{name}'{number}."
        if not told and keys[following.id] != cell.key:
            yield f"{said}; the study file goes on from '{study.stages[following.ordinal].carry}'."


def _bases(snapshot: Snapshot, table: TableResults, stage: StageRecord) -> list[tuple[str, CellRecord, Entry]]:
    """What the rows of a stage were built on, where that is a cell of an earlier stage: each once."""
    found: dict[str, tuple[str, CellRecord, Entry]] = {}
    for entry in table.of_stage(stage.name):
        base = _named(snapshot, entry.row.start, before=stage.name)
        if base is not None:
            found.setdefault(entry.row.start, (entry.row.start, base, entry))
    return list(found.values())


def _mean(snapshot: Snapshot, cell: CellRecord) -> float | None:
    values = [
        t.final_value
        for t in snapshot.trials
        if t.cell_id == cell.id and t.outcome is Outcome.COMPLETED and t.final_value is not None
    ]
    return sum(values) / len(values) if values else None


def _best(study: Study, snapshot: Snapshot, stage: StageRecord) -> tuple[CellRecord, float] | None:
    """The best cell of a stage by its mean final value, the earlier of equal ones."""
    direction = METRICS[study.metric].direction
    best: tuple[CellRecord, float] | None = None
    for cell in View(snapshot, stage).cells:
        value = _mean(snapshot, cell)
        if value is not None and (best is None or direction.better(value, best[1])):
            best = (cell, value)
    return best


def _left_out(study: Study, snapshot: Snapshot, table: TableResults) -> Iterator[str]:
    stages = {stage.name: stage for stage in snapshot.stages}
    for entry in table.rows:
        if entry.place in table.used:
            continue
        if early := table.early.get(entry.place):
            yield f"{entry.place}: {early}."
            continue
        row = entry.row
        stage = stages.get(row.stage)
        if stage is None:
            yield f"{entry.place}: stage '{row.stage}' has not opened yet; import again when it has."
            continue
        names = [name for cell in View(snapshot, stage).cells for name in (cell.name, cell.label)]
        hint = nearest(row.shown, names)
        more = f" ({hint})" if hint else ""
        yield f"{entry.place}: the staged logic has no cell '{row.shown}' in stage '{row.stage}'{more}."


def _waiting(snapshot: Snapshot) -> list[str]:
    stages = {stage.id: stage for stage in snapshot.stages}
    found = {cell.id: cell for cell in snapshot.cells}
    return [
        f"stage '{stages[found[t.cell_id].stage_id].name}', cell '{_shown(found[t.cell_id])}', seed {t.seed}"
        for t in snapshot.trials
        if t.state is not TrialState.DONE
    ]


def _stale(snapshot: Snapshot, table: TableResults) -> Iterator[str]:
    """Results of an earlier import that the rows of now do not have."""
    places = {(entry.sha256, entry.row.line) for entry in table.rows}
    for trial in snapshot.trials:
        source = trial.source or {}
        if source.get("kind") == "imported" and _told_by(source) not in places:
            yield f"trial {trial.number} keeps what an earlier import brought ({_at(source)})."
