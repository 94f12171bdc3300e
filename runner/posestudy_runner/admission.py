"""Claiming a trial for a slot whose GPU other trials may share: only one that has room there.

The ledger grants trials in their order, so a slot without room for the next one claims nothing and looks again later.
"""

from __future__ import annotations

from dataclasses import dataclass

from posestudy.ledger.records import Claim
from posestudy.vocabulary import AttemptEnd
from posestudy_runner.context import PoolContext
from posestudy_runner.gpu_seats import Seat
from posestudy_runner.next_trial import granted, next_trial
from posestudy_runner.packing import Packing
from posestudy_runner.slots import Slot


@dataclass(frozen=True)
class Granted:
    """What a slot has to do now: nothing, or a claimed trial.

    Attributes:
        claim: None where no trial was granted.
        seat: the trial's place on a GPU that trials share; None where none is shared. Who gets it leaves it.
        held_back: why no trial was claimed although one waits.
    """

    claim: Claim | None = None
    seat: Seat | None = None
    held_back: str | None = None


def claim(context: PoolContext, slot: Slot, owner: str) -> Granted:
    """The next trial, if the slot has room for it.

    Raises:
        LedgerUnavailableError: the ledger cannot be reached.
    """
    packing = context.packing
    if packing is None or not packing.covers(slot.device):
        return Granted(context.ledger.claim(context.study, owner, context.options.lease_s))
    if not packing.turn.acquire(timeout=context.options.poll_s):
        return Granted(held_back="another slot looks for a trial")
    try:
        return _in_turn(context, packing, slot, owner)
    finally:
        packing.turn.release()


def _in_turn(context: PoolContext, packing: Packing, slot: Slot, owner: str) -> Granted:
    ledger, device = context.ledger, slot.device
    # Asked first, for it costs no look into the ledger.
    if (why := packing.closed(device)) is not None:
        return Granted(held_back=why)
    snapshot = ledger.snapshot(context.study, values=False)
    expected = next_trial(snapshot, ledger.now())
    if expected is None:
        return Granted()
    if (why := packing.refusal(device, expected)) is not None:
        return Granted(held_back=why)
    found = ledger.claim(context.study, owner, context.options.lease_s)
    if found is None:
        return Granted()
    trial = granted(snapshot, found)
    # Another pool may have been quicker, and the trial after it is perhaps a larger one.
    if trial.uid != expected.uid and (why := packing.refusal(device, trial)) is not None:
        ledger.release(found.trial.uid, found.trial.fence, AttemptEnd.PREEMPTED, f"not begun: {why}")
        return Granted(held_back=why)
    return Granted(found, packing.sit(device, trial))
