"""`grid`: every combination of the levels of some factors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from posestudy_studies import factors, mistakes
from posestudy_studies.cells import canonical, level_text, unique_names
from posestudy_studies.designs.base import Design, Probe, Proposal, RowText
from posestudy_studies.designs.conditions import When, condition_mistakes, holds
from posestudy_studies.designs.rows import row_mistakes, worded
from posestudy_studies.mistakes import Mistake
from posestudy_studies.training import Model, Training

MAX_CELLS = 10_000

LevelList = Annotated[list[Any], Field(min_length=1, max_length=1000)]


class Conditional(Model):
    """Levels of a factor that exists only under a condition, such as a knob of one architecture."""

    levels: LevelList = Field(description="The levels.")
    when: When


def _kind(value: object) -> str:
    return "conditional" if isinstance(value, (dict, Conditional)) else "levels"


Levels = Annotated[
    Annotated[LevelList, Tag("levels")] | Annotated[Conditional, Tag("conditional")], Discriminator(_kind)
]


class Grid(Design):
    """All combinations of levels, the last factor varying fastest."""

    design: Literal["grid"]
    factors: dict[str, Levels] = Field(
        min_length=1, description="Each factor with its levels, or with `{levels: [...], when: {factor: level}}`.",
        json_schema_extra=lambda schema: schema.update(propertyNames={"enum": list(factors.known())}),
    )  # fmt: skip
    rows: list[RowText] = Field(default_factory=list, description="Labels and notes of cells by their levels.")

    def _levels(self, factor: str) -> list[Any]:
        given = self.factors[factor]
        return given.levels if isinstance(given, Conditional) else given

    def _when(self, factor: str) -> Mapping[str, Any] | None:
        given = self.factors[factor]
        return given.when if isinstance(given, Conditional) else None

    def _combinations(self, start: Training | None) -> Iterator[dict[str, int]]:
        """Index of the level by factor; each combination once, without the factors whose condition does not hold."""
        config = None if start is None else start.model_dump(mode="json")
        seen: set[str] = set()
        for indices in itertools.product(*(range(len(self._levels(f))) for f in self.factors)):
            chosen = dict(zip(self.factors, indices, strict=True))
            while True:
                levels = self._set(chosen)
                lost = [f for f in chosen if not holds(self._when(f), levels, config)]
                if not lost:
                    break
                chosen = {f: i for f, i in chosen.items() if f not in lost}
            key = canonical(chosen)
            if chosen and key not in seen:
                seen.add(key)
                yield chosen

    def _set(self, chosen: Mapping[str, int]) -> dict[str, Any]:
        return {factor: self._levels(factor)[i] for factor, i in chosen.items()}

    def opening(self, start: Training) -> list[Proposal]:
        combinations = [self._set(chosen) for chosen in self._combinations(start)]
        if self.include_baseline:
            # The combination that is the baseline already has its cell.
            combinations = [levels for levels in combinations if factors.apply(start, levels) != start]
        names = unique_names(combinations)
        return worded([Proposal(n, levels) for n, levels in zip(names, combinations, strict=True)], self.rows)

    def _count(self) -> int:
        return math.prod(len(self._levels(factor)) for factor in self.factors)

    def _place(self, factor: str, index: int) -> mistakes.Path:
        conditional = isinstance(self.factors[factor], Conditional)
        return ("factors", factor, "levels", index) if conditional else ("factors", factor, index)

    def probes(self) -> list[Probe]:
        if self._count() > MAX_CELLS:
            return []
        return [
            Probe(("factors",), self._set(chosen), {f: self._place(f, i) for f, i in chosen.items()}, self._of(chosen))
            for chosen in self._combinations(None)
        ]

    def probes_on(self, start: Training) -> list[Probe]:
        if self._count() > MAX_CELLS:
            return []
        return [
            Probe(("factors",), self._set(chosen), {f: self._place(f, i) for f, i in chosen.items()})
            for chosen in self._combinations(start)
        ]

    def _of(self, chosen: Mapping[str, int]) -> dict[str, Any]:
        """The conditions of a combination that its own levels do not decide."""
        return {f: level for one in chosen for f, level in (self._when(one) or {}).items() if f not in chosen}

    def mistakes(self) -> list[Mistake]:
        wrong: list[Mistake] = []
        count = self._count()
        if count > MAX_CELLS:
            hint = "a search samples large spaces"
            return [Mistake(("factors",), f"{count} combinations", f"at most {MAX_CELLS}", hint)]
        for factor in self.factors:
            texts = [level_text(level) for level in self._levels(factor)]
            for i, text in enumerate(texts):
                if text in texts[:i]:
                    wrong.append(Mistake(self._place(factor, i), f"{text} a second time", "each level once"))
            levels = {other: None if self._when(other) else self._levels(other) for other in self.factors}
            wrong += condition_mistakes(("factors", factor, "when"), factor, self._when(factor), levels)
        every = [Proposal("", self._set(chosen)) for chosen in self._combinations(None)]
        return wrong + row_mistakes(self.rows, every)
