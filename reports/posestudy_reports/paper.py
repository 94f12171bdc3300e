"""The report of a study as a paper: every part in its place, from the study's own results and the user's own words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from posestudy import given_paths
from posestudy_reports import cell_numbers, methods, own_text, words
from posestudy_reports.addressed import Number, Text, numbers_in, said
from posestudy_reports.carry_reason import carry_reason
from posestudy_reports.cited import Citations, Sentence
from posestudy_reports.complexity import complexity
from posestudy_reports.document import Document, Paragraph, Part, Shown
from posestudy_reports.own_text import OwnText
from posestudy_reports.quantities import QUANTITIES
from posestudy_reports.tables import Column, Entry, Row, Table
from posestudy_reports.writers import tables_by_stage

if TYPE_CHECKING:
    from posestudy_reports.report import StudyReport
    from posestudy_reports.results import CellResult, StageResult, StudyResult
    from posestudy_reports.sections import Section

PAGES: Final = 4
"""Where the study says nothing."""
MOST_ADDRESSES: Final = 400
"""Rows of the table of addresses; all of them are in `trials.csv`."""

_CURVES: Final = 40
"""How long the curves of the first stage stay where room is short; 1 is longest."""
_TEXT: Final = {"stages": 40, "details": 60, "analysis": 20}
"""Of paragraphs, which go only where text alone is too long."""

_FEWEST_EPOCHS: Final = 3
"""A curve through fewer evaluated epochs shows nothing that the table does not say."""

_DATA: Final = ("dataset", "data_set")
_COMPLEXITY: Final = ("tradeoff", "training_time", "complexity", "budget", "latency")
_QUALITATIVE: Final = ("gallery", "attention", "failure", "qualitative", "error", "keypoint", "oks", "worst", "wrong")
_CITED: Final = {
    "Ronchi": "ronchi2017benchmarking", "fANOVA": "hutter2014fanova", "PED-ANOVA": "watanabe2023pedanova",
}  # fmt: skip
"""Works by words that tables, figures and texts of sections have of them."""


@dataclass(frozen=True)
class Options:
    """What a study says of its paper under `report`.

    Attributes:
        pages: the most it may have.
        supplement: names of tables and figures that stand in the supplement from the start.
        priorities: by name, 1 to 99: what has the largest goes there first where room is short.
    """

    pages: int = PAGES
    supplement: tuple[str, ...] = ()
    priorities: Mapping[str, int] | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Options:
        """Of a study file as the ledger holds it; what it lacks is as usual."""
        given = document.get("report")
        options = given if isinstance(given, Mapping) else {}
        pages, priorities = options.get("pages") or PAGES, options.get("priorities") or {}
        return cls(int(pages), tuple(map(str, options.get("supplement") or ())), dict(priorities))


def document(report: StudyReport) -> Document:
    """The paper, with all that it might show in it: what finds no room is moved when it is printed.

    Raises:
        InputError: the user's own text quotes a number that is not there, or cannot be read.
    """
    return _Paper(report).document()


class _Paper:
    """Puts the parts together; citations are numbered in the order in which the parts are made and read."""

    def __init__(self, report: StudyReport) -> None:
        self._report, self._result = report, report.result
        self._citations = Citations()
        self._options = Options.of(self._result.snapshot.study.document)
        self._own = own(report)

    def document(self) -> Document:
        report, study = self._report, self._result.snapshot.study
        abstract = self._abstract()
        parts = [
            Part("introduction", "Introduction", tuple(self._introduction())),
            Part("data_set", "Data set", tuple(self._data_set())),
            Part("methods", "Methods", tuple(self._methods())),
            Part("experiments", "Experiments", tuple(self._experiments())),
            Part("qualitative", "Qualitative results and failure cases", self._placed("qualitative")),
            Part("complexity", "Complexity and run time", self._placed("complexity")),
            Part("conclusion", "Conclusion", self._own.of("conclusion")),
        ]
        created = datetime.fromtimestamp(study.created, UTC)
        addresses = _addresses(self._result)
        made = Document(
            report.name,
            report.title,
            report.authors,
            f"{created.day} {created:%B %Y}",
            tuple(self._prioritised(part) for part in _told_apart(parts) if part.content),
            self._citations.references,
            (addresses,) if addresses else (),
            self._options.pages,
            abstract,
            report.still_open,
        )
        return made.moved(self._options.supplement)

    def _prioritised(self, part: Part) -> Part:
        chosen = self._options.priorities or {}
        content = [
            replace(c, priority=int(chosen[c.name])) if isinstance(c, Shown) and c.name in chosen else c
            for c in part.content
        ]
        return replace(part, content=tuple(content))

    def _abstract(self) -> tuple[Paragraph, ...]:
        """What was asked and what came out."""
        report = self._report
        asked = " ".join(report.description.split())
        sentences = [s for s in (asked if not asked or asked[-1] in ".?!" else f"{asked}.", *found(self._result)) if s]
        paragraph = Citations().paragraph(sentences)
        return (paragraph,) if paragraph else ()

    def _introduction(self) -> Iterator[Paragraph]:
        yield from self._own.of("introduction")
        if self._own.of("introduction"):
            return
        asked = " ".join(self._report.description.split())
        sentences: list[Sentence | str] = []
        if asked:
            sentences.append(f"This study asks: {words.quoted(asked)}" + ("." if asked[-1] not in ".?!" else ""))
        names = [words.quoted(s.stage.name) for s in self._result.stages]
        if names:
            how = "one stage" if len(names) == 1 else f"{len(names)} stages"
            sentences.append(f"{'It answers in' if asked else 'This study has'} {how}: {words.listing(names)}.")
        sentences += [
            "Each cell of a stage is one configuration; it is compared with the baseline of its stage.",
            "What follows describes the data and the methods, then the experiments stage by stage.",
        ]
        if paragraph := self._citations.paragraph(sentences):
            yield paragraph

    def _data_set(self) -> Iterator[Paragraph | Shown]:
        yield from self._own.of("data_set")
        layout = methods.keypoints(self._result)
        if layout and (paragraph := self._citations.paragraph([layout])):
            yield paragraph
        yield from self._sections(_DATA, "Data set")

    def _methods(self) -> Iterator[Paragraph]:
        yield from self._own.of("methods")
        result = self._result
        for heading, sentences, priority in (
            ("Configuration.", methods.training(result), 0),
            ("Stages.", methods.stages(result), _TEXT["stages"]),
            ("Trials.", methods.trials(result), 0),
            ("Evaluation.", methods.evaluation(result), 0),
            ("Hardware and software.", methods.hardware(result), _TEXT["details"]),
            ("Statistics.", methods.statistics(result, self._report.comparisons), _TEXT["details"]),
        ):
            if paragraph := self._citations.paragraph(sentences, heading, priority):
                yield paragraph

    def _experiments(self) -> Iterator[Paragraph | Shown]:
        yield from self._own.of("experiments")
        several, tables = tables_by_stage(self._report)
        if overview := self._citations.paragraph(self._report.summary, "Overview."):
            yield replace(overview, shows=tuple(table.name for table in several))
        yield from (Shown(table.name, table, table.priority) for table in several)
        for stage, mine, analysis in zip(self._result.stages, tables, self._report.analysis, strict=True):
            yield from self._stage(stage, mine, analysis)
        yield from self._sections(None)

    def _stage(
        self, stage: StageResult, tables: Sequence[Table], sentences: Sequence[str]
    ) -> Iterator[Paragraph | Shown]:
        shown = [Shown(table.name, table, table.priority) for table in tables]
        shown += _curves(self._report, stage)
        names = tuple(s.name for s in shown)
        title = f"Stage {stage.stage.ordinal + 1}, {stage.stage.name}."
        priority = _TEXT["analysis"] + stage.stage.ordinal
        paragraph = self._citations.paragraph(sentences or [_carried(self._report.result, stage)], title, priority)
        yield replace(paragraph or Paragraph("", title), shows=names)
        yield from shown

    def _placed(self, part: str) -> tuple[Paragraph | Shown, ...]:
        if part == "qualitative":
            return (*self._own.of(part), *self._sections(_QUALITATIVE))
        told = self._citations.paragraph(complexity(self._result), priority=_TEXT["details"])
        return (*self._own.of(part), *((told,) if told else ()), *self._sections(_COMPLEXITY))

    def _sections(self, names: tuple[str, ...] | None, part: str = "") -> Iterator[Paragraph | Shown]:
        """The sections whose names start so; None: those that no other part takes."""
        taken = (*_DATA, *_COMPLEXITY, *_QUALITATIVE)
        for section in self._report.sections:
            if section.name.startswith(names) if names else not section.name.startswith(taken):
                yield from self._section(section, part)

    def _section(self, section: Section, part: str) -> Iterator[Paragraph | Shown]:
        """What a section shows; its title stands before it where it is not that of the part."""
        shown = [Shown(table.name, table, table.priority) for table in section.tables]
        shown += [Shown(figure.name, figure, figure.priority) for figure in section.figures]
        told = " ".join((section.title, *section.texts, *(one.caption for one in shown)))
        known = [word for word in _CITED if word in told]
        sentences: list[Sentence | str] = list(section.texts)
        if known:
            first = section.texts[0] if section.texts else f"This rests on {words.listing(known)}."
            sentences[:1] = [Sentence(first, tuple(_CITED[word] for word in known))]
        heading = "" if section.title == part else f"{section.title}."
        paragraph = self._citations.paragraph(sentences, heading, _TEXT["details"])
        yield replace(paragraph or Paragraph("", heading), shows=tuple(s.name for s in shown))
        yield from shown


def _told_apart(parts: Iterable[Part]) -> Iterator[Part]:
    """The parts with every table and figure under a name of its own: a second `keypoints` is `keypoints_table`, or
    `keypoints_figure`, then counted."""
    taken: set[str] = set()
    for part in parts:
        content: list[Paragraph | Shown] = []
        renamed: dict[str, list[str]] = {}
        for item in part.content:
            if isinstance(item, Shown):
                name = _free(item, taken)
                taken.add(name)
                renamed.setdefault(item.name, []).append(name)
                content.append(replace(item, name=name))
            else:
                content.append(item)
        shown = [
            replace(c, shows=_renamed(c.shows, renamed)) if isinstance(c, Paragraph) and c.shows else c for c in content
        ]
        yield replace(part, content=tuple(shown))


def _free(item: Shown, taken: set[str]) -> str:
    kind = "table" if item.is_table else "figure"
    names = chain((item.name, f"{item.name}_{kind}"), (f"{item.name}_{kind}{i}" for i in count(2)))
    return next(name for name in names if name not in taken)


def _renamed(names: Sequence[str], renamed: Mapping[str, list[str]]) -> tuple[str, ...]:
    """The names in their new form, those that were alike one after another."""
    left = {name: list(new) for name, new in renamed.items()}
    return tuple(left[name].pop(0) if left.get(name) else name for name in names)


def _curves(report: StudyReport, stage: StageResult) -> Iterator[Shown]:
    """The learning curves of a stage, where some trial was evaluated often enough to have one."""
    from posestudy_reports.figures import curve_chart

    curves = report.curves[report.stages.index(stage)]
    if any(len(curve.epochs) >= _FEWEST_EPOCHS for curve in curves):
        chart = curve_chart(report, stage, curves)
        yield Shown(chart.name, chart, min(99, _CURVES + stage.stage.ordinal))


def _carried(result: StudyResult, stage: StageResult) -> str:
    """What the stage ended with, where there is nothing else to say of it."""
    cell = stage.named(stage.stage.carried)
    if cell is None:
        return ""
    reason = carry_reason(result, stage)
    text = f"The stage carried {words.quoted(cell.label)}"
    return Text(text, ": ", reason, ".") if reason else Text(text, ".")


def found(result: StudyResult) -> tuple[str, ...]:
    """The outcome in two sentences: how much was tried and the best of it; fewer where nothing was measured."""
    cells = [cell for stage in result.stages for cell in stage.cells]
    measured = sum(bool(cell.finals) for cell in cells)
    if not cells:
        return ("No cell has been planned yet.",)
    first = f"{_capital(words.count(len(cells), 'cell'))} in {words.count(len(result.stages), 'stage')} "
    first += "were tried" if len(cells) > 1 else "was tried"
    first += f", of which {measured} completed." if measured < len(cells) else "."
    return (first, *_best(result))


def _best(result: StudyResult) -> tuple[str, ...]:
    if result.best is None:
        return ()
    stage, cell = result.best
    top = cell_numbers.final(result, stage, cell)
    if top is None:
        return ()
    so_far = "" if result.snapshot.study.state == "closed" else " so far"
    text = said(
        "The best{so_far} is {cell} of stage {stage} with {metric} {top}",
        so_far=so_far,
        cell=words.quoted(cell.label),
        stage=words.quoted(stage.stage.name),
        metric=result.metric.short,
        top=top,
    )
    first = result.stages[0]
    start = cell_numbers.final(result, first, first.baseline) if first.baseline else None
    if start is None or first.baseline is cell:
        return (Text(text, "."),)
    return (said("{text}; the first baseline has {start}.", text=text, start=start),)


def _addresses(result: StudyResult) -> Part | None:
    """Every trial with its uid and MLflow run, for the supplement."""
    rows = [(stage, cell, trial) for stage in result.stages for cell in stage.cells for trial in cell.trials]
    if not rows:
        return None
    columns = ("No.", "Stage", "Cell", "Seed", "Trial uid", "MLflow run")
    keys = ("number", "stage", "cell", "seed", "trial_uid", "mlflow_run_id")
    entries = [
        Row(
            tuple(
                Entry(text)
                for text in (
                    str(trial.number), stage.stage.name, cell.label, str(trial.seed), trial.uid,
                    result.runs.get(trial.uid) or words.DASH,
                )
            ),
            (trial.uid,),
            (result.runs.get(trial.uid, ""),),
        )
        for stage, cell, trial in rows[:MOST_ADDRESSES]
    ]  # fmt: skip
    remarks: tuple[str, ...] = ()
    if len(rows) > MOST_ADDRESSES:
        remarks = (f"The first {MOST_ADDRESSES} of {len(rows)} trials; all of them are in trials.csv.",)
    title = "Trials"
    caption = "The trials that the numbers come from, each with its address in the ledger and its run in MLflow."
    head = tuple(Column(key, header) for key, header in zip(keys, columns, strict=True))
    table = Table("trials", title, head, tuple(entries), (), remarks, compact=True, caption=caption, priority=99)
    about = (
        "Every number belongs to a trial of the ledger. Its run in MLflow can be rebuilt and may then change its name; "
        "the uid stays."
    )
    return Part("addresses", "Where the numbers come from", (Paragraph(about), Shown("trials", table, 99)))


def own(report: StudyReport) -> OwnText:
    """The user's words for this report; none where no folder was named.

    Raises:
        InputError: as `own_text.read`.
    """
    folder = report.text_folder
    return own_text.read(folder, quotable(report)) if folder else OwnText()


def quotable(report: StudyReport) -> Mapping[str, Number]:
    """The numbers that own text may quote, by address: of every cell, then those of tables and sentences."""
    result = report.result
    cells = [(stage, cell) for stage in result.stages for cell in stage.cells]
    known = {n.address: n for stage, cell in cells for n in _of_cell(result, stage, cell)}
    for number in numbers_in(_texts(report)):
        known.setdefault(number.address, number)
    return known


def _of_cell(result: StudyResult, stage: StageResult, cell: CellResult) -> Iterator[Number]:
    if not cell.completed:
        return
    metrics = dict.fromkeys(
        name for t in cell.completed for v in result.values.get(t.uid, ())[-1:] for name in v.metrics
    )
    ends: tuple[cell_numbers.End, ...] = ("mean", "low", "high")
    candidates = [
        *(cell_numbers.final(result, stage, cell, end) for end in ends),
        *(cell_numbers.best(result, stage, cell, end) for end in ends),
        cell_numbers.difference(result, stage, cell),
        *(cell_numbers.measured(result, stage, cell, name) for name in metrics if name in _metric_names()),
        *(cell_numbers.cost(result, stage, cell, name) for name in QUANTITIES),
    ]
    yield from (number for number in candidates if number is not None)


def _metric_names() -> Iterable[str]:
    from posestudy.vocabulary import METRICS

    return METRICS


def _texts(report: StudyReport) -> Iterator[str]:
    """Every text of the report that may hold numbers."""
    yield from report.summary
    yield from complexity(report.result)
    for sentences in report.analysis:
        yield from sentences
    tables = list(report.all_tables)
    for section in report.sections:
        yield from section.texts
        tables += section.tables
        for figure in section.figures:
            yield figure.caption
    for table in tables:
        for row in table.rows:
            for entry in row.entries:
                yield entry.text
                yield entry.detail
        yield from (*table.notes, *table.remarks, table.caption)


def text_folder(report_options: Mapping[str, Any], given: Path | None) -> Path | None:
    """Where the user's own text lies: as `given`, else as the study file says, relative to here; None: nowhere."""
    if given is not None:
        return given
    named = report_options.get("text")
    return given_paths.expanded(str(named)) if named else None


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
