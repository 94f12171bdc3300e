"""Logs, and tables without a study file, as a study of their own that is closed at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from posestudy.errors import InputError, PoseStudyError, Problem
from posestudy.home import safe_part
from posestudy.ledger import Ledger
from posestudy.ledger.records import Change, CloseStage, CloseStudy, Json, KnownResult, NewCell, OpenStage, Snapshot
from posestudy.vocabulary import METRICS, Outcome
from posestudy_studies.cells import canonical
from posestudy_studies.designs.base import BASELINE
from posestudy_studies.imports.log_files import LogSource, distinct
from posestudy_studies.imports.matching import Entry, known_result, score_problems

STAGE = "imported"
"""The stage of logs."""
UNSTATED_SEED = "the seed is not stated."
"""What is remarked on a log without a seed."""
_REASON = "imported: what was tried next is not known."


@dataclass(frozen=True)
class ImportedStage:
    """A stage of a study that is only imported."""

    name: str
    cells: tuple[NewCell, ...]

    @property
    def baseline(self) -> str | None:
        return BASELINE if any(cell.name == BASELINE for cell in self.cells) else None


def logged_stages(logs: Sequence[LogSource], metric: str) -> list[ImportedStage]:
    """Stages with a cell for each run; runs of an exported study are replicates of its cells, in its stages.

    Raises:
        InputError: a run has no value of the metric.
    """
    problems = [no_metric(log, metric) for log in logs if not log.run.scores(metric)]
    if problems:
        raise InputError(problems)
    stages: dict[str, list[LogSource]] = {}
    for log in logs:
        stages.setdefault(STAGE if log.place is None else log.place.stage, []).append(log)
    return [ImportedStage(name, tuple(_logged_cells(runs, metric))) for name, runs in stages.items()]


def _logged_cells(logs: Sequence[LogSource], metric: str) -> Iterator[NewCell]:
    groups: list[tuple[str, dict[int, LogSource]]] = []
    for log in logs:
        seed = log.run.seed if log.run.seed is not None else log.place.seed if log.place is not None else 0
        mine = (runs for name, runs in groups if log.place is not None and name == log.name and seed not in runs)
        runs = next(mine, None)
        if runs is None:
            groups.append((log.name, runs := {}))
        runs[seed] = log
    names = distinct(safe_part(name) for name, _ in groups)
    for name, (_, runs) in zip(names, groups, strict=True):
        sums = [log.sha256 for log in runs.values()]
        key = hashlib.sha256(canonical({"log": sums[0]} if len(sums) == 1 else {"logs": sums}).encode()).hexdigest()
        config = {"epochs": max(log.run.last_epoch for log in runs.values())}
        known = {seed: logged_result(log, metric) for seed, log in runs.items()}
        yield NewCell(name, name, "", key, {}, config, tuple(runs), known=known)


def no_metric(log: LogSource, metric: str) -> Problem:
    """What is wrong with a run that has no value of `metric`."""
    has = sorted({name for epoch in log.run.evaluated for name in log.run.values[epoch] if name in METRICS})
    hint = "name another with --metric"
    return Problem(str(log.file), 0, 0, "", f"values of {', '.join(has)}", f"values of {metric}", hint)


def logged_result(log: LogSource, metric: str) -> KnownResult:
    """The run as the result of a replicate."""
    run = log.run
    scores = run.scores(metric)
    final_epoch, final = scores[-1]
    best_epoch, best = scores[0]
    for epoch, value in scores:
        if METRICS[metric].direction.better(value, best):
            best_epoch, best = epoch, value
    remarks = list(run.remarks)
    if run.seed is None:
        remarks.append(UNSTATED_SEED)
    if final_epoch != run.evaluated[-1]:
        remarks.append(f"the last validation, of epoch {run.evaluated[-1]}, has no {metric}.")
    return KnownResult(
        outcome=run.outcome,
        source={"kind": "imported", "file": str(log.file), "line": None, "sha256": log.sha256, "remarks": remarks},
        message=run.message,
        values=run.values,
        final_value=final,
        final_epoch=final_epoch,
        best_value=best,
        best_epoch=best_epoch,
        duration_s=run.duration_s,
        peak_memory_mb=run.peak_memory_mb,
        provenance=run.provenance,
    )


def tabled_stages(rows: Sequence[Entry], metric: str) -> list[ImportedStage]:
    """The stages of tables, in order of first use, with a cell for each row; replicates of one cell share it.

    Raises:
        InputError: a value is none of the metric, or the epoch of a final value is not stated.
    """
    problems = [problem for entry in rows for problem in score_problems(entry, metric)]
    problems += [
        entry.problem("final", f"{entry.row.final:g}", "its epoch too, as 150: 0.485")
        for entry in rows
        if entry.row.final is not None and entry.row.final_epoch is None
    ]
    if problems:
        raise InputError(problems)
    stages: dict[str, dict[tuple[str, str], list[Entry]]] = {}
    for entry in rows:
        stages.setdefault(entry.row.stage, {}).setdefault((entry.row.cell, entry.row.label), []).append(entry)
    return [ImportedStage(name, tuple(_cells(name, groups, metric))) for name, groups in stages.items()]


def _cells(stage: str, groups: dict[tuple[str, str], list[Entry]], metric: str) -> list[NewCell]:
    names = distinct(safe_part(cell or label) for cell, label in groups)
    found = []
    for name, ((cell, label), entries) in zip(names, groups.items(), strict=True):
        of: Json = {"table": entries[0].sha256, "stage": stage, "cell": cell, "label": label}
        if any(entry.result is not None for entry in entries):
            # Each seed has a log of its own, and any of them may change.
            of["table"] = [[entry.row.seed or 0, entry.sha256] for entry in entries]
        key = hashlib.sha256(canonical(of).encode()).hexdigest()
        known = {entry.row.seed or 0: known_result(entry, metric, {}) for entry in entries}
        epochs = max((e.row.final_epoch for e in entries if e.row.final_epoch is not None), default=None)
        config = {} if epochs is None else {"epochs": epochs}
        note = next((e.row.note for e in entries if e.row.note), "")
        found.append(NewCell(name, label or cell, note, key, {}, config, tuple(known), known=known))
    return found


def import_closed(ledger: Ledger, name: str, metric: str, stages: Sequence[ImportedStage]) -> bool:
    """Put the stages into the ledger as the closed study `name`; false where just these results are there already.

    Raises:
        PoseStudyError: another study has that name.
    """
    document: Json = {
        "study": name,
        "metric": metric,
        "stages": [{"name": stage.name, "design": STAGE} for stage in stages],
        "imported": {stage.name: [cell.key for cell in stage.cells] for stage in stages},
    }
    there = {record.name: record for record in ledger.studies()}.get(name)
    if there is not None and there.document != document:
        raise PoseStudyError(f"there is a study '{name}' already, with other contents; choose another --name")
    if there is not None and there.state == "closed":
        return False
    record = there or ledger.put_study(
        name, document, f"# {name}: made by `posestudy import`, there is no study file\n"
    )
    while (change := _next(ledger.snapshot(name, values=False), stages)) is not None:
        ledger.apply(record.id, [change])
    return True


def _next(snapshot: Snapshot, stages: Sequence[ImportedStage]) -> Change | None:
    """What is to do next; an import that was interrupted goes on here."""
    if snapshot.study.state == "closed":
        return None
    for held in snapshot.stages:
        if held.state != "closed":
            return CloseStage(held.id, held.version, None, _REASON)
    ordinal = len(snapshot.stages)
    if ordinal == len(stages):
        return CloseStudy()
    stage = stages[ordinal]
    return OpenStage(ordinal, stage.name, STAGE, stage.baseline, {}, stage.cells)


def completed(stages: Sequence[ImportedStage]) -> tuple[int, int]:
    """How many of the results are of completed trainings, and how many there are."""
    results = [result for stage in stages for cell in stage.cells for result in cell.known.values()]
    return sum(1 for result in results if result.outcome is Outcome.COMPLETED), len(results)
