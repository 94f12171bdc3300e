"""The ledger of test uses: each prediction of a test split is there once, whatever is repeated or comes late."""

from __future__ import annotations

from dataclasses import replace

import pytest

from posestudy.errors import LedgerError, NotFoundError
from posestudy.ledger import Ledger
from posestudy.ledger.records import NewSplitUse, WithdrawStages
from posestudy.testing import put_small_study
from posestudy.vocabulary import Purpose

USE = NewSplitUse("a" * 32, Purpose.PREDICT, 200, 223, "0" * 64)


def uids(ledger: Ledger) -> list[str]:
    return [trial.uid for trial in ledger.snapshot("small").trials]


def test_uses_are_read_with_the_study_oldest_first(ledger: Ledger) -> None:
    put_small_study(ledger)
    put_small_study(ledger, name="other")
    first, second = uids(ledger)
    assert ledger.test_uses("small") == ()
    before = ledger.now()
    ledger.record_test_use(second, USE)
    ledger.record_test_use(first, replace(USE, id="0" * 32, purpose=Purpose.BUNDLE))
    uses = ledger.test_uses("small")
    assert [(use.trial_uid, use.purpose) for use in uses] == [(second, Purpose.PREDICT), (first, Purpose.BUNDLE)]
    assert [(use.images, use.instances, use.sha256) for use in uses] == [(200, 223, "0" * 64)] * 2
    assert before <= uses[0].ts <= uses[1].ts <= ledger.now()
    assert ledger.snapshot("small", values=False).test_uses == uses
    assert ledger.snapshot("other").test_uses == ()


def test_a_use_that_is_told_twice_counts_once(ledger: Ledger) -> None:
    put_small_study(ledger)
    uid = uids(ledger)[0]
    for images in (200, 7):
        ledger.record_test_use(uid, replace(USE, images=images))
    assert [use.images for use in ledger.test_uses("small")] == [200]


def test_a_use_stays_where_its_trial_is_withdrawn(ledger: Ledger) -> None:
    record = put_small_study(ledger)
    ledger.record_test_use(uids(ledger)[0], USE)
    ledger.put_study("small", {**record.document, "changed": True}, "", withdraw=WithdrawStages(0))
    assert ledger.snapshot("small").trials == ()
    assert len(ledger.snapshot("small").test_uses) == 1


def test_only_what_is_there_can_be_told_of(ledger: Ledger) -> None:
    put_small_study(ledger)
    with pytest.raises(LedgerError):
        ledger.record_test_use("f" * 32, USE)
    with pytest.raises(NotFoundError, match="no study 'smal'"):
        ledger.test_uses("smal")
