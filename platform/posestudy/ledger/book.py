"""`Ledger`: every operation on the one truth, each one transaction, safe from any thread, process and host."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import sqlalchemy as sa

from posestudy.errors import NotFoundError
from posestudy.ledger import (
    claims,
    copying,
    epochs,
    interventions,
    known,
    paused,
    projected,
    reading,
    split_uses,
    stages,
    standings,
)
from posestudy.ledger.clock import DatabaseClock
from posestudy.ledger.connection import ConstraintError, Database
from posestudy.ledger.migrate import migrate
from posestudy.ledger.records import (
    Change,
    Checkpoint,
    Claim,
    Json,
    NewSplitUse,
    ProjectedRun,
    Snapshot,
    SplitUse,
    StudyRecord,
    TrainedAlike,
    ValueRecord,
    WithdrawStages,
)
from posestudy.ledger.standings import StudyStanding
from posestudy.vocabulary import AttemptEnd, Direction, Outcome, TrialState


class Ledger:
    """The ledger of one home. Times are seconds since the epoch by the database's clock.

    Every method may raise `LedgerUnavailableError` (cannot be reached now; call again) and `LedgerError` (not usable).
    What a method answered is on the disk. A method whose answer was lost may be called again with the same arguments:
    `claim` then grants another trial and the first comes free with its lease, all others change nothing twice.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url: str, *, create: bool = True) -> Ledger:
        """Open the ledger at `url` (`sqlite:///FILE`, `postgresql://...`), created and migrated where needed.

        Raises:
            NotFoundError: `create` is false and there is no file.
            LedgerError: newer than this posestudy, damaged, or a place where it cannot be.
            LedgerUnavailableError: the server cannot be reached now.
        """
        database = Database(url)
        if not create and database.file is not None and not database.file.exists():
            raise NotFoundError(
                f"no ledger at {database.file}; `posestudy launch STUDY.yaml` makes one, --home DIR names another home"
            )
        try:
            migrate(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._database.close()

    def now(self) -> float:
        """The database's clock, seconds since the epoch."""
        return float(self._database.read(lambda c: c.scalar(sa.select(DatabaseClock()))) or 0.0)

    # ---- the whole ledger, for backups

    def copy_to(self, path: Path) -> dict[str, int]:
        """Write everything, as it is at one moment, to a SQLite file at `path`; returns rows by table.

        Workers go on meanwhile. What was sent to projections and who holds a lock is left out.

        Raises:
            OSError: the file cannot be written.
        """
        return self._database.read(lambda c: copying.copy_out(c, path))

    def fill_from(self, path: Path, moved: Callable[[str], str], why: str) -> dict[str, int]:
        """Fill this empty ledger from a checked copy; see `posestudy.ledger.copying.copy_in`.

        Raises:
            NotEmptyError: there are studies in it.
        """
        return self._database.write(lambda c: copying.copy_in(c, path, moved, why))

    # ---- studies

    def studies(self) -> list[StudyRecord]:
        """Every study, oldest first."""
        return self._database.read(reading.studies)

    def study(self, name: str) -> StudyRecord:
        """Raises `NotFoundError`, naming the nearest known study."""
        return self._database.read(lambda c: reading.study(c, name))

    def put_study(
        self, name: str, document: Json, source: str, *, withdraw: WithdrawStages | None = None
    ) -> StudyRecord:
        """Insert the study, or replace its document and source and take out the stages it has otherwise now.

        A closed study whose document changed opens again.
        """
        try:
            return self._database.write(lambda c: stages.put_study(c, name, document, source, withdraw))
        except ConstraintError:
            # Two launches at once: the other one's row is there now.
            return self._database.write(lambda c: stages.put_study(c, name, document, source, withdraw))

    def put_estimate(self, name: str, estimate: Json) -> None:
        """Keep what the study is expected to cost; the first estimate stays. Raises `NotFoundError`."""
        self._database.write(lambda c: stages.put_estimate(c, name, estimate))

    def snapshot(self, name: str, *, values: bool = True) -> Snapshot:
        """The study at one moment, withdrawn stages left out; without `values` much cheaper. Raises `NotFoundError`."""
        return self._database.read(lambda c: reading.snapshot(c, name, with_values=values))

    def standings(self, name: str | None = None) -> list[StudyStanding]:
        """Where every trial of a study stands, or of all studies, oldest first. Raises `NotFoundError`."""
        found = self._database.read(lambda c: standings.of(c, name))
        if name is not None and not found:
            self.study(name)
        return found

    def counts(self, name: str) -> dict[TrialState, int]:
        """How many trials of a study are in each state, for who only shows how far it is. Raises `NotFoundError`."""
        return self._database.read(lambda c: standings.counts(c, reading.study(c, name).id))

    def late_values(self, uid: str) -> tuple[ValueRecord, ...]:
        """Values of a trial that came under a lost fence or were replaced by a newer one, in order of arrival."""
        return self._database.read(lambda c: reading.late_values(c, uid))

    def apply(self, study_id: int, changes: Sequence[Change], *, document: Json | None = None) -> bool:
        """Apply all changes or none; false where something they were computed from has moved: read and compute again.

        `document` is that of the study when the changes were computed; an edited one refuses them.

        New trials are numbered on from the study's last. A cell of `AddCells` that the stage already has under the
        same name and key gains the seeds it lacks. A closed study takes no change until `put_study` or `retry` opens
        it. `CloseStudy` is refused (false) while a stage is open or a trial is not done, `Promote` where the trial
        does not pause any more. A new replicate is done at
        once where its result is known: given with the cell, left behind by a withdrawn stage, or trained before under
        the same key as far as `reuse` in the study's document allows (`home`, `study`, `none`).

        Raises:
            LedgerError: the changes are wrong whatever moved (a baseline or carried cell that is not there, a name
                given to two configurations); nothing is applied.
        """
        try:
            self._database.write(lambda c: stages.apply(c, study_id, changes, document))
        except (stages.MovedOnError, ConstraintError):
            return False
        return True

    def cancel(self, name: str, number: int | None = None) -> int:
        """Cancel a trial, or every open one and the study with them; returns how many were open.

        A running trial is done at once under a fence nobody holds: its worker's next renewal is refused.

        Raises:
            NotFoundError: no such study or trial.
        """
        return self._database.write(lambda c: interventions.cancel(c, name, number))

    def retry(self, name: str, outcomes: Collection[Outcome]) -> int:
        """Put trials with these outcomes back to run from epoch 0; returns how many. Their values become late ones.

        A result that was reused or imported is trained then.
        """
        return self._database.write(lambda c: interventions.retry(c, name, outcomes))

    # ---- one trial, by its worker

    def claim(self, name: str, owner: str, lease_s: float) -> Claim | None:
        """Take the first trial that waits or whose lease has run out; none where there is none. Raises `NotFoundError`.

        For one `lease_s` after an outage of the database only waiting trials are granted: those whose lease ran out
        meanwhile may well be running, and their workers get the time to renew.
        """
        settling = self._database.settling(lease_s)
        return self._database.write(lambda c: claims.claim(c, name, owner, lease_s, settling=settling))

    def trained_alike(self, uid: str) -> tuple[TrainedAlike, ...]:
        """Completed trials whose weights the trial `uid` would train again; it may evaluate them instead."""
        return self._database.read(lambda c: known.trained_alike(c, uid))

    def renew(self, uid: str, fence: int, lease_s: float) -> bool:
        """Lengthen the lease to `lease_s` from now, even late; false: the fence is not mine, stop the trial."""
        return self._database.write(lambda c: claims.renew(c, uid, fence, lease_s))

    def started(self, uid: str, fence: int, provenance: Json) -> bool:
        """Merge `provenance` into the trial's; false: the fence is not mine."""
        return self._database.write(lambda c: claims.started(c, uid, fence, provenance))

    def profiled(self, uid: str, fence: int, profile: Json) -> bool:
        """Write what the trial's network costs to run, in place of an earlier profile; false: the fence is not mine."""
        return self._database.write(lambda c: claims.profiled(c, uid, fence, profile))

    def record_epoch(
        self,
        uid: str,
        fence: int,
        values: Mapping[int, Mapping[str, float]],
        checkpoint: Checkpoint | None,
        duration_s: float,
    ) -> bool:
        """Accept `{epoch: {metric: number}}` and the checkpoint that holds them; the first before is the fallback.

        A state saved in the middle of the next epoch comes without values and with the epoch of the checkpoint
        before, under another path: the next attempt is handed this one, and the one before as its fallback.

        `duration_s` is the training time these epochs took, added to the trial's where anything here is new. Values
        an older attempt had recorded for the same epochs are replaced and kept as late ones.

        Returns:
            False where the fence is not mine; the values are then kept as late ones, and the trial is to be stopped.
        """
        if self._database.write(lambda c: epochs.record_epoch(c, uid, fence, values, checkpoint, duration_s)):
            return True
        self._database.write(lambda c: epochs.keep_as_late(c, uid, fence, values))
        return False

    def decide(self, uid: str, fence: int, decision: Json, optuna: Json) -> bool:
        """Write the pruner's answer and what it has to remember; false: the fence is not mine."""
        return self._database.write(lambda c: claims.decide(c, uid, fence, decision, optuna))

    def finish(
        self,
        uid: str,
        fence: int,
        outcome: Outcome,
        message: str | None,
        *,
        metric: str,
        direction: Direction,
        peak_memory_mb: float | None,
    ) -> bool:
        """End the trial: final and best of `metric` over its accepted values; false: the fence is not mine."""
        return self._database.write(
            lambda c: epochs.finish(
                c, uid, fence, outcome, message, metric=metric, direction=direction, peak_memory_mb=peak_memory_mb
            )
        )

    def release(self, uid: str, fence: int, end: AttemptEnd, why: str) -> bool:
        """Give the trial back to wait for another worker; false: the fence is not mine."""
        return self._database.write(lambda c: claims.release(c, uid, fence, end, why))

    def pause(self, uid: str, fence: int, why: str, *, peak_memory_mb: float | None = None) -> bool:
        """Let the trial give way to better ones, to go on from its checkpoint when `Promote` says so.

        Its lease ends; no worker is granted it before. False: the fence is not mine.
        """
        return self._database.write(lambda c: paused.pause(c, uid, fence, why, peak_memory_mb))

    def hand_over(self, uid: str, fence: int, to: int, owner: str, end: AttemptEnd, why: str | None) -> bool:
        """End the attempt under `fence` and begin one under the higher fence `to`, without the trial waiting between.

        False: the fence is not mine.
        """
        return self._database.write(lambda c: claims.hand_over(c, uid, fence, to, owner, end, why))

    def cancelled(self, uid: str, fence: int) -> bool:
        """Whether the fence was taken from its holder because a user cancelled the trial."""
        return self._database.read(lambda c: claims.cancelled(c, uid, fence))

    # ---- the test split

    def record_test_use(self, uid: str, use: NewSplitUse) -> None:
        """Write that the trial `uid` predicted the test split of its study; a use that is there already stays.

        No fence is asked for: what was looked at was looked at.

        Raises:
            LedgerError: there is no such trial.
        """
        self._database.write(lambda c: split_uses.record(c, uid, use))

    def test_uses(self, name: str) -> tuple[SplitUse, ...]:
        """Every prediction of the study's test split, oldest first. Raises `NotFoundError`."""
        return self._database.read(lambda c: split_uses.of_study(c, reading.study(c, name).id))

    # ---- projections

    def lock(self, name: str, holder: str, lease_s: float) -> bool:
        """Take or lengthen a leased lock; false while another holder's lease lasts."""
        return self._database.write(lambda c: projected.lock(c, name, holder, lease_s))

    def relock(self, name: str, holder: str, lease_s: float) -> bool:
        """Lengthen a lock that `holder` took and nobody took since, even late; false where it is another's or free."""
        return self._database.write(lambda c: projected.relock(c, name, holder, lease_s))

    def lock_holder(self, name: str) -> str | None:
        """Who took a lock last and did not give it back; its lease may be over."""
        return self._database.read(lambda c: projected.lock_holder(c, name))

    def unlock(self, name: str, holder: str) -> None:
        """Give a lock back; nothing happens where it is another's."""
        self._database.write(lambda c: projected.unlock(c, name, holder))

    def projected(self, projection: str) -> dict[str, ProjectedRun]:
        """How far each trial has been sent to `projection`, by trial uid."""
        return self._database.read(lambda c: projected.projected(c, projection))

    def put_projected(self, run: ProjectedRun, under: tuple[str, str] | None = None) -> bool:
        """Insert or replace the row of one trial in one projection.

        `under` is the name and the holder of a lock: where somebody else took it since, nothing is written and the
        answer is false.
        """
        return self._database.write(lambda c: projected.put_projected(c, run, under))

    def forget_projection(self, projection: str) -> None:
        """Delete every row of `projection`: it will be rebuilt from the start."""
        self._database.write(lambda c: projected.forget_projection(c, projection))
