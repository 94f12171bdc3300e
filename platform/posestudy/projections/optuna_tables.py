"""Optuna's tables as a projection: one Optuna study per stage, named `STUDY/STAGE`, whatever the stage's design."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from posestudy.ledger import Ledger
from posestudy.ledger.records import ProjectedRun, Snapshot, StageRecord
from posestudy.projections.delivery import Delivery, ProjectionOutageError
from posestudy.projections.optuna_cards import TrialCard, objectives, stage_cards
from posestudy.projections.reasons import reason
from posestudy.projections.run_card import TRIAL_TAG
from posestudy.projections.sqlite_file import file_identity
from posestudy.projections.standing import metric_of
from posestudy.projections.turn import Turn, TurnLostError
from posestudy.settings import Settings, masked
from posestudy.vocabulary import METRICS, Direction

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

NAME = "optuna"


def study_name(study: str, stage: str) -> str:
    """The name under which `optuna.load_study` finds a stage."""
    return f"{study}/{stage}"


def open_storage(url: str) -> RDBStorage:
    """Optuna's storage at `url`, its tables created where they are missing; Optuna's log made quiet."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.storages.RDBStorage(url)


class OptunaTables:
    """Sends studies to Optuna's tables.

    A stage is written trial by trial as it grows; where something already finished differs (a retried trial, a new
    level of a factor, a changed set of parameters), Optuna offers no way to change it and the stage is written anew.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = settings.optuna_url
        self._opened: RDBStorage | None = None
        self._file: tuple[int, int] | None = None

    def send(self, ledger: Ledger, snapshot: Snapshot, *, rebuild: bool = False, turn: Turn | None = None) -> Delivery:
        """Bring the Optuna studies of one study up to `snapshot`, anew where `rebuild`.

        Raises:
            ProjectionOutageError: the tables cannot be reached or written.
            TurnLostError: `turn` is over, somebody else goes on.
        """
        from optuna.exceptions import OptunaError
        from sqlalchemy.exc import SQLAlchemyError

        delivery = Delivery()
        turn = turn or Turn()
        rows = ledger.projected(NAME)
        try:
            storage = self._storage()
            for stage in snapshot.stages:
                delivery.sent += self._send_stage(storage, ledger, snapshot, stage, rows, rebuild, turn)
            delivery.sent += _delete_withdrawn(storage, snapshot)
        except (OptunaError, SQLAlchemyError, OSError, ImportError) as error:
            self._close()
            said = reason(error).said
            raise ProjectionOutageError(
                f"Optuna's tables at {masked(self._url)} cannot be used: {said}. Nothing is "
                "lost: the ledger keeps it, and `posestudy sync` sends it once they are back."
            ) from error
        return delivery

    def _storage(self) -> RDBStorage:
        # A SQLite file that was deleted stays open, and what is written then goes nowhere.
        if self._opened is not None and self._file != file_identity(self._url):
            self._close()
        if self._opened is None:
            self._opened = open_storage(self._url)
            self._file = file_identity(self._url)
        return self._opened

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.engine.dispose()
        self._opened = None

    def _send_stage(
        self,
        storage: RDBStorage,
        ledger: Ledger,
        snapshot: Snapshot,
        stage: StageRecord,
        rows: Mapping[str, ProjectedRun],
        rebuild: bool,
        turn: Turn,
    ) -> int:
        wanted = stage_cards(snapshot, stage)
        found = _find(storage, study_name(snapshot.study.name, stage.name))
        trials = [] if found is None else storage.get_all_trials(found, deepcopy=False)
        there = _by_uid(trials)
        sent = 0
        twice = len(there) != len(trials)
        if found is not None and not rebuild and not twice and not _outdated(wanted, there, rows):
            study_id = found
            _label(storage, study_id, snapshot, stage)
        else:
            if found is not None:
                storage.delete_study(found)
            study_id, there = _create(storage, snapshot, stage), {}
            sent += 1
        for card in wanted:
            row = rows.get(card.uid)
            old = there.get(card.uid)
            if old is not None and row is not None and row.state == card.digest:
                continue
            if not turn.keep():
                raise TurnLostError
            trial_id = _add(storage, study_id, card) if old is None else _grow(storage, old, card)
            turn.record(ledger, ProjectedRun(NAME, card.uid, str(trial_id), card.last_epoch, card.digest))
            sent += 1
        return sent


def _delete_withdrawn(storage: RDBStorage, snapshot: Snapshot) -> int:
    """Delete the Optuna studies of stages that an edited study file took out; how many there were."""
    name = snapshot.study.name
    wanted = {study_name(name, stage.name) for stage in snapshot.stages}
    gone = [
        study._study_id
        for study in storage.get_all_studies()
        if study.user_attrs.get("posestudy.study") == name and study.study_name not in wanted
    ]
    for study_id in gone:
        storage.delete_study(study_id)
    return len(gone)


def _find(storage: RDBStorage, name: str) -> int | None:
    try:
        return storage.get_study_id_from_name(name)
    except KeyError:
        return None


def _by_uid(trials: Sequence[FrozenTrial]) -> dict[str, FrozenTrial]:
    return {trial.user_attrs.get(TRIAL_TAG, f"?{trial.number}"): trial for trial in trials}


def _outdated(wanted: Sequence[TrialCard], there: Mapping[str, FrozenTrial], rows: Mapping[str, ProjectedRun]) -> bool:
    """Whether what is there cannot grow into what is wanted."""
    order = [card.uid for card in wanted]
    if list(there) != order[: len(there)]:
        return True
    for card in wanted:
        old = there.get(card.uid)
        if old is None:
            continue
        row = rows.get(card.uid)
        if old.state.is_finished() and (row is None or row.state != card.digest):
            return True
        if old.distributions != card.distributions or not card.continues(old.state.name, old.intermediate_values):
            return True
    return False


def _create(storage: RDBStorage, snapshot: Snapshot, stage: StageRecord) -> int:
    import optuna

    names = objectives(snapshot, stage) or [metric_of(snapshot.study).name]
    wanted = [METRICS[name].direction if name in METRICS else Direction.LESS for name in names]
    study = optuna.create_study(
        storage=storage,
        study_name=study_name(snapshot.study.name, stage.name),
        directions=[optuna.study.StudyDirection[direction.optuna.upper()] for direction in wanted],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(names)
    _label(storage, study._study_id, snapshot, stage)
    return study._study_id


def _label(storage: RDBStorage, study_id: int, snapshot: Snapshot, stage: StageRecord) -> None:
    """What `_delete_withdrawn` finds a study by; whoever created it may have died before this."""
    labels = {"study": snapshot.study.name, "stage": stage.name, "design": stage.design}
    there = storage.get_study_user_attrs(study_id)
    for name, value in labels.items():
        if there.get(f"posestudy.{name}") != value:
            storage.set_study_user_attr(study_id, f"posestudy.{name}", value)


def _add(storage: RDBStorage, study_id: int, card: TrialCard) -> int:
    return storage.create_new_trial(study_id, template_trial=card.frozen())


def _grow(storage: RDBStorage, old: FrozenTrial, card: TrialCard) -> int:
    """Bring an unfinished trial from what is there to what is wanted."""
    from optuna.trial import TrialState

    trial_id = old._trial_id
    if old.state is TrialState.WAITING and card.state != "WAITING":
        storage.set_trial_state_values(trial_id, TrialState.RUNNING)
    for epoch, value in card.intermediate.items():
        if epoch not in old.intermediate_values:
            storage.set_trial_intermediate_value(trial_id, epoch, value)
    for key, value in card.user_attrs.items():
        if old.user_attrs.get(key) != value:
            storage.set_trial_user_attr(trial_id, key, value)
    for key, value in card.system_attrs.items():
        if old.system_attrs.get(key) != value:
            storage.set_trial_system_attr(trial_id, key, value)
    state = TrialState[card.state]
    if state.is_finished():
        storage.set_trial_state_values(trial_id, state, card.values)
    return trial_id
