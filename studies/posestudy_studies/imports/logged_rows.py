"""Rows of a table of results that leave their numbers to a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from posestudy import given_paths
from posestudy.errors import InputError, Problem
from posestudy.ledger.records import KnownResult
from posestudy.vocabulary import Outcome
from posestudy_studies.imports import log_files
from posestudy_studies.imports.log_files import LogSource
from posestudy_studies.imports.matching import Entry
from posestudy_studies.imports.results_csv import ResultRow
from posestudy_studies.imports.standalone import UNSTATED_SEED, logged_result
from posestudy_studies.spec import Study


def filled(rows: Sequence[Entry], metric: str, study: Study | None = None) -> tuple[list[Entry], list[str]]:
    """The rows, those that name a log with all that it says, and what is left out, a sentence each.

    A log's path is relative to its table. The row says the cell and the seed: a log does not know its whole
    configuration, and an old one no seed. Where a row says no seed it is the log's own, if the stage of `study` has
    that one, else the first of the stage; without a study the log's own.

    Raises:
        InputError: a log cannot be read, holds more than one run or no value of the metric, or stands in two rows; two
            rows are of one cell and seed.
    """
    seeds = None if study is None else {stage.name: study.seeds(stage) for stage in study.stages}
    found: list[Entry] = []
    problems: list[Problem] = []
    left: list[str] = []
    taken: dict[Path, Entry] = {}
    for entry in rows:
        if not entry.row.log:
            found.append(entry)
            continue
        try:
            log = _run(entry, metric)
        except InputError as error:
            problems += error.problems
            continue
        first = taken.setdefault(log.file.resolve(), entry)
        if first is not entry:
            problems.append(entry.problem("log", f"{entry.row.log!r} again (first in {first.place})", "each log once"))
        elif log.run.outcome is Outcome.CANCELLED:
            left.append(f"{entry.place}: {log.run.message}.")
        else:
            row = entry.row if entry.row.seed is not None else replace(entry.row, seed=_seed(log, entry, seeds))
            named_at = (entry.file, entry.row.line)
            found.append(Entry(str(log.file), log.sha256, *logged(log, row, metric, entry.row.seed), named_at))
    problems += _repeated(rows, found, seeds)
    if problems:
        raise InputError(problems)
    return found, left


def _run(entry: Entry, metric: str) -> LogSource:
    path = Path(entry.file).parent / entry.row.log
    if not given_paths.exists(path):
        raise InputError([entry.problem("log", f"{entry.row.log!r}, which is not there", "a log or a work dir")])
    runs = log_files.runs(path)
    if len(runs) > 1:
        hint = f"as {runs[-1].file}"
        raise InputError([entry.problem("log", f"{entry.row.log!r} with {len(runs)} runs", "the log of one run", hint)])
    if not runs[0].run.scores(metric):
        raise InputError([entry.problem("log", f"{entry.row.log!r}", f"a log with values of {metric}")])
    return runs[0]


def _seed(log: LogSource, entry: Entry, seeds: Mapping[str, Sequence[int]] | None) -> int | None:
    """The seed of a row that says none."""
    if seeds is None:
        return log.run.seed
    of_stage = seeds.get(entry.row.stage, ())
    return log.run.seed if log.run.seed in of_stage else next(iter(of_stage), None)


def _repeated(
    rows: Sequence[Entry], found: Sequence[Entry], seeds: Mapping[str, Sequence[int]] | None
) -> list[Problem]:
    """Where a log's seed makes its row one of a cell and seed that another row of the table has."""
    unstated = {entry.place for entry in rows if entry.row.log and entry.row.seed is None}
    first: dict[tuple[str, str, str, str, int], Entry] = {}
    problems = []
    for entry in found:
        row, file = entry.row, (entry.named_at or (entry.file, 0))[0]
        seed = row.seed if row.seed is not None else next(iter((seeds or {}).get(row.stage, ())), 0)
        before = first.setdefault((file, row.stage, row.cell, row.label, seed), entry)
        if before is not entry and unstated & {entry.place, before.place}:
            what = f"'{row.shown}' of stage '{row.stage}' with seed {seed} again (first in {before.place})"
            hint = "give replicates a seed each"
            problems.append(entry.problem("", what, "each cell and seed once", hint))
    return problems


def logged(log: LogSource, row: ResultRow, metric: str, stated: int | None) -> tuple[ResultRow, KnownResult]:
    """The row with the results of the log, and all that it says; where the seeds differ it says so.

    Args:
        stated: the seed that somebody wrote down for this log; None: nobody did, and `row.seed` was chosen for it.
    """
    result = logged_result(log, metric)
    remarks = [r for r in result.source["remarks"] if stated is None or r != UNSTATED_SEED]
    if row.seed is not None and log.run.seed not in (None, row.seed):
        remarks.append(f"it was trained with seed {log.run.seed}.")
    result = replace(result, source={**result.source, "remarks": remarks, **({"note": row.note} if row.note else {})})
    row = replace(
        row,
        # The result is known by the log alone, whatever line of a table names it.
        line=0,
        outcome=result.outcome,
        final=result.final_value,
        final_epoch=result.final_epoch,
        best=result.best_value,
        best_epoch=result.best_epoch,
        peak_memory_mb=result.peak_memory_mb,
    )
    return row, result
