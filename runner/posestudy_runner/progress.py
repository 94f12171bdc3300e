"""The story of one trial as the display tells it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from posestudy.ledger.records import Claim
from posestudy.vocabulary import AttemptEnd, Direction, Outcome
from posestudy_runner.display import Display, SlotView
from posestudy_runner.order import TrialOrder

_QUIET_S = 30.0


class Progress:
    """Turns what happens to one trial into lines and a row of the table."""

    def __init__(self, display: Display, slot: int, claim: Claim, order: TrialOrder) -> None:
        self._display = display
        self._slot = slot
        self._order = order
        self._direction = Direction(order.direction)
        self._complained_at = self._paused_at = 0.0
        self._view = SlotView(
            device=order.device,
            stage=order.stage,
            cell=order.cell,
            trial=order.number,
            seed=order.seed,
            epoch=claim.trial.ckpt_epoch,
            epochs=order.epochs,
        )
        for value in claim.values:
            self._take(value.epoch, value.metrics)
        self.say(f"started on {order.device}{_start(claim, order)}")
        self._show()

    @property
    def name(self) -> str:
        return f"{self._order.stage}: trial {self._order.number} ({self._order.cell}, seed {self._order.seed})"

    def say(self, text: str) -> None:
        self._display.say(f"{self.name}  {text}")

    def note(self, text: str) -> None:
        self._view = replace(self._view, note=text)
        self._show()

    def epoch(self, epoch: int, metrics: Mapping[str, float], duration_s: float) -> None:
        """An epoch is in the ledger."""
        self._take(epoch, metrics)
        self._view = replace(self._view, seconds_left=duration_s * (self._order.epochs - epoch))
        evaluated = self._order.metric in metrics
        self._display.show(self._slot, self._view, news=evaluated)

    def finished(self, outcome: Outcome, message: str | None) -> None:
        """The trial is done."""
        view, best = self._view, ""
        if view.best is not None:
            best = f", best {self._order.metric} {view.best:.4f} at {view.best_epoch}"
        why = f": {message.splitlines()[0]}" if message and outcome is not Outcome.COMPLETED else ""
        self.say(f"{outcome.value}{best}{why}")

    def released(self, end: AttemptEnd, why: str) -> None:
        """The trial waits for another attempt."""
        self.say(f"{end.value}: {why.splitlines()[0] if why else ''}")

    def ledger_away(self, why: str) -> None:
        """Said at once, then at most every half minute."""
        now = time.monotonic()
        if now - self._complained_at > _QUIET_S or not self._complained_at:
            self._complained_at = now
            self.say(f"the ledger cannot be reached, trying again: {why.splitlines()[0]}")

    def paused(self, why: str) -> None:
        """Nothing goes on until somebody does something; said at once, then at most every half minute."""
        now = time.monotonic()
        if now - self._paused_at > _QUIET_S or not self._paused_at:
            self._paused_at = now
            self.say(f"paused: {why}")

    def _take(self, epoch: int, metrics: Mapping[str, float]) -> None:
        value = metrics.get(self._order.metric)
        self._view = replace(self._view, epoch=epoch)
        if value is None:
            return
        self._view = replace(self._view, metric=value)
        if self._view.best is None or self._direction.better(value, self._view.best):
            self._view = replace(self._view, best=value, best_epoch=epoch)

    def _show(self) -> None:
        self._display.show(self._slot, self._view)


def _start(claim: Claim, order: TrialOrder) -> str:
    """Where it goes on; on a machine that does not see the home its checkpoints are not there."""
    if not claim.trial.ckpt_epoch:
        return ""
    here = next((kept.epoch for kept in order.resume if Path(kept.path).is_file()), None)
    return f", from epoch {here}" if here else ", from its beginning, for its checkpoint is not on this machine"
