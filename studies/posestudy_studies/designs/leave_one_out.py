"""`leave_one_out`: the configuration the stage starts from, and each of its components taken away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from posestudy_studies import factor_types, factors, mistakes
from posestudy_studies.cells import short_names
from posestudy_studies.designs import named
from posestudy_studies.designs.base import Design, Probe, Proposal
from posestudy_studies.mistakes import Mistake
from posestudy_studies.training import Training

_OFF: Mapping[str, Any] = {
    "amp": False, "codec.unbiased": False, "accumulate": 1, "schedule.warmup_iters": 0, "schedule.milestones": [],
    "optimizer.weight_decay": 0.0, "optimizer.momentum": 0.0, "optimizer.dampening": 0.0, "optimizer.lr_decay": 0.0,
    "optimizer.amsgrad": False, "optimizer.nesterov": False, "optimizer.centered": False,
}  # fmt: skip
"""The level that is off, where it is not null."""


def _can_be_off(factor: str) -> bool:
    return factor in _OFF or factor_types.may_be_null(factor)


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
            f"no_{short[factor]}": ({factor: _OFF.get(factor)}, (f"without {short[factor].replace('_', ' ')}", ""),
                                    ("leave_out", i))
            for i, factor in enumerate(self.leave_out)
        }  # fmt: skip

    def opening(self, start: Training) -> list[Proposal]:
        proposals = [Proposal(name, levels, *text) for name, (levels, text, _) in self._entries().items()]
        # What the start does not have cannot be taken away: the cell would be the baseline once more.
        return [p for p in proposals if not self.include_baseline or factors.apply(start, p.levels) != start]

    def probes(self) -> list[Probe]:
        named_levels = isinstance(self.leave_out, dict)
        return [
            Probe(path, levels, {f: (*path, f) if named_levels else path for f in levels})
            for levels, _, path in self._entries().values()
            # A factor that is never off is told in `mistakes`; an unknown one by the probe.
            if named_levels or all(_can_be_off(f) or f not in factors.known() for f in levels)
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
            if factor in factors.known() and not _can_be_off(factor):
                expected = f"one of {', '.join(f for f in dict.fromkeys(factors.known()) if _can_be_off(f))}"
                hint = f"or say what it is without it: {{NAME: {{{factor}: LEVEL}}}}"
                wrong.append(Mistake(("leave_out", i), f"{factor!r}, which has no level that is off", expected, hint))
        return wrong
