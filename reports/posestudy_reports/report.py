"""The report of one study: its frame, tables and figures, and the files it is written to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posestudy.ledger.records import Snapshot
from posestudy_reports.curves import Curve, curves
from posestudy_reports.results import StageResult, StudyResult
from posestudy_reports.sentences import still_open, summary
from posestudy_reports.tables import Table, stage_table

if TYPE_CHECKING:
    import pandas as pd


class StudyReport:
    """A study as the ledger held it at one moment. `runs` maps trial uids to MLflow run ids.

    Every output is a function of the two: the same ledger gives the same bytes.
    """

    def __init__(self, snapshot: Snapshot, runs: Mapping[str, str]) -> None:
        self.result = StudyResult(snapshot, dict(runs))

    @property
    def name(self) -> str:
        return self.result.snapshot.study.name

    @property
    def title(self) -> str:
        """What the study file calls its report, or the study's name."""
        return str(self._options.get("title") or self.name)

    @property
    def authors(self) -> tuple[str, ...]:
        return tuple(str(name) for name in self._options.get("authors") or ())

    @property
    def _options(self) -> Mapping[str, Any]:
        options = self.result.snapshot.study.document.get("report")
        return options if isinstance(options, Mapping) else {}

    @property
    def description(self) -> str:
        return str(self.result.snapshot.study.document.get("description") or "")

    @property
    def stages(self) -> tuple[StageResult, ...]:
        return self.result.stages

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per trial; `posestudy_reports.frame.COLUMNS` documents the columns."""
        from posestudy_reports.frame import frame

        return frame(self.result)

    @cached_property
    def values(self) -> pd.DataFrame:
        """One row per trial, epoch and metric."""
        from posestudy_reports.frame import values

        return values(self.result)

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """The ablation table of each stage, in order."""
        return tuple(stage_table(self.result, stage) for stage in self.stages)

    @cached_property
    def curves(self) -> tuple[tuple[Curve, ...], ...]:
        """The learning curves of each stage, in order."""
        return tuple(curves(self.result, stage) for stage in self.stages)

    @property
    def summary(self) -> tuple[str, ...]:
        return summary(self.result)

    @property
    def still_open(self) -> tuple[str, ...]:
        return still_open(self.result)

    def files(self, formats: Sequence[str]) -> dict[str, bytes]:
        """The contents of the files of these formats, by path relative to the output folder."""
        from posestudy_reports.writers import writer

        written: dict[str, bytes] = {}
        for name in formats:
            written |= writer(name)(self)
        return written

    def write(self, out: Path, formats: Sequence[str]) -> list[Path]:
        """Write these formats into `out` (made where missing), each file whole or not at all; returns their paths.

        Raises:
            NotFoundError: a format that is not known.
            OSError: the folder cannot be written.
        """
        from posestudy.durable import write_bytes

        contents = self.files(formats)
        for path, data in contents.items():
            write_bytes(out / path, data)
        return [out / path for path in contents]
