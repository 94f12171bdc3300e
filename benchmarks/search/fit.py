"""Fit the surrogates of the cat search space to the student's results: `python -m benchmarks.search.fit`.

Least squares of the logits of coco/AP with a soft loss (one reported value, 0.501 of row 24, fits nowhere) and a weak
pull of each parameter towards a prior, which decides what no result tells.
"""

from __future__ import annotations

import json
import math

import numpy as np
from scipy.optimize import least_squares

from benchmarks.search.cat_space import Reported, epochs_spent, reported
from benchmarks.search.surrogates import FITTED, KINDS, Kind, Surrogate

RESIDUAL_SD = 0.05
"""Of a logit, about what 0.010 of coco/AP is in the middle."""

PRIORS: dict[str, dict[str, tuple[float, float]]] = {
    "additive": {
        "base": (-0.1, 1.0), "length": (0.5, 0.3), "length_power": (0.3, 0.3),
        "rate": (0.3, 0.3), "rate_squared": (0.05, 0.05), "batch": (0.0, 0.1), "batch_squared": (0.05, 0.1),
        "size": (0.25, 0.3), "hrnet_w32": (0.3, 0.3), "Adamax": (0.0, 0.1),
        "half_body": (0.0, 0.1), "translation": (0.0, 0.1), "albumentations": (0.0, 0.1), "photometric": (0.0, 0.1),
        "wide": (0.0, 0.2),
    },
    "interacting": {
        "base": (-0.1, 1.0), "length": (1.0, 0.7), "length_power": (0.4, 0.2),
        "rate_speed": (0.4, 0.2), "batch_speed": (0.3, 0.2), "best_rate": (0.0, 0.1), "rate_squared": (2.0, 1.0),
        "batch_squared": (0.05, 0.05), "size": (0.25, 0.3), "hrnet_w32": (0.3, 0.3), "hrnet_w32_size": (0.15, 0.1),
        "Adamax": (0.0, 0.1), "overfitting": (0.2, 0.2), "augmentation_late": (0.0, 0.5),
        "half_body": (0.0, 0.1), "translation": (0.0, 0.1), "albumentations": (0.0, 0.1), "photometric": (0.0, 0.1),
        "wide": (0.1, 0.1), "wide_early": (-0.2, 0.1),
    },
}  # fmt: skip
"""Mean and standard deviation of each parameter before any result is known."""
POSITIVE = ("length", "length_power", "rate_squared", "batch_squared", "rate_speed", "overfitting")


def fit(kind: Kind, rows: list[Reported]) -> dict[str, float]:
    """The parameters of `additive` or `interacting` that suit `rows`."""
    names, priors = list(PRIORS[kind]), PRIORS[kind]
    measured = [(row.config, _logit(row.value)) for row in rows if row.value is not None]

    def residuals(values: np.ndarray) -> np.ndarray:
        made = Surrogate(kind, dict(zip(names, values.tolist(), strict=True)))
        off = [(made.logit(config, config.epochs) - value) / RESIDUAL_SD for config, value in measured]
        pulls = [(value - priors[name][0]) / priors[name][1] for name, value in zip(names, values, strict=True)]
        return np.array([*off, *pulls])

    least = [0.01 if name in POSITIVE else -np.inf for name in names]
    start = [priors[name][0] for name in names]
    found = least_squares(residuals, start, bounds=(least, np.inf), loss="soft_l1", max_nfev=20_000)
    return {name: round(float(value), 4) for name, value in zip(names, found.x, strict=True)}


def main() -> None:
    """Fit, write `fitted.json`, and print every reported value beside the surrogates'."""
    rows = reported()
    fitted = {}
    for kind in ("additive", "interacting"):
        parameters = fit(kind, rows)
        off = [Surrogate(kind, parameters).value(row.config) - row.value for row in rows if row.value is not None]
        spread = math.sqrt(math.fsum(one**2 for one in off) / len(off))
        fitted[kind] = {"parameters": parameters, "rms_ap": round(spread, 4)}
    FITTED.write_text(json.dumps(fitted, indent=1) + "\n", encoding="utf-8")
    made = [Surrogate.fitted(kind) for kind in KINDS]
    print(f"the student spent {epochs_spent(rows)} epochs\n")
    print("| row | outcome | coco/AP | " + " | ".join(KINDS) + " |\n|---|---|---|" + "---|" * len(KINDS))
    for row in rows:
        value = "-" if row.value is None else f"{row.value:.3f}"
        told = [
            f"{one.value(row.config):.3f}" if one.outcome(row.config) == row.outcome else "other outcome"
            for one in made
        ]
        print(f"| {row.stage} {row.label} | {row.outcome} | {value} | " + " | ".join(told) + " |")
    print("\nbest of the space:")
    for one in made:
        print(f"- {one.kind}: {one.best()}")
    print("\nroot mean square: " + ", ".join(f"{kind} {found['rms_ap']}" for kind, found in fitted.items()))


def _logit(value: float) -> float:
    return math.log(value / (1 - value))


if __name__ == "__main__":
    main()
