"""Rows of a table of results that leave their numbers to a log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from posestudy.errors import InputError, Problem
from posestudy.vocabulary import Outcome
from posestudy_studies.imports import log_files
from posestudy_studies.imports.log_files import LogSource
from posestudy_studies.imports.matching import Entry
from posestudy_studies.imports.results_csv import ResultRow
from posestudy_studies.imports.standalone import logged_result


def filled(rows: Sequence[Entry], metric: str) -> tuple[list[Entry], list[str]]:
    """The rows, those that name a log with all that it says, and what is left out, a sentence each.

    A log's path is relative to its table. The row says the cell and the seed: a log does not know its whole
    configuration, and an old one no seed.

    Raises:
        InputError: a log cannot be read, holds more than one run or no value of the metric, or stands in two rows.
    """
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
            found.append(logged_entry(log, entry.row, metric))
    if problems:
        raise InputError(problems)
    return found, left


def _run(entry: Entry, metric: str) -> LogSource:
    path = Path(entry.file).parent / entry.row.log
    if not path.exists():
        raise InputError([entry.problem("log", f"{entry.row.log!r}, which is not there", "a log or a work dir")])
    runs = log_files.runs(path)
    if len(runs) > 1:
        hint = f"as {runs[-1].file}"
        raise InputError([entry.problem("log", f"{entry.row.log!r} with {len(runs)} runs", "the log of one run", hint)])
    if not runs[0].run.scores(metric):
        raise InputError([entry.problem("log", f"{entry.row.log!r}", f"a log with values of {metric}")])
    return runs[0]


def logged_entry(log: LogSource, row: ResultRow, metric: str) -> Entry:
    """The row with the results of the log; where their seeds differ it says so."""
    result = logged_result(log, metric)
    remarks = list(result.source["remarks"])
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
    return Entry(str(log.file), log.sha256, row, result)
