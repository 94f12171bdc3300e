"""What a pool asks of the studies part: which cells come next, and whether to prune a trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from posestudy.ledger.records import Change, Claim, Json, Snapshot
from posestudy.vocabulary import Verdict


@dataclass(frozen=True)
class Steering:
    """The decisions of a study as pure functions.

    Attributes:
        advance: the changes to make now; none when there is nothing to do.
        prunes: whether the stage of a claimed trial has a pruner to ask.
        judge: the pruner's answer for a trial after an epoch, and what it must remember.
    """

    advance: Callable[[Snapshot], Sequence[Change]]
    prunes: Callable[[Claim], bool]
    judge: Callable[[Snapshot, str, int], tuple[Verdict, Json]]


def study_steering() -> Steering:
    """The real ones."""
    from posestudy_studies import advance, decider

    return Steering(advance.advance, lambda claim: decider.prunes(claim.study, claim.stage), decider.judge)
