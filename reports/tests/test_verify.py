"""`posestudy verify`: what was edited, exchanged or outgrown is found from the predictions, not by comparing files."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from pathlib import Path

import pytest
from predicted_study import STUDY, make

import posestudy_reports
from posestudy.commands.app import main
from posestudy.settings import Settings

SMALL = STUDY[: STUDY.index("      wider:")]
"""One stage: the baseline and wide heatmaps, three seeds each."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The study's home with its report, made once; tests work on copies."""
    root = tmp_path_factory.mktemp("made")
    make(root, text=SMALL, val=12)
    write(root)
    return root


@pytest.fixture
def study(made, tmp_path, monkeypatch):
    """A copy of the home and of the report in LaTeX (`out`)."""
    shutil.copytree(made / "home", tmp_path / "home")
    shutil.copytree(made / "out", tmp_path / "out")
    monkeypatch.setenv("POSESTUDY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("POSESTUDY_DATABASE_URL", raising=False)
    return tmp_path


def write(root: Path) -> None:
    posestudy_reports.open("noisy", Settings.resolve(str(root / "home"))).write(root / "out", ["latex"])


def verified(study: Path, capsys: pytest.CaptureFixture[str], paper: str = "out/report.tex") -> tuple[int, str]:
    code = main(["verify", str(study / paper)])
    return code, capsys.readouterr().out


def sentences(study: Path) -> str:
    report = posestudy_reports.open("noisy", Settings.resolve(str(study / "home")))
    return " ".join([*report.summary, *(text for stage in report.analysis for text in stage)])


def attempt(study: Path, number: int) -> Path:
    return study / "home/runs/noisy" / str(number) / "1"


def test_a_report_as_it_was_written_is_verified_from_the_predictions(study, capsys):
    code, told = verified(study, capsys)
    assert code == 0, told
    found = re.search(r"study 'noisy': verified; (\d+) numbers were computed from predictions, \d+ rest on the ", told)
    assert found
    assert int(found[1]) >= 8


def test_every_measured_number_of_a_table_is_a_macro(study):
    table = (study / "out/tables/1_heatmap.tex").read_text()
    rows = [line for line in table.splitlines() if line.rstrip().endswith(r"\\") and not line.startswith("%")]
    # A decimal fraction is a measurement or a level of sigma; levels are the only ones that may stand there.
    literal = {
        number for row in rows for number in re.findall(r"(?<![\d.])\d\.\d+", re.sub(r"\\pose\w+\{[^}]*\}", "", row))
    }
    assert literal <= {"1.5", "2.0", "1.0", "3.0"}
    assert r"\posenum{noisy/heatmap/wide/final}" in table


def test_a_mirrored_prediction_file_is_found_and_what_was_said_of_it_goes(study, capsys):
    assert "wide heatmaps" in sentences(study) or "sigma from 1 to 2" in sentences(study)
    path = attempt(study, 4) / "predictions.keypoints.json"
    rows = json.loads(path.read_bytes())
    for row in rows:
        row["keypoints"][0::3] = [96 - x for x in row["keypoints"][0::3]]
    path.write_text(json.dumps(rows))
    code, told = verified(study, capsys)
    assert code == 1
    assert "trial 4: the predictions of its final value are not those the report was made from" in told
    assert re.search(r"trial 4: the ledger says AP 0\.\d+, its predictions give 0", told)
    assert re.search(r"heatmap/wide/final is 0\.\d+ in the report, the predictions give 0\.\d+", told)
    assert "Trial 4 is left out of everything: the saved predictions are not those that were evaluated" in sentences(
        study
    )


def test_two_trials_whose_results_were_exchanged_are_found(study, capsys):
    before = sentences(study)
    assert "sigma from 1 to 2 changes AP by" in before
    first, second = attempt(study, 2), attempt(study, 5)
    first.rename(study / "aside")
    second.rename(first)
    (study / "aside").rename(second)
    code, told = verified(study, capsys)
    assert code == 1
    assert "trial 2: the ledger says" in told
    assert "trial 5: the ledger says" in told
    after = sentences(study)
    assert "Trial 2 is left out of everything" in after
    change = re.compile(r"Raising sigma from 1 to 2 changes AP by (\S+) ")
    assert change.search(before)[1] != change.search(after)[1]


def test_two_values_that_were_exchanged_in_the_ledger_are_found(study, capsys):
    with sqlite3.connect(study / "home/posestudy.db") as database:
        values = dict(database.execute("SELECT number, final_value FROM trial WHERE number IN (1, 4)"))
        for number, value in ((1, values[4]), (4, values[1])):
            database.execute("UPDATE trial SET final_value = ? WHERE number = ?", (value, number))
    code, told = verified(study, capsys)
    assert code == 1
    assert "trial 1: the ledger says" in told
    assert "Trial 4 is left out of everything: the ledger says AP" in sentences(study)


def test_a_number_edited_in_numbers_tex_is_found_with_its_line(study, capsys):
    path = study / "out/numbers.tex"
    text = path.read_text()
    line = next(i for i, row in enumerate(text.splitlines(), 1) if "{noisy/heatmap/wide/final}" in row)
    path.write_text(re.sub(r"(\{noisy/heatmap/wide/final\})\{[^}]*\}", r"\1{0.999}", text))
    code, told = verified(study, capsys)
    assert code == 1
    assert re.search(rf"numbers\.tex:{line}: noisy/heatmap/wide/final is defined as 0\.999, the report says 0\.", told)


@pytest.mark.parametrize(
    "line",
    [
        r"\posedefine {noisy/heatmap/wide/final}{0.999}{0.999}",
        r"\posedefine{noisy/heatmap/wide/final}{0.999}{0.999}\relax",
        r"\expandafter\def\csname pose@text@noisy/heatmap/wide/final\endcsname{0.999}",
        r"\renewcommand\posenum[1]{0.999}",
    ],
)
def test_a_line_added_to_numbers_tex_is_found(study, capsys, line):
    with (study / "out/numbers.tex").open("a") as file:
        file.write(f"{line}\n")
    code, told = verified(study, capsys)
    assert code == 1
    assert "numbers.tex:" in told


@pytest.mark.parametrize("line", [r"\renewcommand{\posenum}[1]{0.999}", r"\let\posenum\relax", r"\def\poseraw#1{1}"])
def test_a_paper_that_meddles_with_the_macros_is_told(study, capsys, line):
    (study / "paper.tex").write_text(f"\\input{{out/numbers}}\n{line}\n\\posenum{{noisy/heatmap/wide/final}}\n")
    code, told = verified(study, capsys, "paper.tex")
    assert code == 1
    assert "paper.tex:2: changes what the macros of numbers.tex print" in told


@pytest.mark.parametrize(
    "taken",
    [
        "\\input{tables/1_heatmap}",
        "\\input tables/1_heatmap",
        "\\import{tables/}{1_heatmap}",
        "\\input{%\n tables/1_heatmap}",
    ],
)
def test_a_table_is_read_however_the_paper_takes_it_in(study, capsys, taken):
    (study / "out/paper.tex").write_text(f"\\input{{numbers}}\n{taken}\n")
    path = study / "out/tables/1_heatmap.tex"
    path.write_text(path.read_text() + "\\posenum{noisy/none}\n")
    code, told = verified(study, capsys, "out/paper.tex")
    assert code == 1
    assert "there is no number noisy/none" in told


def test_numbers_of_a_study_that_is_not_taken_in_are_told(study, capsys):
    (study / "paper.tex").write_text("\\input{out/numbers}\n\\posenum{nosiy/heatmap/\nwide/final}\n")
    code, told = verified(study, capsys, "paper.tex")
    assert code == 1
    assert "paper.tex:2: nosiy/heatmap/ wide/final is of a study whose report the paper does not take in" in told


@pytest.mark.parametrize("change", ["files", "numbers", "trials", "formula"])
def test_an_edited_list_of_numbers_hides_nothing(study, capsys, change):
    path, table = study / "out/numbers.json", study / "out/tables/1_heatmap.tex"
    document = json.loads(path.read_bytes())
    if change == "formula":
        document["numbers"]["heatmap/wide/final"]["formula"] = "by hand"
    else:
        document[change] = type(document[change])()
    path.write_text(json.dumps(document))
    if change == "files":
        table.write_text(table.read_text().replace(r"\posenum{noisy/heatmap/wide/final}", "0.999"))
    assert verified(study, capsys)[0] == 1


def test_a_damaged_list_of_numbers_is_refused(study, capsys):
    (study / "out/numbers.json").write_text('{"format": 1, "study": "noisy", "numbers": [], "trials": [], "files": []}')
    assert main(["verify", str(study / "out/report.tex")]) == 2
    assert "is not what this posestudy writes" in capsys.readouterr().err


def test_values_that_no_predictions_stand_behind_are_not_verified(study, capsys):
    for number in (4, 5, 6):
        for name in ("predictions.keypoints.json", "best.keypoints.json", "matches.npz"):
            (attempt(study, number) / name).unlink()
    with sqlite3.connect(study / "home/posestudy.db") as database:
        database.execute("UPDATE trial SET final_value = 0.9, best_value = 0.95 WHERE number IN (4, 5, 6)")
    write(study)
    code, told = verified(study, capsys)
    assert code == 1
    assert "trial 4 cannot be verified: it has no predictions" in told


def test_a_reason_whose_values_were_edited_loses_them(study):
    assert re.search(r"carried \u201cbaseline\u201d: coco/AP 0\.\d{3} \(mean of 3", sentences(study))
    with sqlite3.connect(study / "home/posestudy.db") as database:
        database.execute("UPDATE stage SET carry_reason = replace(carry_reason, 'coco/AP 0.', 'coco/AP 9.')")
    assert "the best of its cells when the stage closed, by values that have changed since" in sentences(study)


def test_data_that_are_gone_are_an_error_and_no_list_of_mistakes(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("POSESTUDY_HOME", str(tmp_path / "home"))
    make(tmp_path, text=SMALL, val=6)
    write(tmp_path)
    (tmp_path / "data").rename(tmp_path / "moved")
    assert main(["verify", str(tmp_path / "out/report.tex")]) == 2
    assert "the validation data in" in capsys.readouterr().err


def test_names_that_become_alike_keep_addresses_of_their_own(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("POSESTUDY_HOME", str(tmp_path / "home"))
    text = SMALL.replace("name: heatmap", "name: study").replace("wide: {", "wide.: {")
    text += "      wide.1: {{sigma: 3.0}}\n      history: {{sigma: 4.0}}\n"
    make(tmp_path, text=text, val=6)
    write(tmp_path)
    assert verified(tmp_path, capsys)[0] == 0


def test_a_number_written_over_a_macro_is_found_with_its_line(study, capsys):
    path = study / "out/tables/1_heatmap.tex"
    text = path.read_text()
    line = next(i for i, row in enumerate(text.splitlines(), 1) if r"\posenum{noisy/heatmap/wide/final}" in row)
    path.write_text(text.replace(r"\posenum{noisy/heatmap/wide/final}", "0.999"))
    code, told = verified(study, capsys)
    assert code == 1
    assert re.search(rf"1_heatmap\.tex:{line}: found .*0\.999", told)


def test_a_paper_of_ones_own_quotes_numbers_and_is_told_of_one_that_does_not_exist(study, capsys):
    paper = study / "paper.tex"
    paper.write_text("\\input{out/numbers}\nWide heatmaps reach \\posenum{noisy/heatmap/wide/final}.\n")
    assert verified(study, capsys, "paper.tex")[0] == 0
    paper.write_text("\\input{out/numbers}\n% \\posenum{x}\n\nThey reach \\posenum{noisy/heatmap/wied/final}.\n")
    code, told = verified(study, capsys, "paper.tex")
    assert code == 1
    assert "paper.tex:4: there is no number noisy/heatmap/wied/final (did you mean 'noisy/heatmap/wide/final'" in told


def test_a_report_that_the_study_has_outgrown_is_found(study, capsys):
    numbers = study / "out/numbers.json"
    document = json.loads(numbers.read_bytes())
    document["numbers"]["heatmap/gone/final"] = document["numbers"]["heatmap/wide/final"]
    numbers.write_text(json.dumps(document))
    code, told = verified(study, capsys)
    assert code == 1
    assert "heatmap/gone/final is" in told
    assert "but the study has no such number now" in told


def test_predictions_that_are_gone_are_told(study, capsys):
    (attempt(study, 1) / "predictions.keypoints.json").unlink()
    code, told = verified(study, capsys)
    assert code == 1
    assert "trial 1: the predictions of its final value are gone" in told


def test_damaged_predictions_are_told_and_no_traceback(study, capsys):
    path = attempt(study, 1) / "predictions.keypoints.json"
    path.write_bytes(path.read_bytes()[:200])
    code, told = verified(study, capsys)
    assert code == 1
    assert "holds no predictions of this data set" in told


def test_a_paper_without_a_report_is_refused(study, capsys):
    (study / "paper.tex").write_text("Nothing.\n")
    assert main(["verify", str(study / "paper.tex")]) == 2
    assert "quotes no report" in capsys.readouterr().err
    assert main(["verify", str(study / "none.tex")]) == 2
    assert "no file" in capsys.readouterr().err


def test_data_that_were_changed_since_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("POSESTUDY_HOME", str(tmp_path / "home"))
    make(tmp_path, text=SMALL, val=6)
    write(tmp_path)
    path = tmp_path / "data/annotations/train.json"
    path.write_text(path.read_text().replace('"iscrowd": 0', '"iscrowd": 1', 1))
    code, told = verified(tmp_path, capsys)
    assert code == 1
    assert "is not the one the study was launched on" in told


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["epe", "pck"])
def test_distances_are_verified_as_precision_is(tmp_path, monkeypatch, capsys, metric):
    monkeypatch.setenv("POSESTUDY_HOME", str(tmp_path / "home"))
    make(tmp_path, text=SMALL, val=8, metric=metric)
    write(tmp_path)
    assert verified(tmp_path, capsys)[0] == 0
    path = attempt(tmp_path, 4) / "predictions.keypoints.json"
    rows = json.loads(path.read_bytes())
    rows[0]["keypoints"][0] += 30
    path.write_text(json.dumps(rows))
    code, told = verified(tmp_path, capsys)
    assert code == 1
    assert f"trial 4: the ledger says {metric.upper()}" in told
