"""Which row of a table of results belongs to which replicate of a study, and what it is worth there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from posestudy.durable import sha256_file
from posestudy.errors import InputError, Problem, nearest
from posestudy.ledger.records import CellRecord, Json, KnownResult, NewCell, StageRecord
from posestudy.vocabulary import METRICS, Direction, Outcome
from posestudy_studies.designs.base import BASELINE
from posestudy_studies.imports import results_csv
from posestudy_studies.imports.results_csv import ResultRow
from posestudy_studies.spec import Study


@dataclass(frozen=True)
class Entry:
    """A row with the file it stands in.

    Attributes:
        file: the table, or the log that says the results.
        sha256: of the file.
        result: all that is known of the row, where it is a whole log and no line of a table.
        named_at: table and line that name the log; None: no table does.
    """

    file: str
    sha256: str
    row: ResultRow
    result: KnownResult | None = None
    named_at: tuple[str, int] | None = None

    def problem(self, column: str, found: str, expected: str, hint: str = "") -> Problem:
        file, line = self.named_at or (self.file, self.row.line)
        return Problem(file, line, 1, column, found, expected, hint)

    @property
    def place(self) -> str:
        """`results.csv:12`; of a log that no table names its file alone."""
        file, line = self.named_at or (self.file, self.row.line)
        return file if self.is_exported else f"{file}:{line}"

    @property
    def is_exported(self) -> bool:
        """Whether its folder says which replicate it is, and no table."""
        return self.result is not None and self.named_at is None

    def ends_early(self, config: Json) -> str | None:
        """Where its log says less than the epochs of a cell with this configuration; None: it does not."""
        epochs = config.get("epochs")
        if self.result is None or self.result.outcome is not Outcome.COMPLETED or epochs is None:
            return None
        last = max(self.result.values)
        return f"the log ends in epoch {last}, the cell trains {epochs}" if last < epochs else None


def entries(files: Sequence[Path]) -> list[Entry]:
    """The rows of CSV files, in order. Raises InputError with every mistake of every file."""
    found: list[Entry] = []
    problems: list[Problem] = []
    for file in files:
        try:
            rows = results_csv.read(file)
        except InputError as error:
            problems += error.problems
            continue
        found += [Entry(str(file), sha256_file(file), row) for row in rows]
    if problems:
        raise InputError(problems)
    return found


class TableResults:
    """The results in tables, asked for by stage, cell and seed; `posestudy_studies.rehearsal.Results` is this.

    Rows are told by stage and cell, or by stage and label where they name no cell that the stage has. A row without a
    seed is of the first seed of its stage.

    Attributes:
        used: by place, the stage and the cell that took the row.
        left_out: runs of an exported study that have no place in the study as it is now, a sentence each.
        early: by place, why a cell did not take a log that ends before the cell's last epoch.
    """

    def __init__(self, study: Study, rows: Sequence[Entry]) -> None:
        """Raises InputError where a row can be of no cell of `study`, or its numbers none of its metric."""
        self._study = study
        self.rows: list[Entry] = []
        self.used: dict[str, tuple[str, str]] = {}
        self.left_out: list[str] = []
        self.early: dict[str, str] = {}
        self._designs = {design.name: design for design in study.stages}
        problems: list[Problem] = []
        for entry in rows:
            problems += score_problems(entry, study.metric)
            misplaced = self._misplaced(entry)
            if misplaced and entry.is_exported:
                # It was of the study when that was exported, so nobody made a mistake.
                self.left_out.append(f"{entry.place}: {self._no_place(entry.row)}.")
                continue
            problems += misplaced
            self.rows.append(entry)
        if problems:
            raise InputError(problems)

    def __call__(self, stage: StageRecord, cell: CellRecord, seed: int) -> KnownResult | None:
        """The result of one replicate; None where no row has it."""
        return self.result(stage.name, cell, seed)

    def result(self, stage: str, cell: CellRecord | NewCell, seed: int) -> KnownResult | None:
        """As calling does, for a cell that is yet to be inserted."""
        entry = self.entry(stage, cell, seed)
        return None if entry is None else known_result(entry, self._study.metric, cell.config)

    def entry(self, stage: str, cell: CellRecord | NewCell, seed: int) -> Entry | None:
        """The row of a replicate, which is then of this one alone."""
        mine = [e for e in self.of_stage(stage) if self._seed(e) == seed]
        named = [e for e in mine if e.row.cell == cell.name]
        # A row that names a cell is of that one, whatever its label.
        labelled = [e for e in mine if not e.row.cell and cell.label and e.row.label == cell.label]
        here = (stage, cell.name)
        for entry in named + labelled:
            if self.used.get(entry.place, here) != here:
                continue
            if early := entry.ends_early(cell.config):
                self.early[entry.place] = early
                continue
            self.used[entry.place] = here
            return entry
        return None

    def of_stage(self, stage: str) -> list[Entry]:
        return [entry for entry in self.rows if entry.row.stage == stage]

    def _seed(self, entry: Entry) -> int:
        if entry.row.seed is not None:
            return entry.row.seed
        return self._study.seeds(self._designs[entry.row.stage])[0]

    def _misplaced(self, entry: Entry) -> list[Problem]:
        """Why no cell of the study can be the one of the row."""
        row, found = entry.row, []
        design = self._designs.get(row.stage)
        if design is None:
            expected = f"a stage of study '{self._study.study}' ({', '.join(self._designs)})"
            found.append(entry.problem("stage", repr(row.stage), expected, nearest(row.stage, self._designs)))
        else:
            seeds = self._study.seeds(design)
            if row.seed is not None and row.seed not in seeds:
                expected = f"a seed of stage '{design.name}' ({', '.join(map(str, seeds))})"
                found.append(entry.problem("seed", str(row.seed), expected))
            if design.design == "search" and BASELINE not in (row.cell, row.label, row.cell or design.baseline_label):
                hint = "write what was tried as a stage of variants"
                expected = "a row of a stage whose cells the study file names: a search draws its levels itself"
                found.append(entry.problem("stage", repr(row.stage), expected, hint))
        return found

    def _no_place(self, row: ResultRow) -> str:
        """Why a run of an exported study is none of its runs now."""
        design = self._designs.get(row.stage)
        if design is None:
            return f"study '{self._study.study}' has no stage '{row.stage}' any more"
        if row.seed is not None and row.seed not in self._study.seeds(design):
            return f"stage '{row.stage}' has no seed {row.seed} any more"
        return f"stage '{row.stage}' is a search, which draws '{row.shown}' itself and takes no result from elsewhere"


def score_problems(entry: Entry, metric: str) -> list[Problem]:
    """Numbers that cannot be values of the metric."""
    found = []
    for column, value in (("final", entry.row.final), ("best", entry.row.best)):
        if value is not None and metric.startswith("coco/") and not 0 <= value <= 1:
            hint = f"write {value / 100:g} for {value:g} percent" if 1 < value <= 100 else ""
            found.append(entry.problem(column, f"{value:g}", f"a value of {metric} from 0 to 1", hint))
    return found


def known_result(entry: Entry, metric: str, config: Json) -> KnownResult:
    """The row as the result of a replicate of a cell with this configuration; an epoch not stated is its last one."""
    row, epochs = entry.row, config.get("epochs")
    if (logged := entry.result) is not None:
        remarks = [*logged.source["remarks"], *_remarks_on_epochs(logged.final_epoch, logged.best_epoch, config)]
        # `elsewhere`: no other study takes the result of a longer training for one of the cell's configuration.
        longer: Json = {"elsewhere": True} if epochs is not None and max(logged.values) > epochs else {}
        return replace(logged, source={**logged.source, "remarks": remarks, **longer})
    final_epoch = row.final_epoch if row.final_epoch is not None or row.final is None else epochs
    best_epoch = row.best_epoch
    if row.best is not None and best_epoch is None:
        best_epoch = final_epoch
    values: dict[int, dict[str, float]] = {}
    for epoch, value in ((best_epoch, row.best), (final_epoch, row.final)):
        if epoch is not None and value is not None:
            values[epoch] = {metric: value}
    remarks = _remarks(row, final_epoch, best_epoch, METRICS[metric].direction)
    remarks += _remarks_on_epochs(final_epoch, best_epoch, config)
    source: Json = {
        "kind": "imported", "file": entry.file, "line": row.line, "sha256": entry.sha256, "remarks": remarks,
    }  # fmt: skip
    if row.note:
        source["note"] = row.note
    completed = row.outcome is Outcome.COMPLETED
    message = None if completed else f"{row.outcome.value.replace('_', ' ')}, as {entry.place} says"
    return KnownResult(
        outcome=row.outcome,
        source=source,
        message=message,
        values=values,
        final_value=row.final,
        final_epoch=final_epoch,
        best_value=row.best,
        best_epoch=best_epoch,
        peak_memory_mb=row.peak_memory_mb,
    )


def _remarks(row: ResultRow, final_epoch: int | None, best_epoch: int | None, direction: Direction) -> list[str]:
    found = []
    if row.outcome not in (Outcome.COMPLETED, Outcome.PRUNED, Outcome.TIMED_OUT) and row.final is not None:
        found.append(f"a final value, {row.final:g}, stands beside the outcome '{row.outcome.value}'.")
    if row.best is None or row.final is None:
        return found
    if best_epoch == final_epoch and row.best != row.final:
        found.append(f"best {row.best:g} and final {row.final:g} are both said to be of epoch {final_epoch}.")
    elif direction.better(row.final, row.best):
        found.append(
            f"final {row.final:g} (epoch {final_epoch}) is better than best {row.best:g} (epoch {best_epoch})."
        )
    if best_epoch is not None and final_epoch is not None and best_epoch > final_epoch:
        found.append(f"best is of epoch {best_epoch}, after the final epoch {final_epoch}.")
    return found


def _remarks_on_epochs(final_epoch: int | None, best_epoch: int | None, config: Json) -> list[str]:
    epochs, every = config.get("epochs"), config.get("validate_every")
    found = []
    if epochs is not None and final_epoch is not None and final_epoch != epochs:
        found.append(f"final is of epoch {final_epoch}, the cell trains {epochs}.")
    if every and best_epoch is not None and best_epoch != epochs and best_epoch % every:
        found.append(f"best is of epoch {best_epoch}, which is not evaluated (every {every}).")
    return found
