"""What is written down of a prediction of the test split."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from posestudy.ledger.records import NewSplitUse
from posestudy.vocabulary import Purpose


def split_use(purpose: Purpose, dataset: Any, sha256: str) -> NewSplitUse:
    """Of every instance of an MMPose data set; `sha256` is that of the file of results."""
    images = {int(dataset.get_data_info(index)["img_id"]) for index in range(len(dataset))}
    return NewSplitUse(uuid.uuid4().hex, purpose, len(images), len(dataset), sha256)


def write_down(uid: str, purpose: Purpose, dataset: Any, results: bytes) -> NewSplitUse:
    """Write into the ledger that the trial `uid` predicted `dataset`, with `results` as its file.

    Raises:
        LedgerError: the ledger cannot be written now.
    """
    # Not at the top: a trial process needs `split_use`, and no SQL.
    from posestudy.ledger import Ledger
    from posestudy.settings import Settings

    use = split_use(purpose, dataset, hashlib.sha256(results).hexdigest())
    ledger = Ledger.open(Settings.resolve().database_url, create=False)
    try:
        ledger.record_test_use(uid, use)
    finally:
        ledger.close()
    return use
