"""`variants`: named cells, each with the levels it sets."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from posestudy_studies.designs import named
from posestudy_studies.designs.base import Design, Probe, Proposal
from posestudy_studies.mistakes import Mistake
from posestudy_studies.training import Training


class Variants(Design):
    """Named variants of the configuration the stage starts from."""

    design: Literal["variants"]
    variants: dict[str, dict[str, Any]] = Field(
        min_length=1, max_length=10_000, json_schema_extra=named.schema(),
        description="Name of each cell with the factors it sets, as `optimizer.lr: 1e-4`; `label`, `note` are shown.",
    )  # fmt: skip

    def opening(self, start: Training) -> list[Proposal]:
        del start
        return [Proposal(name, named.levels(entry), *named.words(entry)) for name, entry in self.variants.items()]

    def probes(self) -> list[Probe]:
        return [
            Probe(("variants", name), named.levels(entry), {f: ("variants", name, f) for f in named.levels(entry)})
            for name, entry in self.variants.items()
        ]

    def mistakes(self) -> list[Mistake]:
        return [
            m for name, entry in self.variants.items() for m in named.entry_mistakes(("variants", name), name, entry)
        ]
