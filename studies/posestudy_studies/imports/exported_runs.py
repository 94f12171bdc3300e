"""Runs of an exported study as rows of its table of results, each with all that its log says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from posestudy.errors import InputError, Problem
from posestudy.vocabulary import Outcome
from posestudy_studies.imports import log_files
from posestudy_studies.imports.log_files import Place
from posestudy_studies.imports.logged_rows import logged
from posestudy_studies.imports.matching import Entry
from posestudy_studies.imports.results_csv import ResultRow
from posestudy_studies.imports.standalone import no_metric


def entries(paths: Sequence[Path], metric: str) -> tuple[list[Entry], list[str]]:
    """The runs in logs or folders, and what is left out of them, a sentence each.

    Of several runs of one replicate the last one counts.

    Raises:
        InputError: a run is of no exported study, or has no value of the metric.
    """
    problems: list[Problem] = []
    found: dict[Place, Entry] = {}
    left: list[str] = []
    for log in (run for path in paths for run in log_files.runs(path)):
        if log.place is None:
            expected = "a run of an exported study, in STAGE/CELL/seed_N/work_dirs"
            hint = "--name NAME makes a study of other logs; a table with the column log says which cells they are of"
            problems.append(Problem(str(log.file), 0, 0, "", "a log that names no cell", expected, hint))
        elif not log.run.scores(metric):
            problems.append(no_metric(log, metric))
        elif log.run.outcome is Outcome.CANCELLED:
            left.append(f"{log.file}: {log.run.message}; its train.sh goes on from there.")
        elif log.run.seed not in (None, log.place.seed):
            left.append(f"{log.file}: it was trained with seed {log.run.seed}, its folder says {log.place.seed}.")
        else:
            if log.place in found:
                left.append(f"{found[log.place].file}: a later run of the same replicate stands.")
            found[log.place] = Entry(str(log.file), log.sha256, *logged(log, _row(log.place), metric, log.place.seed))
    if problems:
        raise InputError(problems)
    return list(found.values()), left


def _row(place: Place) -> ResultRow:
    return ResultRow(0, place.stage, place.cell, "", place.seed, Outcome.COMPLETED, None, None, None, None, None, "")
