"""`grid`: every combination of the levels of some factors."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Any, Literal

from pydantic import Field

from posestudy_studies import factors
from posestudy_studies.cells import level_text, unique_names
from posestudy_studies.designs.base import Design, Probe, Proposal
from posestudy_studies.mistakes import Mistake
from posestudy_studies.training import Training

MAX_CELLS = 10_000


class Grid(Design):
    """All combinations of levels, the last factor varying fastest."""

    design: Literal["grid"]
    factors: dict[str, Annotated[list[Any], Field(min_length=1, max_length=1000)]] = Field(
        min_length=1, description="Each factor with the list of its levels.",
        json_schema_extra=lambda schema: schema.update(propertyNames={"enum": list(factors.known())}),
    )  # fmt: skip

    def _combinations(self) -> list[dict[str, Any]]:
        return [dict(zip(self.factors, levels, strict=True)) for levels in itertools.product(*self.factors.values())]

    def opening(self, start: Training) -> list[Proposal]:
        combinations = self._combinations()
        if self.include_baseline:
            # The combination that is the baseline already has its cell.
            combinations = [levels for levels in combinations if factors.apply(start, levels) != start]
        names = unique_names(combinations)
        return [Proposal(name, levels) for name, levels in zip(names, combinations, strict=True)]

    def probes(self) -> list[Probe]:
        if math.prod(len(levels) for levels in self.factors.values()) > MAX_CELLS:
            return []
        probes: list[Probe] = []
        for indices in itertools.product(*(range(len(levels)) for levels in self.factors.values())):
            places = {f: ("factors", f, i) for f, i in zip(self.factors, indices, strict=True)}
            probes.append(Probe(("factors",), {f: self.factors[f][i] for f, (*_, i) in places.items()}, places))
        return probes

    def mistakes(self) -> list[Mistake]:
        wrong: list[Mistake] = []
        count = math.prod(len(levels) for levels in self.factors.values())
        if count > MAX_CELLS:
            hint = "a search samples large spaces"
            wrong.append(Mistake(("factors",), f"{count} combinations", f"at most {MAX_CELLS}", hint))
        for factor, levels in self.factors.items():
            texts = [level_text(level) for level in levels]
            for i, text in enumerate(texts):
                if text in texts[:i]:
                    wrong.append(Mistake(("factors", factor, i), f"{text} a second time", "each level once"))
        return wrong
