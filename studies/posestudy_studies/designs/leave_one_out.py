"""`leave_one_out`: the configuration the stage starts from, and each of its components taken away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from posestudy_studies import factors, mistakes
from posestudy_studies.cells import short_names
from posestudy_studies.designs import named
from posestudy_studies.designs.base import Design, Probe, Proposal
from posestudy_studies.mistakes import Mistake
from posestudy_studies.training import Training

OFF: Mapping[str, Any] = {"amp": False, "codec.unbiased": False}
"""Off-levels of the factors whose off is not null."""

_NO_OFF = frozenset({"model", "codec", "optimizer", "schedule", "augmentation", "backbone", "input_size"})


class LeaveOneOut(Design):
    """Takes away one component after the other; the baseline is the full configuration."""

    design: Literal["leave_one_out"]
    leave_out: list[str] | dict[str, dict[str, Any]] = Field(
        min_length=1, max_length=1000,
        json_schema_extra={"anyOf": [
            {"type": "array", "items": {"type": "string"}, "minItems": 1}, {"type": "object"} | named.schema(),
        ]},
        description="Factors to switch off, as `[augmentation.flip, amp]`, or `{NAME: {factor: level without it}}`.",
    )  # fmt: skip

    def _entries(self) -> dict[str, tuple[dict[str, Any], tuple[str, str], mistakes.Path]]:
        """By name of the cell: its levels, label and note, and where it stands in the stage."""
        if isinstance(self.leave_out, dict):
            return {
                name: (named.levels(entry), named.words(entry), ("leave_out", name))
                for name, entry in self.leave_out.items()
            }
        short = short_names(self.leave_out)
        return {
            f"no_{short[factor]}": ({factor: OFF.get(factor)}, (f"without {short[factor].replace('_', ' ')}", ""),
                                    ("leave_out", i))
            for i, factor in enumerate(self.leave_out)
        }  # fmt: skip

    def opening(self, start: Training) -> list[Proposal]:
        proposals = [Proposal(name, levels, *text) for name, (levels, text, _) in self._entries().items()]
        # What the start does not have cannot be taken away: the cell would be the baseline once more.
        return [p for p in proposals if not self.include_baseline or factors.apply(start, p.levels) != start]

    def probes(self) -> list[Probe]:
        return [
            Probe(path, levels, {f: (*path, f) if isinstance(self.leave_out, dict) else path for f in levels})
            for levels, _, path in self._entries().values()
            if not any(f in _NO_OFF for f in levels) or isinstance(self.leave_out, dict)
        ]

    def mistakes(self) -> list[Mistake]:
        if isinstance(self.leave_out, dict):
            return [
                m
                for name, entry in self.leave_out.items()
                for m in named.entry_mistakes(("leave_out", name), name, entry)
            ]
        wrong: list[Mistake] = []
        for i, factor in enumerate(self.leave_out):
            if factor in self.leave_out[:i]:
                wrong.append(Mistake(("leave_out", i), f"{factor!r} a second time", "each factor once"))
            if factor in _NO_OFF:
                expected = "a factor that can be off, as augmentation.flip"
                hint = "or {NAME: {factor: level without it}}"
                wrong.append(Mistake(("leave_out", i), repr(factor), expected, hint))
        return wrong
