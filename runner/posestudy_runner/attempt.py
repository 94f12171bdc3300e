"""One attempt as its worker sees it: starts the trial process, keeps the lease, brings every epoch into the ledger."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path

from posestudy import journal
from posestudy.durable import is_full
from posestudy.errors import LedgerUnavailableError
from posestudy.ledger.records import Checkpoint, Claim, Json, NewSplitUse
from posestudy.vocabulary import AttemptEnd, Direction, Outcome, Purpose, Verdict
from posestudy_runner.boot_clock import boot_time
from posestudy_runner.context import PoolContext
from posestudy_runner.gpu_seats import Seat
from posestudy_runner.guard import Guard
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending, kernel_oom_kills, last_lines
from posestudy_runner.progress import Progress
from posestudy_runner.retention import is_awaited
from posestudy_runner.slots import TrialProcess
from posestudy_runner.tidying import BEST, tidy_after_end, tidy_after_epoch

LIMIT_GRACE_S = 60.0
"""How long past its time limit a trial may run before it is killed: it looks at the clock once a step."""
RETRY_S = 2.0
"""Between two tries to reach the ledger."""
GIVE_UP_S = 10.0
"""How long a pool that was asked to stop tries to give a lease back to an unreachable ledger."""
KERNEL_KILL_S = 60.0
"""How long before a trial is found dead a kill by the kernel may have been its own: a large process dies slowly."""
OWN_DEATH = "the trial process died"
"""How the reason of a lost attempt begins whose worker lived on: no other loss is the trial's own fault."""


class UnusableError(Exception):
    """The trial process cannot train at all: its packages cannot be imported."""


class NotNowError(Exception):
    """This machine cannot go on with the trial just now: its disk is full, or no process could be started."""


class Attempt:
    """Supervises one trial process. Only this side speaks SQL; while the ledger is away, what it must know queues up.

    Args:
        context: what the workers of the pool share.
        claim: the lease that was granted.
        order: what the trial process is asked to do.
        progress: where the display hears of it.
        confirmed: `boot_time()` just before the lease was granted.
        seat: the trial's place on a GPU that trials share; None where it has its device to itself.
    """

    def __init__(
        self,
        context: PoolContext,
        claim: Claim,
        order: TrialOrder,
        progress: Progress,
        confirmed: float,
        seat: Seat | None = None,
    ) -> None:
        self._context = context
        self._ledger = context.ledger
        self._claim = claim
        self._order = order
        self._retention = str(claim.study.document.get("retention") or "")
        self._progress = progress
        self._seat = seat
        self._undelivered: deque[Json] = deque()
        self._heard = 0  # frames of the journal that came by pipe
        self._kept: list[Checkpoint] = []
        self._ending: Ending | None = None
        self._taken: str | None = None  # why the trial is no longer ours
        self._unusable: str | None = None
        self._not_now: str | None = None
        self._paused_after: int | None = None  # the epoch after which the pruner let it give way
        self._noted_stop = False
        self._confirmed = confirmed
        self._renew_at = confirmed + context.options.lease_s / 3
        self._retry_at = confirmed
        self._kernel_kills: deque[tuple[float, int]] = deque()  # when looked, and how many there had been
        self._process: TrialProcess
        self._guard: Guard | None = None

    def run(self) -> None:
        """The whole attempt, to the row in the ledger that says how it ended.

        Raises:
            UnusableError: no trial can train here.
            NotNowError: none can just now; the lease is given back.
        """
        path = self._write_order()
        if path is None:
            return
        self._note_kernel_kills()
        try:
            guard = self._guard = self._begin(path)
        except (OSError, EOFError, RuntimeError) as error:
            # The forkserver was killed on the way, or the machine has no process or thread left to give.
            why = f"the trial process could not be started ({type(error).__name__}: {error})"
            self._release(AttemptEnd.PREEMPTED, why)
            raise NotNowError(why) from error
        try:
            self._supervise()
            for message in self._process.drain():
                self._hear(message)
        finally:
            self._process.kill()
            guard.end()
            code = self._process.close()
        self._hear_journal()
        if self._taken is None:
            self._settle(code, killed_by_kernel=self._kernel_killed(), out_of_time=guard.out_of_time)
        if self._taken is not None:
            self._keep_as_history()
            self._progress.say(f"stopped: {self._taken}")

    def _begin(self, order: Path) -> Guard:
        """Start the trial process, and the guard beside it; neither where one cannot be."""
        self._process = TrialProcess(self._context.starter, order, f"trial {self._order.number}")
        if self._seat is not None:
            self._seat.runs(self._process.pid)
        guard = self._new_guard()
        try:
            guard.start()
        except RuntimeError:
            self._process.close()
            raise
        return guard

    def _new_guard(self) -> Guard:
        order, options = self._order, self._context.options
        return Guard(
            self._process,
            self._context.stop,
            lease_s=options.lease_s,
            grace_s=options.stop_grace_s,
            confirmed=self._confirmed,
            limit_s=None if order.limit_s is None else max(0.0, order.limit_s - order.used_s) + LIMIT_GRACE_S,
        )

    def _write_order(self) -> Path | None:
        """The order's file, waited for while the disk is full; None where the trial is not to be tried any more."""
        while True:
            try:
                self._set_aside_strangers()
                return self._order.write()
            except OSError as error:
                if not is_full(error):
                    why = f"the attempt could not be started: {error}"
                    self._release(AttemptEnd.PREEMPTED, why)
                    raise NotNowError(why) from error
                self._progress.paused("the disk is full; free some space to go on")
            if not self._keep_lease(self._context.options.disk_retry_s):
                return None

    def _set_aside_strangers(self) -> None:
        """A fence is granted once; a folder that has its journal is of a ledger that was put back to an older state."""
        folder = self._order.paths.folder
        if self._order.paths.journal.exists():
            folder.rename(folder.with_name(f"{folder.name}.before.{secrets.token_hex(4)}"))

    def _keep_lease(self, seconds: float) -> bool:
        """Renew for so long, with no process to look after; False where the trial is given back or taken."""
        until = boot_time() + seconds
        while (left := until - boot_time()) > 0:
            if self._context.stop.pause(min(left, max(0.0, self._renew_at - boot_time()))):
                self._release(AttemptEnd.PREEMPTED, self._context.stop.why)
                return False
            if boot_time() >= self._renew_at and not self._renew():
                self._progress.say("stopped: another worker took the trial over")
                return False
        return True

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
            self._keep_up()
            if stop.requested and not self._noted_stop:
                self._noted_stop = True
                self._progress.note("stopping")

    def _timeout(self) -> float:
        next_at = min(self._renew_at, self._retry_at) if self._undelivered else self._renew_at
        return max(0.0, next_at - boot_time())

    def _keep_up(self) -> None:
        if self._taken is not None:
            return
        if boot_time() >= self._renew_at and not self._renew():
            self._give_up()
        if self._undelivered and boot_time() >= self._retry_at:
            self._deliver_all()

    def _renew(self) -> bool:
        """Ask for one lease more; false: the fence is another's."""
        lease, asked = self._context.options.lease_s, boot_time()
        self._note_kernel_kills()
        try:
            mine = self._ledger.renew(self._claim.trial.uid, self._order.fence, lease)
        except LedgerUnavailableError as error:
            self._away(error)
            self._renew_at = boot_time() + min(RETRY_S, lease / 3)
            self._tell_guard(asked, answered=False)
            return True
        self._renew_at = asked + lease / 3
        if mine:
            self._confirmed = asked
            self._tell_guard(asked, answered=True)
        return mine

    def _note_kernel_kills(self) -> None:
        now = boot_time()
        self._kernel_kills.append((now, kernel_oom_kills()))
        while len(self._kernel_kills) > 1 and self._kernel_kills[1][0] < now - KERNEL_KILL_S:
            self._kernel_kills.popleft()

    def _kernel_killed(self) -> bool:
        """Whether the kernel killed something for memory lately; what it killed hours ago was something else."""
        return kernel_oom_kills() > self._kernel_kills[0][1]

    def _tell_guard(self, asked: float, *, answered: bool) -> None:
        if self._guard is not None:
            self._guard.renewed(asked, answered=answered)

    def _give_up(self) -> None:
        """The fence is another's: nothing this process does counts any more."""
        self._taken = "another worker took the trial over"
        self._process.kill()
        with suppress(LedgerUnavailableError):
            if self._ledger.cancelled(self._claim.trial.uid, self._order.fence):
                self._taken = "cancelled by the user, or by an edit of the study file"

    def _keep_as_history(self) -> None:
        """What the attempt measured and nobody waits for any more."""
        uid, fence = self._claim.trial.uid, self._order.fence
        late = {int(f["epoch"]): f["metrics"] for f in self._undelivered if f["type"] == "epoch"}
        with suppress(LedgerUnavailableError):
            if late:
                self._ledger.record_epoch(uid, fence, late, None, 0.0)
            for frame in self._undelivered:
                if frame["type"] == "tested":
                    self._deliver(frame)

    def _away(self, error: LedgerUnavailableError) -> None:
        self._retry_at = boot_time() + RETRY_S
        self._progress.ledger_away(str(error))

    # ---- what the trial says

    def _hear(self, message: Json) -> None:
        kind = message["type"]
        if kind in ("epoch", "tested", "end"):
            self._heard += 1
        if kind in ("epoch", "end") and self._seat is not None:
            self._seat.hears(message)
        if kind in ("started", "epoch", "tested", "profiled"):
            if self._guard is not None and self._asks(message):
                self._guard.waits(waits=True)
            self._undelivered.append(message)
            if len(self._undelivered) == 1:
                self._deliver_all()
        elif kind == "paused":
            self._progress.paused(str(message["why"]))
            if self._guard is not None:
                self._guard.paused(self._order.disk_retry_s)
        elif kind == "unusable":
            self._unusable = str(message["why"])
        elif kind == "not_now":
            self._not_now = str(message["why"])
        elif kind == "end":
            self._ending = Ending.of(message)
            if self._guard is not None:
                self._guard.all_is_said()

    def _hear_journal(self) -> None:
        """What a process that died wrote down but could not say any more."""
        try:
            frames = journal.read(self._order.paths.journal)
        except OSError as error:
            # What came by pipe is known; the rest is trained again.
            self._progress.say(f"the journal cannot be read: {error}")
            return
        for frame in frames[self._heard :]:
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
            if not self._ledger.profiled(uid, fence, self._profile(frame)):
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
        if self._asks(frame):
            self._answer(epoch)

    def _profile(self, frame: Json) -> Json:
        """What the trial's network costs to run, without times that its neighbours on the GPU had a part in."""
        profile: Json = frame["profile"]
        network = frame.get("network")
        if network in self._order.profiles:
            return profile
        if self._seat is not None and self._seat.shared:
            return self._seat.profile(profile)
        if network is not None:
            self._context.profiles[network] = profile
        return profile

    def _tidy(self, newest: Checkpoint) -> None:
        if newest not in self._kept:
            self._kept = [*self._kept, newest][-2:]
        # With one of our own the ledger's fallback may still be an earlier attempt's.
        if len(self._kept) == 2:
            folder, fence = self._order.paths.folder.parent, self._order.fence
            tidy_after_epoch(folder, fence, self._kept[0].epoch, self._retention)

    def _answer(self, epoch: int) -> None:
        """Ask the pruner, write its decision, and only then tell the trial; never ask twice for one epoch."""
        known = self._claim.trial.decision
        if known is not None and int(known["epoch"]) >= epoch:
            verdict = _verdict(known, epoch)
        else:
            decision = ask_pruner(self._context, self._claim.trial.uid, self._order.fence, epoch)
            if decision is None:
                self._give_up()
                return
            verdict = _verdict(decision, epoch)
        if verdict is Verdict.PAUSE:
            self._paused_after = epoch
        self._process.send({"type": verdict.value, "epoch": epoch})
        if self._guard is not None:
            self._guard.waits(waits=False)

    def _asks(self, frame: Json) -> bool:
        """Whether the trial waits for the pruner after this frame."""
        return frame["type"] == "epoch" and self._order.prunes and self._order.metric in frame["metrics"]

    # ---- after its death

    def _settle(self, code: int | None, *, killed_by_kernel: bool, out_of_time: bool) -> None:
        if not self._insist(self._delivered):
            return
        if self._taken is not None:
            return
        if self._unusable is not None:
            self._release(AttemptEnd.LOST, self._unusable)
            raise UnusableError(self._unusable)
        if self._not_now is not None:
            self._release(AttemptEnd.PREEMPTED, self._not_now)
            raise NotNowError(self._not_now)
        ending = self._ending
        if self._paused_after is not None:
            # However the process ended after it was told: its checkpoint is in the ledger.
            self._pause(self._paused_after, None if ending is None else ending.peak_memory_mb)
            return
        if ending is None and out_of_time:
            ending = Ending(Outcome.TIMED_OUT, "killed: it ran past its time limit within one step")
        elif ending is None and killed_by_kernel and code in (-9, None):
            ending = Ending(Outcome.OUT_OF_MEMORY, "the kernel killed the trial: the machine ran out of memory")
        if ending is not None and ending.outcome is not None:
            if self._seat is not None and (excuse := self._seat.excuse(ending.outcome, ending.message)) is not None:
                self._release(AttemptEnd.PREEMPTED, excuse)
                return
            self._finish(ending.outcome, ending)
        elif ending is not None or self._context.stop.requested:
            self._give_way(ending)
        else:
            tail = last_lines(self._order.paths.log, lines=5)
            self._release(AttemptEnd.LOST, f"{OWN_DEATH} ({_cause(code)})" + (f"\n{tail}" if tail else ""))

    def _pause(self, epoch: int, peak_memory_mb: float | None) -> None:
        uid, fence, why = self._claim.trial.uid, self._order.fence, paused_after(epoch)
        done = self._insist(lambda: self._ledger.pause(uid, fence, why, peak_memory_mb=peak_memory_mb))
        if done is False:
            self._taken = "another worker took the trial over"
        elif done:
            self._progress.released(AttemptEnd.PAUSED, why)

    def _give_way(self, ending: Ending | None) -> None:
        why = ending.message if ending is not None and ending.message else self._context.stop.why
        if ending is not None and ending.checkpoint is not None:
            uid, fence, saved = self._claim.trial.uid, self._order.fence, Checkpoint(**ending.checkpoint)
            spent_s = ending.duration_s
            if self._insist(lambda: self._ledger.record_epoch(uid, fence, {}, saved, spent_s)) is False:
                self._taken = "another worker took the trial over"
                return
        self._release(AttemptEnd.PREEMPTED, why)
        if ending is not None and ending.disk_full:
            raise NotNowError(why)

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
            tidy_after_end(order.paths.folder.parent, order.fence, keep, self._retention_now())
            self._progress.finished(outcome, ending.message)

    def _retention_now(self) -> str:
        """What the study keeps of a trial, but the last checkpoint in any case while another one waits for it."""
        if self._retention != BEST:
            return self._retention
        try:
            snapshot = self._ledger.snapshot(self._context.study, values=False)
        except LedgerUnavailableError:
            return ""
        return "" if is_awaited(snapshot, self._claim.trial.uid) else BEST

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


def ask_pruner(context: PoolContext, uid: str, fence: int, epoch: int) -> Json | None:
    """The pruner's decision on a trial after `epoch`, written down; None where another worker has taken the trial."""
    verdict, memory = context.steering.judge(context.ledger.snapshot(context.study), uid, epoch)
    decision: Json = {"epoch": epoch, "prune": verdict is Verdict.PRUNE}
    if verdict is Verdict.PAUSE:
        decision["pause"] = True
    return decision if context.ledger.decide(uid, fence, decision, memory) else None


def paused_after(epoch: int) -> str:
    """Why an attempt ended with a pause, as a sentence for the user."""
    return f"after epoch {epoch}, until it is among the best there"


def _verdict(known: Json, epoch: int) -> Verdict:
    """What an earlier answer for this epoch or a later one means for a trial that is at `epoch` once more."""
    if int(known["epoch"]) > epoch:
        return Verdict.GO
    if known.get("pause"):
        return Verdict.PAUSE
    return Verdict.PRUNE if known["prune"] else Verdict.GO


def _cause(code: int | None) -> str:
    if code is None:
        return "the forkserver died too"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
