"""Results that need no training: given with the cell, trained before in the home, left by a withdrawn stage."""

from __future__ import annotations

from dataclasses import replace

import pytest

from posestudy.ledger import Ledger
from posestudy.ledger.records import (
    AddSeeds,
    Checkpoint,
    CloseStage,
    CloseStudy,
    KnownResult,
    NewCell,
    OpenStage,
    TrialRecord,
    WithdrawStages,
)
from posestudy.testing import new_cell, put_small_study
from posestudy.vocabulary import Direction, Outcome, TrialState

METRIC = "coco/AP"


def trained(ledger: Ledger, study: str, value: float, outcome: Outcome = Outcome.COMPLETED) -> TrialRecord:
    """The next waiting trial of `study`, trained for two epochs."""
    claim = ledger.claim(study, "worker", 60.0)
    assert claim is not None
    uid, fence = claim.trial.uid, claim.trial.fence
    for epoch in (1, 2):
        values = {epoch: {METRIC: value * epoch / 2, "coco/AR": 0.9 - value}}
        assert ledger.record_epoch(uid, fence, values, Checkpoint(f"/runs/{uid}/{epoch}.pth", "0" * 64, epoch), 3.0)
    ending = {"metric": METRIC, "direction": Direction.MORE, "peak_memory_mb": 100.0}
    assert ledger.finish(uid, fence, outcome, None, **ending)
    return next(t for t in ledger.snapshot(study).trials if t.uid == uid)


def open_stage(ledger: Ledger, study: str, ordinal: int, *cells: NewCell, baseline: str | None = None) -> None:
    record = ledger.study(study)
    baseline = baseline or cells[0].name
    assert ledger.apply(record.id, [OpenStage(ordinal, f"stage {ordinal}", "variants", baseline, {}, cells)])


def imported(value: float) -> KnownResult:
    source = {"kind": "imported", "file": "table.csv", "line": 7, "sha256": "0" * 64, "remarks": ["odd"]}
    return KnownResult(
        Outcome.COMPLETED, source, values={20: {METRIC: value}}, final_value=value, final_epoch=20,
        best_value=value + 0.1, best_epoch=20,
    )  # fmt: skip


def test_a_result_given_with_the_cell_is_done_as_the_source_states_it(ledger: Ledger) -> None:
    record = put_small_study(ledger)
    known = replace(new_cell("told", seeds=(0, 1)), known={0: imported(0.285)})
    assert ledger.apply(record.id, [OpenStage(1, "second", "variants", "told", {}, (known,))])
    told, waiting = ledger.snapshot("small").trials[-2:]
    assert (told.state, told.outcome, told.final_value, told.best_value) == (
        TrialState.DONE, Outcome.COMPLETED, 0.285, 0.385,
    )  # fmt: skip
    assert told.source is not None
    assert told.source["remarks"] == ["odd"]
    assert waiting.state is TrialState.WAITING
    values = [v for v in ledger.snapshot("small").values if v.trial_uid == told.uid]
    assert [(v.epoch, v.metrics) for v in values] == [(20, {METRIC: 0.285})]


def test_a_cell_of_an_earlier_stage_is_not_trained_again_and_says_where_it_came_from(ledger: Ledger) -> None:
    put_small_study(ledger)
    first, second = trained(ledger, "small", 0.4), trained(ledger, "small", 0.6)
    open_stage(ledger, "small", 1, replace(new_cell("variant"), name="baseline"), new_cell("third"))
    copy, fresh = ledger.snapshot("small").trials[-2:]
    assert copy.state is TrialState.DONE
    assert (copy.final_value, copy.best_epoch, copy.duration_s) == (second.final_value, 2, second.duration_s)
    assert copy.source == {
        "kind": "reused", "study": "small", "stage": "first", "cell": "variant", "number": 2, "uid": second.uid,
    }  # fmt: skip
    assert first.uid != copy.uid
    assert fresh.state is TrialState.WAITING
    epochs = [v.epoch for v in ledger.snapshot("small").values if v.trial_uid == copy.uid]
    assert epochs == [1, 2]


@pytest.mark.parametrize(("reuse", "done"), [("home", True), ("study", False), ("none", False)])
def test_reuse_goes_as_far_as_the_study_says(ledger: Ledger, reuse: str, *, done: bool) -> None:
    put_small_study(ledger)
    old = trained(ledger, "small", 0.4)
    record = ledger.put_study("other", {"study": "other", "metric": METRIC, "reuse": reuse}, "")
    assert ledger.apply(record.id, [OpenStage(0, "a", "variants", "baseline", {}, (new_cell("baseline"),))])
    (trial,) = ledger.snapshot("other").trials
    assert (trial.state is TrialState.DONE) is done
    assert (trial.source or {}).get("uid") == (old.uid if done else None)


def test_another_studys_result_counts_by_the_metric_of_this_one(ledger: Ledger) -> None:
    put_small_study(ledger)
    trained(ledger, "small", 0.4)
    record = ledger.put_study("other", {"study": "other", "metric": "coco/AR"}, "")
    assert ledger.apply(record.id, [OpenStage(0, "a", "variants", "baseline", {}, (new_cell("baseline"),))])
    (trial,) = ledger.snapshot("other").trials
    assert trial.final_value == pytest.approx(0.5)
    record = ledger.put_study("pck", {"study": "pck", "metric": "pck"}, "")
    assert ledger.apply(record.id, [OpenStage(0, "a", "variants", "baseline", {}, (new_cell("baseline"),))])
    assert ledger.snapshot("pck").trials[0].state is TrialState.WAITING


@pytest.mark.parametrize("outcome", [Outcome.OUT_OF_MEMORY, Outcome.NOT_CONVERGED, Outcome.FAILED])
def test_an_outcome_without_a_value_is_reused_in_its_own_study_only(ledger: Ledger, outcome: Outcome) -> None:
    put_small_study(ledger)
    trained(ledger, "small", 0.4, outcome)
    open_stage(ledger, "small", 1, new_cell("baseline"))
    record = ledger.put_study("other", {"study": "other", "metric": METRIC}, "")
    assert ledger.apply(record.id, [OpenStage(0, "a", "variants", "baseline", {}, (new_cell("baseline"),))])
    again = ledger.snapshot("small").trials[-1]
    assert again.outcome == (None if outcome is Outcome.FAILED else outcome)
    assert ledger.snapshot("other").trials[0].state is TrialState.WAITING


def test_what_was_reused_twice_names_the_trial_that_was_trained(ledger: Ledger) -> None:
    put_small_study(ledger)
    origin = trained(ledger, "small", 0.4)
    open_stage(ledger, "small", 1, new_cell("baseline"))
    open_stage(ledger, "small", 2, new_cell("baseline"))
    assert [(t.source or {}).get("uid") for t in ledger.snapshot("small").trials[2:]] == [origin.uid] * 2


def test_retry_trains_what_was_reused(ledger: Ledger) -> None:
    put_small_study(ledger)
    trained(ledger, "small", 0.4)
    trained(ledger, "small", 0.5)
    open_stage(ledger, "small", 1, new_cell("baseline"))
    assert ledger.retry("small", [Outcome.COMPLETED]) == 3
    assert [(t.state, t.source) for t in ledger.snapshot("small").trials] == [(TrialState.WAITING, None)] * 3


def test_further_seeds_reach_closed_stages_too(ledger: Ledger) -> None:
    record = put_small_study(ledger)
    trained(ledger, "small", 0.4)
    trained(ledger, "small", 0.5)
    (stage,) = ledger.snapshot("small").stages
    assert ledger.apply(record.id, [CloseStage(stage.id, stage.version, "variant", "best")])
    (stage,) = ledger.snapshot("small").stages
    assert not ledger.apply(record.id, [AddSeeds(stage.id, stage.version - 1, {"variant": (1,)})])
    assert ledger.apply(record.id, [AddSeeds(stage.id, stage.version, {"variant": (0, 1), "baseline": (1,)})])
    trials = ledger.snapshot("small").trials
    assert [(t.number, t.seed, t.state) for t in trials[2:]] == [
        (3, 1, TrialState.WAITING), (4, 1, TrialState.WAITING),
    ]  # fmt: skip
    assert ledger.snapshot("small").stages[0].state == "closed"


def test_trials_of_withdrawn_stages_go_over_to_cells_of_the_same_key(ledger: Ledger) -> None:
    record = put_small_study(ledger, cells=("baseline", "kept", "half way", "gone"))
    trained(ledger, "small", 0.4)
    kept = trained(ledger, "small", 0.5)
    claim = ledger.claim("small", "worker", 60.0)
    assert claim is not None
    half_way = Checkpoint("/runs/half.pth", "1" * 64, 1)
    assert ledger.record_epoch(claim.trial.uid, claim.trial.fence, {1: {METRIC: 0.2}}, half_way, 3.0)
    assert ledger.apply(record.id, [WithdrawStages(0)])
    assert ledger.snapshot("small").trials == ()
    assert ledger.claim("small", "worker", 60.0) is None
    assert not ledger.renew(claim.trial.uid, claim.trial.fence, 60.0)

    cells = (new_cell("new"), replace(new_cell("kept"), name="renamed"), new_cell("half way"))
    open_stage(ledger, "small", 0, *cells, baseline="new")
    new, renamed, resumed = sorted(ledger.snapshot("small").trials, key=lambda t: t.cell_id)
    assert (new.number, new.state) == (5, TrialState.WAITING)
    assert (renamed.uid, renamed.number, renamed.final_value) == (kept.uid, kept.number, 0.5)
    assert (resumed.uid, resumed.state, resumed.outcome) == (claim.trial.uid, TrialState.WAITING, None)
    assert (resumed.ckpt_path, resumed.ckpt_epoch) == (half_way.path, 1)
    assert ledger.retry("small", [Outcome.CANCELLED]) == 0


def test_trials_that_go_over_count_by_the_metric_the_file_now_names(ledger: Ledger) -> None:
    put_small_study(ledger, cells=("baseline", "told"))
    trained(ledger, "small", 0.4)
    again = {"study": "small", "metric": "coco/AR"}
    ledger.put_study("small", again, "", withdraw=WithdrawStages(0))
    told = replace(new_cell("told"), known={0: imported(0.3)})
    open_stage(ledger, "small", 0, new_cell("baseline"), told)
    by_cell = sorted(ledger.snapshot("small").trials, key=lambda t: t.cell_id)
    assert (by_cell[0].number, by_cell[0].final_value) == (1, pytest.approx(0.5))

    ledger.put_study("small", {**again, "description": "x"}, "", withdraw=WithdrawStages(0))
    open_stage(ledger, "small", 0, new_cell("baseline"), new_cell("told"))
    by_cell = sorted(ledger.snapshot("small").trials, key=lambda t: t.cell_id)
    assert by_cell[0].final_value == pytest.approx(0.5)
    # The table tells nothing of this metric, so its row is no result any more.
    assert (by_cell[1].state, by_cell[1].source) == (TrialState.WAITING, None)


def test_what_a_source_states_stays_as_stated_when_it_goes_over(ledger: Ledger) -> None:
    put_small_study(ledger, cells=("baseline",))
    odd = replace(imported(0.285), values={20: {METRIC: 0.285, "coco/AR": 0.9}})
    open_stage(ledger, "small", 1, replace(new_cell("told"), known={0: odd}))
    ledger.put_study("small", ledger.study("small").document, "", withdraw=WithdrawStages(1))
    open_stage(ledger, "small", 1, new_cell("told"))
    told = ledger.snapshot("small").trials[-1]
    assert (told.final_value, told.best_value, told.best_epoch) == (0.285, 0.385, 20)


def test_a_pruned_trial_answers_only_the_same_question_of_a_search(ledger: Ledger) -> None:
    question = {"params": {"lr": 0.1}, "distributions": {"lr": "float"}}
    cells = [replace(new_cell(name), optuna=question) for name in ("baseline", "same", "plain")]
    record = ledger.put_study("small", {"study": "small", "metric": METRIC, "reuse": "none"}, "")
    open_stage(ledger, "small", 0, *cells)
    for _ in cells:
        claim = ledger.claim("small", "worker", 60.0)
        assert claim is not None
        uid, fence = claim.trial.uid, claim.trial.fence
        noted = {**question, "system_attrs": {"rung": 0.2}}
        assert ledger.record_epoch(uid, fence, {1: {METRIC: 0.2}}, None, 1.0)
        assert ledger.decide(uid, fence, {"epoch": 1, "prune": True}, noted)
        ending = {"metric": METRIC, "direction": Direction.MORE, "peak_memory_mb": 1.0}
        assert ledger.finish(uid, fence, Outcome.PRUNED, None, **ending)
    assert ledger.apply(record.id, [WithdrawStages(0)])
    open_stage(ledger, "small", 0, cells[0], cells[1], new_cell("plain"))
    trials = sorted(ledger.snapshot("small").trials, key=lambda t: t.cell_id)
    assert [t.outcome for t in trials] == [Outcome.PRUNED, Outcome.PRUNED, None]
    assert [t.optuna.get("system_attrs") for t in trials] == [{"rung": 0.2}, {"rung": 0.2}, None]


def test_what_a_sampler_notes_as_it_asks_again_goes_before_what_it_noted_once(ledger: Ledger) -> None:
    """The cell was bred in the third generation of the search as it was, and is of the first one now."""
    question = {"params": {"lr": 0.1}, "distributions": {"lr": "float"}}
    once, now = (replace(new_cell("c"), optuna={**question, "system_attrs": {"generation": n}}) for n in (2, 0))
    record = ledger.put_study("small", {"study": "small", "metric": METRIC}, "")
    open_stage(ledger, "small", 0, new_cell("baseline"), once)
    trained(ledger, "small", 0.3)
    claim = ledger.claim("small", "worker", 60.0)
    assert claim is not None
    noted = {**once.optuna, "system_attrs": {"generation": 2, "rung": 0.2}}
    assert ledger.record_epoch(claim.trial.uid, claim.trial.fence, {1: {METRIC: 0.2}}, None, 1.0)
    assert ledger.decide(claim.trial.uid, claim.trial.fence, {"epoch": 1, "prune": False}, noted)
    assert ledger.apply(record.id, [WithdrawStages(0)])
    open_stage(ledger, "small", 0, new_cell("baseline"), now)
    (again,) = (trial for trial in ledger.snapshot("small").trials if trial.optuna)
    assert (again.uid, again.optuna["system_attrs"]) == (claim.trial.uid, {"generation": 0, "rung": 0.2})


def test_a_closed_study_opens_with_the_stages_its_edited_file_takes_out(ledger: Ledger) -> None:
    record = put_small_study(ledger)
    trained(ledger, "small", 0.4)
    trained(ledger, "small", 0.5)
    (stage,) = ledger.snapshot("small").stages
    assert ledger.apply(record.id, [CloseStage(stage.id, stage.version, "variant", "best"), CloseStudy()])
    assert ledger.put_study("small", record.document, "text", withdraw=WithdrawStages(0)).state == "open"
    assert ledger.snapshot("small").stages == ()


def test_the_first_estimate_stays(ledger: Ledger) -> None:
    put_small_study(ledger)
    ledger.put_estimate("small", {"gpu_hours": 1.0})
    ledger.put_estimate("small", {"gpu_hours": 2.0})
    assert ledger.study("small").estimate == {"gpu_hours": 1.0}
