r"""LaTeX: a booktabs file for every table, ready for \input, the figures, and the whole paper.

Every measured number is a macro, `\posenum{ADDRESS}`, which `numbers.tex` defines. The trials of a row stand in
comments behind it. A table never makes a line too long: what the class has no room for is shrunk.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from posestudy_reports.document import shown_in
from posestudy_reports.grouped_table import headings
from posestudy_reports.number_list import number_file
from posestudy_reports.references import bibtex
from posestudy_reports.sections import Chart, Picture
from posestudy_reports.tables import Entry, Row, Table
from posestudy_reports.writers.latex_layout import SMALLER, Layout, Place, alone, head_lines, kept, layout
from posestudy_reports.writers.latex_numbers import numbers_tex
from posestudy_reports.writers.latex_paper import paper
from posestudy_reports.writers.latex_text import DEFINITIONS, comment, escape, first_line, inline, loose, raw

if TYPE_CHECKING:
    from posestudy_reports.report import StudyReport

__all__ = ["escape", "figure", "latex", "tex_files", "write"]

_FIT: Final = (
    r"\ifdefined\posebox\else\newsavebox\posebox\newdimen\poseroom\fi",
    r"\providecommand*\posefit{\ifdim\wd\posebox>\linewidth\resizebox{\linewidth}{!}{\usebox\posebox}"
    r"\else\usebox\posebox\fi}",
)
"""A table in a box, made smaller where the line is shorter than it."""


def write(report: StudyReport) -> dict[str, bytes]:
    """`report.tex`, `tables/NAME.tex`, `figures/NAME.tex` with what they show beside them; `numbers.tex`, which gives
    every number, `numbers.json`, which tells where each is from; and `references.bib` for papers of one's own."""
    files = {path: text.encode() for path, text in tex_files(report).items()}
    for shown in figures(report):
        files[_path(shown)] = shown.vector("pdf") if isinstance(shown, Chart) else shown.data
    if report.document.references:
        files["references.bib"] = bibtex(report.document).encode()
    quoting = [path for path in files if path.endswith(".tex")]
    return files | {"numbers.json": number_file(report, quoting)}


def tex_files(report: StudyReport) -> dict[str, str]:
    """The LaTeX files by path; nothing is drawn for them."""
    study = report.name
    files = {"report.tex": paper(report.document, study)}
    files |= {f"tables/{name}.tex": latex(table, study) for name, table in tables(report).items()}
    files |= {f"figures/{shown.name}.tex": figure(shown, _path(shown), study) for shown in figures(report)}
    return files | {"numbers.tex": numbers_tex(study, report.numbers)}


def tables(report: StudyReport) -> dict[str, Table]:
    """The tables of the report and those that only its paper or its sections have, by name."""
    shown = shown_in((*report.document.parts, *report.document.supplement))
    found = {s.name: replace(s.content, name=s.name) for s in shown if isinstance(s.content, Table)}
    found |= {table.name: table for section in report.sections for table in section.tables}
    return found | {table.name: table for table in report.all_tables}


def figures(report: StudyReport) -> tuple[Chart | Picture, ...]:
    """The figures of the report and those that only its paper has, each once."""
    found = {shown.name: shown for section in report.sections for shown in section.figures}
    for shown in shown_in((*report.document.parts, *report.document.supplement)):
        if not isinstance(shown.content, Table):
            found[shown.name] = replace(shown.content, name=shown.name)
    return tuple(found.values())


def _path(shown: Chart | Picture) -> str:
    return f"figures/{shown.name}.{'pdf' if isinstance(shown, Chart) else 'jpg'}"


def latex(table: Table, study: str) -> str:
    """The table as `table`, or `table*` where one column of a page of two is too narrow for it; in several where it is
    longer than a page."""
    table = _without_runs(table)
    plan = layout(table)
    body = [line for i in range(len(plan.pages)) for line in _float(table, study, plan, i)]
    packages = ["booktabs", "graphicx"]
    packages += ["siunitx"] if any(place.kind == "S" for place in plan.places) else []
    packages += ["amssymb"] if any(r"\checkmark" in line for line in body) else []
    head = [first_line(study), f"% needs \\usepackage{{{','.join(packages)}}}, and \\input{{numbers}} before it"]
    head += [DEFINITIONS] if any(r"\poseletter" in line for line in body) else []
    return "\n".join([*head, *_FIT, *body, ""])


def _without_runs(table: Table) -> Table:
    """The table without a column of MLflow runs: another projection has others, and they stand in comments anyway."""
    places = [i for i, column in enumerate(table.columns) if column.key != "mlflow_run_id"]
    rows = tuple(replace(row, entries=tuple(row.entries[i] for i in places)) for row in table.rows)
    return replace(table, columns=tuple(table.columns[i] for i in places), rows=rows)


def _float(table: Table, study: str, plan: Layout, page: int) -> list[str]:
    environment = "table*" if plan.wide else "table"
    first, last = plan.pages[page]
    title = inline(table.caption or table.title, study)
    stop = "" if title.endswith((".", "!", "?")) else "."
    label = table.label or f"tab:{table.name}"
    if page == 0:
        heading = [f"  \\caption{{{title}{stop}}}\\label{{{label}}}"]
    else:
        heading = [r"  \addtocounter{table}{-1}", f"  \\caption{{{title} (continued){stop}}}"]
    lines = [f"\\begin{{{environment}}}", f"  \\centering{plan.size}", *heading]
    lines += [f"  \\setlength{{\\tabcolsep}}{{{_half_gap(plan)}pt}}", *_room(plan)]
    for panel in plan.panels:
        lines += _tabular(table, study, plan, panel, range(first, last))
    if page == len(plan.pages) - 1:
        lines += _below(table, study)
    return [*lines, f"\\end{{{environment}}}"]


def _half_gap(plan: Layout) -> str:
    return {"\\small": "4.5", "\\footnotesize": "4"}.get(plan.size, "3")


def _room(plan: Layout) -> list[str]:
    """`\\poseroom`: what the line has beyond what the table needs, as far as its columns can use it."""
    if not any(place.share for place in plan.places):
        return []
    return [
        f"  \\poseroom=\\dimexpr\\linewidth-{plan.need:.0f}pt\\relax",
        r"  \ifdim\poseroom<0pt\poseroom=0pt\fi",
        f"  \\ifdim\\poseroom>{plan.spare:.0f}pt\\poseroom={plan.spare:.0f}pt\\fi",
    ]


def _tabular(table: Table, study: str, plan: Layout, panel: tuple[int, ...], rows: range) -> list[str]:
    places = [plan.places[i] for i in panel]
    columns = [table.columns[i] for i in panel]
    spec = "".join(_column(place, column.align) for place, column in zip(places, columns, strict=True))
    heads = [_header(c.header, place, _widest(table, i)) for c, place, i in zip(columns, places, panel, strict=True)]
    lines = [
        r"  \begin{lrbox}{\posebox}%",
        f"  \\begin{{tabular}}{{@{{}}{spec}@{{}}}}",
        r"    \toprule",
        f"    {' & '.join(heads)} \\\\",
        r"    \midrule",
    ]
    titles = headings(table)
    for i in rows:
        if i in titles:
            lines += [r"    \midrule"] if i != rows.start else []
            lines.append(f"    \\multicolumn{{{len(panel)}}}{{@{{}}l@{{}}}}{{\\itshape {escape(titles[i])}}} \\\\")
        lines.append(_row(table.rows[i], study, plan, panel))
    lines += [r"    \bottomrule", r"  \end{tabular}%", r"  \end{lrbox}%", r"  \posefit"]
    return [*lines, r"  \par\medskip"] if panel is not plan.panels[-1] else lines


def _widest(table: Table, index: int) -> int:
    return max((len(row.entries[index].text) for row in table.rows), default=0)


def _column(place: Place, align: str) -> str:
    if place.kind == "S":
        return f"S[table-format={place.digits},detect-all]"
    if place.kind != "p":
        return place.kind
    share = f"+{place.share:.3f}\\poseroom" if place.share else ""
    side = r"\raggedleft" if align == "right" else r"\raggedright"
    return f">{{{side}\\arraybackslash\\hspace{{0pt}}}}p{{\\dimexpr{place.base:.1f}pt{share}\\relax}}"


def _header(header: str, place: Place, widest: int) -> str:
    """A header; one that is longer than its column stands in two lines."""
    if place.kind == "p":
        return escape(header)
    lines = head_lines(header, widest)
    if len(lines) > 1:
        side = "r" if place.kind == "S" else place.kind
        stacked = r"\\".join(map(escape, lines))
        return f"{{\\begin{{tabular}}[t]{{@{{}}{side}@{{}}}}{stacked}\\end{{tabular}}}}"
    return f"{{{escape(header)}}}" if place.kind == "S" else escape(header)


def _row(row: Row, study: str, plan: Layout, panel: tuple[int, ...]) -> str:
    addresses = "\n".join(
        f"    % trial uid {comment(uid)}, MLflow run {comment(run) or 'none'}"
        for uid, run in zip(row.uids, row.runs, strict=True)
    )
    line = "    " + " & ".join(_entry(row.entries[i], study, plan.places[i], plan) for i in panel) + r" \\"
    return f"{line}\n{addresses}" if addresses else line


def _entry(entry: Entry, study: str, place: Place, plan: Layout) -> str:
    number = alone(entry)
    if place.kind == "S":
        if number is None:
            return f"{{{inline(entry.text, study)}}}"
        if entry.emphasis == "second":
            return f"{{\\underline{{{inline(entry.text, study)}}}}}"
        return (r"\bfseries " if entry.emphasis == "best" else "") + raw(number, study)
    text = (
        _kept(entry.text, study)
        if kept(entry.text)
        else loose(entry.text, study)
        if place.kind == "p"
        else inline(entry.text, study)
    )
    if entry.emphasis == "best":
        text = f"\\textbf{{{text}}}"
    elif entry.emphasis == "second":
        text = f"\\underline{{{text}}}"
    if entry.marks:
        text += f"\\textsuperscript{{{','.join(map(str, entry.marks))}}}"
    if not entry.detail:
        return text
    detail = (
        f"{{{SMALLER[plan.size]} {loose(entry.detail, study) if place.kind == 'p' else inline(entry.detail, study)}}}"
    )
    if place.kind == "p":
        return f"{text}\\newline {detail}"
    side = "r" if place.kind == "r" else "l"
    return f"\\begin{{tabular}}[t]{{@{{}}{side}@{{}}}}{text}\\\\[-1pt]{detail}\\end{{tabular}}"


def _kept(text: str, study: str) -> str:
    """A short text with a number, as `150: 0.485`, on one line."""
    return inline(text, study).replace(" ", "~")


def _below(table: Table, study: str) -> list[str]:
    notes = [f"\\textsuperscript{{{i}}}~{loose(note, study)}" for i, note in enumerate(table.notes, 1)]
    notes += [loose(remark, study) for remark in table.remarks]
    if not notes:
        return []
    return [
        r"  \par\smallskip\begin{minipage}{\linewidth}\raggedright\scriptsize",
        *(f"    {note}\\par" for note in notes),
        r"  \end{minipage}",
    ]


def figure(shown: Chart | Picture, path: str, study: str) -> str:
    """A `figure` that shows the file at `path`, relative to the report's folder; over both columns where it is wide."""
    wide = isinstance(shown, Picture) or shown.wide
    environment = "figure*" if wide else "figure"
    caption = inline(shown.caption, study)
    lines = [
        first_line(study),
        "% needs \\usepackage{graphicx}; the path starts at the folder of the report (\\graphicspath)",
        *([DEFINITIONS] if r"\poseletter" in caption else []),
        f"\\begin{{{environment}}}",
        r"  \centering",
        f"  \\includegraphics[width=\\linewidth,height=0.85\\textheight,keepaspectratio]{{{path}}}",
        f"  \\caption{{{caption}}}\\label{{fig:{shown.name}}}",
        f"\\end{{{environment}}}",
        "",
    ]
    return "\n".join(lines)
