"""The loop of one slot: claim a trial, run an attempt at it; with nothing to claim, move the study on."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

from posestudy.errors import LedgerUnavailableError, PoseStudyError
from posestudy.home import AttemptPaths
from posestudy.ledger.records import Claim, Json, Snapshot, TrialRecord
from posestudy.vocabulary import AttemptEnd, Direction, Outcome, TrialState
from posestudy_runner import admission, left_behind
from posestudy_runner.attempt import OWN_DEATH, RETRY_S, Attempt, NotNowError, ask_pruner, paused_after
from posestudy_runner.boot_clock import boot_time
from posestudy_runner.context import PoolContext, owner_is_dead, owner_name
from posestudy_runner.display import SlotView
from posestudy_runner.floor import missed_before
from posestudy_runner.gpu_seats import Seat
from posestudy_runner.image_cache import ImageCache
from posestudy_runner.order import TrialOrder, checkpoints
from posestudy_runner.progress import Progress
from posestudy_runner.settling import settle
from posestudy_runner.slots import Slot
from posestudy_studies import deadlines, stop_rules
from posestudy_studies.asked_gpus import gpus_of
from posestudy_studies.spec import STOCK

MOST_LOSSES = 3
"""So many times in a row a trial may die by itself without a new epoch before it is `failed`."""
MOST_PATIENCE = 6
"""The pause of a machine that cannot go on grows with every try, up to so many times the first."""


def advance_once(context: PoolContext) -> Snapshot:
    """`settle` the study of a pool."""
    return settle(context.ledger, context.study, context.steering.advance)


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
        self._in_vain = 0  # attempts in a row this machine could not go on with

    def run(self) -> None:
        """Until the study has nothing more to do, or the pool is to end.

        Raises:
            UnusableError: no trial can train here.
        """
        context = self._context
        while not context.stop.requested:
            try:
                if self._is_halted():
                    return
                asked, heard = boot_time(), context.bell.rung
                granted = admission.claim(context, self._slot, self._owner)
                if granted.claim is not None:
                    self._try_seated(granted.claim, asked, granted.seat)
                    # Others may wait for its weights, for its place, or for the end of its stage.
                    context.bell.ring()
                    self._show_progress()
                elif granted.held_back is not None:
                    self._idle(granted.held_back)
                    context.bell.sleep(context.options.poll_s, context.stop, heard)
                elif self._nothing_left():
                    context.bell.ring()
                    return
                else:
                    context.bell.sleep(context.options.poll_s, context.stop, heard)
            except LedgerUnavailableError as error:
                self._idle(f"the ledger cannot be reached: {error}")
                context.stop.pause(RETRY_S)

    def _show_progress(self) -> None:
        context = self._context
        if context.seen is not None:
            self._show_standing(context.ledger.snapshot(context.study, values=False))
            return
        # After every trial: reading ten thousand of them to count them would be most of what a ledger has to do.
        counts = context.ledger.counts(context.study)
        context.display.standing(counts.get(TrialState.DONE, 0), sum(counts.values()))
        self._idle()

    def _show_standing(self, snapshot: Snapshot) -> int:
        if self._context.seen is not None:
            self._context.seen(snapshot)
        done = sum(trial.state is TrialState.DONE for trial in snapshot.trials)
        self._context.display.standing(done, len(snapshot.trials))
        self._idle()
        return done

    def _is_halted(self) -> bool:
        """Whether the study's device hours are used up or its deadline has passed: then no further trial is started.

        The study stays open; why nothing starts is written down with its stage.
        """
        context = self._context
        if context.budget_s is None and not self._has_deadline:
            return False
        # Also where no trial is there or all are done: who moves the study on here has neighbours that look for trials.
        snapshot = context.ledger.snapshot(context.study, values=False)
        spent_s = stop_rules.spent_s(snapshot)
        if context.budget_s is not None and spent_s >= context.budget_s:
            hours = stop_rules.spent_of(spent_s, context.budget_s / 3600)
            why, what = f"budget spent ({hours})", "raise budget.gpu_hours to go on"
        elif (late := stop_rules.past_deadline(snapshot)) is not None:
            why, what = late, "move budget.deadline to go on"
        else:
            return False
        # All workers of a pool come here: one of them says it.
        with context.advancing:
            after = advance_once(context)
            self._show_standing(after)
            if after.study.state != "closed" and not context.halt_told:
                context.halt_told = True
                context.display.say(f"{why}: no further trial starts; {what}")
        return True

    @cached_property
    def _has_deadline(self) -> bool:
        return deadlines.of(self._context.ledger.study(self._context.study).document) is not None

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
            moved = moved or _paused(after) != _paused(before)
            if moved:
                context.bell.ring()
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

    def _try_seated(self, claim: Claim, confirmed: float, seat: Seat | None) -> None:
        try:
            self._try(claim, confirmed, seat)
        finally:
            if seat is not None:
                seat.leave()

    def _try(self, claim: Claim, confirmed: float, seat: Seat | None) -> None:
        context = self._context
        before = claim
        adopted = left_behind.adopt(context.ledger, context.home, claim, context.metric, context.steering.prunes(claim))
        judged = None if adopted is None else self._judged(adopted)
        if adopted is None or judged is None:
            return
        claim = judged
        if claim.trial.is_to_pause and context.steering.prunes(claim):
            # Its worker died between the pruner's word and the pause.
            context.ledger.pause(claim.trial.uid, claim.trial.fence, paused_after(claim.trial.ckpt_epoch))
            return
        if (gpus := gpus_of(claim.cell.config)) > len(self._slot.devices):
            why = f"trial {claim.trial.number} takes {gpus} GPUs, and a slot of this pool has {len(self._slot.devices)}"
            context.ledger.release(claim.trial.uid, claim.trial.fence, AttemptEnd.PREEMPTED, f"not begun: {why}")
            raise PoseStudyError(f"{why}: the study was edited since the pool began; start it anew")
        order = self.order(claim, None if seat is None else seat.cores)
        if seat is not None:
            seat.trains = order.evaluate is None and order.epochs > 0
        progress = Progress(context.display, self._slot.index, claim, order)
        lost = self._losses(claim) if adopted is before else 0
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
            Attempt(context, claim, order, progress, confirmed, seat).run()
        except NotNowError as error:
            progress.paused(str(error))
            # Each try is an attempt in the ledger: a night with a full disk shall not fill it with them.
            context.stop.pause(context.options.disk_retry_s * min(2**self._in_vain, MOST_PATIENCE))
            self._in_vain += 1
        else:
            self._in_vain = 0

    def _judged(self, claim: Claim) -> Claim | None:
        """The claim with the pruner's word on the epoch it goes on from, where its worker died before it asked.

        Nobody asks for that epoch any more once it is trained on. None: another worker has taken the trial meanwhile.
        """
        context, trial, epoch = self._context, claim.trial, claim.trial.ckpt_epoch
        decided = int((trial.decision or {}).get("epoch", 0))
        evaluated = any(value.epoch == epoch and context.metric in value.metrics for value in claim.values)
        if decided >= epoch or not evaluated or not context.steering.prunes(claim):
            return claim
        decision = ask_pruner(context, trial.uid, trial.fence, epoch)
        return None if decision is None else replace(claim, trial=replace(trial, decision=decision))

    def _losses(self, claim: Claim) -> int:
        """How many attempts died by themselves since the last accepted epoch.

        Those whose worker died with them, or was not heard of, are not the trial's fault and do not count: a machine
        may lose its power often.
        """
        if claim.trial.fence <= MOST_LOSSES:
            return 0
        attempts = self._context.ledger.snapshot(self._context.study, values=False).attempts
        mine = [a for a in attempts if a.trial_uid == claim.trial.uid and a.fence < claim.trial.fence]
        productive = {value.fence for value in claim.values}
        lost = 0
        for attempt in sorted(mine, key=lambda a: a.fence, reverse=True):
            if attempt.end is not AttemptEnd.LOST or attempt.fence in productive:
                break
            lost += (attempt.why or "").startswith(OWN_DEATH)
        return lost

    def _trained_alike(self, claim: Claim) -> Json | None:
        """The first trial trained alike whose checkpoint is still there; None where this one is trained already."""
        if claim.trial.ckpt_path is not None:
            return None
        found = self._context.ledger.trained_alike(claim.trial.uid)
        return next((asdict(one) for one in found if Path(one.checkpoint.path).is_file()), None)

    def order(self, claim: Claim, cores: int | None = None) -> TrialOrder:
        """What the trial process is asked to do for `claim`, with `cores` cores (None: the slot's threads)."""
        context, trial = self._context, claim.trial
        gpus = gpus_of(claim.cell.config)
        cores = max(1, self._slot.threads // gpus) if cores is None else cores
        decision, evaluate = trial.decision or {}, self._trained_alike(claim)
        begun = _begun(trial)
        known_threads = begun.get("threads")
        floor = claim.study.document.get("floor")
        below = missed_before(floor, context.metric, Direction(context.direction), claim.values)
        pruned = int(decision["epoch"]) if decision.get("prune") else None
        return TrialOrder(
            target=context.options.target,
            study_name=claim.study.name,
            study={**claim.study.document, **({"data_path": begun["data_path"]} if trial.ckpt_path else {})},
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
            devices=tuple(device.name for device in self._slot.devices[:gpus]) if gpus > 1 else (),
            threads=int(known_threads) if known_threads else cores,
            cores=cores,
            # What only evaluates weights that are there has nothing to save by ending early.
            prunes=evaluate is None and context.steering.prunes(claim),
            until=below[0] if below else pruned,
            floor=floor,
            missed=below[1] if below else None,
            resume=checkpoints(claim),
            evaluate=evaluate,
            used_s=trial.duration_s or 0.0,
            limit_s=context.trial_limit_s,
            memory_limit_mb=context.options.memory_limit_mb,
            disk_retry_s=context.options.disk_retry_s,
            lease_s=context.options.lease_s,
            profiles=dict(context.profiles),
            images=str(cache) if (cache := ImageCache.resolve(context.home).folder) else None,
        )


def _paused(snapshot: Snapshot) -> set[str]:
    return {trial.uid for trial in snapshot.trials if trial.state is TrialState.PAUSED}


def _begun(trial: TrialRecord) -> Json:
    """`data_path` and `threads` that a trial which has begun goes on with, however the study was edited since."""
    if trial.ckpt_path is None or {"data_path", "threads"} <= trial.provenance.keys():
        return trial.provenance
    # Its start was never told while the ledger was away, or there was no choice yet: then it was the stock one.
    try:
        asked = TrialOrder.read(AttemptPaths(Path(trial.ckpt_path).parent).order)
    except (OSError, ValueError, KeyError, TypeError):
        return {"data_path": STOCK, **trial.provenance}
    return {"data_path": asked.study.get("data_path", STOCK), "threads": asked.threads, **trial.provenance}
