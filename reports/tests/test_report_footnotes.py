"""Where a row came from and why it has no number: the footnotes of the tables, and what the summary says of both."""

from __future__ import annotations

from typing import Any

import pytest
from synthetic_report import CREATED, Builder

from posestudy.vocabulary import Outcome, TrialState
from posestudy_reports.report import StudyReport
from posestudy_reports.tables import Entry

REUSED = {"kind": "reused", "study": "cats_small", "stage": "lr", "cell": "lr_1e-3", "number": 4, "uid": "4" * 32}
IMPORTED = {"kind": "imported", "file": "/data/cat_results.csv", "line": 8, "sha256": "0" * 64, "remarks": []}


def one(*, document: dict[str, Any] | None = None, **trial: Any) -> StudyReport:
    """A baseline and a row `x` with one trial as given."""
    study = Builder(**document or {})
    study.stage("sigma")
    study.cell("baseline", {})
    study.trial(scores=(0.1, 0.3))
    study.cell("x", {"sigma": 2.0})
    study.trial(**{"scores": (0.2, 0.4)} | trial)
    return study.report()


def entry(report: StudyReport, label: str, key: str, stage: int = 0) -> tuple[Entry, list[str]]:
    """An entry of the ablation table and the texts of its footnotes."""
    table = report.tables[stage]
    row = next(r for r in table.rows if r.entries[1].text == label)
    found = row.entries[next(i for i, c in enumerate(table.columns) if c.key == key)]
    return found, [table.notes[mark - 1] for mark in found.marks]


def test_a_reused_row_says_which_trial_it_is():
    report = one(source=REUSED)
    _, notes = entry(report, "x", "number")
    assert notes == ["Reused, not trained again: trial 4 of stage “lr”, cell “lr_1e-3”."]
    assert entry(report, "x", "final")[0].text == "10: 0.400"


def test_a_row_reused_from_another_study_names_it():
    _, notes = entry(one(source=REUSED | {"study": "lspet"}), "x", "number")
    assert notes == ["Reused, not trained again: trial 4 of study “lspet”, stage “lr”, cell “lr_1e-3”."]


def test_replicates_of_one_source_share_a_footnote():
    study = Builder()
    study.stage("sigma")
    study.cell("baseline", {})
    for seed in (0, 1, 2):
        study.trial(scores=(0.1,), seed=seed, source=REUSED | {"number": 4 + seed})
    _, notes = entry(study.report(), "baseline", "number")
    assert notes == ["Reused, not trained again: trials 4, 5 and 6 of stage “lr”, cell “lr_1e-3”."]


def test_an_imported_row_names_its_file_and_line():
    found, notes = entry(one(source=IMPORTED), "x", "number")
    assert found.detail == "line 8"
    assert notes == ["Imported from cat_results.csv, not trained here; its line there stands under the number."]


def test_an_imported_log_has_no_line():
    found, notes = entry(one(source=IMPORTED | {"file": "work_dir/run.log.json", "line": None}), "x", "number")
    assert found.detail == ""
    assert notes == ["Imported from run.log.json, not trained here."]


def test_an_imported_result_that_was_reused_has_both_origins():
    report = one(source=REUSED | {"source": IMPORTED})
    found, notes = entry(report, "x", "number")
    assert found.detail == "line 8"
    assert [note.split(",")[0] for note in notes] == ["Reused", "Imported from cat_results.csv"]
    assert report.frame.loc[1, "source"] == "reused: cats_small, trial 4; imported: cat_results.csv, line 8"


def test_a_contradiction_in_the_source_is_flagged_beside_the_value_it_prints():
    remark = "best 0.314 and final 0.285 are both said to be of epoch 100."
    numbers = {"final_value": 0.285, "final_epoch": 100, "best_value": 0.314, "best_epoch": 100}
    report = one(source=IMPORTED | {"remarks": [remark]}, **numbers)
    found, notes = entry(report, "x", "best")
    assert (entry(report, "x", "final")[0].text, found.text) == ("100: 0.285", "100: 0.314")
    assert notes == [f"In the source: {remark}"]


def test_the_frame_says_where_results_come_from():
    assert one(source=IMPORTED).frame["source"].tolist()[1:] == ["imported: cat_results.csv, line 8"]
    assert one().frame["source"].isna().all()


def test_what_was_not_trained_is_counted_and_takes_no_time():
    study = Builder()
    study.stage("sigma")
    study.cell("baseline", {})
    study.trial(scores=(0.1,), duration_s=50.0)
    study.cell("x", {"sigma": 2.0})
    study.trial(scores=(0.2,), duration_s=5000.0, source=REUSED)
    study.cell("y", {"sigma": 3.0})
    study.trial(scores=(0.2,), duration_s=7000.0, source=IMPORTED)
    text = " ".join(study.report().summary)
    assert "Training took 50 s in all" in text
    assert "Of the trials, 1 was reused and 1 was imported rather than trained." in text


def test_out_of_memory_gives_its_peak_and_what_was_allowed():
    trial = {"outcome": Outcome.OUT_OF_MEMORY, "scores": (), "peak_memory_mb": 1234.4}
    found, notes = entry(one(document={"budget": {"memory_mb": 1200}}, **trial), "x", "outcome")
    assert (found.text, found.detail) == ("out of memory", "peak 1,234 MiB")
    assert notes == ["The study allows a trial 1,200 MiB."]


def test_an_imported_out_of_memory_was_held_to_no_limit_of_ours():
    trial = {"outcome": Outcome.OUT_OF_MEMORY, "scores": (), "peak_memory_mb": None}
    found, notes = entry(one(document={"budget": {"memory_mb": 1200}}, source=IMPORTED, **trial), "x", "outcome")
    assert (found.text, found.detail, notes) == ("out of memory", "", [])


def test_not_converged_gives_the_value_and_the_floor():
    why = "coco/AP 0.0040 at epoch 10 is worse than the declared floor: 0.05 by epoch 10"
    report = one(outcome=Outcome.NOT_CONVERGED, scores=(0.001, 0.004), message=why)
    found, notes = entry(report, "x", "outcome")
    assert found.text == "not converged"
    assert notes == [f"Not converged: {why}."]
    assert entry(report, "x", "final")[0].text == "not converged"


def test_outcomes_are_told_apart():
    words = {}
    for outcome in (Outcome.OUT_OF_MEMORY, Outcome.NOT_CONVERGED, Outcome.DIVERGED, Outcome.TIMED_OUT, Outcome.PRUNED):
        report = one(outcome=outcome, scores=(), message="why")
        words[outcome] = entry(report, "x", "outcome")[0].text
        assert entry(report, "x", "final")[0].text == words[outcome]
    assert len(set(words.values())) == 5


STAGE = {"name": "a", "variants": {"x": {"sigma": 2.0}, "y": {"optimizer.lr": 1e-3}}}


@pytest.mark.parametrize(
    ("stage", "cell"),
    [
        ({"combine": [["x", "y"]]}, "x-y"),
        ({"combine": {"both": {"of": ["x", "y"]}}}, "both"),
        ({"variants": STAGE["variants"] | {"both": {"combine": ["x", "y"], "label": "3"}}}, "both"),
    ],
)
def test_a_declared_combination_is_no_joint_change(stage, cell):
    study = Builder(stages=[STAGE | stage])
    study.stage("a", design="one_at_a_time")
    for name, label, levels in (
        ("baseline", "", {}),
        ("x", "1", {"sigma": 2.0}),
        ("y", "2", {"optimizer.lr": 1e-3}),
        (cell, "3", {"sigma": 2.0, "optimizer.lr": 1e-3}),
        ("other", "4", {"sigma": 3.0, "optimizer.lr": 1e-3}),
    ):
        study.cell(name, levels, label=label)
        study.trial(scores=(0.1,))
    report = study.report()
    assert entry(report, "3", "label")[1] == ["Combination of 1 and 2: the difference is that of all of them together."]
    assert "not the effect of one" in entry(report, "4", "label")[1][0]


def test_factors_declared_as_one_are_no_joint_change():
    levels = {"sigma": 2.0, "optimizer.lr": 1e-3}
    for stage, joint in (({"as_one": [["sigma", "optimizer.lr"]]}, False), ({}, True)):
        study = Builder(stages=[{"name": "a"} | stage])
        study.stage("a")
        for name, changed in (("baseline", {}), ("x", levels)):
            study.cell(name, changed)
            study.trial(scores=(0.1,))
        notes = entry(study.report(), "x", "label")[1]
        assert any("not the effect of one" in note for note in notes) is joint


def carried(first: float, later: float, following: str = "best") -> StudyReport:
    """Stage `a` carried x by its first seed; its second seed is `later`, the rival's seeds are 0.4 and 0.4."""
    study = Builder(stages=[{"name": "a"}, {"name": "b", "carry": following}])
    study.stage("a", carried="x", carry_reason="x: best of 2 cells.")
    for name, values in (("baseline", (0.1, 0.1)), ("x", (first, later)), ("y", (0.4, 0.4))):
        study.cell(name, {} if name == "baseline" else {"sigma": 2.0 + (name == "y")})
        for seed, value in enumerate(values):
            study.trial(scores=(value,), seed=seed)
    return study.report()


def test_a_carry_that_later_seeds_contradict_is_reported():
    report = carried(0.5, 0.2)
    said = (
        "Contradicted by later seeds: “y” is better now, AP 0.400 against 0.350; what was built on the carried cell "
        "was not redone."
    )
    assert said in entry(report, "x", "label")[1]
    assert f"Stage “a” carried “x”: best of 2 cells. {said}" in report.summary


def test_a_carry_that_stands_and_one_that_was_named_are_not_called_contradicted():
    for report in (carried(0.5, 0.5), carried(0.5, 0.3), carried(0.5, 0.2, following="x")):
        assert not any("Contradicted" in text for text in (*report.summary, *report.tables[0].notes))


ESTIMATE = {"trials": 3, "gpu_hours": 0.5, "wall_hours": 0.25, "disk_gb": 0.1, "basis": "history", "unknown": []}


def costly(estimate: dict[str, Any] | None, disk_bytes: int | None = None, **fields: Any) -> str:
    study = Builder()
    study.stage("sigma")
    for i, source in enumerate((None, None, REUSED)):
        study.cell("baseline" if i == 0 else f"x{i}", {"sigma": 1.0 + i} if i else {})
        start = CREATED + 600 * i
        study.trial(scores=(0.1,), duration_s=1000.0, started=start, ended=start + 300, source=source)
    return " ".join(study.report(disk_bytes=disk_bytes, estimate=estimate, **fields).summary)


def test_the_estimate_is_held_against_what_it_took():
    assert (
        "The plan expected from earlier trials 3 trials, 30 min 00 s of training, 15 min 00 s from start to end and "
        "100 MB on disk; it took 2 trials, 33 min 20 s (11 % more) of training, 15 min 00 s (as expected) from first "
        "start to last end and 80 MB (20 % less) on disk."
    ) in costly(ESTIMATE, 80_000_000)


def test_the_estimate_says_what_it_did_not_know_and_that_the_study_is_not_done():
    text = costly(ESTIMATE | {"unknown": ["sigma/x1"], "wall_hours": None}, state="open")
    assert "it took so far 2 trials and" in text
    assert text.count("; of 1 cell the plan knew nothing.") == 1
    assert "on disk" not in text


@pytest.mark.parametrize("estimate", [None, ESTIMATE | {"gpu_hours": None, "wall_hours": None, "disk_gb": None}])
def test_without_an_estimate_nothing_is_compared(estimate):
    assert "The plan expected" not in costly(estimate)


def test_an_estimate_before_anything_has_run_is_not_compared():
    study = Builder()
    study.stage("sigma", state="open")
    study.cell("baseline", {})
    study.trial(None, state=TrialState.WAITING)
    assert "The plan expected" not in " ".join(study.report(estimate=ESTIMATE, state="open").summary)


def test_every_format_carries_the_footnotes():
    files = one(source=IMPORTED | {"remarks": ["two values for one epoch."]}).files(["latex", "markdown", "html"])
    for path in ("tables/1_sigma.tex", "report.md", "report.html"):
        text = files[path].decode().replace(r"\allowbreak{}", "").replace("\\", "")
        assert "Imported from cat_results.csv" in text, path
        assert "In the source: two values for one epoch." in text, path
