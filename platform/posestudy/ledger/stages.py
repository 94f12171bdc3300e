"""How a study grows: its document, and the compare-and-set that opens, fills and closes stages."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from posestudy.errors import LedgerError
from posestudy.home import safe_part
from posestudy.ledger import known, paused, reading, schema
from posestudy.ledger.claims import end_attempt
from posestudy.ledger.clock import DatabaseClock
from posestudy.ledger.records import (
    AddCells,
    AddSeeds,
    Change,
    CloseStage,
    CloseStudy,
    Decide,
    EndPaused,
    Json,
    NewCell,
    OpenStage,
    Promote,
    StageRecord,
    StudyRecord,
    WithdrawStages,
)
from posestudy.vocabulary import AttemptEnd, Outcome, TrialState


class MovedOnError(Exception):
    """What a change was computed from is no longer so: roll back, read again, compute again."""


def lock_study(connection: sa.Connection, study_id: int) -> str:
    """Hold off other changes of the study's shape until the transaction ends; returns the study's state."""
    query = sa.select(schema.study.c.state).where(schema.study.c.id == study_id).with_for_update(key_share=True)
    state: str | None = connection.scalar(query)
    if state is None:
        raise LedgerError(f"no study with the id {study_id} in this ledger")
    return state


def put_study(
    connection: sa.Connection, name: str, document: Json, source: str, withdraw: WithdrawStages | None
) -> StudyRecord:
    table = schema.study
    old = connection.execute(sa.select(table).where(table.c.name == name).with_for_update()).mappings().first()
    if old is None:
        _require_own_folder(connection, name)
        row = {"name": name, "document": document, "source": source, "state": "open", "created": DatabaseClock()}
        connection.execute(sa.insert(table).values(**row))
    else:
        changes: Json = {"document": document, "source": source}
        if old["document"] != document or withdraw is not None:
            changes["state"] = "open"
        connection.execute(sa.update(table).where(table.c.id == old["id"]).values(**changes))
        if withdraw is not None:
            apply(connection, old["id"], [withdraw])
    return reading.study(connection, name)


def _require_own_folder(connection: sa.Connection, name: str) -> None:
    """Raises LedgerError where the files of a new study would lie in those of another: some disks know no case."""
    mine = safe_part(name).casefold()
    # One of this very name was put since we looked for it: the insertion finds that out, and is tried again.
    for other in connection.scalars(sa.select(schema.study.c.name).where(schema.study.c.name != name)):
        if safe_part(other).casefold() == mine:
            raise LedgerError(
                f"a study '{name}' would share its folder with the study '{other}'; expected a name that differs in "
                "more than signs and capital letters"
            )


def put_estimate(connection: sa.Connection, name: str, estimate: Json) -> None:
    study = reading.study(connection, name)
    if study.estimate is None:
        table = schema.study
        connection.execute(sa.update(table).where(table.c.id == study.id).values(estimate=estimate))


class _Growth:
    """One application of changes: remembers which versions it found, and where trial numbers stand."""

    def __init__(self, connection: sa.Connection, study_id: int) -> None:
        self._connection = connection
        self._study_id = study_id
        self._state = lock_study(connection, study_id)
        self._study = connection.execute(sa.select(schema.study).where(schema.study.c.id == study_id)).mappings().one()
        self._versions: dict[int, int] = {}
        last = sa.select(sa.func.max(schema.trial.c.number)).where(schema.trial.c.study_id == study_id)
        self._number: int = connection.scalar(last) or 0

    def is_of(self, document: Json) -> bool:
        """Whether the study still is what `document` says: a stage opened from an older one has no version to tell."""
        return bool(self._study["document"] == document)

    def apply(self, change: Change) -> None:
        if isinstance(change, CloseStudy):
            return self._close_study()
        if self._state == "closed":
            raise MovedOnError
        if isinstance(change, WithdrawStages):
            return self._withdraw(change.ordinal)
        if isinstance(change, OpenStage):
            return self._open_stage(change)
        if isinstance(change, AddSeeds):
            self._touch(change.stage_id, change.version, {}, closed_too=True)
            return self._add_seeds(change)
        if isinstance(change, AddCells):
            self._touch(change.stage_id, change.version, {})
            return self._add_cells(change.stage_id, change.cells)
        if isinstance(change, Promote):
            return self._promote(change)
        if isinstance(change, EndPaused):
            self._touch(change.stage_id, change.version, {}, closed_too=True)
            return paused.end_of_stage(self._connection, change.stage_id, change.metric, change.direction)
        if isinstance(change, Decide):
            return self._decide(change)
        return self._close_stage(change)

    def _decide(self, change: Decide) -> None:
        self._touch(change.stage_id, change.version, {}, closed_too=True)
        table = schema.stage
        mine = table.c.id == change.stage_id
        because = (self._connection.scalar(sa.select(table.c.carry_reason).where(mine)) or "").partition("\n")[0]
        text = StageRecord.reasons(because, change.decisions)
        self._connection.execute(sa.update(table).where(mine).values(carry_reason=text))

    def _promote(self, change: Promote) -> None:
        if not paused.promote(self._connection, self._study_id, change.uid, change.fence):
            raise MovedOnError

    def _open_stage(self, change: OpenStage) -> None:
        table = schema.stage
        same = sa.and_(table.c.study_id == self._study_id, table.c.ordinal == change.ordinal)
        if self._connection.scalar(sa.select(table.c.id).where(same)) is not None:
            raise MovedOnError
        row = {
            "study_id": self._study_id,
            "ordinal": change.ordinal,
            "name": change.name,
            "design": change.design,
            "state": "open",
            "version": 1,
            "baseline": change.baseline,
            "start": change.start,
        }
        stage_id = self._connection.scalar(sa.insert(table).values(**row).returning(table.c.id))
        if stage_id is None:
            raise LedgerError(f"the stage '{change.name}' was not stored")
        if change.baseline is not None and change.baseline not in {cell.name for cell in change.cells}:
            raise LedgerError(f"the baseline '{change.baseline}' of stage '{change.name}' is none of its cells")
        self._add_cells(stage_id, change.cells)

    def _close_stage(self, change: CloseStage) -> None:
        table = schema.cell
        known = sa.and_(table.c.stage_id == change.stage_id, table.c.name == change.carried)
        if change.carried is not None and self._connection.scalar(sa.select(table.c.id).where(known)) is None:
            raise LedgerError(f"the cell '{change.carried}', which a stage is to carry, is not in that stage")
        because = StageRecord.reasons(change.reason, change.decisions)
        settled = {"state": "closed", "carried": change.carried, "carry_reason": because}
        self._touch(change.stage_id, change.version, settled)

    def _close_study(self) -> None:
        stage, trial = schema.stage, schema.trial
        is_open = sa.select(stage.c.id).where(stage.c.study_id == self._study_id, stage.c.state == "open").limit(1)
        runs = (
            sa.select(trial.c.uid).where(trial.c.study_id == self._study_id, trial.c.state != TrialState.DONE).limit(1)
        )
        if self._connection.scalar(is_open) is not None or self._connection.scalar(runs) is not None:
            raise MovedOnError
        close = sa.update(schema.study).where(schema.study.c.id == self._study_id).values(state="closed")
        self._connection.execute(close)

    def _touch(self, stage_id: int, version: int, changes: Json, *, closed_too: bool = False) -> None:
        """Compare the version a change was computed from with the stored one, and set the next."""
        table = schema.stage
        if stage_id not in self._versions:
            states = ["open", "closed"] if closed_too else ["open"]
            mine = sa.and_(table.c.id == stage_id, table.c.study_id == self._study_id, table.c.state.in_(states))
            found = self._connection.scalar(sa.select(table.c.version).where(mine).with_for_update(key_share=True))
            self._versions[stage_id] = -1 if found is None else found
        if self._versions[stage_id] != version:
            raise MovedOnError
        step = sa.update(table).where(table.c.id == stage_id).values(version=table.c.version + 1, **changes)
        self._connection.execute(step)

    def _add_cells(self, stage_id: int, cells: Iterable[NewCell]) -> None:
        table = schema.cell
        in_stage = sa.select(table.c.name, table.c.id, table.c.key, table.c.ordinal).where(table.c.stage_id == stage_id)
        known = {row.name: row for row in self._connection.execute(in_stage)}
        ordinal = max((row.ordinal for row in known.values()), default=-1)
        added: set[str] = set()
        for cell in cells:
            if cell.name in added:
                raise LedgerError(f"two cells of one stage are both named '{cell.name}'; names of cells are unique")
            added.add(cell.name)
            old = known.get(cell.name)
            if old is None:
                ordinal += 1
                self._add_trials(self._insert_cell(stage_id, ordinal, cell), cell, ())
                continue
            if old.key != cell.key:
                raise LedgerError(f"the stage already has a cell named '{cell.name}' with another configuration")
            seeds = sa.select(schema.trial.c.seed).where(schema.trial.c.cell_id == old.id)
            self._add_trials(old.id, cell, list(self._connection.scalars(seeds)))

    def _insert_cell(self, stage_id: int, ordinal: int, cell: NewCell) -> int:
        row = {
            "stage_id": stage_id,
            "ordinal": ordinal,
            "name": cell.name,
            "label": cell.label,
            "note": cell.note,
            "key": cell.key,
            "training_key": cell.training_key,
            "levels": cell.levels,
            "config": cell.config,
        }
        cell_id = self._connection.scalar(sa.insert(schema.cell).values(**row).returning(schema.cell.c.id))
        if cell_id is None:
            raise LedgerError(f"the cell '{cell.name}' was not stored")
        return int(cell_id)

    def _add_seeds(self, change: AddSeeds) -> None:
        table = schema.cell
        for name, seeds in change.seeds.items():
            here = sa.and_(table.c.stage_id == change.stage_id, table.c.name == name)
            old = self._connection.execute(sa.select(table).where(here)).mappings().first()
            if old is None:
                raise LedgerError(f"the cell '{name}', which is to get further seeds, is not in that stage")
            fields = ("name", "label", "note", "key", "levels", "config", "training_key")
            texts = {field: old[field] for field in fields}
            have = sa.select(schema.trial.c.seed).where(schema.trial.c.cell_id == old["id"])
            self._add_trials(old["id"], NewCell(**texts, seeds=seeds), list(self._connection.scalars(have)))

    def _withdraw(self, ordinal: int) -> None:
        stage, cell, trial = schema.stage, schema.cell, schema.trial
        mine = sa.and_(
            stage.c.study_id == self._study_id, stage.c.ordinal >= ordinal, stage.c.state != schema.WITHDRAWN_STAGE
        )
        gone = list(self._connection.scalars(sa.select(stage.c.id).where(mine)))
        of_gone = sa.select(cell.c.id).where(cell.c.stage_id.in_(gone))
        still = sa.and_(trial.c.cell_id.in_(of_gone), trial.c.state != TrialState.DONE)
        query = sa.select(trial.c.uid, trial.c.fence, trial.c.state).where(still).order_by(trial.c.number)
        # Held until the end: a worker that claimed one in between would leave an attempt that never ends.
        for row in self._connection.execute(query.with_for_update()).all():
            if row.state == TrialState.RUNNING:
                end_attempt(self._connection, row.uid, row.fence, AttemptEnd.FINISHED, known.WITHDRAWN)
        cancelled = {
            "state": TrialState.DONE,
            "outcome": Outcome.CANCELLED,
            "message": known.WITHDRAWN,
            "fence": trial.c.fence + 1,
            "lease_until": None,
        }
        self._connection.execute(sa.update(trial).where(still).values(**cancelled))
        # Ordinals are unique in a study: a withdrawn stage takes one nobody asks for.
        for stage_id in gone:
            out = {"state": schema.WITHDRAWN_STAGE, "ordinal": -stage_id, "version": stage.c.version + 1}
            self._connection.execute(sa.update(stage).where(stage.c.id == stage_id).values(**out))

    def _add_trials(self, cell_id: int, cell: NewCell, have: Sequence[int]) -> None:
        for seed in cell.seeds:
            if seed not in have:
                self._add_trial(cell_id, cell, seed)

    def _add_trial(self, cell_id: int, cell: NewCell, seed: int) -> None:
        result = cell.known.get(seed)
        if result is None and self._take_back(cell_id, cell, seed):
            return
        result = result or known.reusable(self._connection, self._study, cell.key, seed)
        self._number += 1
        row = {
            "uid": uuid.uuid4().hex,
            "study_id": self._study_id,
            "cell_id": cell_id,
            "number": self._number,
            "seed": seed,
            "state": TrialState.WAITING,
            "fence": 0,
            "ckpt_epoch": 0,
            "ckpt_fence": 0,
            "prev_epoch": 0,
            "optuna": cell.optuna,
            "provenance": {},
        }
        if result is not None:
            row |= known.columns(result)
        self._connection.execute(sa.insert(schema.trial).values(**row))
        if result is not None:
            known.put_values(self._connection, str(row["uid"]), result.values)

    def _take_back(self, cell_id: int, cell: NewCell, seed: int) -> bool:
        """Give the new cell the trial that a withdrawn stage has of it; whether there is one."""
        found = known.taken_back(self._connection, self._study, cell, seed, cell_id)
        if found is None:
            return False
        uid, columns = found
        moved = {"cell_id": cell_id, **columns}
        self._connection.execute(sa.update(schema.trial).where(schema.trial.c.uid == uid).values(**moved))
        return True


def apply(connection: sa.Connection, study_id: int, changes: Sequence[Change], document: Json | None = None) -> None:
    """Apply every change or raise.

    Raises:
        MovedOnError: a version, an ordinal, the study's state or its document, where one is given, is not what the
            changes were computed from.
        LedgerError: the changes contradict themselves or the stage, whatever moved.
    """
    growth = _Growth(connection, study_id)
    if document is not None and not growth.is_of(document):
        raise MovedOnError
    for change in changes:
        growth.apply(change)
