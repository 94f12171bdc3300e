"""A search whose trials pause, in words, tables and curves of the report."""

from __future__ import annotations

from dataclasses import replace

from synthetic_report import Builder

from posestudy.vocabulary import Outcome, TrialState
from posestudy_reports import sentences
from posestudy_reports.curves import bands
from posestudy_reports.document import Paragraph
from posestudy_reports.report import StudyReport


def halved(*, still_open: bool = False, rank: str = "value") -> Builder:
    """A search of three cells: one trained to its end, two that paused at epoch 5; these wait in one still open."""
    pruner = {"type": "asha", "min_epochs": 5, "reduction": 3, "rank": rank}
    study = Builder(stages=[{"name": "lr", "design": "search", "sampler": {"type": "tpe"}, "pruner": pruner}])
    study.stage("lr", design="search", state="open" if still_open else "closed")
    for name, rate, scores in (("a", 1e-3, (0.1, 0.2, 0.3, 0.4)), ("b", 1e-4, (0.05,)), ("c", 1e-5, (0.01,))):
        study.cell(name, {"optimizer.lr": rate})
        behind = len(scores) == 1
        if behind and still_open:
            study.trial(None, scores, state=TrialState.PAUSED, final_value=None, final_epoch=None)
        else:
            study.trial(Outcome.PRUNED if behind else Outcome.COMPLETED, scores)
    return study


def prose(report: StudyReport) -> str:
    return " ".join(str(c.text) for part in report.document.parts for c in part.content if isinstance(c, Paragraph))


def test_the_methods_say_how_trials_pause_and_cite_the_method() -> None:
    report = halved().report()
    assert "Optuna (TPE with asynchronous successive halving)" in prose(report)
    assert "pauses at 5 epochs, and at each rung of 3 times as many" in prose(report)
    assert "forecast" not in prose(report)
    assert "by the value forecast for its last epoch" in prose(halved(rank="forecast").report())
    assert "li2020asha" in {reference.key for reference in report.document.references}


def test_who_was_left_behind_is_pruned_at_its_epoch_with_a_curve_that_ends_there() -> None:
    result = halved().report().result
    stage = result.stages[0]
    assert [result.state(cell.trials[0]) for cell in stage.cells] == [
        "completed",
        "pruned at epoch 5",
        "pruned at epoch 5",
    ]
    drawn = bands(halved().report().curves[0])
    assert [band.epochs or band.others[0].epochs for band in drawn] == [(5, 10, 15, 20), (5,), (5,)]


def test_an_unfinished_search_names_those_that_pause() -> None:
    study = halved(still_open=True)
    study.study = replace(study.study, state="open")
    result = study.report().result
    assert result.state(result.stages[0].cells[1].trials[0]) == "paused at epoch 5"
    assert "Trials 2 and 3 paused for better ones." in sentences.still_open(result)
