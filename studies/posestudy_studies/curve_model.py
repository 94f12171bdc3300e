"""Learning curves of many configurations as one Gaussian process over factors and time.

A curve is a sum of what every configuration shares, main effects of the factors, interactions of two of them, what is
peculiar to the neighbourhood of a configuration, and what only one training has (its seed). Each of these has a level,
which is what counts at the end, and a slope over time, so that a factor may help late and hurt early. After
"Freeze-Thaw Bayesian Optimization" (Swersky et al. 2014, arXiv:1406.3896), with the additive kernel of Duvenaud et al.
(2011, arXiv:1112.4394) in place of a black box.

Time is 0 at the full length and runs as a power law, as learning curves do (Domhan et al. 2015): a slope that was seen
between 5 and 15 epochs is spent before 200, and is not drawn out over a logarithmic axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize

Kind = Literal["number", "choice"]
Array = np.ndarray

LENGTH_SCALE = 0.3
"""Over which a number, its range as 1, may bend."""
POWER = 0.6
"""Of the epochs, in the power law of time."""
NEIGHBOURHOOD = 1.5
"""Factors in which two configurations differ before what is peculiar to one says little of the other."""
SHARED_SDS = (2.0, 1.0, 0.3, 0.3)
"""Prior standard deviations of what all curves share: level, slope, bend, and the gain when the rate falls."""
BEND_SCALE = 0.7
"""Units of time over which the shared curve bends."""
LEVEL_SD, SLOPE_SD = 0.15, 0.07
"""Prior medians of the standard deviations of a main effect at the end and of its slope, in the unit of the values."""
NEAR_SD, TRAINING_SDS, NOISE_SD = 0.1, (0.05, 0.02), 0.04
"""The same of what is peculiar to a neighbourhood, to one training (level and slope), and to one validation."""
SPREADS = (0.5, 0.5)
"""Standard deviations of the logarithms of those: of effects, and of the parts of one training."""
CORRELATED = 0.7
"""The noise of n validations in a row averages as n to minus this half: they are not independent."""
BOUNDS = (-16.0, 3.0)
"""Of the logarithms of variances."""
MOST_STEPS = 30


def time(epoch: Array | float, longest: int) -> Array:
    """Epochs on the axis of the model: 0 at `longest`, negative before; about the logarithm of their ratio late on."""
    ratio = np.asarray(epoch, dtype=float) / longest
    scale = _power_law(1 / 42) / math.log(1 / 42)
    return np.asarray(_power_law(ratio) / scale)


def _power_law(ratio: Array | float) -> Array:
    return np.asarray((1.0 - np.asarray(ratio, dtype=float) ** -POWER) / POWER)


@dataclass(frozen=True)
class Points:
    """Values of trainings, each a mean over some validations; arrays of one length.

    Attributes:
        training: the row of the training in the codes of the configurations.
        time: on the axis of `time`.
        settled: how far the learning rate has fallen: 0 at its highest, 1 at 0.
        value: on a scale on which effects add, such as a logit; more is better.
        count: validations in the mean.
        doubt: variance beyond that of the model.
    """

    training: Array
    time: Array
    settled: Array
    value: Array
    count: Array
    doubt: Array


class CurveModel:
    """What is known of the curves of all configurations, those that were never trained among them.

    Args:
        kinds: of the factors. A `number` has its range as 0 to 1, a `choice` the index of its level; a factor that a
            configuration does not have is NaN.
        codes: of the trained configurations, trainings x factors.
        points: what they have shown.
    """

    def __init__(self, kinds: Sequence[Kind], codes: Array, points: Points) -> None:
        self.kinds, self.codes, self.points = tuple(kinds), codes, points
        self.centre = float(np.median(points.value))
        self._log_variances = self._prior()[0]
        self._learn()

    # ---- what is asked of it

    def forecast(
        self, codes: Array, when: Array, settled: Array, trainings: Array | None = None
    ) -> tuple[Array, Array]:
        """Mean and standard deviation of the values of configurations at a time, without noise.

        Args:
            codes: configurations x factors.
            when, settled: one each for every configuration, as in `Points`.
            trainings: the row of the training that goes on, for each; None: none does. Half of what is peculiar to a
                training goes on with it: it may be its seed, or an interaction that the model does not hold.
        """
        across = self._across(codes, when, settled)
        if trainings is not None:
            level, slope = np.exp(self._log_variances[-3:-1])
            own = np.asarray(trainings)[:, None] == self.points.training[None, :]
            across = across + 0.5 * own * (level + slope * np.outer(when, self.points.time))
        explained = solve_triangular(self._factor, across.T, lower=True)
        variance = self._before(codes, when, settled) - np.sum(explained**2, axis=0)
        return self.centre + across @ self._weights, np.sqrt(np.maximum(variance, 1e-12))

    def draw(self, codes: Array, when: Array, settled: Array, random: np.random.Generator) -> Array:
        """One possible truth: values of configurations at a time, drawn together."""
        across = self._across(codes, when, settled)
        explained = solve_triangular(self._factor, across.T, lower=True)
        parts = _parts(self.kinds, codes, codes)
        covariance = self._covariance(parts, when, settled, when, settled) - explained.T @ explained
        root = _root(covariance)
        return np.asarray(self.centre + across @ self._weights + root @ random.standard_normal(len(codes)))

    # ---- learning: every part of the covariance is linear in a variance, so that its gradient costs one product

    def _prior(self) -> tuple[Array, Array]:
        """Means and standard deviations of the logarithms of the variances, in the order of `_stack`."""
        count = len(self.kinds)
        medians = [LEVEL_SD] * count + [SLOPE_SD] * count + [LEVEL_SD, SLOPE_SD, NEAR_SD, SLOPE_SD]
        spreads = [SPREADS[0]] * len(medians) + [SPREADS[1]] * 3
        return 2.0 * np.log([*medians, *TRAINING_SDS, NOISE_SD]), 2.0 * np.array(spreads)

    def _stack(self) -> Array:
        """The parts of the covariance of the points that have a variance to learn."""
        points = self.points
        at = np.ix_(points.training, points.training)
        times = np.outer(points.time, points.time)
        mains, pairs, near = _parts(self.kinds, self.codes, self.codes)
        levels = [main[at] for main in mains]
        same = (points.training[:, None] == points.training[None, :]).astype(float)
        noise = np.diag(points.count**-CORRELATED)
        parts = [*levels, *(level * times for level in levels)]
        for part in (pairs[at], near[at], same):
            parts += [part, part * times]
        return np.array([*parts, noise])

    def _learn(self) -> None:
        points, (means, spreads) = self.points, self._prior()
        value = points.value - self.centre
        stack = self._stack()
        flat = stack.reshape(len(stack), -1)
        size = len(value)
        fixed = _shared(points.time, points.settled, points.time, points.settled) + np.diag(points.doubt + 1e-8)
        identity = np.eye(size)

        def loss(logs: Array) -> tuple[float, Array]:
            variances = np.exp(logs)
            factor = np.linalg.cholesky(fixed + (variances @ flat).reshape(size, size))
            inverse = cho_solve((factor, True), identity, check_finite=False)
            weights = inverse @ value
            off = (logs - means) / spreads
            found = 0.5 * value @ weights + np.sum(np.log(np.diag(factor))) + 0.5 * off @ off
            gradient = 0.5 * variances * (flat @ (inverse - np.outer(weights, weights)).ravel()) + off / spreads
            return float(found), gradient

        found = minimize(
            loss, means, jac=True, method="L-BFGS-B", bounds=[BOUNDS] * len(means), options={"maxiter": MOST_STEPS}
        )
        self._log_variances = found.x
        covariance = fixed + (np.exp(found.x) @ flat).reshape(size, size)
        self._factor = np.linalg.cholesky(covariance)
        self._weights = cho_solve((self._factor, True), value)

    # ---- covariances

    def _covariance(
        self, parts: tuple[Array, Array, Array], when: Array, settled: Array, other: Array, other_settled: Array
    ) -> Array:
        count = len(self.kinds)
        variances = np.exp(self._log_variances)
        pair, pair_slope, near, near_slope = variances[2 * count : 2 * count + 4]
        mains, pairs, nears = parts
        level = np.tensordot(variances[:count], mains, 1) + pair * pairs + near * nears
        slope = np.tensordot(variances[count : 2 * count], mains, 1) + pair_slope * pairs + near_slope * nears
        return np.asarray(_shared(when, settled, other, other_settled) + level + slope * np.outer(when, other))

    def _across(self, codes: Array, when: Array, settled: Array) -> Array:
        """Covariances of configurations at a time with the points."""
        points = self.points
        parts = _parts(self.kinds, codes, self.codes)
        spread = (parts[0][:, :, points.training], parts[1][:, points.training], parts[2][:, points.training])
        return self._covariance(spread, when, settled, points.time, points.settled)

    def _before(self, codes: Array, when: Array, settled: Array) -> Array:
        """Variances of configurations at a time before anything is known."""
        count = len(self.kinds)
        variances = np.exp(self._log_variances)
        mains = np.array([_alone(kind, codes[:, f]) for f, kind in enumerate(self.kinds)])
        pairs, near = _pairs(mains), _near(mains)
        pair, pair_slope, peculiar, peculiar_slope = variances[2 * count : 2 * count + 4]
        level = variances[:count] @ mains + pair * pairs + peculiar * near
        slope = variances[count : 2 * count] @ mains + pair_slope * pairs + peculiar_slope * near
        shared = [sd**2 for sd in SHARED_SDS]
        common = shared[0] + shared[1] * when**2 + shared[2] + shared[3] * settled**2
        return np.asarray(common + level + slope * when**2)


def _shared(when: Array, settled: Array, other: Array, other_settled: Array) -> Array:
    level, slope, bend, gain = (sd**2 for sd in SHARED_SDS)
    apart = (when[:, None] - other[None, :]) / BEND_SCALE
    shared = level + slope * np.outer(when, other) + bend * np.exp(-0.5 * apart**2)
    return np.asarray(shared + gain * np.outer(settled, other_settled))


def _parts(kinds: Sequence[Kind], left: Array, right: Array) -> tuple[Array, Array, Array]:
    """Similarities of configurations: in each factor, in two at once, and in all."""
    mains = np.array([_alike(kind, left[:, f], right[:, f]) for f, kind in enumerate(kinds)])
    return mains, _pairs(mains), _near(mains)


def _near(mains: Array) -> Array:
    """How near configurations are to each other in all factors together."""
    return np.asarray(np.exp(-np.sum(1.0 - np.clip(mains, -1.0, 1.0), axis=0) / NEIGHBOURHOOD))


def _pairs(mains: Array) -> Array:
    """The mean over all pairs of factors of the product of their similarities."""
    count = len(mains)
    products = 0.5 * (np.sum(mains, axis=0) ** 2 - np.sum(mains**2, axis=0))
    return np.asarray(products / max(1.0, count * (count - 1) / 2))


def _alike(kind: Kind, left: Array, right: Array) -> Array:
    x, y = left[:, None], right[None, :]
    if kind == "choice":
        found = (x == y).astype(float)
    else:
        bent = np.exp(-0.5 * ((x - y) / LENGTH_SCALE) ** 2)
        found = 0.5 * bent + 0.5 * (2 * x - 1) * (2 * y - 1)
    absent = np.isnan(x), np.isnan(y)
    return np.where(absent[0] & absent[1], 1.0, np.where(absent[0] | absent[1], 0.0, found))


def _root(covariance: Array) -> Array:
    """The Cholesky factor, with as little added to the diagonal as rounding asks for."""
    for added in (1e-6, 1e-4):
        try:
            return np.linalg.cholesky(covariance + added * np.eye(len(covariance)))
        except np.linalg.LinAlgError:
            continue
    return np.linalg.cholesky(covariance + 1e-2 * np.eye(len(covariance)))


def _alone(kind: Kind, codes: Array) -> Array:
    """The similarity of each configuration with itself."""
    if kind == "choice":
        return np.ones(len(codes))
    return np.where(np.isnan(codes), 1.0, 0.5 + 0.5 * (2 * codes - 1) ** 2)
