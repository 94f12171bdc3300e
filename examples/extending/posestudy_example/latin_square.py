"""A design: three factors in n² instead of n³ cells, in which every pair of levels of two factors occurs once."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from posestudy_studies.designs.base import Design, Probe, Proposal
from posestudy_studies.training import Training


class LatinSquare(Design):
    """Three factors with n levels each in n² cells: every two levels of two factors meet in one cell."""

    design: Literal["latin_square"]
    factors: dict[str, list[Any]] = Field(description="Three factors, each with as many levels as the others.")

    @field_validator("factors")
    @classmethod
    def _square(cls, value: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if len(value) != 3 or len({len(levels) for levels in value.values()}) != 1:
            raise ValueError("expected three factors with equally many levels")
        return value

    def _rows(self) -> list[dict[str, tuple[int, Any]]]:
        """Of each cell the place and the value of every factor's level."""
        names, n = list(self.factors), len(next(iter(self.factors.values())))
        places = [(i, j, (i + j) % n) for i in range(n) for j in range(n)]
        return [{f: (at, self.factors[f][at]) for f, at in zip(names, row, strict=True)} for row in places]

    def opening(self, start: Training) -> list[Proposal]:
        del start
        levels = [{factor: value for factor, (_, value) in row.items()} for row in self._rows()]
        return [Proposal(f"cell_{number}", row) for number, row in enumerate(levels, 1)]

    def probes(self) -> list[Probe]:
        return [
            Probe(
                ("factors",),
                {factor: value for factor, (_, value) in row.items()},
                {factor: ("factors", factor, at) for factor, (at, _) in row.items()},
            )
            for row in self._rows()
        ]
