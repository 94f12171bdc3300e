"""One pass over all studies: MLflow and Optuna's tables are brought up to the ledger."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

from posestudy.ledger import Ledger
from posestudy.ledger.records import Snapshot
from posestudy.projections.delivery import Delivery, ProjectionOutageError
from posestudy.projections.mlflow_store import NAME as MLFLOW
from posestudy.projections.mlflow_store import MlflowStore
from posestudy.projections.optuna_tables import NAME as OPTUNA
from posestudy.projections.optuna_tables import OptunaTables
from posestudy.projections.run_card import digest
from posestudy.projections.turn import Turn, TurnLostError
from posestudy.projections.turn import turn as hold_turn
from posestudy.settings import Settings

log = logging.getLogger("posestudy.projections")


class Projector:
    """Sends studies to both projections and remembers, for its own lifetime, which are up to date.

    The first pass of a Projector looks into the projections themselves, so what was deleted there is sent again;
    later passes look only at what changed in the ledger.
    """

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._ledger = ledger
        self._mlflow = MlflowStore(settings)
        self._optuna = OptunaTables(settings)
        self._delivered: dict[str, str] = {}

    def run(self, study: str | None = None, *, rebuild: bool = False, turn: Turn | None = None) -> Delivery:
        """One pass over `study`, or over all; `turn` is what `posestudy.projections.turn.turn` gave.

        `rebuild` sends everything again and restores what users deleted in MLflow. Raises NotFoundError for an
        unknown study, LedgerError where the ledger cannot be read; all other trouble is in the result.
        """
        names = [self._ledger.study(study).name] if study else [record.name for record in self._ledger.studies()]
        turn = turn or Turn()
        total = Delivery()
        down: set[str] = set()
        for name in names:
            if not turn.keep():
                total.interrupted = True
                break
            light = _digest(self._ledger.snapshot(name, values=False))
            if not rebuild and self._delivered.get(name) == light:
                continue
            one = self._send(name, rebuild, turn, down)
            if one.complete and not down:
                self._delivered[name] = light
            total.add(one)
        return total

    def _send(self, name: str, rebuild: bool, turn: Turn, down: set[str]) -> Delivery:
        """One study to both; a projection that is down is added to `down` and left out for the rest of the pass."""
        snapshot = self._ledger.snapshot(name)
        delivery = Delivery()
        steps: dict[str, Callable[[], Delivery]] = {
            OPTUNA: lambda: self._optuna.send(self._ledger, snapshot, rebuild=rebuild, turn=turn),
            MLFLOW: lambda: self._mlflow.send(self._ledger, snapshot, rebuild=rebuild, turn=turn),
        }
        for projection, step in steps.items():
            if projection in down:
                continue
            try:
                delivery.add(step())
            except ProjectionOutageError as outage:
                down.add(projection)
                delivery.problems.append(str(outage))
            except TurnLostError:
                delivery.interrupted = True
                break
        return delivery


def _digest(snapshot: Snapshot) -> str:
    """What of a study the projections show, without reading its values: each new epoch shows in its trial's row."""
    trials = [dataclasses.replace(trial, owner=None, lease_until=None) for trial in snapshot.trials]
    return digest([repr(snapshot.study), *map(repr, snapshot.stages), *map(repr, snapshot.cells), *map(repr, trials)])


def project_once(settings: Settings, ledger: Ledger) -> int:
    """One pass over all studies; how many things were sent, 0 where all was up to date.

    What could not be delivered is logged and stays in the ledger for the next pass. Raises BusyError where another
    process keeps the projector's lock.
    """
    settings.home.root.mkdir(parents=True, exist_ok=True)
    with hold_turn(ledger) as turn:
        delivery = Projector(settings, ledger).run(turn=turn)
    report(delivery)
    return delivery.sent


def report(delivery: Delivery) -> None:
    """Put the sentences of a pass into the log."""
    for sentence in delivery.problems:
        log.warning(sentence)
    for sentence in delivery.notes:
        log.info(sentence)


__all__ = ["Delivery", "Projector", "project_once", "report"]
