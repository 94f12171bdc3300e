"""The loop of one slot: claim a trial, run an attempt at it; with nothing to claim, move the study on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from posestudy.errors import LedgerUnavailableError, PoseStudyError
from posestudy.ledger.records import Claim, Json, Snapshot
from posestudy.vocabulary import AttemptEnd, Direction, Outcome, TrialState
from posestudy_runner.attempt import RETRY_S, Attempt
from posestudy_runner.context import PoolContext, owner_is_dead, owner_name
from posestudy_runner.display import SlotView
from posestudy_runner.floor import missed_before
from posestudy_runner.order import TrialOrder, checkpoints
from posestudy_runner.progress import Progress
from posestudy_runner.slots import Slot

MOST_LOSSES = 3
"""So many attempts may be lost in a row without a new epoch before the trial is `failed`."""
APPLY_TRIES = 100


def advance_once(context: PoolContext) -> Snapshot:
    """Apply all that can be decided now, and return the study after it.

    Raises:
        PoseStudyError: what is decided cannot be applied although nobody else moved the study.
    """
    for _ in range(APPLY_TRIES):
        snapshot = context.ledger.snapshot(context.study)
        if snapshot.study.state == "closed":
            return snapshot
        changes = context.steering.advance(snapshot)
        if not changes:
            return snapshot
        context.ledger.apply(snapshot.study.id, changes)
    raise PoseStudyError(
        f"study '{context.study}' does not settle: {APPLY_TRIES} times in a row its next step could not be applied; "
        "if no other worker is changing it, this is a mistake in posestudy, please report it"
    )


class Worker:
    """One slot's worker.

    Args:
        context: what the workers of the pool share.
        slot: the device it trains on.
    """

    def __init__(self, context: PoolContext, slot: Slot) -> None:
        self._context = context
        self._slot = slot
        self._owner = owner_name(slot.index)

    def run(self) -> None:
        """Until the study has nothing more to do, or the pool is to end.

        Raises:
            UnusableError: no trial can train here.
        """
        context = self._context
        while not context.stop.requested:
            try:
                if self._budget_is_spent():
                    return
                claim = context.ledger.claim(context.study, self._owner, context.options.lease_s)
                if claim is not None:
                    self._try(claim)
                    self._show_standing(context.ledger.snapshot(context.study, values=False))
                elif self._nothing_left():
                    return
                else:
                    context.stop.pause(context.options.poll_s)
            except LedgerUnavailableError as error:
                self._idle(f"the ledger cannot be reached: {error}")
                context.stop.pause(RETRY_S)

    def _show_standing(self, snapshot: Snapshot) -> int:
        done = sum(trial.state is TrialState.DONE for trial in snapshot.trials)
        self._context.display.standing(done, len(snapshot.trials))
        self._idle()
        return done

    def _budget_is_spent(self) -> bool:
        """Whether the study's device hours are used up: then no further trial is started, and the study stays open."""
        budget_s = self._context.budget_s
        if budget_s is None:
            return False
        trials = self._context.ledger.snapshot(self._context.study, values=False).trials
        spent_s = sum(trial.duration_s or 0.0 for trial in trials if trial.source is None)
        waiting = any(trial.state is not TrialState.DONE for trial in trials)
        if spent_s < budget_s or not waiting:
            return False
        hours = f"{spent_s / 3600:.2g} of {budget_s / 3600:.2g} device hours"
        self._context.display.say(f"budget spent ({hours}): no further trial starts; raise budget.gpu_hours to go on")
        return True

    def _idle(self, note: str = "") -> None:
        self._context.display.show(self._slot.index, SlotView(device=self._slot.device.name, note=note))

    def _nothing_left(self) -> bool:
        """Move the study on; True where it is closed, or waits for nothing that will ever come."""
        context = self._context
        # One look at a time is enough for a pool, and cheap for a large study.
        if not context.advancing.acquire(blocking=False):
            return False
        try:
            before = context.ledger.snapshot(context.study, values=False)
            after = advance_once(context)
            done = self._show_standing(after)
            if after.study.state == "closed":
                return True
            moved = len(after.trials) != len(before.trials) or len(after.stages) != len(before.stages)
            self._free_the_dead(after)
            return not moved and done == len(after.trials)
        finally:
            context.advancing.release()

    def _free_the_dead(self, snapshot: Snapshot) -> None:
        """Take leases back at once whose worker was a process of this machine that is gone."""
        for trial in snapshot.trials:
            if trial.state is TrialState.RUNNING and owner_is_dead(trial.owner):
                why = f"the worker {trial.owner} died"
                self._context.ledger.release(trial.uid, trial.fence, AttemptEnd.LOST, why)

    def _try(self, claim: Claim) -> None:
        context = self._context
        order = self.order(claim)
        progress = Progress(context.display, self._slot.index, claim, order)
        lost = self._losses(claim)
        if lost >= MOST_LOSSES:
            logs = f"posestudy logs {context.study} {claim.trial.number}"
            message = f"{lost} attempts in a row died without finishing an epoch; see `{logs}`"
            context.ledger.finish(
                claim.trial.uid,
                claim.trial.fence,
                Outcome.FAILED,
                message,
                metric=context.metric,
                direction=Direction(context.direction),
                peak_memory_mb=None,
            )
            progress.finished(Outcome.FAILED, message)
            return
        try:
            Attempt(context, claim, order, progress).run()
        except OSError as error:
            why = f"the attempt could not be started: {error}"
            context.ledger.release(claim.trial.uid, claim.trial.fence, AttemptEnd.PREEMPTED, why)
            progress.say(f"paused: {why}")
            context.stop.pause(context.options.disk_retry_s)

    def _losses(self, claim: Claim) -> int:
        """How many attempts before this one were lost in a row without an accepted epoch."""
        if claim.trial.fence <= MOST_LOSSES:
            return 0
        attempts = self._context.ledger.snapshot(self._context.study, values=False).attempts
        mine = [a for a in attempts if a.trial_uid == claim.trial.uid and a.fence < claim.trial.fence]
        productive = {value.fence for value in claim.values}
        lost = 0
        for attempt in sorted(mine, key=lambda a: a.fence, reverse=True):
            if attempt.end is not AttemptEnd.LOST or attempt.fence in productive:
                break
            lost += 1
        return lost

    def _trained_alike(self, claim: Claim) -> Json | None:
        """The first trial trained alike whose checkpoint is still there; None where this one is trained already."""
        if claim.trial.ckpt_path is not None:
            return None
        found = self._context.ledger.trained_alike(claim.trial.uid)
        return next((asdict(one) for one in found if Path(one.checkpoint.path).is_file()), None)

    def order(self, claim: Claim) -> TrialOrder:
        """What the trial process is asked to do for `claim`."""
        context, trial = self._context, claim.trial
        decision = trial.decision or {}
        known_threads = trial.provenance.get("threads")
        floor = claim.study.document.get("floor")
        below = missed_before(floor, context.metric, Direction(context.direction), claim.values)
        pruned = int(decision["epoch"]) if decision.get("prune") else None
        return TrialOrder(
            target=context.options.target,
            study_name=claim.study.name,
            study=claim.study.document,
            training=claim.cell.config,
            stage=claim.stage.name,
            cell=claim.cell.name,
            uid=trial.uid,
            number=trial.number,
            fence=trial.fence,
            seed=trial.seed,
            metric=context.metric,
            direction=context.direction,
            epochs=int(claim.cell.config["epochs"]),
            folder=str(context.home.attempt(claim.study.name, trial.number, trial.fence).folder),
            device=self._slot.device.name,
            threads=int(known_threads) if known_threads else self._slot.threads,
            prunes=context.steering.prunes(claim),
            until=below[0] if below else pruned,
            floor=floor,
            missed=below[1] if below else None,
            resume=checkpoints(claim),
            evaluate=self._trained_alike(claim),
            used_s=trial.duration_s or 0.0,
            limit_s=context.trial_limit_s,
            memory_limit_mb=context.options.memory_limit_mb,
            disk_retry_s=context.options.disk_retry_s,
        )
