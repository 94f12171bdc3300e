"""The formats a report is written in: a function from the report to the contents of its files, by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

from posestudy.errors import NotFoundError, nearest
from posestudy.extensions import load, offered
from posestudy.home import safe_part

if TYPE_CHECKING:
    from posestudy_reports.report import StudyReport
    from posestudy_reports.tables import Table

Writer = Callable[["StudyReport"], dict[str, bytes]]

_MODULES: Final = {
    "latex": "posestudy_reports.writers.latex",
    "markdown": "posestudy_reports.writers.markdown",
    "csv": "posestudy_reports.writers.spreadsheet",
    "html": "posestudy_reports.writers.webpage",
    "pdf": "posestudy_reports.pdf",
}
FORMATS: Final = tuple(_MODULES)
"""posestudy's own formats, which are written unless others are asked for."""
GROUP: Final = "posestudy.writers"
"""The group of the entry points with which other distributions add formats."""


def names() -> tuple[str, ...]:
    """The formats that can be asked for: posestudy's own, then those of other distributions."""
    return tuple(dict.fromkeys((*FORMATS, *offered(GROUP))))


def writer(name: str) -> Writer:
    """The writer of a format; only its own module is imported.

    Raises:
        NotFoundError: as `check` does.
        PoseStudyError: the writer of another distribution cannot be loaded.
    """
    check(name)
    if name not in _MODULES:
        return cast("Writer", load(GROUP, "format", name))
    return cast("Writer", import_module(_MODULES[name]).write)


def check(name: str) -> None:
    """Refuse a format that does not exist, without importing anything.

    Raises:
        NotFoundError: no such format; names the nearest and all of them.
    """
    if name not in names():
        hint = nearest(name, names())
        message = f"found the format '{name}', expected one of {', '.join(names())}{f' ({hint})' if hint else ''}"
        raise NotFoundError(message)


def stem(index: int, stage: str) -> str:
    """The name of a stage's files without folder and ending: `1_augmentation`."""
    return f"{index + 1}_{safe_part(stage)}"


def tables_by_stage(report: StudyReport) -> tuple[tuple[Table, ...], tuple[tuple[Table, ...], ...]]:
    """The report's tables over several stages, then those of each stage: of one that is in none, its ablation table."""
    from posestudy_reports.table_forms import by_stage

    return by_stage(report.result, report.paper_tables, report.tables)
