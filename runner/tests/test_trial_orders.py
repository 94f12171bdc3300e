"""What a worker asks of a trial that has begun already, under a study that was edited since."""

from __future__ import annotations

from typing import Any

import pytest
from standin_pool import STUDY, Standin, advance, ordered

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Checkpoint
from posestudy.vocabulary import AttemptEnd


@pytest.mark.parametrize(
    ("begun", "provenance", "data_path"),
    [(True, {"data_path": "stock"}, "stock"), (True, {}, "stock"), (False, {"data_path": "stock"}, "fast")],
)
def test_a_trial_that_has_begun_keeps_its_data_path(
    home: Home, sqlite_ledger: Ledger, begun: bool, provenance: dict[str, Any], data_path: str
) -> None:
    Standin(home, sqlite_ledger, {"a": {}})
    record = sqlite_ledger.put_study(STUDY, {"cells": {"a": {}}, "data_path": "stock"}, "")
    sqlite_ledger.apply(record.id, advance(sqlite_ledger.snapshot(STUDY)))
    first = sqlite_ledger.claim(STUDY, "w", 60.0)
    assert first is not None
    sqlite_ledger.started(first.trial.uid, first.trial.fence, provenance)
    if begun:
        saved = Checkpoint("/runs/1.pth", "0" * 64, 1)
        sqlite_ledger.record_epoch(first.trial.uid, first.trial.fence, {1: {"coco/AP": 0.2}}, saved, 1.0)
    sqlite_ledger.release(first.trial.uid, first.trial.fence, AttemptEnd.LOST, "killed")
    sqlite_ledger.put_study(STUDY, {"cells": {"a": {}}, "data_path": "fast"}, "")
    claim = sqlite_ledger.claim(STUDY, "v", 60.0)
    assert claim is not None
    assert ordered(home, sqlite_ledger, claim, threads=1).study["data_path"] == data_path


def test_a_trial_whose_start_was_never_told_keeps_what_it_was_ordered(home: Home, sqlite_ledger: Ledger) -> None:
    """The ledger was away from its claim to its death; its journal and checkpoint were adopted since."""
    Standin(home, sqlite_ledger, {"a": {}})
    record = sqlite_ledger.put_study(STUDY, {"cells": {"a": {}}, "data_path": "fast"}, "")
    sqlite_ledger.apply(record.id, advance(sqlite_ledger.snapshot(STUDY)))
    first = sqlite_ledger.claim(STUDY, "w", 60.0)
    assert first is not None
    asked = ordered(home, sqlite_ledger, first, threads=3)
    asked.write()
    saved = Checkpoint(str(asked.paths.checkpoint(1)), "0" * 64, 1)
    sqlite_ledger.record_epoch(first.trial.uid, first.trial.fence, {1: {"coco/AP": 0.2}}, saved, 1.0)
    sqlite_ledger.release(first.trial.uid, first.trial.fence, AttemptEnd.LOST, "killed")
    sqlite_ledger.put_study(STUDY, {"cells": {"a": {}}, "data_path": "stock"}, "")
    claim = sqlite_ledger.claim(STUDY, "v", 60.0)
    assert claim is not None
    order = ordered(home, sqlite_ledger, claim, threads=1)
    assert (order.study["data_path"], order.threads) == ("fast", 3)
