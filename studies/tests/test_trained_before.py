"""What a plan expects to be taken over from the home is what the ledger takes over."""

from __future__ import annotations

from typing import Any

import pytest

from posestudy.ledger import Ledger
from posestudy.ledger.records import Snapshot
from posestudy.vocabulary import METRICS, Outcome, TrialState
from posestudy_studies import trained_before
from posestudy_studies.advance import advance
from posestudy_studies.designs.contract import study_with
from posestudy_studies.plan import plan, work
from posestudy_studies.rehearsal import nothing
from posestudy_studies.spec import Study

OUTCOMES = {
    "a": (Outcome.COMPLETED, 0.4),
    "b": (Outcome.OUT_OF_MEMORY, None),
    "c": (Outcome.PRUNED, 0.1),
    "baseline": (Outcome.COMPLETED, 0.2),
}


def study(name: str, variants: dict[str, Any], fingerprint: str = "the same data", **more: Any) -> Study:
    document = study_with({"name": "s", "design": "variants", "variants": variants}).model_dump(mode="json")
    document |= {"study": name, **more}
    document["dataset"]["fingerprint"] = fingerprint
    return Study.model_validate(document)


def opened(ledger: Ledger, made: Study) -> Snapshot:
    ledger.put_study(made.study, made.model_dump(mode="json"), "")
    snapshot = ledger.snapshot(made.study)
    assert ledger.apply(snapshot.study.id, advance(snapshot))
    return ledger.snapshot(made.study)


def trained(ledger: Ledger, made: Study) -> None:
    names = {cell.id: cell.name for cell in opened(ledger, made).cells}
    while (claim := ledger.claim(made.study, "worker", 60)) is not None:
        trial = claim.trial
        outcome, value = OUTCOMES[names[trial.cell_id]]
        if value is not None:
            ledger.record_epoch(trial.uid, trial.fence, {4: {made.metric: value}}, None, 1.0)
        assert ledger.finish(
            trial.uid, trial.fence, outcome, None,
            metric=made.metric, direction=METRICS[made.metric].direction, peak_memory_mb=None,
        )  # fmt: skip


def still_to_train(ledger: Ledger, made: Study) -> list[str]:
    snapshots = [ledger.snapshot(record.name) for record in ledger.studies()]
    own = next((s for s in snapshots if s.study.name == made.study), None)
    known = trained_before.results(made, snapshots, nothing)
    return [item.cell for item in work(made, snapshot=own, results=known)]


FIRST = {"a": {"sigma": 1.0}, "b": {"sigma": 3.0}, "c": {"batch_size": 16}}
OTHER = {"new": {"epochs": 9}, "as_a": {"sigma": 1.0}, "as_b": {"sigma": 3.0}, "as_c": {"batch_size": 16}}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, ["new", "as_b", "as_c"]),
        ({"reuse": "study"}, ["baseline", "new", "as_a", "as_b", "as_c"]),
        ({"reuse": "none"}, ["baseline", "new", "as_a", "as_b", "as_c"]),
        ({"fingerprint": "other data"}, ["baseline", "new", "as_a", "as_b", "as_c"]),
        ({"replicates": {"seeds": [1]}}, ["baseline", "new", "as_a", "as_b", "as_c"]),
    ],
)
def test_another_study_of_the_home(sqlite_ledger: Ledger, more: dict[str, Any], expected: list[str]) -> None:
    trained(sqlite_ledger, study("one", FIRST))
    two = study("two", OTHER, **more)
    assert still_to_train(sqlite_ledger, two) == expected
    # And so it comes.
    snapshot = opened(sqlite_ledger, two)
    waiting = {t.cell_id for t in snapshot.trials if t.state is TrialState.WAITING}
    assert [c.name for c in snapshot.cells if c.id in waiting] == expected


def test_what_waits_in_the_study_is_trained_whatever_came_to_the_home_since(sqlite_ledger: Ledger) -> None:
    two = study("two", OTHER)
    opened(sqlite_ledger, two)
    trained(sqlite_ledger, study("one", FIRST))
    assert still_to_train(sqlite_ledger, two) == ["baseline", "new", "as_a", "as_b", "as_c"]


def test_what_was_trained_elsewhere_decides_a_plan(sqlite_ledger: Ledger) -> None:
    trained(sqlite_ledger, study("one", {"a": {"sigma": 1.0}}))
    two = study("two", {"as_a": {"sigma": 1.0}})
    following = {"name": "t", "design": "variants", "variants": {"d": {"epochs": 9}}}
    document = two.model_dump(mode="json")
    two = Study.model_validate(document | {"stages": [*document["stages"], following]})
    snapshots = [sqlite_ledger.snapshot("one")]
    planned = plan(two, results=trained_before.results(two, snapshots, nothing))
    assert planned["stages"][0]["carried"] == "as_a"
    assert [c["decided"] for c in planned["stages"][1]["cells"]] == [True, True]
