"""Conditional factors: a knob that exists only where another factor has certain levels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from posestudy.errors import nearest
from posestudy_studies import factors, mistakes
from posestudy_studies.mistakes import Mistake

When = Annotated[
    dict[str, Any],
    Field(min_length=1, description="Only where each of these factors has this level, or one of this list."),
]


def holds(when: Mapping[str, Any] | None, levels: Mapping[str, Any], config: Mapping[str, Any] | None) -> bool:
    """Whether a condition holds for `levels` set on the nested `config`.

    Where a factor is not among the levels and no configuration is known (None), its condition is taken to hold.
    """
    for factor, wanted in (when or {}).items():
        if factor in levels:
            level = levels[factor]
        elif config is not None:
            level = factors.get(config, factor)
        else:
            continue
        if level != wanted and not (isinstance(wanted, list) and any(level == one for one in wanted)):
            return False
    return True


def condition_mistakes(path: mistakes.Path, factor: str, when: Mapping[str, Any] | None) -> list[Mistake]:
    """What is wrong with the condition of `factor` at `path`."""
    wrong: list[Mistake] = []
    for other in when or {}:
        if other == factor:
            wrong.append(Mistake((*path, other), f"'{other}' itself", "another factor", at_key=True))
        elif other not in factors.known():
            hint = nearest(other, factors.known())
            wrong.append(Mistake((*path, other), f"unknown factor '{other}'", "a factor", hint, at_key=True))
    return wrong
