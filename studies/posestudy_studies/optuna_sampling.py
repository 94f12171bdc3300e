"""Optuna's samplers and pruners made from a study file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posestudy_studies.designs.sampling import Pruner, Sampler

if TYPE_CHECKING:
    import optuna

CONSTRAINED = frozenset({"tpe", "gp", "nsgaii"})
"""Samplers that learn from a violated constraint."""
MODELS = frozenset({"tpe", "gp"})
"""Those among them that learn from any trial, not only from those they bred."""


def sampler(wanted: Sampler, seed: int, fixed_seed: int) -> optuna.samplers.BaseSampler:
    """A new sampler.

    Args:
        wanted: what the study file says.
        seed: another one for each cell that is asked for.
        fixed_seed: the same for all cells of a stage; a Sobol sequence is scrambled once.
    """
    import warnings

    import optuna

    match wanted.type:
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case "qmc":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return optuna.samplers.QMCSampler(
                    scramble=True, seed=fixed_seed, warn_independent_sampling=False, warn_asynchronous_seeding=False,
                    independent_sampler=optuna.samplers.RandomSampler(seed=seed),
                )  # fmt: skip
        case "gp":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return optuna.samplers.GPSampler(
                    seed=seed, n_startup_trials=wanted.startup_trials, warn_independent_sampling=False
                )
        case "nsgaii":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=wanted.population)
        case _:
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=wanted.startup_trials)


def pruner(wanted: Pruner, epochs: int) -> optuna.pruners.BasePruner:
    """A new pruner; `epochs` are those of a trial that is never stopped, where the file does not say."""
    import warnings

    import optuna

    match wanted.type:
        case "median":
            return optuna.pruners.MedianPruner(wanted.startup_trials, wanted.warmup_epochs, wanted.interval_epochs)
        case "hyperband":
            return optuna.pruners.HyperbandPruner(
                min_resource=wanted.min_epochs,
                max_resource=max(wanted.min_epochs, wanted.max_epochs or epochs),
                reduction_factor=wanted.reduction,
            )
        case "successive_halving":
            return optuna.pruners.SuccessiveHalvingPruner(
                min_resource=wanted.min_epochs, reduction_factor=wanted.reduction
            )
        case "patience":
            inner = None if wanted.wrapped is None else pruner(wanted.wrapped, epochs)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return optuna.pruners.PatientPruner(inner, patience=wanted.patience, min_delta=wanted.min_delta)
        case _:
            return optuna.pruners.NopPruner()
