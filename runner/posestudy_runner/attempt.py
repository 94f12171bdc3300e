"""One attempt as its worker sees it: starts the trial process, keeps the lease, brings every epoch into the ledger."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path

from posestudy import journal
from posestudy.errors import LedgerUnavailableError
from posestudy.ledger.records import Checkpoint, Claim, Json, NewSplitUse
from posestudy.vocabulary import AttemptEnd, Direction, Outcome, Purpose
from posestudy_runner.context import PoolContext
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending, kernel_oom_kills, last_lines
from posestudy_runner.progress import Progress
from posestudy_runner.slots import TrialProcess
from posestudy_runner.tidying import tidy_after_end, tidy_after_epoch

LIMIT_GRACE_S = 60.0
"""How long past its time limit a trial may run before it is killed: it looks at the clock once a step."""
RETRY_S = 2.0
"""Between two tries to reach the ledger."""
GIVE_UP_S = 10.0
"""How long a pool that was asked to stop tries to give a lease back to an unreachable ledger."""


class UnusableError(Exception):
    """The trial process cannot train at all: its packages cannot be imported."""


class Attempt:
    """Supervises one trial process. Only this side speaks SQL; while the ledger is away, what it must know queues up.

    Args:
        context: what the workers of the pool share.
        claim: the lease that was granted.
        order: what the trial process is asked to do.
        progress: where the display hears of it.
    """

    def __init__(self, context: PoolContext, claim: Claim, order: TrialOrder, progress: Progress) -> None:
        self._context = context
        self._ledger = context.ledger
        self._claim = claim
        self._order = order
        self._progress = progress
        self._undelivered: deque[Json] = deque()
        self._heard = 0  # frames of the journal that came by pipe
        self._kept: list[Checkpoint] = []
        self._ending: Ending | None = None
        self._taken: str | None = None  # why the trial is no longer ours
        self._unusable: str | None = None
        self._out_of_time = False
        self._stop_sent = False
        now = time.monotonic()
        self._renew_at = now + context.options.lease_s / 3
        self._retry_at = now
        self._kill_at: float | None = None
        if order.limit_s is not None:
            self._kill_at = now + max(0.0, order.limit_s - order.used_s) + LIMIT_GRACE_S
        self._process: TrialProcess

    def run(self) -> None:
        """The whole attempt, to the row in the ledger that says how it ended.

        Raises:
            UnusableError: no trial can train here.
            OSError: the attempt folder cannot be written.
        """
        oom_kills = kernel_oom_kills()
        path = self._order.write()
        self._process = TrialProcess(self._context.starter, path, f"trial {self._order.number}")
        try:
            self._supervise()
            for message in self._process.drain():
                self._hear(message)
        finally:
            code = self._process.close()
        if self._taken is None:
            self._hear_journal()
            self._settle(code, killed_by_kernel=kernel_oom_kills() > oom_kills)
        if self._taken is not None:
            self._progress.say(f"stopped: {self._taken}")

    # ---- while the process lives

    def _supervise(self) -> None:
        process, stop = self._process, self._context.stop
        pipe_open = True
        while process.alive:
            sources: list[int | Connection] = [process.fileno()]
            if pipe_open:
                sources.append(process.connection)
            if (unheard := stop.unheard()) is not None:
                sources.append(unheard)
            ready = wait(sources, self._timeout())
            if process.connection in ready:
                message = process.receive()
                pipe_open = message is not None
                if message is not None:
                    self._hear(message)
            self._keep_time()
            if stop.demanded:
                process.kill()
            elif stop.requested and not self._stop_sent:
                self._stop_sent = True
                self._kill_at = time.monotonic() + self._context.options.stop_grace_s
                process.send({"type": "stop", "why": stop.why})
                self._progress.note("stopping")

    def _timeout(self) -> float:
        times = [self._renew_at]
        if self._undelivered:
            times.append(self._retry_at)
        if self._kill_at is not None:
            times.append(self._kill_at)
        return max(0.0, min(times) - time.monotonic())

    def _keep_time(self) -> None:
        now = time.monotonic()
        if now >= self._renew_at and self._taken is None:
            self._renew()
        if self._undelivered and now >= self._retry_at:
            self._deliver_all()
        if self._kill_at is not None and now >= self._kill_at:
            self._out_of_time = not self._stop_sent
            self._kill_at = None
            self._process.kill()

    def _renew(self) -> None:
        lease = self._context.options.lease_s
        try:
            mine = self._ledger.renew(self._claim.trial.uid, self._order.fence, lease)
        except LedgerUnavailableError as error:
            self._away(error)
            self._renew_at = time.monotonic() + min(RETRY_S, lease / 3)
            return
        self._renew_at = time.monotonic() + lease / 3
        if not mine:
            self._give_up()

    def _give_up(self) -> None:
        """The fence is another's: nothing this process does counts any more."""
        self._taken = "another worker took the trial over"
        self._process.kill()
        self._undelivered.clear()
        with suppress(LedgerUnavailableError):
            if self._ledger.cancelled(self._claim.trial.uid, self._order.fence):
                self._taken = "cancelled by the user"

    def _away(self, error: LedgerUnavailableError) -> None:
        self._retry_at = time.monotonic() + RETRY_S
        self._progress.ledger_away(str(error))

    # ---- what the trial says

    def _hear(self, message: Json) -> None:
        kind = message["type"]
        if kind in ("epoch", "tested", "end"):
            self._heard += 1
        if kind in ("started", "epoch", "tested", "profiled"):
            self._undelivered.append(message)
            if len(self._undelivered) == 1:
                self._deliver_all()
        elif kind == "paused":
            self._progress.say(f"paused: {message['why']}")
        elif kind == "unusable":
            self._unusable = str(message["why"])
        elif kind == "end":
            self._ending = Ending.of(message)
            # All is said; what still runs now is the interpreter's way out, which may hang.
            self._kill_at = time.monotonic() + self._context.options.stop_grace_s

    def _hear_journal(self) -> None:
        """What a process that died wrote down but could not say any more."""
        for frame in journal.read(self._order.paths.journal)[self._heard :]:
            self._hear(frame)

    def _deliver_all(self) -> None:
        try:
            while self._undelivered and self._taken is None:
                self._deliver(self._undelivered[0])
                if self._undelivered:
                    self._undelivered.popleft()
        except LedgerUnavailableError as error:
            self._away(error)

    def _deliver(self, frame: Json) -> None:
        uid, fence = self._claim.trial.uid, self._order.fence
        if frame["type"] == "started":
            provenance = {**self._context.provenance, **frame["provenance"]}
            if not self._ledger.started(uid, fence, provenance):
                self._give_up()
            return
        if frame["type"] == "profiled":
            if not self._ledger.profiled(uid, fence, frame["profile"]):
                self._give_up()
            return
        if frame["type"] == "tested":
            use = {**frame["use"], "purpose": Purpose(frame["use"]["purpose"])}
            self._ledger.record_test_use(uid, NewSplitUse(**use))
            return
        epoch = int(frame["epoch"])
        checkpoint = Checkpoint(**frame["checkpoint"]) if frame["checkpoint"] else None
        duration = float(frame["duration_s"])
        if not self._ledger.record_epoch(uid, fence, {epoch: frame["metrics"]}, checkpoint, duration):
            self._give_up()
            return
        if checkpoint is not None:
            self._tidy(checkpoint)
        self._progress.epoch(epoch, frame["metrics"], duration)
        if self._order.prunes and self._order.metric in frame["metrics"]:
            self._answer(epoch)

    def _tidy(self, newest: Checkpoint) -> None:
        if newest not in self._kept:
            self._kept = [*self._kept, newest][-2:]
        # With one of our own the ledger's fallback may still be an earlier attempt's.
        if len(self._kept) == 2:
            tidy_after_epoch(self._order.paths.folder.parent, self._order.fence, self._kept[0].epoch)

    def _answer(self, epoch: int) -> None:
        """Ask the pruner, write its decision, and only then tell the trial; never ask twice for one epoch."""
        known = self._claim.trial.decision
        if known is not None and int(known["epoch"]) >= epoch:
            prune = bool(known["prune"]) and int(known["epoch"]) == epoch
        else:
            snapshot = self._ledger.snapshot(self._context.study)
            prune, memory = self._context.steering.should_prune(snapshot, self._claim.trial.uid, epoch)
            decision = {"epoch": epoch, "prune": prune}
            if not self._ledger.decide(self._claim.trial.uid, self._order.fence, decision, memory):
                self._give_up()
                return
        self._process.send({"type": "prune" if prune else "go", "epoch": epoch})

    # ---- after its death

    def _settle(self, code: int | None, *, killed_by_kernel: bool) -> None:
        if not self._insist(self._delivered):
            return
        if self._taken is not None:
            return
        if self._unusable is not None:
            self._release(AttemptEnd.LOST, self._unusable)
            raise UnusableError(self._unusable)
        ending = self._ending
        if ending is None and self._out_of_time:
            ending = Ending(Outcome.TIMED_OUT, "killed: it ran past its time limit within one step")
        elif ending is None and killed_by_kernel and code in (-9, None):
            ending = Ending(Outcome.OUT_OF_MEMORY, "the kernel killed the trial: the machine ran out of memory")
        if ending is not None and ending.outcome is not None:
            self._finish(ending.outcome, ending)
        elif ending is not None or self._stop_sent or self._context.stop.requested:
            why = ending.message if ending is not None and ending.message else self._context.stop.why
            self._release(AttemptEnd.PREEMPTED, why)
        else:
            tail = last_lines(self._order.paths.log, lines=5)
            self._release(AttemptEnd.LOST, f"the trial process died ({_cause(code)})" + (f"\n{tail}" if tail else ""))

    def _delivered(self) -> bool:
        while self._undelivered and self._taken is None:
            self._deliver(self._undelivered[0])
            if self._undelivered:
                self._undelivered.popleft()
        return True

    def _finish(self, outcome: Outcome, ending: Ending) -> None:
        order = self._order
        done = self._insist(
            lambda: self._ledger.finish(
                self._claim.trial.uid,
                order.fence,
                outcome,
                ending.message,
                metric=order.metric,
                direction=Direction(order.direction),
                peak_memory_mb=ending.peak_memory_mb,
            )
        )
        if done is False:
            self._taken = "another worker took the trial over"
        elif done:
            keep = [Path(c.path) for c in (self._kept or order.resume[:1])[-1:]]
            tidy_after_end(order.paths.folder.parent, order.fence, keep)
            self._progress.finished(outcome, ending.message)

    def _release(self, end: AttemptEnd, why: str) -> None:
        if self._insist(lambda: self._ledger.release(self._claim.trial.uid, self._order.fence, end, why)):
            self._progress.released(end, why)

    def _insist(self, call: Callable[[], bool]) -> bool | None:
        """The answer of `call`, however long the ledger is away; None where the pool must end before."""
        stop = self._context.stop
        patience = time.monotonic() + GIVE_UP_S
        while True:
            try:
                return call()
            except LedgerUnavailableError as error:
                self._progress.ledger_away(str(error))
            if stop.requested:
                if time.monotonic() > patience or stop.pause_although_requested(RETRY_S):
                    self._progress.say("left without the ledger's word; its lease ends by itself")
                    return None
            else:
                stop.pause(RETRY_S)
                patience = time.monotonic() + GIVE_UP_S


def _cause(code: int | None) -> str:
    if code is None:
        return "the forkserver died too"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
