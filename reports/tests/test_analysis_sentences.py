"""Sentences of analysis: each follows from values and intervals, for any kind of factor and of study."""

from __future__ import annotations

import pytest
from measured_study import several
from synthetic_report import NASTY, Builder, finished, nasty, unfinished

from posestudy.home import Home
from posestudy.vocabulary import Outcome
from posestudy_reports.addressed import Number, Text, joined, numbers_in, said


def stage(levels: dict[str, object], *, combine: object = None, **fields: object) -> Builder:
    study = Builder(stages=[{"name": "s", "combine": combine or []}])
    study.stage("s", **fields)
    study.cell("baseline", {})
    study.trial(scores=(0.1, 0.2))
    study.cell("row", levels, label="The row")
    study.trial(scores=(0.1, 0.25))
    return study


def configured(study: Builder, before: dict[str, object], now: dict[str, object]) -> str:
    """The first sentence with these factors in the configuration of the baseline and of the row."""
    for cell, levels in zip(study.cells, (before, now), strict=True):
        cell.config.update(levels)
    return study.report().analysis[0][0]


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ({"sigma": 1.0}, {"sigma": 2.0}, "Raising sigma from 1 to 2 changes AP by +0.050."),
        ({"sigma": 2.0}, {"sigma": 1.0}, "Lowering sigma from 2 to 1 changes AP by +0.050."),
        ({"input_size": [64, 64]}, {"input_size": [64, 96]}, "Raising input size from 64\u00d764 to 64\u00d796 "),
        ({"optimizer": {"type": "Adam"}}, {"optimizer": {"type": "Adamax"}}, "Changing optimizer from Adam to Adamax "),
        ({"augmentation": {}}, {"augmentation": {"half_body": {"prob": 0.3}}}, "Adding half body (prob 0.3) changes "),
        ({"augmentation": {"half_body": {"prob": 0.3}}}, {"augmentation": {}}, "Leaving out half body changes AP by"),
        ({"amp": False}, {"amp": True}, "Adding amp changes AP by +0.050."),
    ],
)  # fmt: skip
def test_a_row_is_told_by_what_it_changes(before, now, told):
    factor = {"optimizer": "optimizer.type", "augmentation": "augmentation.half_body"}.get(*[next(iter(before))] * 2)
    assert configured(stage({factor: now}), before, now).startswith(told)


def test_several_factors_at_once_are_said_to_be_several():
    study = stage({"sigma": 2.0, "optimizer.lr": 1e-3})
    assert study.report().analysis[0][0].startswith("Changing sigma and lr at once (\u201cThe row\u201d) changes AP by")


def test_intervals_and_what_they_resolve_are_told(tmp_path):
    report = several(Home.resolve(tmp_path)).measured()
    better, alike, same = report.analysis[0]
    assert better.endswith("] over seeds; not resolved over seeds.")
    assert "] over images, [" in better
    assert "not resolved" in alike
    assert same.startswith("Raising sigma from 1 to 9 changes AP by 0.000 [0.000, 0.000] over images")
    row = report.comparisons[0].by_cell["better"]
    numbers = {number.address: number for number in numbers_in([better])}
    assert numbers["sigma/better/difference/images_low"].value == row.images.low
    assert numbers["sigma/better/difference/seeds_high"].value == row.seeds.high


def test_a_declared_margin_makes_rows_equivalent(tmp_path):
    report = several(Home.resolve(tmp_path), report={"equivalence_margin": 0.5}).measured()
    assert all(text.endswith("; equivalent within \u00b10.5.") for text in report.analysis[0][1:])


def test_nothing_is_said_of_doubt_row_by_row_where_the_whole_study_has_no_interval():
    assert stage({"sigma": 2.0}).report().analysis == (("Raising sigma from 1 to 2 changes AP by +0.050.",),)


def test_of_many_rows_the_ends_are_told_and_the_others_counted():
    study = Builder()
    study.stage("s")
    study.cell("baseline", {})
    study.trial(scores=(0.2,))
    for i in range(9):
        study.cell(f"c{i}", {"sigma": 2.0 + i})
        study.trial(scores=(0.1 + 0.03 * i,))
    told = study.report().analysis[0]
    assert told[0] == (
        "Of 9 rows against the baseline: 5 better by their value alone and 4 not better by their value alone."
    )
    assert [text.split(" changes")[0] for text in told[1:]] == [
        "Raising sigma from 1 to 2", "Raising sigma from 1 to 10",
    ]  # fmt: skip


def test_less_is_better_where_the_metric_says_so():
    study = Builder(metric="epe")
    study.stage("s")
    study.cell("baseline", {})
    study.trial(final_value=5.0, final_epoch=5, scores=(0.1,))
    for i in range(8):
        study.cell(f"c{i}", {"sigma": 2.0 + i})
        study.trial(final_value=4.0 + 0.3 * i, final_epoch=5, scores=(0.1,))
    assert "4 better by their value alone" in study.report().analysis[0][0]


def test_rows_without_a_number_are_told_by_how_they_ended():
    report = finished().report()
    assert "\u201clr_1\u201d: diverged, without a number." in report.analysis[0]
    assert "\u201clarge\u201d: out of memory, without a number." in report.analysis[0]
    assert any(text.startswith("\u201csigma_3\u201d: pruned at epoch 10") for text in report.analysis[1])


def test_an_open_study_says_nothing_of_rows_that_are_not_done():
    assert unfinished().report().analysis == ((),)


def test_texts_of_the_user_stand_as_they_are():
    study = nasty()
    study.cells[1].config["optimizer"]["type"] = "<b>&"
    assert study.report().analysis[0] == ("Changing optimizer from Adam to <b>& changes AP by +0.100.",)
    study.cells[1].config["optimizer"]["type"] = NASTY
    assert study.report().analysis[0] == ("The change of optimizer in \u201c=SUM(A1)\u201d changes AP by +0.100.",)


def test_a_row_that_failed_says_nothing():
    study = stage({"sigma": 2.0})
    study.trials[1] = type(study.trials[1])(**vars(study.trials[1]) | {"outcome": Outcome.FAILED, "final_value": None})
    assert study.report().analysis == (("\u201cThe row\u201d: failed, without a number.",),)


def test_numbers_keep_their_address_through_sentences():
    number = Number("a/b/final", "0.5", 0.5, "mean", ("u",))
    text = joined([said("AP {value}", value=number), Text("of ", number)], "; ")
    assert text == "AP 0.5; of 0.5"
    assert text.pieces == ("AP ", number, "; ", "of ", number)
    assert f"{text}" == text
    assert not isinstance(f"{text}", Text)


def test_a_template_that_names_what_is_not_there_is_refused():
    with pytest.raises(KeyError):
        said("{gone}")
