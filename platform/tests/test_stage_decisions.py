"""What was decided about a stage is kept beside why it carried what it carried, and told by `status`."""

from __future__ import annotations

import json

import pytest

from posestudy.commands.status import as_json, as_text
from posestudy.home import Home
from posestudy.ledger import Ledger, standings
from posestudy.ledger.records import CloseStage, Decide, Snapshot, StageRecord
from posestudy.testing import put_small_study

TEXT = "stopped after 3 of 24 cells: the budget is spent (2 of 2 device hours)"


def decide(ledger: Ledger, *decisions: str) -> Snapshot:
    held = ledger.snapshot("small")
    stage = held.stages[0]
    assert ledger.apply(held.study.id, [Decide(stage.id, stage.version, decisions)])
    return ledger.snapshot("small")


def test_a_decision_replaces_those_before_and_leaves_the_carry(ledger: Ledger) -> None:
    put_small_study(ledger, cells=("baseline", "variant"))
    stage = decide(ledger, "noise floor: 0.01", TEXT).stages[0]
    assert (stage.state, stage.carried_because, stage.decisions) == ("open", "", ("noise floor: 0.01", TEXT))
    held = ledger.snapshot("small")
    assert ledger.apply(held.study.id, [CloseStage(stage.id, stage.version, "variant", "it is best.", stage.decisions)])
    assert decide(ledger, "noise floor: 0.01").stages[0].carried_because == "it is best."
    assert ledger.snapshot("small").stages[0].decisions == ("noise floor: 0.01",)
    assert decide(ledger).stages[0].carry_reason == "it is best."


def test_a_decision_from_an_older_version_is_refused(ledger: Ledger) -> None:
    put_small_study(ledger, cells=("baseline",))
    old = ledger.snapshot("small")
    decide(ledger, TEXT)
    stage = old.stages[0]
    assert not ledger.apply(old.study.id, [Decide(stage.id, stage.version, ("something else",))])
    assert ledger.snapshot("small").stages[0].decisions == (TEXT,)


def test_an_open_stage_without_decisions_has_no_reason(ledger: Ledger) -> None:
    put_small_study(ledger, cells=("baseline",))
    decide(ledger, TEXT)
    assert decide(ledger).stages[0].carry_reason is None
    assert StageRecord.reasons("a\nb", ["c\nd"]) == "a b\nc d"


def test_status_tells_decisions_from_the_ledger_and_from_its_file(home: Home, sqlite_ledger: Ledger) -> None:
    put_small_study(sqlite_ledger, cells=("baseline",))
    put_small_study(sqlite_ledger, name="other", cells=("only",))
    decide(sqlite_ledger, TEXT)
    told = sqlite_ledger.standings()
    assert standings.of_file(home.database, None) == told
    assert told[0].decisions == (("first", TEXT),)
    assert told[1].decisions == ()
    stage = told[0].decisions[0][0]
    assert json.loads(json.dumps(as_json(told[0])))["decisions"] == [{"stage": stage, "decision": TEXT}]
    assert f"\n{stage}: {TEXT}\n" in as_text(told[0])


@pytest.mark.parametrize("name", ["small", None])
def test_any_ledger_tells_decisions(ledger: Ledger, name: str | None) -> None:
    put_small_study(ledger, cells=("baseline",))
    decide(ledger, TEXT)
    assert [text for _, text in ledger.standings(name)[0].decisions] == [TEXT]
