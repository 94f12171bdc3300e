"""How the parts of a report show themselves in a notebook: escaped, self-contained and without scripts."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

from posestudy_reports import words
from posestudy_reports.addressed import Number
from posestudy_reports.results import StageResult
from posestudy_reports.sections import Chart, Picture, Section
from posestudy_reports.tables import Table
from posestudy_reports.writers.webpage import html_table, inline

if TYPE_CHECKING:
    import pandas as pd

    from posestudy_reports.report import StudyReport

# Links to a trial lead to a place of the page of a report, which a notebook has not.
_ELSEWHERE: Final = re.compile(r' href="#trial-[0-9a-f]+"')
_WIDTHS: Final = {True: "174mm", False: "84mm"}
_STYLE: Final = (
    ".posestudy th, .posestudy td { text-align: left; vertical-align: top; padding: .2em .6em; } "
    ".posestudy td small { display: block; color: #666; } .posestudy figure { margin: 1em 0; }"
)


@dataclass(frozen=True)
class StageReport:
    """One stage of a study, as `report["STAGE"]` gives it.

    Attributes:
        table: the ablation table. differences: with intervals, None where there are none. columns: the table of the
            columns the stage asks for, None where it asks for none.
        analysis: computed sentences about the rows.
        curves: the learning curves, None where no trial has any.
        frame: the rows of the study's frame that are of this stage.
    """

    name: str
    table: Table
    differences: Table | None
    columns: Table | None
    analysis: tuple[str, ...]
    curves: Chart | None
    frame: pd.DataFrame

    @property
    def tables(self) -> tuple[Table, ...]:
        """Those that there are."""
        return tuple(table for table in (self.table, self.differences, self.columns) if table is not None)

    def __repr__(self) -> str:
        return f"<stage {self.name}: {words.count(len(self.table.rows), 'row')}, {len(self.frame)} trials>"

    def _repr_html_(self) -> str:
        first, *others = self.tables
        parts = [f"<h3>{escape(first.title)}</h3>", _table(first), _sentences(self.analysis)]
        parts += [f"<h4>{escape(table.title)}</h4>{_table(table)}" for table in others]
        return _styled("\n".join(parts) + (_figure(self.curves) if self.curves else ""))


def stage_report(report: StudyReport, place: int) -> StageReport:
    """The stage at `place` among those of the report, from 0."""
    from posestudy_reports.figures import curve_chart

    stage, parts = report.stages[place], report.stage_parts[place]
    drawn = curve_chart(report, stage, parts.curves) if parts.curves else None
    rows = report.frame[report.frame.stage == stage.stage.name]
    return StageReport(stage.stage.name, parts.table, parts.differences, parts.zoo, report.analysis[place], drawn, rows)


def report_html(report: StudyReport) -> str:
    """Title, summary and the stages with the best cell of each."""
    parts = [f"<h2>{escape(report.title)}</h2>", f"<p>{escape(report.description)}</p>" if report.description else ""]
    parts.append(_sentences(report.summary))
    if report.still_open:
        parts.append(f"<p><strong>Still open.</strong> {_plain(report.still_open)}</p>")
    metric = report.result.metric
    heads = "".join(f"<th>{head}</th>" for head in ("Stage", "Cells", "Trials", "Best cell", f"Final {metric.short}"))
    rows = "".join(_stage_row(report, stage) for stage in report.stages)
    parts.append(f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>")
    # Not the sections by name: finding out which there are may draw them all.
    hint = "<code>report[NAME]</code> is a stage or a section; <code>list(report)</code> names them all."
    return _styled("\n".join([*parts, f"<p><small>{hint}</small></p>"]))


def _stage_row(report: StudyReport, stage: StageResult) -> str:
    metric, best = report.result.metric, None
    for cell in stage.cells:
        if cell.final and (best is None or not best.final or metric.direction.better(cell.final.mean, best.final.mean)):
            best = cell
    final = words.score(best.final.mean, metric) if best and best.final else words.DASH
    trials = sum(len(cell.trials) for cell in stage.cells)
    texts = (stage.stage.name, str(len(stage.cells)), str(trials), best.label if best else words.DASH, final)
    return f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in texts)}</tr>"


def report_text(report: StudyReport) -> str:
    """One short line."""
    result = report.result
    cells, trials = len(result.snapshot.cells), len(result.snapshot.trials)
    parts = [words.count(len(report.stages), "stage"), words.count(cells, "cell"), words.count(trials, "trial")]
    return f"<report of the study {report.name}: {', '.join(parts)}>"


def section_html(section: Section) -> str:
    """Title, texts, tables and figures."""
    parts = [f"<h3>{escape(section.title)}</h3>", *(f"<p>{_plain([text])}</p>" for text in section.texts)]
    parts += [f"<h4>{escape(table.title)}</h4>{_table(table)}" for table in section.tables]
    return _styled("\n".join([*parts, *map(_figure, section.figures)]))


def table_html(table: Table) -> str:
    """The table with its notes."""
    return _styled(_table(table))


def figure_html(figure: Chart | Picture) -> str:
    """The vectors or the pixels of a figure, its size that of print, and its caption."""
    return _styled(_figure(figure))


def _styled(body: str) -> str:
    return f'<div class="posestudy"><style>{_STYLE}</style>{body}</div>'


def _table(table: Table) -> str:
    return _ELSEWHERE.sub("", html_table(table))


def _figure(figure: Chart | Picture) -> str:
    if isinstance(figure, Chart):
        kind, data, width = "svg+xml", figure.vector("svg"), _WIDTHS[figure.wide]
    else:
        kind, data, width = "jpeg", figure.data, f"{figure.size[0]}px"
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    image = f'<img src="{source}" alt="{escape(figure.title)}" style="width: {width}; max-width: 100%">'
    return f"<figure>{image}<figcaption>{_plain([figure.caption])}</figcaption></figure>"


def _sentences(texts: Sequence[str]) -> str:
    return f"<p>{_plain(texts)}</p>" if texts else ""


def _plain(texts: Iterable[str | Number]) -> str:
    return _ELSEWHERE.sub("", " ".join(inline(str(text) if isinstance(text, Number) else text) for text in texts))
