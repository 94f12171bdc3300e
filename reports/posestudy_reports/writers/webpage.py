"""HTML: one self-contained page with the summary, the tables and the figures, to hover over where they are drawn."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING, Final

from posestudy_reports.figures import learning_curves_plotly
from posestudy_reports.sections import Chart, Picture
from posestudy_reports.tables import Column, Entry, Table
from posestudy_reports.words import DASH

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from posestudy_reports.report import StudyReport

# Plotly 7 offers to upload a chart to its makers' server unless told not to.
_PLOT: Final = {"displaylogo": False, "showSendToCloud": False, "plotlyServerURL": ""}
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
code { font-size: .95em; }
"""
_FIGURES: Final = """figure { margin: 1rem 0 1.8rem; } figure img { max-width: 100%; height: auto; }
figure .scroll img { max-width: none; width: 110rem; } figcaption { font-size: .82rem; color: #444; }
"""


def write(report: StudyReport) -> dict[str, bytes]:
    """`report.html`; it loads nothing from anywhere."""
    return {"report.html": page(report).encode()}


def page(report: StudyReport) -> str:
    """The whole page."""
    from plotly.offline import get_plotlyjs

    parts = [f"<h1>{escape(report.title)}</h1>"]
    if report.description:
        parts.append(f'<p class="lead">{escape(report.description)}</p>')
    parts.append(f"<p>{escape(' '.join(report.summary))}</p>")
    if report.still_open:
        parts.append(f'<p class="open"><strong>Still open.</strong> {escape(" ".join(report.still_open))}</p>')
    for i, pieces in enumerate(report.stage_parts):
        parts += [f"<h2>{escape(pieces.table.title)}</h2>", html_table(pieces.table)]
        for further in (pieces.differences, pieces.zoo):
            if further:
                parts += [f"<h3>{escape(further.title)}</h3>", html_table(further)]
        parts.append(addresses(pieces.table))
        if pieces.has_figure:
            parts.append(_plot(learning_curves_plotly(pieces.curves, report.result.metric), f"curves-{i + 1}"))
    for section in report.sections:
        parts.append(f"<h2>{escape(section.title)}</h2>")
        parts += [f"<p>{escape(text)}</p>" for text in section.texts]
        parts += [html_table(table) for table in section.tables]
        parts += [section.interactive()] if section.interactive else [_figure(shown) for shown in section.figures]
    style = _STYLE + (_FIGURES if report.sections else "")
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.title)}</title><style>{style}</style><script>{get_plotlyjs()}</script>"
    )
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


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
        body = f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(shown.title)}">'
    else:
        data = base64.b64encode(shown.data).decode()
        body = f'<img src="data:image/jpeg;base64,{data}" alt="{escape(shown.title)}">'
        body = f'<div class="scroll">{body}</div>' if shown.across else body
    return f'<figure id="figure-{shown.name}">{body}<figcaption>{escape(shown.caption)}</figcaption></figure>'


def html_table(table: Table) -> str:
    """The table with its notes."""
    head = "".join(f"<th{_class(c)}>{escape(c.header)}</th>" for c in table.columns)
    rows = []
    for row in table.rows:
        pairs = zip(row.entries, table.columns, strict=True)
        cells = "".join(f"<td{_class(column)}>{_entry(entry)}</td>" for entry, column in pairs)
        rows.append(f'<tr data-uids="{escape(" ".join(row.uids))}">{cells}</tr>')
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
    remarks = "".join(f'<p class="remark">{escape(remark)}</p>' for remark in table.remarks)
    body = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<div class="scroll">{body}</div>' + (f"<ol>{notes}</ol>" if notes else "") + remarks


def addresses(table: Table) -> str:
    """The address of every number of an ablation table, folded away."""
    rows = "".join(
        f"<tr><td>{escape(row.entries[1].text)}</td><td><code>{escape(uid)}</code></td>"
        f"<td><code>{escape(run) or DASH}</code></td></tr>"
        for row in table.rows
        for uid, run in zip(row.uids, row.runs, strict=True)
    )
    return (
        "<details><summary>Where the numbers come from</summary><table><thead><tr><th>Cell</th><th>Trial uid</th>"
        f"<th>MLflow run</th></tr></thead><tbody>{rows}</tbody></table></details>"
    )


def _class(column: Column) -> str:
    return f' class="{column.key}{" right" if column.align == "right" else ""}"'


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    if entry.emphasis == "best":
        text = f"<strong>{text}</strong>"
    elif entry.emphasis == "second":
        text = f"<u>{text}</u>"
    if entry.marks:
        text += f"<sup>{','.join(map(str, entry.marks))}</sup>"
    if entry.detail:
        text += f"<small>{escape(entry.detail)}</small>"
    return text
