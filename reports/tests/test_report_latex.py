"""LaTeX: every number a macro that is defined, every table in the room of three classes, the whole paper compiled."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pypdf
import pytest
from golden_files import DECLARED, ZOO, declaring
from synthetic_report import Builder, finished, nasty
from zoo_study import everything, zoo

from posestudy_reports.addressed import Number, Text, numbers_in, said
from posestudy_reports.report import StudyReport
from posestudy_reports.tables import Column, Entry, Row, Table
from posestudy_reports.writers import latex
from posestudy_reports.writers.latex_layout import COLUMN, layout, width
from posestudy_reports.writers.latex_numbers import numbers_tex
from posestudy_reports.writers.latex_text import inline, loose

CVPR = r"""\NeedsTeXFormat{LaTeX2e}
\ProvidesClass{conference}
\LoadClass[10pt,twocolumn,letterpaper]{article}
\RequirePackage{times}
\setlength{\textheight}{8.875in}\setlength{\textwidth}{6.875in}\setlength{\columnsep}{0.3125in}
\setlength{\topmargin}{0in}\setlength{\headheight}{0in}\setlength{\headsep}{0in}
\setlength{\oddsidemargin}{-0.1875in}\setlength{\parindent}{1pc}
"""
"""The measures of the class of CVPR: two columns of 3.28 inches in Times."""
CLASSES = {
    "article": r"\documentclass{article}",
    "twocolumn": r"\documentclass[twocolumn]{article}",
    "conference": r"\documentclass{conference}",
}


def _has(package: str) -> bool:
    """Whether TeX Live is here with this package."""
    if shutil.which("pdflatex") is None or shutil.which("kpsewhich") is None:
        return False
    return bool(subprocess.run(["kpsewhich", package], check=False, capture_output=True, timeout=30).stdout.strip())


needs_latex = pytest.mark.skipif(not _has("siunitx.sty"), reason="pdflatex with siunitx is not installed")


def long(cells: int) -> Builder:
    """A search of many cells, with words for each."""
    study = Builder("long")
    study.stage("search")
    for i in range(cells):
        note = "A sample with a note that takes more than one line of a narrow column" if i % 3 else ""
        study.cell(f"sample_{i:03d}", {"optimizer.lr": 1e-4 * (i + 1), "sigma": 1 + i / 7}, note=note)
        study.trial(scores=(0.1, 0.2 + i / 1000))
    return study


def reports() -> list[StudyReport]:
    return [
        declaring(finished(), DECLARED), declaring(zoo(), ZOO), nasty().report(), long(70).report(),
        everything(label="a network with a long name").report(),
        everything(label="Supercalifragilisticexpialidocious_and_more_of_it/without/a/space").report(),
    ]  # fmt: skip


def compiled(folder: Path, name: str, runs: int = 1) -> str:
    """What pdfLaTeX says of `name` in `folder`."""
    for _ in range(runs):
        done = subprocess.run(
            ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", name],
            cwd=folder, check=False, timeout=400, capture_output=True, text=True, errors="replace",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout.replace("\n", " ")


def too_wide(log: str) -> list[str]:
    """Lines that stand out by more than a point."""
    return [points for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log) if float(points) > 1]


def table(*columns: list[Entry], header: str = "AP", align: str = "right") -> Table:
    """A table of these columns of entries, behind a label."""
    heads = [Column("label", "Cell"), *(Column(f"c{i}", header, align) for i in range(len(columns)))]  # type: ignore[arg-type]
    rows = [
        Row((Entry(f"row{i}"), *entries), ("1" * 32,), ("",)) for i, entries in enumerate(zip(*columns, strict=True))
    ]
    return Table("t", "A title", tuple(heads), tuple(rows), (), ())


def score(text: str, name: str = "x") -> Text:
    return Text(Number(f"s/{name}/final", text, float(text.replace("\u2212", "-")), "mean", ("1" * 32,)))


def test_every_number_of_a_row_is_a_macro_that_is_defined():
    for report in (declaring(finished(), DECLARED), declaring(zoo(), ZOO)):
        files = latex.tex_files(report)
        used = {address for text in files.values() for address in re.findall(r"\\pose(?:num|raw)\{([^}#]+)\}", text)}
        defined = set(re.findall(r"\\posedefine\{([^}]+)\}", files["numbers.tex"]))
        assert len(used) > 20
        assert used <= defined
        for table in report.all_tables:
            rows = [line for line in files[f"tables/{table.name}.tex"].splitlines() if " & " in line]
            for number in numbers_in(e.text for row in table.rows for e in row.entries):
                assert any(f"{{{report.name}/{number.address}}}" in line for line in rows)
                if "." in number.text and len(number.text) > 3:
                    assert not any(number.text in line for line in rows)


def test_a_changed_number_changes_numbers_tex_and_nothing_else():
    study = finished()
    before = latex.tex_files(study.report())
    study.trials[3] = study.trials[3].__class__(**{**vars(study.trials[3]), "final_value": 0.377})
    after = latex.tex_files(study.report())
    assert [path for path in before if before[path] != after[path]] == ["numbers.tex"]


def test_every_table_has_its_caption_label_and_packages():
    report = declaring(finished(), DECLARED)
    files = latex.tex_files(report)
    student, against = files["tables/student.tex"], files["tables/against.tex"]
    assert student.splitlines()[0] == "% Written by posestudy report cats_small; change the study, not this file."
    assert student.splitlines()[1].startswith("% needs \\usepackage{booktabs,graphicx}")
    assert r"\caption{Final and best AP at their epochs.}\label{tab:student}" in student
    assert r"\label{tab:effects}" in against
    assert "siunitx" in latex.tex_files(zoo().report())["tables/1_zoo_columns.tex"].splitlines()[1]


def test_columns_of_bare_numbers_are_those_of_siunitx():
    bare = table(
        [Entry(score("0.485", "a"), emphasis="best"), Entry(score("0.451", "b"), emphasis="second"), Entry("–")]
    )
    made = latex.latex(bare, "s")
    assert "S[table-format=1.3,detect-all]" in made
    assert r"row0 & \bfseries \poseraw{s/s/a/final} \\" in made
    assert r"row1 & {\underline{\posenum{s/s/b/final}}} \\" in made
    assert r"row2 & {--} \\" in made
    for other in ("diverged", Text("20: ", score("0.485"))):
        assert "S[table-format" not in latex.latex(table([Entry(score("0.485")), Entry(other)]), "s")
    assert "S[table-format" not in latex.latex(table([Entry(score("0.485"), marks=(1,))]), "s")
    assert "S[table-format" not in latex.latex(table([Entry(score("0.485")), Entry(score("10.485", "y"))]), "s")
    assert "S[table-format=-1.3" in latex.latex(table([Entry(score("\u22120.485"))]), "s")


def test_sentences_keep_the_spaces_around_their_numbers():
    number = Number("lr/a/final", "0.451", 0.451, "mean", ())
    text = said("AP {a}, 50% of {b}.", a=number, b="x_1")
    assert inline(text, "cats") == r"AP \posenum{cats/lr/a/final}, 50\% of x\_1."
    assert loose(text, "cats") == inline(text, "cats")
    assert inline("a -- b", "s") == "a -{}- b"


def test_narrow_tables_take_one_column_and_wide_ones_both():
    few = layout(table([Entry("0.1"), Entry("0.2")]))
    many = layout(table(*[[Entry("0.123")] for _ in range(14)]))
    assert (few.wide, few.need < COLUMN) == (False, True)
    assert (many.wide, many.need > COLUMN) == (True, True)
    assert few.panels == ((0, 1),)


def test_what_is_too_wide_for_a_page_stands_in_parts_that_repeat_the_label():
    plan = layout(table(*[[Entry("0.12345678")] for _ in range(24)]))
    assert len(plan.panels) > 1
    assert {panel[0] for panel in plan.panels} == {0}
    assert sorted(i for panel in plan.panels for i in panel[1:]) == list(range(1, 25))


def test_a_long_table_goes_on_in_a_further_float():
    made = latex.latex(long(70).report().all_tables[0], "long")
    assert made.count(r"\begin{table*}") > 1
    assert made.count(r"\label{") == 1
    assert made.count("(continued)") == made.count(r"\begin{table*}") - 1
    assert made.count(r"\addtocounter{table}{-1}") == made.count("(continued)")
    assert len(re.findall(r"^    sample|^    \d+ & sample", made, re.M)) == 70


@needs_latex
@pytest.mark.slow
def test_the_width_of_a_line_is_estimated_as_tex_sets_it_or_a_little_wider(tmp_path):
    lines = [
        "0.451 0.466, n = 3", "The network is large", "optimizer.lr 1e-4", "transpose network h", "out of memory",
        "Difference", "WIDER THAN MOST", "Parameters of the network", "0123456789", "batch size 32, epochs 150",
    ]  # fmt: skip
    sizes = ["\\small", "\\footnotesize", "\\scriptsize"]
    boxes = [f"\\sbox0{{{size} {line}}}\\typeout{{WIDTH \\the\\wd0}}" for size in sizes for line in lines]
    head = r"\documentclass{article}\begin{document}"
    (tmp_path / "main.tex").write_text("\n".join([head, *boxes, r"x\end{document}"]), encoding="utf-8")
    compiled(tmp_path, "main.tex")
    log = (tmp_path / "main.log").read_text(errors="replace")
    measured = [float(points) for points in re.findall(r"WIDTH ([\d.]+)pt", log)]
    estimated = [width(line, size) for size in sizes for line in lines]
    assert len(measured) == len(estimated)
    ratios = [mine / real for mine, real in zip(estimated, measured, strict=True)]
    assert min(ratios) > 0.97
    assert max(ratios) < 1.25


@needs_latex
@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
def test_every_table_fits_the_class(name, tmp_path):
    (tmp_path / "conference.cls").write_text(CVPR, encoding="utf-8")
    inputs = []
    for i, report in enumerate(reports()):
        (tmp_path / f"numbers{i}.tex").write_text(numbers_tex(report.name, report.numbers), encoding="utf-8")
        inputs.append(rf"\input{{numbers{i}}}")
        for j, found in enumerate(report.all_tables):
            (tmp_path / f"t{i}_{j}.tex").write_text(latex.latex(found, report.name), encoding="utf-8")
            inputs.append(rf"\input{{t{i}_{j}}}\clearpage")
    head = CLASSES[name] + r"\usepackage{amssymb,booktabs,graphicx,siunitx}\begin{document}"
    (tmp_path / "main.tex").write_text("\n".join([head, *inputs, r"\end{document}"]), encoding="utf-8")
    log = compiled(tmp_path, "main.tex")
    assert too_wide(log) == []
    assert "Float too large" not in log
    text = " ".join(page.extract_text() for page in pypdf.PdfReader(tmp_path / "main.pdf").pages)
    assert "20: 0.451" in text
    assert "diverged" in text


@needs_latex
@pytest.mark.slow
@pytest.mark.parametrize("build", [zoo, nasty])
def test_the_whole_paper_compiles_as_it_was_written(build, tmp_path):
    report = build().report()
    for path, data in report.files(["latex"]).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    log = compiled(tmp_path, "report.tex", runs=2)
    assert too_wide(log) == []
    assert "undefined" not in log
    text = " ".join(page.extract_text() for page in pypdf.PdfReader(tmp_path / "report.pdf").pages)
    assert "References" in text
    assert all(number in text for number in ("0.758", "transpose") if build is zoo)
