"""HTML: one self-contained page with the summary, the tables and the figures, to hover over where they are drawn."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Final

from posestudy_reports.addressed import Number, pieces_of
from posestudy_reports.figures import learning_curves_plotly
from posestudy_reports.grouped_table import headings
from posestudy_reports.results import StageResult, StudyResult
from posestudy_reports.sections import Chart, Picture
from posestudy_reports.tables import Column, Entry, Table
from posestudy_reports.words import DASH
from posestudy_reports.writers import tables_by_stage

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from posestudy_reports.report import StudyReport

# Plotly 7 offers to upload a chart to its makers' server unless told not to.
_PLOT: Final = {"displaylogo": False, "showSendToCloud": False, "plotlyServerURL": ""}
_SEVERAL: Final = "Tables over several stages"
_STYLE: Final = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1c1c; margin: 0 auto; max-width: 68rem; padding: 2rem 1.2rem; }
h1 { font-size: 1.9rem; margin: 0 0 .3rem; } h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
.lead { color: #555; margin: 0 0 1.2rem; }
.open { border-left: 4px solid #D55E00; background: #fdf3ec; padding: .6rem .9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
thead { border-top: 2px solid #1c1c1c; border-bottom: 1px solid #1c1c1c; }
tbody { border-bottom: 2px solid #1c1c1c; }
.final, .best, .delta { white-space: nowrap; }
th, td { text-align: left; padding: .35rem .6rem; vertical-align: top; }
.right { text-align: right; } td small { display: block; color: #666; } tbody tr:hover { background: #f5f7fa; }
ol, .remark { font-size: .82rem; color: #444; padding-left: 1.2rem; } details { font-size: .82rem; margin: .6rem 0; }
.middle { text-align: center; }
code { font-size: .95em; }
nav { font-size: .88rem; border-left: 3px solid #ddd; padding: .1rem .9rem; margin: 1.2rem 0; }
nav ul { list-style: none; margin: 0; padding: 0; columns: 2; } a { color: #0060a0; }
.n { color: inherit; text-decoration: none; } .n:hover { text-decoration: underline dotted; }
.group th { font-style: italic; font-weight: 400; padding-top: .8rem; } caption { text-align: left; color: #444; }
tr:target { background: #fff3c4; }
"""
_FIGURES: Final = """figure { margin: 1rem 0 1.8rem; } figure img { max-width: 100%; height: auto; }
figure .whole { width: 66rem; } figure .half { width: 36rem; }
figure .scroll img { max-width: none; width: 110rem; } figcaption { font-size: .82rem; color: #444; }
"""


def write(report: StudyReport) -> dict[str, bytes]:
    """`report.html`; it loads nothing from anywhere."""
    return {"report.html": page(report).encode()}


def page(report: StudyReport) -> str:
    """The whole page."""
    from plotly.offline import get_plotlyjs

    several, by_stage = tables_by_stage(report)
    parts = [f"<h1>{escape(report.title)}</h1>"]
    if report.description:
        parts.append(f'<p class="lead">{escape(report.description)}</p>')
    parts.append(_contents(report, bool(several)))
    parts.append(f"<p>{_sentences(report.summary)}</p>")
    if report.still_open:
        parts.append(f'<p class="open"><strong>Still open.</strong> {_sentences(report.still_open)}</p>')
    if several:
        parts += [_heading("tables", _SEVERAL), *_titled(several)]
    for i, (stage, pieces) in enumerate(zip(report.stages, report.stage_parts, strict=True)):
        parts += [_heading(f"stage-{i + 1}", pieces.table.title), *_titled(by_stage[i], pieces.table.title)]
        if report.analysis[i]:
            parts.append(f"<p>{_sentences(report.analysis[i])}</p>")
        parts.append(addresses(report.result, stage))
        if pieces.has_figure:
            parts.append(_plot(learning_curves_plotly(pieces.curves, report.result.metric), f"curves-{i + 1}"))
    for section in report.sections:
        parts.append(_heading(f"section-{section.name}", section.title))
        parts += [f"<p>{_sentences(section.texts)}</p>"] if section.texts else []
        parts += _titled(section.tables, section.title)
        parts += [section.interactive()] if section.interactive else [_figure(shown) for shown in section.figures]
    style = _STYLE + (_FIGURES if report.sections else "")
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.title)}</title><style>{style}</style><script>{get_plotlyjs()}</script>"
    )
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def inline(text: str) -> str:
    """A text with its numbers linked to the trials they are from: each tells its address and formula."""
    return "".join(_number(piece) if isinstance(piece, Number) else escape(piece) for piece in pieces_of(text))


def _number(number: Number) -> str:
    tells = f'class="n" data-address="{escape(number.address)}" title="{escape(number.formula)}"'
    if not number.uids:
        return f"<span {tells}>{escape(number.text)}</span>"
    return f'<a {tells} href="#trial-{escape(number.uids[0])}">{escape(number.text)}</a>'


def _sentences(texts: Iterable[str]) -> str:
    return " ".join(map(inline, texts))


def _heading(name: str, title: str) -> str:
    return f'<h2 id="{escape(name)}">{escape(title)}</h2>'


def _contents(report: StudyReport, several: bool) -> str:
    """Links to the headings of the page; nothing where there are fewer than two."""
    places = [("tables", _SEVERAL)] if several else []
    places += [(f"stage-{i}", parts.table.title) for i, parts in enumerate(report.stage_parts, 1)]
    places += [(f"section-{section.name}", section.title) for section in report.sections]
    links = "".join(f'<li><a href="#{escape(name)}">{escape(title)}</a></li>' for name, title in places)
    return f'<nav aria-label="Contents"><ul>{links}</ul></nav>' if len(places) > 1 else ""


def _titled(tables: Iterable[Table], said: str = "") -> list[str]:
    """Tables with their titles; of one whose title was `said` just above, without."""
    parts = []
    for table in tables:
        parts += [f"<h3>{escape(table.title)}</h3>"] if table.title != said else []
        parts.append(html_table(table))
    return parts


def _plot(figure: go.Figure, name: str) -> str:
    """An interactive figure; the page holds Plotly itself once."""
    text: str = figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=dict(_PLOT))
    return text


def _figure(shown: Chart | Picture) -> str:
    """A figure of the study with its caption; pixels are in the page itself."""
    if isinstance(shown, Chart) and shown.plotly:
        body = _plot(shown.plotly(), shown.name)
    elif isinstance(shown, Chart):
        data = base64.b64encode(shown.vector("svg")).decode()
        size = "whole" if shown.wide else "half"
        body = f'<img class="{size}" src="data:image/svg+xml;base64,{data}" alt="{escape(shown.title)}">'
    else:
        data = base64.b64encode(shown.data).decode()
        body = f'<img src="data:image/jpeg;base64,{data}" alt="{escape(shown.title)}">'
        body = f'<div class="scroll">{body}</div>' if shown.across else body
    return f'<figure id="figure-{shown.name}">{body}<figcaption>{inline(shown.caption)}</figcaption></figure>'


def html_table(table: Table) -> str:
    """The table with its notes."""
    marks = {i for i in range(1, len(table.columns)) if _marks_only(table, i)}
    head = "".join(f"<th{_class(c, i in marks)}>{escape(c.header)}</th>" for i, c in enumerate(table.columns))
    titles = headings(table)
    rows = []
    for i, row in enumerate(table.rows):
        if i in titles:
            rows.append(f'<tr class="group"><th colspan="{len(table.columns)}">{escape(titles[i])}</th></tr>')
        pairs = zip(row.entries, table.columns, strict=True)
        cells = "".join(f"<td{_class(c, j in marks)}>{_entry(entry)}</td>" for j, (entry, c) in enumerate(pairs))
        rows.append(f'<tr data-uids="{escape(" ".join(row.uids))}">{cells}</tr>')
    notes = "".join(f"<li>{inline(note)}</li>" for note in table.notes)
    remarks = "".join(f'<p class="remark">{inline(remark)}</p>' for remark in table.remarks)
    caption = f"<caption>{inline(table.caption)}</caption>" if table.caption else ""
    body = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    shown = f'<div class="scroll" id="table-{escape(table.name)}">{body}</div>'
    return shown + (f"<ol>{notes}</ol>" if notes else "") + remarks


def _marks_only(table: Table, index: int) -> bool:
    """Whether a column holds check marks and crosses alone."""
    texts = {row.entries[index].text for row in table.rows}
    return bool(texts & {"\u2713", "\u2717"}) and texts <= {"\u2713", "\u2717", DASH, ""}


def addresses(result: StudyResult, stage: StageResult) -> str:
    """The trials that the numbers of a stage come from, folded away; links to them open it."""
    rows = "".join(
        f'<tr id="trial-{escape(trial.uid)}"><td>{trial.number}</td><td>{escape(cell.label)}</td><td>{trial.seed}</td>'
        f"<td><code>{escape(trial.uid)}</code></td>"
        f"<td><code>{escape(result.runs.get(trial.uid, '')) or DASH}</code></td></tr>"
        for cell in stage.cells
        for trial in cell.trials
    )
    heads = "".join(f"<th>{head}</th>" for head in ("No.", "Cell", "Seed", "Trial uid", "MLflow run"))
    return (
        f"<details><summary>Where the numbers come from</summary><table><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table></details>"
    )


def _class(column: Column, marks: bool) -> str:
    side = " middle" if marks else " right" if column.align == "right" else ""
    return f' class="{escape(column.key)}{side}"'


def _entry(entry: Entry) -> str:
    text = inline(entry.text)
    if entry.emphasis == "best":
        text = f"<strong>{text}</strong>"
    elif entry.emphasis == "second":
        text = f"<u>{text}</u>"
    if entry.marks:
        text += f"<sup>{','.join(map(str, entry.marks))}</sup>"
    if entry.detail:
        text += f"<small>{inline(entry.detail)}</small>"
    return text
