"""How much each factor of a search or grid matters to the metric: fANOVA and PED-ANOVA, as Optuna computes them.

fANOVA (Hutter, Hoos and Leyton-Brown 2014) fits a forest to the cells and tells which share of its variance each
factor explains alone. PED-ANOVA (Watanabe, Bansal and Hutter 2023) tells in which factor the best cells differ most
from the others. Each is scaled here to a sum of one.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from posestudy.vocabulary import Direction, Metric
from posestudy_reports import words
from posestudy_reports.factor_space import Axis, Space
from posestudy_reports.parallel import DESIGNS

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.importance import BaseImportanceEvaluator

_FEWEST: Final = 8
_SEED: Final = 0
_TOP: Final = 5
_TENTH: Final = 0.1
_HALF: Final = 0.5


@dataclass(frozen=True)
class Share:
    """A factor's share of the importance of all; None where that evaluator is not there."""

    factor: str
    title: str
    fanova: float | None
    ped_anova: float


@dataclass(frozen=True)
class Importance:
    """The factors of a stage, the most important first (by fANOVA where it is there), from `cells` cells."""

    stage: str
    shares: tuple[Share, ...]
    cells: int


def measurable(space: Space) -> bool:
    """Whether there is enough to say something: a search or grid of two factors or more, eight cells, not all equal."""
    values = {place.value.mean for place in space.measured if place.value}
    return space.design in DESIGNS and len(space.axes) > 1 and len(space.measured) >= _FEWEST and len(values) > 1


def importance(space: Space, direction: Direction) -> Importance:
    """From an Optuna study in memory with one trial per cell, its value the mean over seeds; seeded, so the same cells
    give the same shares."""
    import optuna

    by_variance = None
    with _quiet():
        study = _study(space, direction)
        if forests():
            by_variance = _evaluated(study, optuna.importance.FanovaImportanceEvaluator(seed=_SEED))
        by_best = _evaluated(study, _ped_anova(_quantile(space)))
    shares = [
        Share(axis.factor, axis.title, by_variance[axis.factor] if by_variance else None, by_best[axis.factor])
        for axis in space.axes
    ]
    shares.sort(key=lambda share: -(share.ped_anova if share.fanova is None else share.fanova))
    return Importance(space.stage, tuple(shares), len(space.measured))


def forests() -> bool:
    """Whether fANOVA can be computed here: it needs scikit-learn."""
    return importlib.util.find_spec("sklearn") is not None


def _quantile(space: Space) -> float:
    """The share of the cells that PED-ANOVA calls the best: it wants five of them."""
    return min(_HALF, max(_TENTH, _TOP / len(space.measured)))


def _ped_anova(quantile: float) -> BaseImportanceEvaluator:
    import warnings

    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.importance.PedAnovaImportanceEvaluator(target_quantile=quantile)


def _study(space: Space, direction: Direction) -> Study:
    import optuna

    kinds = {axis.factor: _distribution(axis) for axis in space.axes}
    study = optuna.create_study(
        direction="maximize" if direction is Direction.MORE else "minimize",
        storage=optuna.storages.InMemoryStorage(),
        sampler=optuna.samplers.RandomSampler(0),  # it samples nothing
    )
    for place in space.measured:
        params = {a.factor: _param(a, level) for a, level in zip(space.axes, place.levels, strict=True)}
        value = place.value.mean if place.value else None
        study.add_trial(optuna.trial.create_trial(params=params, distributions=kinds, value=value))
    return study


def _distribution(axis: Axis) -> BaseDistribution:
    """A choice where the levels are few, else a number, or its logarithm: fANOVA weighs what it is given evenly."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return CategoricalDistribution(range(len(axis.levels))) if axis.few else FloatDistribution(*axis.ends)


def _param(axis: Axis, level: Any) -> Any:
    return axis.index(level) if axis.few else axis.number(level)


def _evaluated(study: Study, evaluator: BaseImportanceEvaluator) -> dict[str, float]:
    import optuna

    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in shares.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's lines about a study that is only there to be computed from."""
    logger = logging.getLogger("optuna")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def caption(space: Space, metric: Metric) -> str:
    """What the figure of this space shows, in sentences; without computing it."""
    cells, trials = len(space.measured), sum(len(place.numbers) for place in space.measured)
    from_what = words.count(cells, "cell") + (f" ({words.count(trials, 'trial')})" if trials > cells else "")
    text = f"Importance of the factors of stage {words.quoted(space.stage)} for the final {metric.short}, "
    text += f"from {from_what}."
    if forests():
        text += " fANOVA: the share of the variance that a factor explains alone."
    top = max(1, int(_quantile(space) * cells))
    text += f" PED-ANOVA: how much the best {words.count(top, 'cell')} differ from the others in it."
    left_out = len(space.places) - cells
    if left_out:
        text += f" {words.count(left_out, 'cell')} without a value {'is' if left_out == 1 else 'are'} left out."
    return text + " Each adds up to 1."
