"""A study moved on in the ledger by all that can be decided now: before, between and after its trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from posestudy.errors import PoseStudyError
from posestudy.ledger import Ledger
from posestudy.ledger.records import Change, Snapshot
from posestudy_studies import warm_start

APPLY_TRIES = 100


def settle(ledger: Ledger, name: str, advance: Callable[[Snapshot], Sequence[Change]]) -> Snapshot:
    """Apply all that `advance` decides, and return the study after it.

    Raises:
        PoseStudyError: what is decided cannot be applied although nobody else moved the study.
    """
    for _ in range(APPLY_TRIES):
        snapshot = ledger.snapshot(name)
        if snapshot.study.state == "closed":
            return snapshot
        changes = advance(_with_known(ledger, snapshot))
        if not changes:
            return snapshot
        ledger.apply(snapshot.study.id, changes, document=snapshot.study.document)
    raise PoseStudyError(
        f"study '{name}' does not settle: {APPLY_TRIES} times in a row its next step could not be applied; "
        "if no other worker is changing it, this is a mistake in posestudy, please report it"
    )


def _with_known(ledger: Ledger, snapshot: Snapshot) -> Snapshot:
    """The study with the other ones that a search of it is about to begin with."""
    names = warm_start.wanted(snapshot)
    if not names:
        return snapshot
    there = {study.name for study in ledger.studies()}
    return replace(snapshot, elsewhere=tuple(ledger.snapshot(n, values=False) for n in names if n in there))
