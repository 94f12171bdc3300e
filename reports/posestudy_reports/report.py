"""The report of one study: its frame, tables and figures, and the files it is written to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posestudy.ledger.records import Snapshot, TrialRecord
from posestudy_reports.curves import Curve, curves
from posestudy_reports.material import Material
from posestudy_reports.results import StageResult, StudyResult
from posestudy_reports.saved_matches import SavedMatches
from posestudy_reports.saved_pictures import SavedPictures
from posestudy_reports.sentences import still_open, summary
from posestudy_reports.tables import Table, stage_table

if TYPE_CHECKING:
    import pandas as pd

    from posestudy_reports.addressed import Number
    from posestudy_reports.bootstrap import Evidence
    from posestudy_reports.comparison import Comparison
    from posestudy_reports.document import Document
    from posestudy_reports.notebook import StageReport
    from posestudy_reports.pdf import Printed
    from posestudy_reports.sections import Section
    from posestudy_reports.table_forms import PaperTable


@dataclass(frozen=True)
class StageParts:
    """What is printed of one stage: its tables, and its learning curves where `has_figure`.

    A stage that has only evaluated given weights has no curve and will have none.
    """

    table: Table
    differences: Table | None
    zoo: Table | None
    curves: tuple[Curve, ...]
    has_figure: bool


class StudyReport:
    """A study as the ledger held it at one moment. `runs` maps trial uids to MLflow run ids.

    Args:
        saved: where the matches of the trials lie, for the intervals over validation images; None: nowhere.
        disk_bytes: what the study's files take, counted when it is asked for; None: not known.
        pictures: where the trials' pictures lie, for the galleries; None: nowhere.

    Every output is a function of these: the same ledger and files give the same bytes.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        runs: Mapping[str, str],
        saved: SavedMatches | None = None,
        disk_bytes: Callable[[], int | None] | int | None = None,
        pictures: SavedPictures | None = None,
    ) -> None:
        self._saved = saved or SavedMatches()
        bare = StudyResult(snapshot, dict(runs))
        self.result = replace(bare, contradiction=partial(self._saved.contradiction, snapshot.study.name, bare.metric))
        self._disk_bytes = disk_bytes
        self._pictures = pictures or SavedPictures()
        self.own_text: Path | None = None
        """The folder of the user's own text, where it is another than the study file says."""

    def __getitem__(self, name: str) -> StageReport | Section:
        """A stage by its name, else a section by its. Raises NotFoundError, naming the nearest."""
        from posestudy.errors import NotFoundError, nearest

        if name in self._stage_names:
            return self.stage(name)
        for section in self.sections:
            if section.name == name:
                return section
        known = list(self)
        hint = nearest(str(name), known) or f"it has {', '.join(known)}"
        raise NotFoundError(f"the report of '{self.name}' has no part {name!r} ({hint})")

    def stage(self, name: str) -> StageReport:
        """The tables, sentences, curves and rows of a stage. Raises NotFoundError, naming the nearest."""
        from posestudy.errors import NotFoundError, nearest
        from posestudy_reports.notebook import stage_report

        names = self._stage_names
        if name not in names:
            hint = nearest(str(name), names) or f"it has {', '.join(names) or 'none yet'}"
            raise NotFoundError(f"the study '{self.name}' has no stage {name!r} ({hint})")
        return stage_report(self, names.index(name))

    def __iter__(self) -> Iterator[str]:
        """The names that `report[NAME]` takes: the stages, then the sections."""
        return iter(dict.fromkeys([*self._stage_names, *(section.name for section in self.sections)]))

    @property
    def _stage_names(self) -> list[str]:
        return [stage.stage.name for stage in self.stages]

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def __repr__(self) -> str:
        from posestudy_reports.notebook import report_text

        return report_text(self)

    def _repr_html_(self) -> str:
        from posestudy_reports.notebook import report_html

        return report_html(self)

    @cached_property
    def disk_bytes(self) -> int | None:
        """What the study's files take; None: not known."""
        return self._disk_bytes() if callable(self._disk_bytes) else self._disk_bytes

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
    def text_folder(self) -> Path | None:
        """Where the user's own text for the paper lies; None: nowhere."""
        from posestudy_reports.paper import text_folder

        return text_folder(self._options, self.own_text)

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
        """One row per trial, epoch and metric, with `uid`, `mlflow_run_id`, `number`, `epoch`, `metric` and `value`."""
        from posestudy_reports.frame import values

        return values(self.result)

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The rows of each stage against its baseline, with their intervals; in order of the stages."""
        from posestudy_reports.comparison import compare

        def saved(trial: TrialRecord) -> Evidence | None:
            return self._saved.of(self.name, trial)

        return tuple(compare(self.result, stage, saved) for stage in self.stages)

    @cached_property
    def differences(self) -> pd.DataFrame:
        """One row per cell with a difference; `posestudy_reports.difference_table.COLUMNS` documents the columns."""
        from posestudy_reports.difference_table import difference_frame

        return difference_frame(self.result, list(zip(self.stages, self.comparisons, strict=True)), self.margin)

    @property
    def margin(self) -> float | None:
        """The declared margin within which two cells are equivalent."""
        margin = self._options.get("equivalence_margin")
        return float(margin) if margin else None

    @cached_property
    def analysis(self) -> tuple[tuple[str, ...], ...]:
        """Sentences about the rows of each stage, in order of the stages."""
        from posestudy_reports.analysis import analyses

        return analyses(self.result, self.comparisons, self.margin)

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """The ablation table of each stage, in order."""
        return tuple(stage_table(self.result, *pair) for pair in zip(self.stages, self.comparisons, strict=True))

    @cached_property
    def difference_tables(self) -> tuple[Table | None, ...]:
        """The differences of each stage with their intervals, in order; None where a stage has no interval."""
        from posestudy_reports.difference_table import difference_table

        pairs = zip(self.stages, self.comparisons, strict=True)
        return tuple(difference_table(self.result, *pair, self.margin) for pair in pairs)

    @cached_property
    def zoo_tables(self) -> tuple[Table | None, ...]:
        """The table of the columns each stage asks for, in order; None where it asks for none."""
        from posestudy_reports.zoo_table import zoo_table

        return tuple(zoo_table(self.result, stage) for stage in self.stages)

    @cached_property
    def paper_tables(self) -> tuple[PaperTable, ...]:
        """The tables in the order of the paper: those the study declares, else the usual ones of every stage."""
        from posestudy_reports.table_forms import paper_tables

        return paper_tables(self.result, self.comparisons, self.margin)

    @property
    def all_tables(self) -> tuple[Table, ...]:
        """The same without what is known about them; names are unique."""
        return tuple(found.table for found in self.paper_tables)

    @cached_property
    def material(self) -> Material:
        """What the sections are made of."""
        return Material(
            self.result,
            lambda: self.comparisons,
            self._pictures,
            partial(self._saved.predictions, self.name),
            partial(self._saved.best_predictions, self.name),
            self._saved.home,
        )

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """What is shown of the study as a whole: trade-offs, training times, galleries; those with content."""
        from posestudy_reports.sections import sections

        return sections(self.material)

    @cached_property
    def tradeoff(self) -> pd.DataFrame:
        """One row per cost and cell; `posestudy_reports.figure_frames.TRADEOFF_COLUMNS` documents the columns."""
        from posestudy_reports.figure_frames import tradeoff_frame

        return tradeoff_frame(self.result)

    @cached_property
    def training_times(self) -> pd.DataFrame:
        """One row per bar; `posestudy_reports.figure_frames.TRAINING_TIME_COLUMNS` documents the columns."""
        from posestudy_reports.figure_frames import training_time_frame

        return training_time_frame(self.result)

    @cached_property
    def instances(self) -> pd.DataFrame:
        """One row per annotated instance of the data set; `posestudy_reports.dataset_frame.COLUMNS` documents the
        columns.

        Raises:
            PoseStudyError: the study's file is not understood, or the annotations of a split cannot be read.
        """
        from posestudy_reports.dataset_frame import study_instances

        return study_instances(self.material)

    @cached_property
    def learning_curves(self) -> pd.DataFrame:
        """One row per cell and epoch; `posestudy_reports.figure_frames.CURVE_COLUMNS` documents the columns."""
        from posestudy_reports.figure_frames import curve_frame

        return curve_frame(self.result, self.curves)

    @cached_property
    def effects(self) -> pd.DataFrame:
        """One row per cell of the forest plots; `posestudy_reports.figure_frames.EFFECT_COLUMNS` documents them."""
        from posestudy_reports.figure_frames import effect_frame

        return effect_frame(self.result, self.comparisons)

    @cached_property
    def importance(self) -> pd.DataFrame:
        """One row per factor; `posestudy_reports.figure_frames.IMPORTANCE_COLUMNS` documents the columns."""
        from posestudy_reports.figure_frames import importance_frame

        return importance_frame(self.result)

    @cached_property
    def heat_maps(self) -> pd.DataFrame:
        """One row per square; `posestudy_reports.figure_frames.HEAT_MAP_COLUMNS` documents the columns."""
        from posestudy_reports.figure_frames import heat_map_frame

        return heat_map_frame(self.result)

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row per ended trial; `posestudy_reports.figure_frames.HISTORY_COLUMNS` documents the columns."""
        from posestudy_reports.figure_frames import history_frame

        return history_frame(self.result)

    @cached_property
    def curves(self) -> tuple[tuple[Curve, ...], ...]:
        """The learning curves of each stage, in order."""
        return tuple(curves(self.result, stage) for stage in self.stages)

    @cached_property
    def stage_parts(self) -> tuple[StageParts, ...]:
        """What is printed of each stage, in order."""
        parts = zip(self.stages, self.tables, self.difference_tables, self.zoo_tables, self.curves, strict=True)
        return tuple(
            StageParts(table, differences, zoo, drawn, bool(drawn) or not any(c.completed for c in stage.cells))
            for stage, table, differences, zoo, drawn in parts
        )

    @cached_property
    def summary(self) -> tuple[str, ...]:
        return summary(self.result, self.disk_bytes)

    @cached_property
    def document(self) -> Document:
        """The report as a paper. Raises as `paper.document`."""
        from posestudy_reports.paper import document

        return document(self)

    @cached_property
    def printed(self) -> Printed:
        """The paper and its supplement as PDF, with what a reader of them should be warned of."""
        from posestudy_reports.pdf import printed

        return printed(self)

    @cached_property
    def numbers(self) -> Mapping[str, Number]:
        """Every number that was measured and stands somewhere in the report, by its address."""
        from posestudy_reports.number_list import collected

        tables = (self.tables, self.difference_tables, self.zoo_tables, self.all_tables)
        return collected(self.summary, self.analysis, *tables, self.sections, self.document)

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
