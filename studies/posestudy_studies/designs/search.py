"""`search`: cells sampled from a space of levels by Optuna's samplers, stopped early by its pruners."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Strict, Tag, field_validator

from posestudy.vocabulary import TrialState
from posestudy_studies import factors
from posestudy_studies.designs.base import BASELINE, Design, Probe, Proposal, View
from posestudy_studies.mistakes import Mistake
from posestudy_studies.training import Count, Model, Training, refuse

MAX_PROBES = 512

Bounds = Annotated[tuple[float, float], Strict(False)]
WholeBounds = Annotated[tuple[Annotated[int, Strict()], Annotated[int, Strict()]], Strict(False)]


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] >= value[1]:
        raise refuse(f"[{value[0]}, {value[1]}]", "the lower bound first, then a larger one")
    return value


class Log(Model):
    """A number sampled evenly on a logarithmic scale."""

    log: Bounds = Field(description="[low, high], both above 0.")

    @field_validator("log")
    @classmethod
    def _positive(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] <= 0:
            raise refuse(f"[{value[0]}, {value[1]}]", "bounds above 0 on a logarithmic scale")
        return _ordered(value)


class Uniform(Model):
    """A number sampled evenly."""

    uniform: Bounds = Field(description="[low, high].")

    _bounds = field_validator("uniform")(_ordered)


class Whole(Model):
    """A whole number sampled evenly, both ends included."""

    int: WholeBounds = Field(description="[low, high], whole numbers.")

    _bounds = field_validator("int")(_ordered)


def _kind(value: object) -> str | None:
    if isinstance(value, (list, tuple)):
        return "choices"
    for name, model in (("log", Log), ("uniform", Uniform), ("int", Whole)):
        if isinstance(value, model) or (isinstance(value, dict) and name in value):
            return name
    return None


_EXPECTED = "{log: [low, high]}, {uniform: [low, high]}, {int: [low, high]} or a list of choices"
Dimension = Annotated[
    Annotated[list[Any], Field(min_length=1, max_length=1000), Tag("choices")]
    | Annotated[Log, Tag("log")]
    | Annotated[Uniform, Tag("uniform")]
    | Annotated[Whole, Tag("int")],
    Discriminator(
        _kind, custom_error_type="posestudy_expected", custom_error_message=_EXPECTED,
        custom_error_context={"expected": _EXPECTED},
    ),
]  # fmt: skip


class Sampler(Model):
    """How the next cell is chosen."""

    type: Literal["tpe", "random"] = Field("tpe", description="`tpe` learns from results, `random` does not.")
    startup_trials: int = Field(10, ge=0, le=100_000, description="Trials sampled at random before TPE models them.")


class Pruner(Model):
    """Which trials are stopped early."""

    type: Literal["median", "none"] = Field("none", description="`median`: stops below the median of the others.")
    startup_trials: int = Field(5, ge=0, le=100_000, description="Trials that must have completed first.")
    warmup_epochs: int = Field(0, ge=0, description="Epochs in which no trial is stopped.")
    interval_epochs: Count = Field(1, description="Epochs between two questions.")


def _named(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


def choice_text(choice: Any) -> Any:
    """A choice as Optuna may hold it: scalars as they are, lists and mappings as JSON text."""
    return json.dumps(choice, sort_keys=True) if isinstance(choice, (list, dict)) else choice


class Search(Design):
    """Cells sampled one at a time, so that each may learn from those before it."""

    design: Literal["search"]
    space: dict[str, Dimension] = Field(
        min_length=1,
        description="Each factor with `{log: [lo, hi]}`, `{uniform: [lo, hi]}`, `{int: [lo, hi]}` or choices.",
        json_schema_extra=lambda schema: schema.update(propertyNames={"enum": list(factors.known())}),
    )  # fmt: skip
    sampler: Annotated[Sampler, BeforeValidator(_named, json_schema_input_type=Literal["tpe", "random"] | Sampler)] = (
        Field(default_factory=Sampler, description="`tpe`, `random`, or a mapping with parameters.")
    )
    pruner: Annotated[Pruner, BeforeValidator(_named, json_schema_input_type=Literal["median", "none"] | Pruner)] = (
        Field(default_factory=Pruner, description="`median`, `none`, or a mapping with parameters.")
    )
    cells: Count = Field(le=10_000, description="Cells to sample; the baseline is not counted.")

    def opening(self, start: Training) -> list[Proposal]:
        del start
        return []

    def following(self, start: Training, view: View) -> list[Proposal]:
        """One more cell whenever nobody has anything left to claim, so that each of n workers gets its own."""
        del start
        asked = self._asked(view)
        if asked >= self.cells or any(t.state is TrialState.WAITING for t in view.trials):
            return []
        from posestudy_studies import decider

        levels, optuna = decider.ask(self, view)
        return [Proposal(self.cell_name(asked), levels, optuna=optuna)]

    def complete(self, view: View) -> bool:
        return self._asked(view) >= self.cells

    @staticmethod
    def _asked(view: View) -> int:
        from posestudy_studies import remedies

        every = view.cells
        return sum(cell.name != BASELINE and not remedies.is_remedy(cell, every) for cell in every)

    def planned(self, start: Training) -> Sequence[tuple[Proposal, bool]]:
        del start
        space = {f: d if isinstance(d, list) else d.model_dump(mode="json") for f, d in self.space.items()}
        label = f"sampled by {self.sampler.type}"
        return [(Proposal(self.cell_name(i), space, label), False) for i in range(self.cells)]

    @staticmethod
    def cell_name(index: int) -> str:
        """The name of the sampled cell number `index`, from 0."""
        return f"sample_{index + 1:03d}"

    def levels(self, params: dict[str, Any]) -> dict[str, Any]:
        """The levels Optuna's `params` stand for."""
        levels: dict[str, Any] = {}
        for factor, dimension in self.space.items():
            choices = dimension if isinstance(dimension, list) else []
            texts = {(type(choice_text(c)), choice_text(c)): c for c in choices}
            chosen = params[factor]
            levels[factor] = texts.get((type(chosen), chosen), chosen)
        return levels

    def _ends(self, factor: str) -> list[Any]:
        dimension = self.space[factor]
        if isinstance(dimension, list):
            return dimension
        ((_, ends),) = dimension
        return list(ends)

    def probes(self) -> list[Probe]:
        ends = {factor: self._ends(factor) for factor in self.space}
        places = {f: ("space", f) for f in self.space}
        combinations = itertools.product(*ends.values())
        return [
            Probe(("space",), dict(zip(ends, levels, strict=True)), places)
            for levels in itertools.islice(combinations, MAX_PROBES)
        ]

    def mistakes(self) -> list[Mistake]:
        wrong: list[Mistake] = []
        for factor, dimension in self.space.items():
            texts = [json.dumps(c, sort_keys=True) for c in dimension] if isinstance(dimension, list) else []
            wrong += [
                Mistake(("space", factor, i), f"{text} a second time", "each choice once")
                for i, text in enumerate(texts)
                if text in texts[:i]
            ]
        return wrong
