"""The student's table of `../shared/specs/cat.md`, imported: the report's tables say what the student's say."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import posestudy_reports
from posestudy.commands.app import main
from posestudy.home import Home
from posestudy.settings import Settings
from posestudy_reports.report import StudyReport

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "examples" / "cat_results.csv"


def imported(home: Home, monkeypatch: pytest.MonkeyPatch, study: str, table: Path = TABLE) -> StudyReport:
    monkeypatch.setenv("POSESTUDY_HOME", str(home.root))
    assert main(["import", str(table), "--study", str(ROOT / "studies" / f"{study}.yaml")]) == 0
    return posestudy_reports.open(study, Settings.resolve())


def said(report: StudyReport) -> dict[tuple[str, str], tuple[str, str]]:
    """(stage, label) -> the texts of final and best as the tables print them."""
    found = {}
    for stage, table in zip(report.result.stages, report.tables, strict=True):
        keys = [column.key for column in table.columns]
        for cell, row in zip(stage.cells, table.rows, strict=True):
            texts = {key: entry.text for key, entry in zip(keys, row.entries, strict=True)}
            found[stage.stage.name, cell.label] = (texts["final"], texts["best"])
    return found


def carried(report: StudyReport) -> list[str]:
    labels = []
    for stage in report.result.stages:
        cell = stage.named(stage.stage.carried)
        labels.append("-" if cell is None or cell is stage.baseline else cell.label)
    return labels


@pytest.mark.parametrize("study", ["cat_pose", "cat_pose_fixed"])
def test_the_tables_hold_what_the_student_wrote(home: Home, monkeypatch: pytest.MonkeyPatch, study: str) -> None:
    tables = said(imported(home, monkeypatch, study))
    words = {"not converge": "not converged", "CUDA out of memory": "out of memory"}
    with TABLE.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 33
    for row in rows:
        # The report writes three decimals, as the student does but for the baseline.
        final = row["final"].replace("0.1437", "0.144")
        best = row["best"].replace("0.1437", "0.144")
        outcome = words.get(final, "")
        assert tables[row["stage"], row["label"]] == (outcome or final, "–" if outcome else best)
    assert tables["lr_batch", "15"] == ("150: 0.485", "150: 0.485")


def test_the_numbers_carry_the_students_winners_but_in_the_first_stage(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = imported(home, monkeypatch, "cat_pose")
    # By the numbers 3 wins the first stage; the student went on from the baseline.
    assert carried(report) == ["3", "8", "15", "-", "25", "26", "27", "31"]


def test_the_fixed_study_carries_what_the_student_carried(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    report = imported(home, monkeypatch, "cat_pose_fixed")
    assert carried(report) == ["-", "8", "15", "-", "25", "26", "27", "31"]
    assert "by its value both is the best (coco/AP 0.156)" in (report.result.stages[0].stage.carry_reason or "")
    remarks = [r for t in report.result.snapshot.trials for r in (t.source or {}).get("remarks", ())]
    assert remarks == ["best 0.314 and final 0.285 are both said to be of epoch 100."]


def test_the_import_says_where_the_student_deviated(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    imported(home, monkeypatch, "cat_pose")
    deviations = [line for line in capsys.readouterr().out.splitlines() if line.startswith("deviation")]
    assert len(deviations) == 1
    assert "stage 'augmentation': by the numbers '3' is best" in deviations[0]
    assert "went on from '0'" in deviations[0]


def test_experiment_6_is_flagged_and_rows_on_another_base_say_so(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    report = imported(home, monkeypatch, "cat_pose")
    labels = {cell.id: cell.label for cell in report.result.snapshot.cells}
    flagged = {
        labels[t.cell_id]: t.source["remarks"]
        for t in report.result.snapshot.trials
        if t.source and t.source["kind"] == "imported" and t.source["remarks"]
    }
    base = "it was built on '0'; the staged logic builds this row on '3'."
    both = "best 0.314 and final 0.285 are both said to be of epoch 100."
    assert flagged == {"6": [both, base], "7": [base], "8": [base]}
    assert said(report)["epochs", "6"] == ("100: 0.285", "100: 0.314")
    assert any(both in note for note in report.tables[1].notes)


def test_other_numbers_make_other_winners(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = tmp_path / "results.csv"
    table.write_text(TABLE.read_text(encoding="utf-8").replace("150: 0.485,150: 0.485", "150: 0.405,150: 0.405"))
    report = imported(home, monkeypatch, "cat_pose", table)
    assert carried(report)[2] == "17"
    # The rows after it were built on 15: each says so.
    remarks = [r for t in report.result.snapshot.trials for r in (t.source or {}).get("remarks", ())]
    assert "it was built on '15'; the staged logic builds this row on '17'." in remarks
