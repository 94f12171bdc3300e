"""The ablation table: what a reader finds in each row, whatever became of its trials."""

from __future__ import annotations

import pytest
from synthetic_report import Builder, finished, unfinished

from posestudy.vocabulary import METRICS, Outcome
from posestudy_reports import words
from posestudy_reports.tables import Entry, Row, Table


def row(table: Table, label: str) -> dict[str, Entry]:
    found: Row = next(r for r in table.rows if r.entries[1].text == label)
    return {column.key: entry for column, entry in zip(table.columns, found.entries, strict=True)}


def test_numbers_are_given_with_their_epoch_as_the_students_write_them():
    lr, sigma = finished().report().tables
    assert row(lr, "1e-3")["final"].text == "20: 0.380"
    assert row(sigma, "baseline")["best"].text == "15: 0.460"
    assert row(sigma, "baseline")["final"].text == "20: 0.450"


def test_replicates_are_one_row_with_mean_and_range():
    entries = row(finished().report().tables[0], "3e-3")
    assert entries["number"].text == "5, 6, 7"
    assert entries["final"].text == "20: 0.451"
    assert entries["final"].detail == "0.449–0.452, n = 3"


def test_differences_are_taken_against_the_baseline_of_the_stage():
    lr, sigma = finished().report().tables
    assert row(lr, "baseline")["delta"].text == "–"
    assert row(lr, "3e-3")["delta"].text == "+0.344"
    assert row(sigma, "sigma_2")["delta"].text == "+0.031"


def test_best_is_marked_and_the_second_too_but_not_in_rows_without_a_completed_trial():
    lr, sigma = finished().report().tables
    assert row(lr, "3e-3")["final"].emphasis == "best"
    assert row(lr, "1e-3")["final"].emphasis == "second"
    assert row(lr, "baseline")["final"].emphasis == ""
    assert row(sigma, "sigma_3")["best"].emphasis == ""


def test_values_that_print_alike_are_marked_alike():
    study = Builder()
    study.stage("a")
    for name, score in (("baseline", 0.4501), ("x", 0.4502), ("y", 0.3)):
        study.cell(name, {})
        study.trial(scores=(score,))
    (table,) = study.report().tables
    assert [row(table, n)["final"].emphasis for n in ("baseline", "x", "y")] == ["best", "best", "second"]


def test_an_error_metric_ranks_the_other_way():
    study = finished()
    for value in study.values:
        value.metrics["nme"] = value.metrics["coco/AP"]
    study.study.document["metric"] = "nme"
    table = study.report().tables[0]
    assert table.columns[4].header == "Final NME"
    assert row(table, "baseline")["final"].emphasis == "best"
    assert row(table, "3e-3")["final"].emphasis == ""


@pytest.mark.parametrize(
    ("label", "stage", "text"),
    [("lr_1", 0, "diverged"), ("large", 0, "out of memory"), ("sigma_3", 1, "pruned at epoch 10")],
)
def test_an_outcome_stands_in_place_of_a_number(label, stage, text):
    entries = row(finished().report().tables[stage], label)
    assert entries["final"].text == text
    assert entries["delta"].text == "–"


def test_a_pruned_row_still_shows_what_it_reached():
    assert row(finished().report().tables[1], "sigma_3")["best"].text == "10: 0.080"


def test_a_failed_replicate_is_named_in_a_note_and_not_averaged():
    table = finished().report().tables[1]
    entries = row(table, "sigma_2")
    assert entries["outcome"].text == "1 completed, 1 failed"
    assert table.notes[entries["outcome"].marks[0] - 1] == "Of 2 seeds not in the mean: seed 1 failed."
    assert entries["final"].text == "20: 0.481"


def test_a_joint_change_is_footnoted_as_no_effect_of_one_factor():
    table = finished().report().tables[0]
    marked = [table.notes[m - 1] for m in row(table, "large")["label"].marks]
    assert any("not the effect of one" in note for note in marked)
    assert not any("not the effect of one" in table.notes[m - 1] for m in row(table, "1e-3")["label"].marks)


def test_the_carried_row_says_why():
    table = finished().report().tables[0]
    (mark,) = row(table, "3e-3")["label"].marks
    assert table.notes[mark - 1] == "Carried: best final AP, 0.451 against 0.107."


def test_trials_on_different_code_are_named():
    study = Builder()
    study.stage("a")
    for name, torch in (("baseline", "2.13.0"), ("x", "2.11.0")):
        study.cell(name, {})
        study.trial(scores=(0.1,), provenance={"torch": torch})
    (table,) = study.report().tables
    assert table.remarks == ("The trials differ in torch: 2.13.0 (no. 1); 2.11.0 (no. 2).",)


def test_open_rows_say_how_far_they_are():
    (table,) = unfinished().report().tables
    assert [row(table, n)["final"].text for n in ("lr_1e-3", "lr_3e-3", "lr_1e-2")] == [
        "running, epoch 10",
        "running",
        "waiting",
    ]


def test_the_frame_has_a_row_a_trial_and_a_column_a_factor():
    frame = finished().report().frame
    assert list(frame["number"]) == list(range(1, 14))
    assert frame.set_index("number").loc[5, "delta"] == pytest.approx(0.344)
    assert frame.set_index("number").loc[9, "levels"] == "lr 1e-3, sigma 3"
    assert frame.set_index("number").loc[10, "factor.sigma"] == "1"
    assert frame.set_index("number").loc[8, "outcome"] == Outcome.DIVERGED
    assert frame["final"].isna().sum() == 3


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-4, "1e-4"), (5e-4, "5e-4"), (0.0125, "0.0125"), (0.0, "0"), (1.5, "1.5"), ({}, "on"),
     ([0.9, 0.999], "[0.9, 0.999]"),
     (None, "off"), ({"prob": 0.5}, "prob 0.5"), ([8, 10], "[8, 10]"), ({"input_size": [64, 48]}, "input size 64×48"),
     ("https://example.org/weights/hrnet_w32-36af842e.pth", "hrnet_w32-36af842e.pth"),
     ("torchvision://resnet50", "torchvision://resnet50")],
)  # fmt: skip
def test_levels_in_words(value, text):
    assert words.level(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(48.2, "48 s"), (59.7, "1 min 00 s"), (3725, "1 h 02 min")])
def test_durations_in_words(seconds, text):
    assert words.duration(seconds) == text


def test_a_difference_that_rounds_to_zero_has_no_sign():
    assert words.difference(-0.0001, METRICS["coco/AP"]) == "0.000"
    assert words.difference(-0.02, METRICS["coco/AP"]) == "−0.020"


def test_the_summary_holds_the_gain_against_what_the_seeds_can_resolve():
    floor, gain = finished().report().summary[-2:]
    # 0.101, 0.112, 0.108: sd 0.00557; t(2, 97.5 %) is 4.303, times sqrt(2) or sqrt(2/3).
    assert floor == (
        "Over the 3 seeds of the first baseline AP has a standard deviation of 0.0056: the smallest difference that "
        "can be resolved there is 0.034 between single seeds and 0.020 with 3 seeds a cell (95 %, one comparison)."
    )
    assert "by more than the 0.013 that 1 and 3 seeds can resolve" in gain
    study = Builder()
    study.stage("a")
    for name, scores in (("baseline", (0.3, 0.32)), ("x", (0.31, 0.33))):
        study.cell(name, {})
        for seed, score in enumerate(scores):
            study.trial(scores=(score,), seed=seed)
    assert "by not more than the 0.061 that 2 and 2 seeds can resolve" in study.report().summary[-1]
