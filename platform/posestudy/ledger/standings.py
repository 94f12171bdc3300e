"""Where every trial of a study stands, in one query and without SQLAlchemy where the ledger is a file.

Importing SQLAlchemy takes longer than asking for ten thousand trials. So a file is asked by SQLite's own module, only
to read, and whatever is odd about it is left to `Ledger`, which says what it is.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from posestudy.ledger.revisions import REVISION, VERSION_TABLE
from posestudy.vocabulary import Outcome, TrialState

if TYPE_CHECKING:
    import sqlalchemy as sa

_PATIENCE_S = 10.0

Asked = Callable[[str], Iterable[Sequence[Any]]]
"""Runs one statement and answers its rows."""


class TrialStanding(NamedTuple):
    """One trial of a study, with its cell and its attempts summed up.

    Attributes:
        epoch: finished epochs; of a result that was not trained here, those its source had.
        epochs: what the cell is to be trained for; None: its configuration does not say.
        final_*, best_*, source: as `TrialRecord`'s.
        ended: seconds since the epoch, the database's clock; None: it is not done.
        mlflow_run_id: of the projected run; None: not sent yet.
    """

    number: int
    uid: str
    stage: str
    cell: str
    label: str
    seed: int
    state: TrialState
    outcome: Outcome | None
    message: str | None
    epoch: int
    epochs: Any
    attempts: int
    final_value: float | None
    final_epoch: int | None
    best_value: float | None
    best_epoch: int | None
    ended: float | None
    source: dict[str, Any] | None
    mlflow_run_id: str | None


@dataclass(frozen=True)
class StudyStanding:
    """A study and its trials in order of number, without those of withdrawn stages.

    Attributes:
        state: as `StudyRecord`'s.
        metric: ledger name of the study's metric; empty where its document names none.
        decisions: what was decided about its stages beside their carries, each with the stage's name, in order.
    """

    name: str
    state: str
    metric: str
    trials: tuple[TrialStanding, ...]
    decisions: tuple[tuple[str, str], ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether a stage may still open or a trial may still run."""
        return self.state != "closed" or any(trial.state is not TrialState.DONE for trial in self.trials)

    @property
    def has_failed(self) -> bool:
        """Whether a trial ended without a result that is one."""
        return any(trial.outcome is Outcome.FAILED for trial in self.trials)


_JSON_FIELD = {"sqlite": "json_extract({}, '$.{}')", "postgresql": "{} -> '{}'"}

_TRIALS = """
SELECT trial.study_id, trial.number, trial.uid, stage.name, cell.name, cell.label, trial.seed, trial.state,
  trial.outcome, trial.message, trial.ckpt_epoch, {epochs},
  (SELECT count(*) FROM attempt WHERE attempt.trial_uid = trial.uid),
  trial.final_value, trial.final_epoch, trial.best_value, trial.best_epoch, trial.ended, trial.source,
  projected_run.run_id
FROM trial JOIN cell ON cell.id = trial.cell_id JOIN stage ON stage.id = cell.stage_id
LEFT JOIN projected_run ON projected_run.trial_uid = trial.uid AND projected_run.projection = 'mlflow'
WHERE stage.state <> 'withdrawn' AND trial.study_id {among}
ORDER BY trial.study_id, trial.number
"""


_DECISIONS = """
SELECT stage.study_id, stage.name, stage.carry_reason FROM stage
WHERE stage.state <> 'withdrawn' AND stage.carry_reason IS NOT NULL AND stage.study_id {among}
ORDER BY stage.study_id, stage.ordinal
"""


_COUNTS = """
SELECT trial.state, count(*) FROM trial JOIN cell ON cell.id = trial.cell_id JOIN stage ON stage.id = cell.stage_id
WHERE stage.state <> 'withdrawn' AND trial.study_id = {study} GROUP BY trial.state
"""


def counts(connection: sa.Connection, study_id: int) -> dict[TrialState, int]:
    """How many trials are in each state, those of withdrawn stages left out; states without one are absent."""
    return {_STATES[state]: count for state, count in connection.exec_driver_sql(_COUNTS.format(study=int(study_id)))}


def of(connection: sa.Connection, name: str | None) -> list[StudyStanding]:
    """The study `name`, or every study, oldest first; none where there is no such study."""
    return _standings(connection.dialect.name, connection.exec_driver_sql, name)


def of_file(path: Path, name: str | None) -> list[StudyStanding] | None:
    """The same of a ledger in SQLite; None where only `Ledger` can tell, or say what is wrong."""
    try:
        # A connection that may only read leaves its `-wal` and `-shm` behind, which then lock the owner out.
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=_PATIENCE_S)) as connection:
            connection.isolation_level = None
            connection.execute("BEGIN")
            if connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone() != (REVISION,):  # noqa: S608
                return None
            return _standings("sqlite", connection.execute, name) or None
    except (sqlite3.Error, ValueError):
        return None


def _standings(dialect: str, ask: Asked, name: str | None) -> list[StudyStanding]:
    field = _JSON_FIELD[dialect]
    studies = ask(f"SELECT id, name, state, {field.format('document', 'metric')} FROM study ORDER BY id")  # noqa: S608
    chosen = [row for row in studies if name in (None, row[1])]
    if not chosen:
        return []
    # Numbers of the ledger's own, nothing that anybody typed.
    among = f"= {int(chosen[0][0])}" if len(chosen) == 1 else "IS NOT NULL"
    rows = ask(_TRIALS.format(epochs=field.format("cell.config", "epochs"), among=among))
    trials = {study: tuple(map(_trial, part)) for study, part in groupby(rows, key=itemgetter(0))}
    decided: dict[int, list[tuple[str, str]]] = {}
    for study, stage, reasons in ask(_DECISIONS.format(among=among)):
        # As `StageRecord.decisions`: the first line is why it carried what it carried.
        decided.setdefault(study, []).extend((stage, text) for text in reasons.split("\n")[1:])
    return [
        StudyStanding(name, state, metric or "", trials.get(id_, ()), tuple(decided.get(id_, ())))
        for id_, name, state, metric in chosen
    ]


_STATES = {str(state): state for state in TrialState}
_OUTCOMES: dict[str | None, Outcome | None] = {None: None, **{str(outcome): outcome for outcome in Outcome}}


def _trial(row: Sequence[Any]) -> TrialStanding:
    (
        _, number, uid, stage, cell, label, seed, state, outcome, message, epoch, epochs, attempts,
        final_value, final_epoch, best_value, best_epoch, ended, source, run_id,
    ) = row  # fmt: skip
    if source is not None:
        # SQLite's own module gives text, PostgreSQL's driver what the text stands for.
        source, epoch = json.loads(source) if isinstance(source, str) else source, final_epoch or 0
    return TrialStanding(
        number, uid, stage, cell, label, seed, _STATES[state], _OUTCOMES[outcome], message, epoch, epochs, attempts,
        final_value, final_epoch, best_value, best_epoch, ended, source, run_id,
    )  # fmt: skip
