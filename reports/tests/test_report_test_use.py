"""What a report says of the test split: how often it was predicted, by whom and what for, and never more."""

from __future__ import annotations

from dataclasses import replace

from synthetic_report import Builder

from posestudy.ledger.records import SplitUse
from posestudy.vocabulary import Purpose
from posestudy_reports.addressed import Text, numbers_in
from posestudy_reports.results import StudyResult
from posestudy_reports.test_use import sentence


def said(*uses: tuple[int, Purpose], test: bool = True) -> Text:
    """Of a study with trials 1 and 2, after predictions by trials of these numbers."""
    study = Builder(dataset={"test": {"annotations": "a.json"} if test else None})
    study.stage("lr")
    for name in ("baseline", "other"):
        study.cell(name, {})
        study.trial(scores=(0.1,))
    records = tuple(
        SplitUse(f"{place:032x}", 1, f"{number:032x}", float(place), purpose, 200, 223, "0" * 64)
        for place, (number, purpose) in enumerate(uses)
    )
    snapshot = replace(study.report().result.snapshot, test_uses=records)
    return sentence(StudyResult(snapshot, {}))


def test_without_a_test_split_nothing_is_said() -> None:
    assert said(test=False) == ""


def test_a_test_split_that_was_left_alone_is_said_to_be() -> None:
    assert said() == "The test split has never been predicted."


def test_one_use() -> None:
    assert said((2, Purpose.SUBMISSION)) == "The test split was predicted once: after training by trial 2."


def test_several_uses_are_counted_by_trial_and_purpose() -> None:
    text = said((2, Purpose.PREDICT), (1, Purpose.BUNDLE), (2, Purpose.PREDICT), (9, Purpose.PREDICT))
    assert text == (
        "The test split was predicted 4 times: on its own by trial 2 (2 times), for an archive to hand in by trial 1 "
        "and on its own by a trial that is no longer in the study."
    )
    (number,) = numbers_in([text])
    assert (number.address, number.value, number.text) == ("study/test_uses", 4.0, "4")
    assert number.uids == (f"{2:032x}", f"{1:032x}", f"{9:032x}")


def test_uses_are_told_although_the_file_no_longer_has_the_split() -> None:
    assert said((1, Purpose.BUNDLE), test=False).startswith("The test split was predicted once")
