"""Conditional factors: a knob that exists only where another factor has certain levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from posestudy.errors import nearest
from posestudy_studies import factors, mistakes
from posestudy_studies.mistakes import Mistake, show

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
        if not _is(level, wanted) and not (isinstance(wanted, list) and any(_is(level, one) for one in wanted)):
            return False
    return True


def _is(level: Any, wanted: Any) -> bool:
    """Whether they are the same level; a configuration has `codec: megvii` as a mapping with that `type`."""
    if isinstance(level, Mapping) and isinstance(wanted, str):
        return bool(level.get("type") == wanted)
    return bool(level == wanted)


def condition_mistakes(
    path: mistakes.Path,
    factor: str,
    when: Mapping[str, Any] | None,
    levels: Mapping[str, Sequence[Any] | None],
) -> list[Mistake]:
    """What is wrong with the condition of `factor` at `path`.

    Args:
        levels: of the stage's factors; None where a factor has a range, or a condition of its own, without which it is
            as the stage's start has it.
    """
    wrong: list[Mistake] = []
    for other, wanted in (when or {}).items():
        if other == factor:
            wrong.append(Mistake((*path, other), f"'{other}' itself", "another factor", at_key=True))
        elif other not in factors.known():
            hint = nearest(other, factors.known())
            wrong.append(Mistake((*path, other), f"unknown factor '{other}'", "a factor", hint, at_key=True))
        elif other not in levels and (group := next((f for f in levels if other.startswith(f"{f}.")), None)):
            found = f"'{other}', while the stage sets '{group}' as a whole"
            expected = f"a condition on '{group}', as {{{group}: NAME}} with the `type` of a level"
            wrong.append(Mistake((*path, other), found, expected, at_key=True))
        else:
            wrong += _never((*path, other), other, wanted, levels.get(other))
    return wrong


def _never(path: mistakes.Path, factor: str, wanted: Any, levels: Sequence[Any] | None) -> list[Mistake]:
    """What of the condition at `path` no level of its factor fulfils."""
    if levels is None or any(_is(level, wanted) for level in levels):
        return []
    expected = f"a level of {factor}: {', '.join(show(level) for level in levels)}"
    several = isinstance(wanted, list)
    return [
        Mistake((*path, i) if several else path, show(one), expected, _like(one, levels))
        for i, one in enumerate(wanted if several else [wanted])
        if not any(_is(level, one) for level in levels)
    ]


def _like(level: Any, levels: Sequence[Any]) -> str:
    return nearest(level, [one for one in levels if isinstance(one, str)]) if isinstance(level, str) else ""
