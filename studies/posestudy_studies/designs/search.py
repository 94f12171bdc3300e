"""`search`: cells sampled from a space of levels by Optuna's samplers, stopped early by its pruners."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Strict, Tag, field_validator

from posestudy.errors import nearest
from posestudy.vocabulary import METRICS, TrialState
from posestudy_studies import factors
from posestudy_studies.cells import label
from posestudy_studies.designs import first_cells
from posestudy_studies.designs.base import BASELINE, Design, Probe, Proposal, View
from posestudy_studies.designs.conditions import When, condition_mistakes, holds
from posestudy_studies.designs.sampling import Pruner, PrunerName, Sampler, SamplerName, named
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
    when: When | None = Field(None, description="Only where these other factors have these levels.")

    @field_validator("log")
    @classmethod
    def _positive(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] <= 0:
            raise refuse(f"[{value[0]}, {value[1]}]", "bounds above 0 on a logarithmic scale")
        return _ordered(value)


class Uniform(Model):
    """A number sampled evenly."""

    uniform: Bounds = Field(description="[low, high].")
    when: When | None = Field(None, description="Only where these other factors have these levels.")

    _bounds = field_validator("uniform")(_ordered)


class Whole(Model):
    """A whole number sampled evenly, both ends included."""

    int: WholeBounds = Field(description="[low, high], whole numbers.")
    when: When | None = Field(None, description="Only where these other factors have these levels.")

    _bounds = field_validator("int")(_ordered)


class Choices(Model):
    """One of a list, where a condition holds."""

    choices: Annotated[list[Any], Field(min_length=1, max_length=1000)] = Field(description="The levels.")
    when: When | None = Field(None, description="Only where these other factors have these levels.")


def _kind(value: object) -> str | None:
    if isinstance(value, (list, tuple)):
        return "a list"
    for name, model in (("log", Log), ("uniform", Uniform), ("int", Whole), ("choices", Choices)):
        if isinstance(value, model) or (isinstance(value, dict) and name in value):
            return f"{name} range"
    return None


_EXPECTED = "{log: [low, high]}, {uniform: [low, high]}, {int: [low, high]}, {choices: [...]} or a list of choices"
OUTCOMES = ("latency_ms", "duration_s", "peak_memory_mb")
"""What of a trial may be an objective beside metrics; less is better."""
Dimension = Annotated[
    Annotated[list[Any], Field(min_length=1, max_length=1000), Tag("a list")]
    # No tag may be a key that stands in the file.
    | Annotated[Log, Tag("log range")]
    | Annotated[Uniform, Tag("uniform range")]
    | Annotated[Whole, Tag("int range")]
    | Annotated[Choices, Tag("choices range")],
    Discriminator(
        _kind, custom_error_type="posestudy_expected", custom_error_message=_EXPECTED,
        custom_error_context={"expected": _EXPECTED},
    ),
]  # fmt: skip


def choice_text(choice: Any) -> Any:
    """A choice as Optuna may hold it: scalars as they are, lists and mappings as JSON text."""
    return json.dumps(choice, sort_keys=True) if isinstance(choice, (list, dict)) else choice


def _label(levels: dict[str, Any]) -> str:
    """The row label of a sampled cell: three digits of a number from a range tell it from the others."""
    return label({f: float(f"{v:.3g}") if isinstance(v, float) else v for f, v in levels.items()})


class Search(Design):
    """Cells sampled one at a time, so that each may learn from those before it."""

    design: Literal["search"]
    space: dict[str, Dimension] = Field(
        min_length=1,
        description="Each factor with `{log: [lo, hi]}`, `{uniform: [lo, hi]}`, `{int: [lo, hi]}` or choices.",
        json_schema_extra=lambda schema: schema.update(propertyNames={"enum": list(factors.known())}),
    )  # fmt: skip
    sampler: Annotated[Sampler, BeforeValidator(named, json_schema_input_type=SamplerName | Sampler)] = Field(
        default_factory=Sampler,
        description="`tpe`, `curves`, `gp`, `random`, `qmc`, `nsgaii`, or a mapping with parameters.",
    )
    pruner: Annotated[Pruner, BeforeValidator(named, json_schema_input_type=PrunerName | Pruner)] = Field(
        default_factory=Pruner,
        description="`asha`, `median`, `hyperband`, `successive_halving`, `patience`, `none`, or a mapping with "
        "parameters.",
    )
    objectives: list[str] = Field(
        default_factory=list, max_length=2,
        description="Two objectives, as `[coco/AP, latency_ms]`: the study's metric, and another metric, `latency_ms` "
        "(median of one image), `duration_s` (of training) or `peak_memory_mb`. Empty for the study's metric alone.",
    )  # fmt: skip
    warm_start: list[str] = Field(
        default_factory=list, max_length=100,
        description="Studies of this home whose results the sampler knows from the start, as far as they are of this "
        "space, these data and this metric.",
    )  # fmt: skip
    first_cells: list[dict[str, Any]] = Field(
        default_factory=list, max_length=1000,
        description="Cells to try before any is sampled, such as a published recipe: each a level of every factor of "
        "the space. They are counted in `cells`.",
    )  # fmt: skip
    cells: Count = Field(le=10_000, description="Cells to sample; the baseline is not counted.")

    def opening(self, start: Training) -> list[Proposal]:
        del start
        return []

    def following(self, start: Training, view: View) -> list[Proposal]:
        """One more cell whenever nobody has anything left to claim, so that each of n workers gets its own.

        Paused trials that may go on come first; see `posestudy_studies.asha`.
        """
        del start
        asked = self._asked(view)
        if asked >= self.cells or any(t.state is TrialState.WAITING for t in view.trials):
            return []
        from posestudy_studies import decider

        levels, optuna = decider.ask(self, view)
        note = first_cells.NOTE if asked < len(self.first_cells) else ""
        return [Proposal(self.cell_name(asked), levels, label=_label(levels), note=note, optuna=optuna)]

    def complete(self, view: View) -> bool:
        return self._asked(view) >= self.cells

    @staticmethod
    def _asked(view: View) -> int:
        from posestudy_studies import remedies

        every = view.cells
        return sum(cell.name != BASELINE and not remedies.is_remedy(cell, every) for cell in every)

    def planned(self, start: Training) -> Sequence[tuple[Proposal, bool]]:
        space = {
            f: d if isinstance(d, list) else d.model_dump(mode="json", exclude_none=True) for f, d in self.space.items()
        }
        told = f"sampled by {self.sampler.type}"
        config = start.model_dump(mode="json")
        found: list[tuple[Proposal, bool]] = []
        for i in range(self.cells):
            given = first_cells.of(self, i, config)
            if given is None:
                found.append((Proposal(self.cell_name(i), space, told), False))
            else:
                found.append((Proposal(self.cell_name(i), given, _label(given), first_cells.NOTE), True))
        return found

    @staticmethod
    def cell_name(index: int) -> str:
        """The name of the sampled cell number `index`, from 0."""
        return f"sample_{index + 1:03d}"

    def choices(self, factor: str) -> list[Any] | None:
        """The levels a factor is chosen from; None where it is sampled from a range."""
        dimension = self.space[factor]
        if isinstance(dimension, Choices):
            return dimension.choices
        return dimension if isinstance(dimension, list) else None

    def order(self) -> list[str]:
        """The factors in the file's order, but each after those that its condition asks for."""
        pending, found = list(self.space), list[str]()
        while pending:
            factor = next((f for f in pending if not set(self.when(f) or {}) & set(pending)), pending[0])
            pending.remove(factor)
            found.append(factor)
        return found

    def when(self, factor: str) -> dict[str, Any] | None:
        """The condition under which a factor exists; None: always."""
        dimension = self.space[factor]
        return None if isinstance(dimension, list) else dimension.when

    def level(self, factor: str, param: Any) -> Any:
        """The level that Optuna's parameter stands for."""
        texts = {(type(choice_text(c)), choice_text(c)): c for c in self.choices(factor) or ()}
        return texts.get((type(param), param), param)

    def reach(self, factor: str) -> tuple[float, float, bool]:
        """The ends of a range, and whether it holds whole numbers only."""
        match self.space[factor]:
            case Whole(int=(low, high)):
                return low, high, True
            case Log(log=(low, high)) | Uniform(uniform=(low, high)):
                return low, high, False
        raise TypeError(factor)

    def _ends(self, factor: str) -> list[Any]:
        choices = self.choices(factor)
        return list(self.reach(factor)[:2]) if choices is None else choices

    def probes(self) -> list[Probe]:
        """Choices and ends of ranges: each by itself first, then two and more together, as far as `MAX_PROBES` goes."""
        return self._probes(None)

    def probes_on(self, start: Training) -> list[Probe]:
        return self._probes(start.model_dump(mode="json"))

    def _probes(self, config: dict[str, Any] | None) -> list[Probe]:
        """On a start with this configuration; where it is not known (None) conditions on it are taken to hold."""
        found: dict[str, Probe] = {}
        order = self.order()
        for combination in itertools.islice(self._combinations(), MAX_PROBES):
            levels: dict[str, Any] = {}
            for factor in order:
                if holds(self.when(factor), levels, config):
                    levels[factor] = combination[factor]
            places = {f: ("space", f) for f in levels}
            found.setdefault(json.dumps(levels, sort_keys=True), Probe(("space",), levels, places))
        given = []
        for i in first_cells.sound(self):
            levels = self.first_cells[i] if config is None else first_cells.of(self, i, config) or {}
            given.append(Probe(("first_cells", i), levels, {factor: ("first_cells", i, factor) for factor in levels}))
        return [*found.values(), *given]

    def _combinations(self) -> Iterator[dict[str, Any]]:
        """The first level of every factor, then what differs from that in one factor, in two, and so on."""
        levels = {factor: self._ends(factor) for factor in self.space}
        first = {factor: ends[0] for factor, ends in levels.items()}
        for count in range(len(levels) + 1):
            for changed in itertools.combinations(levels, count):
                others = [[*levels[f][1:], *(self._inside(f) if count == 1 else ())] for f in changed]
                for chosen in itertools.product(*others):
                    yield {**first, **dict(zip(changed, chosen, strict=True))}

    def _inside(self, factor: str) -> list[int]:
        """The neighbour of the lower end of whole numbers: it does not fit either where only odd ones do."""
        dimension = self.space[factor]
        return [dimension.int[0] + 1] if isinstance(dimension, Whole) else []

    def mistakes(self) -> list[Mistake]:
        wrong: list[Mistake] = []
        for factor in self.space:
            texts = [json.dumps(c, sort_keys=True) for c in self.choices(factor) or ()]
            inside = ("choices",) if isinstance(self.space[factor], Choices) else ()
            wrong += [
                Mistake(("space", factor, *inside, i), f"{text} a second time", "each choice once")
                for i, text in enumerate(texts)
                if text in texts[:i]
            ]
            chosen = {other: None if self.when(other) else self.choices(other) for other in self.space}
            wrong += condition_mistakes(("space", factor, "when"), factor, self.when(factor), chosen)
        wrong += self._circle_mistakes() + self._objective_mistakes() + self._pruner_mistakes()
        return [*wrong, *self._warm_mistakes(), *first_cells.mistakes(self)]

    def _circle_mistakes(self) -> list[Mistake]:
        pending = list(self.space)
        while free := [f for f in pending if not set(self.when(f) or {}) & set(pending) - {f}]:
            pending = [f for f in pending if f not in free]
        if not pending:
            return []
        found = f"conditions that wait for each other: {', '.join(pending)}"
        return [Mistake(("space", pending[0], "when"), found, "a factor that is sampled before its condition is asked")]

    def _objective_mistakes(self) -> list[Mistake]:
        known = [*METRICS, *OUTCOMES]
        wrong = [
            Mistake(("objectives", i), repr(name), f"one of {', '.join(known)}", nearest(name, known))
            for i, name in enumerate(self.objectives)
            if name not in known
        ]
        if len(self.objectives) == 1:
            wrong.append(Mistake(("objectives",), "one objective", "two, or none for the study's metric alone"))
        if len(self.objectives) == 2 and self.objectives[0] == self.objectives[1]:
            wrong.append(Mistake(("objectives", 1), f"{self.objectives[1]!r} a second time", "another objective"))
        if self.objectives and self.sampler.type == "curves":
            expected = "a sampler for two objectives, such as nsgaii: the model of curves knows one"
            wrong.append(Mistake(("sampler",), "'curves'", expected))
        if self.objectives and self.pruner.type != "none":
            expected = "no pruner: with two objectives no trial is surely worse"
            wrong.append(Mistake(("pruner",), f"'{self.pruner.type}'", expected))
        return wrong

    def _warm_mistakes(self) -> list[Mistake]:
        if not self.warm_start:
            return []
        if self.objectives:
            expected = "no warm start: times and memory of other studies are of other machines"
            return [Mistake(("warm_start",), "two objectives", expected)]
        if self.sampler.type not in ("tpe", "gp"):
            return [Mistake(("sampler",), f"'{self.sampler.type}'", "tpe or gp, which learn from what is known")]
        return [
            Mistake(("warm_start", i), f"{name!r} a second time", "each study once")
            for i, name in enumerate(self.warm_start)
            if name in self.warm_start[:i]
        ]

    def _pruner_mistakes(self) -> list[Mistake]:
        place: tuple[str, ...] = ("pruner", "wrapped")
        inner = self.pruner.wrapped
        while inner is not None:
            if inner.type == "asha":
                expected = "a pruner that ends trials: `asha` lets them pause"
                return [Mistake(place, "'asha'", expected)]
            place, inner = (*place, "wrapped"), inner.wrapped
        return []
