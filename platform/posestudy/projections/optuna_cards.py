"""What a stage's trials look like as Optuna trials: parameters, distributions, values and state, from ledger rows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from posestudy.ledger.records import CellRecord, Json, Snapshot, StageRecord, TrialRecord
from posestudy.projections.run_card import TRIAL_TAG, digest
from posestudy.projections.standing import metric_of
from posestudy.vocabulary import Outcome, TrialState

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

Level = None | bool | int | float | str
_MISSING = object()


@dataclass(frozen=True)
class TrialCard:
    """One Optuna trial as it ought to be.

    Attributes:
        state: name of an `optuna.trial.TrialState`.
        value: the study's metric at the last epoch; only for COMPLETE and PRUNED.
        second: the second objective of a COMPLETE trial, where its search has two.
        intermediate: the study's metric by epoch.
        started, ended: seconds since the epoch.
    """

    uid: str
    state: str
    value: float | None
    params: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution]
    intermediate: Mapping[int, float]
    user_attrs: Mapping[str, Any]
    system_attrs: Mapping[str, Any]
    started: float
    ended: float | None
    last_epoch: int
    second: float | None = None

    @property
    def values(self) -> list[float] | None:
        """What Optuna holds for the objectives; None where it holds nothing."""
        return None if self.value is None else [self.value, *([] if self.second is None else [self.second])]

    @property
    def digest(self) -> str:
        from optuna.distributions import distribution_to_json

        kinds = {name: distribution_to_json(kind) for name, kind in self.distributions.items()}
        return digest(
            [
                self.state,
                self.value if self.second is None else self.values,
                dict(self.params),
                kinds,
                sorted(self.intermediate.items()),
                dict(self.user_attrs),
                dict(self.system_attrs),
            ]
        )

    def continues(self, state: str, intermediate: Mapping[int, float]) -> bool:
        """Whether a trial in `state` with these intermediate values can grow into this one."""
        if state != "WAITING" and self.state == "WAITING":
            return False
        return all(_same(self.intermediate.get(epoch), value) for epoch, value in intermediate.items())

    def frozen(self) -> FrozenTrial:
        """The card as Optuna's own object; times in the local zone, as Optuna writes them."""
        import optuna

        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState[self.state],
            values=self.values,
            params=dict(self.params),
            distributions=dict(self.distributions),
            user_attrs=dict(self.user_attrs),
            system_attrs=dict(self.system_attrs),
            intermediate_values=dict(self.intermediate),
        )
        trial.datetime_start = None if self.state == "WAITING" else _local(self.started)
        trial.datetime_complete = None if self.ended is None else _local(self.ended)
        return trial


def stage_cards(snapshot: Snapshot, stage: StageRecord) -> list[TrialCard]:
    """A card for every trial of `stage`, in order of number, so that Optuna numbers them in the same order."""
    cells = {cell.id: cell for cell in snapshot.cells if cell.stage_id == stage.id}
    trials = sorted((t for t in snapshot.trials if t.cell_id in cells), key=lambda t: t.number)
    metric = metric_of(snapshot.study).name
    measured: dict[str, dict[int, float]] = {}
    for row in snapshot.values:
        if metric in row.metrics:
            measured.setdefault(row.trial_uid, {})[row.epoch] = float(row.metrics[metric])
    second = (objectives(snapshot, stage) or ["", ""])[1]
    others = _last_of(snapshot, second)
    searched = _searched(trials)
    observed = {} if searched else _observed(list(cells.values()))
    made = []
    for trial in trials:
        cell = cells[trial.cell_id]
        params, kinds = _own(trial, cell, searched) if searched else _levels(cell, observed)
        card = _card(snapshot, trial, cell, params, kinds, measured.get(trial.uid, {}))
        made.append(_with_second(card, getattr(trial, second, others.get(trial.uid))) if second else card)
    return made


def objectives(snapshot: Snapshot, stage: StageRecord) -> list[str]:
    """The two objectives of a search; empty where it has one, as every other stage."""
    declared = snapshot.study.document.get("stages") or []
    document = declared[stage.ordinal] if 0 <= stage.ordinal < len(declared) else {}
    return [str(name) for name in document.get("objectives") or []]


def _last_of(snapshot: Snapshot, metric: str) -> dict[str, float]:
    """The last value of another metric by trial."""
    return {row.trial_uid: float(row.metrics[metric]) for row in snapshot.values if metric in row.metrics}


def _with_second(card: TrialCard, value: float | None) -> TrialCard:
    """The card of a trial with two objectives. Optuna keeps no curves then, and no trial with one of two values."""
    if card.state == "COMPLETE" and value is not None:
        return replace(card, second=value, intermediate={})
    state = "FAIL" if card.state in ("COMPLETE", "PRUNED") else card.state
    return replace(card, state=state, value=None, intermediate={})


def _card(
    snapshot: Snapshot,
    trial: TrialRecord,
    cell: CellRecord,
    params: dict[str, Any],
    kinds: dict[str, BaseDistribution],
    intermediate: dict[int, float],
) -> TrialCard:
    state, value = _state(trial, intermediate)
    started = trial.started or trial.ended or snapshot.study.created
    user_attrs: dict[str, Any] = {
        TRIAL_TAG: trial.uid,
        "posestudy.number": trial.number,
        "posestudy.cell": cell.name,
        "posestudy.seed": trial.seed,
        "posestudy.outcome": str(trial.outcome) if trial.outcome else None,
    }
    return TrialCard(
        uid=trial.uid,
        state=state,
        value=value,
        params=params,
        distributions=kinds,
        intermediate=dict(sorted(intermediate.items())),
        user_attrs=user_attrs,
        system_attrs=dict(trial.optuna.get("system_attrs") or {}),
        started=started,
        ended=(trial.ended or started) if trial.state is TrialState.DONE else None,
        last_epoch=max(intermediate, default=0),
    )


def _state(trial: TrialRecord, intermediate: Mapping[int, float]) -> tuple[str, float | None]:
    """Optuna's state and value; it knows no going back, so a preempted trial goes on running there."""
    if trial.state is not TrialState.DONE:
        return ("WAITING" if trial.never_claimed else "RUNNING"), None
    value = trial.final_value
    if value is None or math.isnan(value):
        value = intermediate[max(intermediate)] if intermediate and trial.outcome is Outcome.PRUNED else None
    if trial.outcome is Outcome.PRUNED:
        return "PRUNED", value
    if trial.outcome is Outcome.COMPLETED and value is not None and not math.isnan(value):
        return "COMPLETE", value
    return "FAIL", None


# -- stages with a search space


def _searched(trials: Sequence[TrialRecord]) -> dict[str, BaseDistribution]:
    """The distributions that a search asked for; empty for every other design."""
    found: dict[str, BaseDistribution] = {}
    for trial in trials:
        for name, kind in (trial.optuna.get("distributions") or {}).items():
            found.setdefault(name, _distribution(kind))
    return found


def _distribution(kind: Any) -> BaseDistribution:
    from optuna.distributions import json_to_distribution

    return json_to_distribution(kind if isinstance(kind, str) else json.dumps(kind))


def _own(
    trial: TrialRecord, cell: CellRecord, searched: Mapping[str, BaseDistribution]
) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """A searched trial's own parameters; of a trial that no sampler chose, those levels that lie in the space."""
    asked = trial.optuna.get("params")
    if asked:
        own = trial.optuna.get("distributions") or {}
        kinds = {name: _distribution(own[name]) if name in own else searched[name] for name in asked}
        return dict(asked), kinds
    levels = {name: level for name in searched if (level := _look_up(cell.config, name)) is not _MISSING}
    inside = {name: level for name, level in levels.items() if _contains(searched[name], level)}
    return inside, {name: searched[name] for name in inside}


def _contains(kind: BaseDistribution, level: Any) -> bool:
    try:
        return bool(kind._contains(kind.to_internal_repr(level)))
    except (TypeError, ValueError):
        return False


# -- stages whose cells the author listed


def _observed(cells: Sequence[CellRecord]) -> dict[str, list[Level]]:
    """Every factor that some cell sets, with the levels it takes over the stage, in order of first sight."""
    factors = list(dict.fromkeys(name for cell in cells for name in cell.levels))
    return {name: _distinct(_level(cell, name) for cell in cells) for name in factors}


def _distinct(levels: Iterable[Any]) -> list[Level]:
    plain = list({json.dumps(level): level for level in levels}.values())
    # Python holds 1 and True for equal and Optuna compares choices with ==; text keeps them apart.
    clash = any(a == b for i, a in enumerate(plain) for b in plain[:i])
    return [json.dumps(level) for level in plain] if clash else plain


def _level(cell: CellRecord, factor: str) -> Level:
    """The resolved level of `factor` as one of the types a categorical choice may have; None where it is absent."""
    level = _look_up(cell.config, factor)
    if level is _MISSING:
        level = cell.levels.get(factor)
    if level is None or isinstance(level, bool | int | float | str):
        return level
    return json.dumps(level, sort_keys=True)


def _look_up(config: Json, factor: str) -> Any:
    here: Any = config
    for part in factor.split("."):
        if not isinstance(here, Mapping) or part not in here:
            return _MISSING
        here = here[part]
    return here


def _levels(
    cell: CellRecord, observed: Mapping[str, Sequence[Level]]
) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    from optuna.distributions import CategoricalDistribution

    params: dict[str, Any] = {}
    for name, choices in observed.items():
        level = _level(cell, name)
        same = [c for c in choices if type(c) is type(level) and c == level]
        params[name] = same[0] if same else json.dumps(level)
    return params, {name: CategoricalDistribution(tuple(observed[name])) for name in observed}


def _same(left: float | None, right: float) -> bool:
    return left is not None and (left == right or (math.isnan(left) and math.isnan(right)))


def _local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds)  # noqa: DTZ006 - Optuna's tables hold naive local times
