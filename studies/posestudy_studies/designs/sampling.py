"""Samplers and pruners of a search, as the study file names them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from posestudy_studies.training import Count, Model

SAMPLERS = ("tpe", "curves", "gp", "random", "qmc", "nsgaii")
PRUNERS = ("none", "asha", "median", "hyperband", "successive_halving", "patience")

SamplerName = Literal["tpe", "curves", "gp", "random", "qmc", "nsgaii"]
PrunerName = Literal["none", "asha", "median", "hyperband", "successive_halving", "patience"]


def named(value: object) -> Any:
    """`tpe` as `{type: tpe}`."""
    return {"type": value} if isinstance(value, str) else value


class Sampler(Model):
    """How the next cell is chosen."""

    type: SamplerName = Field(
        "tpe",
        description="`tpe`: tree-structured Parzen estimator; `curves`: a model of all learning curves, for few "
        "epochs; `gp`: Gaussian process, for few costly cells; `nsgaii`: a genetic algorithm, for two objectives; "
        "`qmc`: a Sobol sequence, spread evenly; `random`.",
    )
    startup_trials: int = Field(
        10, ge=0, le=100_000, description="Trials sampled at random before `tpe`, `curves` or `gp` models them."
    )
    population: int = Field(10, ge=2, le=10_000, description="Trials of a generation of `nsgaii`.")


class Pruner(Model):
    """Which trials are stopped early; a key that belongs to another type of pruner has no effect."""

    type: PrunerName = Field(
        "none",
        description="`asha`: asynchronous successive halving, whose trials pause and may go on later; `median`: stops "
        "below the median of the others; `hyperband`, `successive_halving`: gives ever more epochs to ever fewer "
        "trials; `patience`: stops what has become worse.",
    )
    startup_trials: int = Field(5, ge=0, le=100_000, description="median: trials that must have completed first.")
    warmup_epochs: int = Field(0, ge=0, description="median: epochs in which no trial is stopped.")
    interval_epochs: Count = Field(1, description="median: epochs between two questions.")
    min_epochs: Count = Field(1, description="asha, hyperband, successive_halving: epochs every trial gets.")
    max_epochs: Count | None = Field(
        None, description="hyperband: epochs of a trial that is never stopped; null for those the stage starts from."
    )
    reduction: int = Field(
        3,
        ge=2,
        le=100,
        description="asha, hyperband, successive_halving: one of this many trials goes on at each step.",
    )
    rank: Literal["value", "forecast"] = Field(
        "value",
        description="asha: what ranks trials at a rung: their `value` there, or the `forecast` of their value at full "
        "length by a model of all learning curves.",
    )
    patience: int = Field(
        3, ge=0, le=100_000, description="patience: validations that may be worse than the best before."
    )
    min_delta: float = Field(0.0, ge=0, description="patience: how much worse, in the metric's unit, they may be.")
    wrapped: Annotated[Pruner | None, BeforeValidator(named)] = Field(
        None, description="patience: the pruner that decides once patience is at its end; null stops at once."
    )
