"""LaTeX: booktabs tables and figures, ready for \\input, with the address of every number of a table in comments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from posestudy_reports.sections import Chart, Picture
from posestudy_reports.tables import Entry, Row, Table
from posestudy_reports.writers import stem

if TYPE_CHECKING:
    from posestudy_reports.report import StudyReport

_ESCAPES: Final = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "%": r"\%",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "`": r"\textasciigrave{}",
        "[": "{[}",  # after \\ a bracket would be read as its argument
        "]": "{]}",
        "\u2212": "$-$",
        "\u2013": "--",
        "\u00d7": r"$\times$",
        "\u2192": r"$\to$",
        "\u00b1": r"$\pm$",
        "\u2026": r"\dots{}",
        "\u00a0": "~",
    }
)


def escape(text: str) -> str:
    """`text` as LaTeX sets it letter by letter, on one line. Other scripts are left as they are (use LuaLaTeX)."""
    return " ".join(text.split()).translate(_ESCAPES)


def write(report: StudyReport) -> dict[str, bytes]:
    """`tables/N_STAGE.tex`, one per stage, `tables/N_STAGE_differences.tex` where it has intervals,
    `tables/N_STAGE_columns.tex` where it asks for columns; `figures/NAME.tex` with the file it shows."""
    files = {}
    for i, parts in enumerate(report.stage_parts):
        name = f"tables/{stem(i, parts.table.name)}"
        files[f"{name}.tex"] = latex(parts.table, report.name).encode()
        for further, ending in ((parts.differences, "differences"), (parts.zoo, "columns")):
            if further:
                files[f"{name}_{ending}.tex"] = latex(further, report.name).encode()
    for section in report.sections:
        for shown in section.figures:
            path = f"figures/{shown.name}.{'pdf' if isinstance(shown, Chart) else 'jpg'}"
            files[path] = shown.vector("pdf") if isinstance(shown, Chart) else shown.data
            files[f"figures/{shown.name}.tex"] = figure(shown, path, report.name).encode()
    return files


def latex(table: Table, study: str) -> str:
    """The table as a `table` environment; needs \\usepackage{booktabs} (and T1 fonts with pdfLaTeX).

    One of many columns lies on its side, which needs \\usepackage{rotating}.
    """
    align = "".join("r" if column.align == "right" else "l" for column in table.columns)
    size, turned = _setting(table) if table.compact else (r"\small", False)
    environment = "sidewaystable" if turned else "table"
    packages = "booktabs,rotating" if turned else "booktabs"
    lines = [
        f"% needs \\usepackage{{{packages}}}; with pdfLaTeX also \\usepackage[T1]{{fontenc}}",
        f"\\begin{{{environment}}}",
        f"  \\centering{size}",
        *([r"  \setlength{\tabcolsep}{2.5pt}"] if table.compact else []),
        f"  \\caption{{{escape(study)}. {escape(table.title)}.}}",
        f"  \\begin{{tabular}}{{{align}}}",
        r"    \toprule",
        "    " + " & ".join(escape(column.header) for column in table.columns) + r" \\",
        r"    \midrule",
        *(_row(row) for row in table.rows),
        r"    \bottomrule",
        r"  \end{tabular}",
    ]
    notes = [f"\\textsuperscript{{{i}}}~{escape(note)}" for i, note in enumerate(table.notes, 1)]
    notes += [escape(remark) for remark in table.remarks]
    if notes:
        below = "\\\\ ".join(notes)
        lines.append(f"\n  \\smallskip\\parbox{{\\linewidth}}{{\\footnotesize {below}}}")
    return "\n".join([*lines, f"\\end{{{environment}}}", ""])


_LINE: Final = 340.0
_SIDE: Final = 540.0
"""What a table may take of a page of LaTeX's own classes, across and on its side, points."""


def _setting(table: Table) -> tuple[str, bool]:
    """The size of the text of a compact table and whether it lies on its side, so that it fits a page."""
    letters = 0
    for i, column in enumerate(table.columns):
        entries = [row.entries[i] for row in table.rows]
        lengths = (len(e.text) + (len(e.detail) + 3 if e.detail else 0) + len(e.marks) for e in entries)
        letters += max(len(column.header), *lengths, 0)
    gaps = 5.0 * len(table.columns)
    if 4.3 * letters + gaps <= _LINE:  # points a letter of each size
        return r"\footnotesize", False
    return (r"\scriptsize" if 4.0 * letters + gaps <= _SIDE else r"\tiny"), True


def figure(shown: Chart | Picture, path: str, study: str) -> str:
    """A `figure` environment that shows the file at `path`, relative to the report's folder."""
    lines = [
        "% needs \\usepackage{graphicx}; the path starts at the folder of the report (\\graphicspath)",
        r"\begin{figure}",
        r"  \centering",
        f"  \\includegraphics[width=\\linewidth,height=0.85\\textheight,keepaspectratio]{{{path}}}",
        f"  \\caption{{{escape(study)}. {escape(shown.caption)}}}",
        r"\end{figure}",
        "",
    ]
    return "\n".join(lines)


def _row(row: Row) -> str:
    addresses = "\n".join(
        f"    % trial uid {_comment(uid)}, MLflow run {_comment(run) or 'none'}"
        for uid, run in zip(row.uids, row.runs, strict=True)
    )
    line = "    " + " & ".join(_entry(entry) for entry in row.entries) + r" \\"
    return f"{line}\n{addresses}" if addresses else line


def _comment(text: str) -> str:
    return " ".join(text.split())


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    if entry.emphasis == "best":
        text = f"\\textbf{{{text}}}"
    elif entry.emphasis == "second":
        text = f"\\underline{{{text}}}"
    if entry.detail:
        text += f" ({escape(entry.detail)})"
    if entry.marks:
        text += f"\\textsuperscript{{{','.join(map(str, entry.marks))}}}"
    return text
