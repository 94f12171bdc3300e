"""Which configurations fail to train: Bayesian logistic regression on the factors of a search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import solve_triangular

from posestudy_studies.curve_model import Array, Kind

PRIOR_VARIANCE = 4.0
"""Of the logit that a level, or a number over half its range, may add."""
FIRST_LOGIT, FIRST_VARIANCE = 1.0, 9.0
"""Of training well, before anything is known."""
STEPS = 12
LONGEST_STEP = 3.0


class FailureModel:
    """The posterior by Laplace's approximation.

    Args:
        kinds: of the factors, coded as for `CurveModel`.
        levels: of each `choice`; 0 of a `number`.
        codes: of the trained configurations.
        well: whether each trained well.
    """

    def __init__(self, kinds: Sequence[Kind], levels: Sequence[int], codes: Array, well: Array) -> None:
        self._kinds, self._levels = tuple(kinds), tuple(levels)
        columns, outcomes = self._columns(codes), well.astype(float)
        precision = np.eye(columns.shape[1]) / PRIOR_VARIANCE
        precision[0, 0] = 1 / FIRST_VARIANCE
        mean = np.zeros(columns.shape[1])
        mean[0] = FIRST_LOGIT
        weights = np.zeros_like(mean)
        for _ in range(STEPS):
            chance = 1.0 / (1.0 + np.exp(-columns @ weights))
            hessian = (columns.T * (chance * (1 - chance))) @ columns + precision
            step = np.linalg.solve(hessian, columns.T @ (outcomes - chance) - precision @ (weights - mean))
            weights = weights + step * min(1.0, LONGEST_STEP / max(1e-9, float(np.abs(step).max())))
        self._weights, self._root = weights, np.linalg.cholesky(hessian)

    def draw(self, codes: Array, random: np.random.Generator) -> Array:
        """Which configurations train well in one possible truth."""
        off = solve_triangular(self._root.T, random.standard_normal(len(self._weights)), lower=False)
        return np.asarray(self._columns(codes) @ (self._weights + off) > 0)

    def chance(self, codes: Array) -> Array:
        """The probability, about, that each configuration trains well."""
        return np.asarray(1.0 / (1.0 + np.exp(-self._columns(codes) @ self._weights)))

    def _columns(self, codes: Array) -> Array:
        columns = [np.ones(len(codes))]
        for f, (kind, levels) in enumerate(zip(self._kinds, self._levels, strict=True)):
            code = codes[:, f]
            if kind == "number":
                # What fails at both ends of a range, as a learning rate does, needs the square.
                half = np.nan_to_num(2 * code - 1)
                columns += [2 * half, 2 * (half**2 - 1 / 3)]
            else:
                columns += [(code == level) - 1 / levels for level in range(levels)]
        return np.array(columns).T
