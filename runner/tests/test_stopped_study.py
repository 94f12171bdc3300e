"""A pool stops where a study says so, writes why and goes on where the limit is moved; a search knows what was."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from standin_pool import importable_standins
from standin_searched import pool, searched

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.vocabulary import Direction, Outcome, TrialState
from posestudy_runner.engines import jobs
from posestudy_runner.settling import settle
from posestudy_runner.steering import study_steering
from posestudy_studies.designs.contract import study_with
from posestudy_studies.spec import Study

__all__ = ["importable_standins"]

PAST, FUTURE = "2020-01-01T00:00:00Z", "2120-01-01T00:00:00Z"


def study(name: str, cells: int = 3, **more: Any) -> Study:
    document = searched(cells).model_dump(mode="json")
    stage = {**document["stages"][0], "pruner": {"type": "none"}, **more.pop("stage", {})}
    document["dataset"]["fingerprint"] = "d" * 64
    return Study.model_validate({**document, "study": name, "stages": [stage], **more})


@pytest.mark.slow
def test_after_its_deadline_a_pool_starts_nothing_and_a_moved_one_goes_on(home: Home, sqlite_ledger: Ledger) -> None:
    said = io.StringIO()
    pool(home, sqlite_ledger, study("late", budget={"deadline": PAST}), said).run(1)
    held = sqlite_ledger.snapshot("late")
    # Nothing was ever asked for: the stage opened without a cell.
    assert (held.study.state, held.trials) == ("open", ())
    [told] = held.stages[0].decisions
    assert told == "stopped after 0 of 3 cells: the deadline has passed (2020-01-01 00:00 UTC)"
    pool(home, sqlite_ledger, study("late", budget={"deadline": FUTURE})).run(2)
    held = sqlite_ledger.snapshot("late")
    assert held.study.state == "closed"
    assert [t.state for t in held.trials] == [TrialState.DONE] * 3
    assert held.stages[0].decisions == ()


@pytest.mark.slow
def test_a_waiting_trial_is_not_started_after_the_deadline(
    home: Home, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_baseline = {"include_baseline": True}
    made = study("late", stage=with_baseline, budget={"deadline": PAST})
    said, asked, claim = io.StringIO(), [], sqlite_ledger.claim
    monkeypatch.setattr(sqlite_ledger, "claim", lambda *words, **more: asked.append(words) or claim(*words, **more))
    pool(home, sqlite_ledger, made, said).run(2)
    # Not even while the first stage was not open yet: one worker would open it, and its neighbour begin the trial.
    assert asked == []
    held = sqlite_ledger.snapshot("late")
    assert [t.state for t in held.trials] == [TrialState.WAITING]
    assert "the deadline has passed (2020-01-01 00:00 UTC): no further trial starts; move budget.deadline" in (
        said.getvalue()
    )
    assert held.stages[0].decisions[0].startswith("stopped after 0 of 3 cells: the deadline has passed")


def one_cell(name: str, deadline: str) -> Study:
    """A study of one cell that has a smaller one where it does not fit into memory."""
    remedy = {"largest_batch": True}
    stage = {"name": "only", "design": "grid", "factors": {"batch_size": [32]}, "out_of_memory": remedy}
    document = study_with({**stage, "include_baseline": False}).model_dump(mode="json")
    document["dataset"]["fingerprint"] = "d" * 64
    return Study.model_validate({**document, "study": name, "budget": {"deadline": deadline}})


@pytest.mark.slow
@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.OUT_OF_MEMORY])
def test_a_study_whose_trials_are_done_at_its_deadline_is_closed_or_waits(
    home: Home, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, outcome: Outcome
) -> None:
    made = one_cell("late", FUTURE)
    sqlite_ledger.put_study("late", made.model_dump(mode="json"), "")
    settle(sqlite_ledger, "late", study_steering().advance)
    claim = sqlite_ledger.claim("late", "before", 60.0)
    assert claim is not None
    ending = {"metric": "coco/AP", "direction": Direction.MORE, "peak_memory_mb": None}
    assert sqlite_ledger.finish(claim.trial.uid, claim.trial.fence, outcome, None, **ending)
    said, asked, grant = io.StringIO(), [], sqlite_ledger.claim
    monkeypatch.setattr(sqlite_ledger, "claim", lambda *words, **more: asked.append(words) or grant(*words, **more))
    notify = f"echo $POSESTUDY_EVENT >>{tmp_path}/told"
    pool(home, sqlite_ledger, one_cell("late", PAST), said, notify=notify).run(2)
    # One worker asks for the cell that fits, and no neighbour begins it.
    assert asked == []
    if outcome is Outcome.COMPLETED:
        assert sqlite_ledger.study("late").state == "closed"
        assert "no further trial starts" not in said.getvalue()
        assert (tmp_path / "told").read_text() == "stage\nstudy\n"
    else:
        assert [t.state for t in sqlite_ledger.snapshot("late").trials] == [TrialState.DONE, TrialState.WAITING]
        assert said.getvalue().count("no further trial starts") == 1


@pytest.mark.slow
def test_a_search_begins_with_the_trials_of_an_earlier_study_of_the_home(home: Home, sqlite_ledger: Ledger) -> None:
    pool(home, sqlite_ledger, study("before", cells=4)).run(2)
    before = sqlite_ledger.snapshot("before")
    sampler = {"type": "tpe", "startup_trials": 2}
    now = study("now", stage={"warm_start": ["before", "never"], "sampler": sampler})
    pool(home, sqlite_ledger, now).run(2)
    held = sqlite_ledger.snapshot("now")
    assert held.study.state == "closed"
    assert held.stages[0].decisions == (
        "begins with 4 known cells: 4 of 4 of study 'before'; none of study 'never', which is not in this home",
    )
    known = held.trials[0].optuna["warm_start"]["known"]
    assert {uid for row in known for uid in row["uids"]} == {t.uid for t in before.trials}
    assert {row["value"] for row in known} == {t.final_value for t in before.trials}
    assert len(held.cells) == 3


@pytest.mark.slow
def test_what_a_search_begins_with_is_known_where_jobs_are_counted_before_they_are_submitted(
    home: Home, sqlite_ledger: Ledger
) -> None:
    pool(home, sqlite_ledger, study("before", cells=4)).run(2)
    now = study("now", stage={"warm_start": ["before"], "sampler": {"type": "tpe", "startup_trials": 2}})
    sqlite_ledger.put_study("now", now.model_dump(mode="json"), "")
    placement: Any = SimpleNamespace(ledger=sqlite_ledger, study=now, steering=study_steering())
    assert jobs.known_open_trials(placement) == 1
    held = sqlite_ledger.snapshot("now")
    assert held.stages[0].decisions == ("begins with 4 known cells: 4 of 4 of study 'before'",)
