"""A study played through without training, on rows in memory: with results that are given, or epoch by epoch."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from posestudy.ledger.records import (
    AddCells,
    AddSeeds,
    CellRecord,
    Change,
    CloseStage,
    CloseStudy,
    Decide,
    EndPaused,
    KnownResult,
    NewCell,
    OpenStage,
    Promote,
    Snapshot,
    StageRecord,
    StudyRecord,
    TrialRecord,
    ValueRecord,
)
from posestudy.vocabulary import METRICS, Direction, Outcome, TrialState, Verdict
from posestudy_studies import decider
from posestudy_studies.advance import advance
from posestudy_studies.spec import Study

Results = Callable[[StageRecord, CellRecord, int], KnownResult | None]
"""The result of one replicate, from its stage, its cell and its seed; None where there is none."""

Curves = Callable[[StageRecord, CellRecord, int], Mapping[int, float]]
"""The study's metric after each validated epoch of one replicate, the last of its cell among them."""

MOST_STEPS = 100_000
TAKEN_OVER = (Outcome.COMPLETED, Outcome.OUT_OF_MEMORY, Outcome.DIVERGED, Outcome.NOT_CONVERGED)
"""Outcomes that the ledger takes over within a study; see `posestudy.ledger.known`."""


def nothing(stage: StageRecord, cell: CellRecord, seed: int) -> KnownResult | None:
    """No result at all."""
    del stage, cell, seed
    return None


@dataclass
class _Slot:
    """One worker of a rehearsal: the trial it trains, how far that is, and what it will measure."""

    index: int
    trial: str | None = None
    epoch: int = 0
    epochs: int = 0
    curve: dict[int, float] = field(default_factory=dict)
    judged: bool = False

    @property
    def next_in(self) -> int:
        """Epochs to the next validation."""
        return next(epoch for epoch in self.curve if epoch > self.epoch) - self.epoch


class Rehearsal:
    """The ledger's part played in memory.

    Args:
        study: what is rehearsed.
        snapshot: where to begin, as a ledger holds it; None for a study that was never launched.
    """

    def __init__(self, study: Study, snapshot: Snapshot | None = None) -> None:
        document = study.model_dump(mode="json")
        if snapshot is None:
            snapshot = Snapshot(StudyRecord(1, study.study, document, "", "open", 0.0), (), (), (), (), ())
        self.snapshot = replace(snapshot, study=replace(snapshot.study, document=document))

    def play(self, results: Results = nothing) -> Snapshot:
        """Open stages, give every trial the result there is for it, and go on as far as they lead."""
        for _ in range(MOST_STEPS):
            changes = advance(self.snapshot)
            for change in changes:
                self.apply(change)
            if not self._give(results) and not changes:
                break
        return self.snapshot

    def apply(self, change: Change) -> None:
        """What the ledger would do."""
        held = self.snapshot
        match change:
            case OpenStage():
                record = StageRecord(
                    id=1 + max((s.id for s in held.stages), default=0),
                    study_id=held.study.id,
                    ordinal=change.ordinal,
                    name=change.name,
                    design=change.design,
                    state="open",
                    version=1,
                    baseline=change.baseline,
                    start=change.start,
                    carried=None,
                    carry_reason=None,
                )
                self.snapshot = replace(held, stages=(*held.stages, record))
                self._add_cells(record.id, change.cells)
            case AddCells():
                self._change_stage(change.stage_id)
                self._add_cells(change.stage_id, change.cells)
            case AddSeeds():
                self._change_stage(change.stage_id)
                cells = {c.name: c for c in held.cells if c.stage_id == change.stage_id}
                self._add_trials([(cells[name], seed, {}) for name, seeds in change.seeds.items() for seed in seeds])
            case CloseStage():
                because = StageRecord.reasons(change.reason, change.decisions)
                self._change_stage(change.stage_id, state="closed", carried=change.carried, carry_reason=because)
            case Decide():
                stage = next(s for s in held.stages if s.id == change.stage_id)
                because = StageRecord.reasons(stage.carried_because, change.decisions)
                self._change_stage(stage.id, carry_reason=because)
            case Promote():
                waiting = {
                    t.uid: replace(t, state=TrialState.WAITING)
                    for t in held.trials
                    if (t.uid, t.fence, t.state) == (change.uid, change.fence, TrialState.PAUSED)
                }
                self._replace_trials(waiting)
            case EndPaused():
                self._change_stage(change.stage_id)
                of_stage = {c.id for c in held.cells if c.stage_id == change.stage_id}
                self._replace_trials({
                    t.uid: self._summed(t, Outcome.PRUNED, change.metric, change.direction)
                    for t in held.trials
                    if t.cell_id in of_stage and t.state is TrialState.PAUSED
                })  # fmt: skip
            case CloseStudy():
                self.snapshot = replace(held, study=replace(held.study, state="closed"))
            case _:
                raise NotImplementedError(f"a rehearsal withdraws nothing: {change}")

    def settle(self) -> None:
        """Apply all that can be decided now, as an idle worker does."""
        for _ in range(MOST_STEPS):
            changes = advance(self.snapshot)
            if not changes:
                return
            for change in changes:
                self.apply(change)

    def train(self, curves: Curves, workers: int = 1) -> Snapshot:
        """Play the study with `workers` that train side by side, an epoch of any cell in the same time.

        Trials are validated, judged, paused and promoted as a pool does it; every validated epoch of a trial is a
        value of it, and its `duration_s` counts its epochs. Who is quicker by nothing has the lower number.
        """
        slots = [_Slot(index) for index in range(workers)]
        events: list[tuple[int, int]] = []  # when a slot's trial is validated next
        now = 0
        while True:
            for slot in slots:
                if slot.trial is None and self._begin(slot, curves):
                    heapq.heappush(events, (now + slot.next_in, slot.index))
            if not events:
                return self.snapshot
            now, index = heapq.heappop(events)
            if self._validate(slots[index]):
                heapq.heappush(events, (now + slots[index].next_in, index))

    def _begin(self, slot: _Slot, curves: Curves) -> bool:
        """Give the slot the first trial that waits, the study moved on where none does; whether there is one."""
        waiting = self._first_waiting()
        if waiting is None:
            self.settle()
            waiting = self._first_waiting()
        if waiting is None:
            return False
        cell = next(c for c in self.snapshot.cells if c.id == waiting.cell_id)
        stage = next(s for s in self.snapshot.stages if s.id == cell.stage_id)
        slot.trial, slot.epoch, slot.epochs = waiting.uid, waiting.ckpt_epoch, int(cell.config["epochs"])
        slot.curve = dict(sorted(curves(stage, cell, waiting.seed).items()))
        slot.judged = decider.prunes(self.snapshot.study, stage)
        running = replace(waiting, state=TrialState.RUNNING, fence=waiting.fence + 1)
        self._replace_trials({waiting.uid: running})
        return True

    def _first_waiting(self) -> TrialRecord | None:
        return next((t for t in self.snapshot.trials if t.state is TrialState.WAITING), None)

    def _validate(self, slot: _Slot) -> bool:
        """Let the slot's trial come to its next validation; whether it goes on after it."""
        metric = self.snapshot.study.document["metric"]
        uid, epoch = slot.trial or "", slot.epoch + slot.next_in
        trial = next(t for t in self.snapshot.trials if t.uid == uid)
        row = ValueRecord(uid, epoch, {metric: slot.curve[epoch]}, 0.0, trial.fence)
        trial = replace(trial, ckpt_epoch=epoch, duration_s=float(epoch))
        self.snapshot = replace(self.snapshot, values=(*self.snapshot.values, row))
        self._replace_trials({uid: trial})
        slot.epoch = epoch
        verdict = Verdict.GO
        if slot.judged and epoch < slot.epochs:
            verdict, memory = decider.judge(self.snapshot, uid, epoch)
            trial = replace(trial, optuna=memory)
        if verdict is Verdict.PAUSE:
            trial = replace(trial, state=TrialState.PAUSED)
        elif verdict is Verdict.PRUNE or epoch >= slot.epochs:
            outcome = Outcome.PRUNED if verdict is Verdict.PRUNE else Outcome.COMPLETED
            trial = self._summed(trial, outcome, metric, METRICS[metric].direction)
        self._replace_trials({uid: trial})
        if trial.state is TrialState.RUNNING:
            return True
        slot.trial = None
        return False

    def _replace_trials(self, changed: Mapping[str, TrialRecord]) -> None:
        self.snapshot = replace(self.snapshot, trials=tuple(changed.get(t.uid, t) for t in self.snapshot.trials))

    def _summed(self, trial: TrialRecord, outcome: Outcome, metric: str, direction: Direction) -> TrialRecord:
        """The trial, done with what it has measured."""
        done = replace(trial, state=TrialState.DONE, outcome=outcome)
        for row in self.snapshot.values:
            value = row.metrics.get(metric)
            if row.trial_uid != trial.uid or value is None:
                continue
            done = replace(done, final_value=value, final_epoch=row.epoch)
            if done.best_value is None or direction.better(value, done.best_value):
                done = replace(done, best_value=value, best_epoch=row.epoch)
        return done

    def _change_stage(self, stage_id: int, **changes: str | None) -> None:
        stages = tuple(
            replace(s, version=s.version + 1, **changes) if s.id == stage_id else s  # type: ignore[arg-type]
            for s in self.snapshot.stages
        )
        self.snapshot = replace(self.snapshot, stages=stages)

    def _add_cells(self, stage_id: int, new: Sequence[NewCell]) -> None:
        held = self.snapshot
        first_id = 1 + max((c.id for c in held.cells), default=0)
        first = sum(c.stage_id == stage_id for c in held.cells)
        records = [
            CellRecord(first_id + i, stage_id, first + i, c.name, c.label, c.note, c.key, c.levels, c.config)
            for i, c in enumerate(new)
        ]
        self.snapshot = replace(held, cells=(*held.cells, *records))
        self._add_trials([(r, seed, c.optuna) for r, c in zip(records, new, strict=True) for seed in c.seeds])

    def _add_trials(self, wanted: Sequence[tuple[CellRecord, int, dict[str, object]]]) -> None:
        held, trained = self.snapshot, self._trained()
        first = 1 + max((t.number for t in held.trials), default=0)
        new = [
            _ended(_waiting(held.study.id, cell.id, first + i, seed, optuna), trained.get((cell.key, seed)))
            for i, (cell, seed, optuna) in enumerate(wanted)
        ]
        self.snapshot = replace(held, trials=(*held.trials, *new))

    def _trained(self) -> dict[tuple[str, int], KnownResult]:
        """By key and seed, the results of the study's trials that the ledger would take over."""
        if self.snapshot.study.document.get("reuse") == "none":
            return {}
        keys = {cell.id: cell.key for cell in self.snapshot.cells}
        return {
            (keys[trial.cell_id], trial.seed): KnownResult(
                outcome=trial.outcome,
                message=trial.message,
                source={"kind": "reused", "study": self.snapshot.study.name, "number": trial.number},
                final_value=trial.final_value,
                final_epoch=trial.final_epoch,
                best_value=trial.best_value,
                best_epoch=trial.best_epoch,
            )
            for trial in reversed(self.snapshot.trials)
            if trial.outcome in TAKEN_OVER
        }

    def _give(self, results: Results) -> bool:
        """Put every result there is into its waiting trial; whether there was one."""
        cells = {cell.id: cell for cell in self.snapshot.cells}
        stages = {stage.id: stage for stage in self.snapshot.stages}
        found = False
        trials: list[TrialRecord] = []
        for trial in self.snapshot.trials:
            result = None
            if trial.state is not TrialState.DONE:
                cell = cells[trial.cell_id]
                result = results(stages[cell.stage_id], cell, trial.seed)
            found = found or result is not None
            trials.append(_ended(trial, result))
        self.snapshot = replace(self.snapshot, trials=tuple(trials))
        return found


def _waiting(study_id: int, cell_id: int, number: int, seed: int, optuna: dict[str, object]) -> TrialRecord:
    return TrialRecord(
        uid=f"{number:032x}", study_id=study_id, cell_id=cell_id, number=number, seed=seed, state=TrialState.WAITING,
        outcome=None, message=None, fence=0, owner=None, lease_until=None, ckpt_path=None, ckpt_sha=None,
        ckpt_epoch=0, prev_path=None, prev_sha=None, prev_epoch=0, decision=None, optuna=optuna, final_value=None,
        final_epoch=None, best_value=None, best_epoch=None, started=None, ended=None, duration_s=None,
        peak_memory_mb=None,
    )  # fmt: skip


def _ended(trial: TrialRecord, result: KnownResult | None) -> TrialRecord:
    if result is None:
        return trial
    return replace(
        trial, state=TrialState.DONE, outcome=result.outcome, message=result.message, source=result.source or None,
        final_value=result.final_value, final_epoch=result.final_epoch, best_value=result.best_value,
        best_epoch=result.best_epoch, duration_s=result.duration_s, peak_memory_mb=result.peak_memory_mb,
    )  # fmt: skip
