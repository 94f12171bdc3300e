"""LaTeX: one booktabs table per stage, ready for \\input, with the address of every number in comments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

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
    """`tables/N_STAGE.tex`, one per stage, and `tables/N_STAGE_differences.tex` where it has intervals."""
    files = {}
    for i, (table, differences) in enumerate(zip(report.tables, report.difference_tables, strict=True)):
        files[f"tables/{stem(i, table.name)}.tex"] = latex(table, report.name).encode()
        if differences:
            files[f"tables/{stem(i, table.name)}_differences.tex"] = latex(differences, report.name).encode()
    return files


def latex(table: Table, study: str) -> str:
    """The table as a `table` environment; needs \\usepackage{booktabs} (and T1 fonts with pdfLaTeX)."""
    align = "".join("r" if column.align == "right" else "l" for column in table.columns)
    lines = [
        "% needs \\usepackage{booktabs}; with pdfLaTeX also \\usepackage[T1]{fontenc}",
        r"\begin{table}",
        r"  \centering\small",
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
    return "\n".join([*lines, r"\end{table}", ""])


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
