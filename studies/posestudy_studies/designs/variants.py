"""`variants`: named cells, each with the levels it sets."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from posestudy_studies import factors
from posestudy_studies.designs.base import BASELINE, Design, Probe, Proposal
from posestudy_studies.mistakes import Mistake, show
from posestudy_studies.training import NAME_RULE, Training, is_name

_WORDS = ("label", "note")


def _schema() -> dict[str, Any]:
    levels = {name: {"description": f"Level of the factor {name}."} for name in factors.known()}
    words = {"label": {"type": "string", "description": "Row label in the tables."},
             "note": {"type": "string", "description": "What the row tries, in words."}}  # fmt: skip
    variant = {"type": "object", "properties": words | levels, "additionalProperties": False}
    return {"additionalProperties": variant}


class Variants(Design):
    """Named variants of the configuration the stage starts from."""

    design: Literal["variants"]
    variants: dict[str, dict[str, Any]] = Field(
        min_length=1, max_length=10_000, json_schema_extra=_schema(),
        description="Name of each cell with the factors it sets, as `optimizer.lr: 1e-4`; `label`, `note` are shown.",
    )  # fmt: skip

    def opening(self, start: Training) -> list[Proposal]:
        del start
        return [
            Proposal(name, _levels(variant), str(variant.get("label", "")), str(variant.get("note", "")))
            for name, variant in self.variants.items()
        ]

    def probes(self) -> list[Probe]:
        return [
            Probe(("variants", name), _levels(variant), {f: ("variants", name, f) for f in _levels(variant)})
            for name, variant in self.variants.items()
        ]

    def mistakes(self) -> list[Mistake]:
        wrong: list[Mistake] = []
        for name, variant in self.variants.items():
            path = ("variants", name)
            if not is_name(name):
                wrong.append(Mistake(path, repr(name), NAME_RULE, at_key=True))
            if name == BASELINE:
                hint = "the baseline is a cell of every stage; `include_baseline: false` leaves it out"
                wrong.append(Mistake(path, "'baseline'", "another name", hint, at_key=True))
            if not _levels(variant):
                expected = "at least one factor with its level, as `sigma: 1.5`"
                wrong.append(Mistake(path, "no factor", expected, at_key=True))
            wrong += [
                Mistake((*path, word), show(variant[word]), "text", "put it in quotes")
                for word in _WORDS
                if word in variant and not isinstance(variant[word], str)
            ]
        return wrong


def _levels(variant: dict[str, Any]) -> dict[str, Any]:
    return {factor: level for factor, level in variant.items() if factor not in _WORDS}
