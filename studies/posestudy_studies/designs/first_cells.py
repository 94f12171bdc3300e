"""Cells that a search tries first: a published recipe, or the best that is known, before anything is sampled."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from posestudy.errors import nearest
from posestudy_studies.designs.conditions import holds
from posestudy_studies.mistakes import Mistake, show

if TYPE_CHECKING:
    from posestudy_studies.designs.search import Search

Levels = dict[str, Any]
NOTE = "tried first"
"""The note of such a cell."""
_MOST_SHOWN = 10
"""Choices that a message lists."""


def of(search: Search, index: int, config: Mapping[str, Any]) -> Levels | None:
    """The levels of the cell number `index`, from 0; None where it is to be sampled.

    Args:
        config: the nested configuration that the stage starts from. A factor whose condition does not hold is left out.
    """
    if index >= len(search.first_cells):
        return None
    given, found = search.first_cells[index], Levels()
    for factor in search.order():
        if factor in given and holds(search.when(factor), found, config):
            found[factor] = _written(search, factor, given[factor])
    return found


def sound(search: Search) -> list[int]:
    """The numbers of the cells of which `mistakes` says nothing."""
    return [i for i, levels in enumerate(search.first_cells) if not any(_of_one(search, ("first_cells", i), levels))]


def mistakes(search: Search) -> Iterator[Mistake]:
    """What is wrong with `first_cells`, each at its place."""
    if len(search.first_cells) > search.cells:
        yield Mistake(("first_cells",), f"{len(search.first_cells)} cells", f"at most the {search.cells} of `cells`")
    texts = [
        json.dumps({f: _written(search, f, v) if f in search.space else v for f, v in levels.items()}, sort_keys=True)
        for levels in search.first_cells
    ]
    for i, levels in enumerate(search.first_cells):
        if texts[i] in texts[:i]:
            yield Mistake(("first_cells", i), "a cell a second time", "each cell once")
        yield from _of_one(search, ("first_cells", i), levels)


def _of_one(search: Search, place: tuple[str, int], levels: Levels) -> Iterator[Mistake]:
    unknown = {factor: nearest(factor, list(search.space)) for factor in levels if factor not in search.space}
    for factor, hint in unknown.items():
        yield Mistake((*place, factor), f"'{factor}'", "a factor of `space`", hint, at_key=True)
    for factor in search.order():
        exists = holds(search.when(factor), levels, None)
        if factor not in levels:
            if exists and not any(repr(factor) in hint for hint in unknown.values()):
                yield Mistake(place, f"no level of {factor}", "a level of every factor of `space`")
        elif not exists:
            why = f"no level where {_told(search.when(factor))} does not hold"
            yield Mistake((*place, factor), _text(levels[factor]), why, at_key=True)
        elif (expected := _outside(search, factor, levels[factor])) is not None:
            yield Mistake((*place, factor), _text(levels[factor]), expected)


def _told(when: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{factor}: {show(level)}" for factor, level in (when or {}).items())


def _outside(search: Search, factor: str, level: Any) -> str | None:
    """What is expected of a level that the space does not have; None where it has it."""
    choices = search.choices(factor)
    if choices is not None:
        if any(_is(level, one) for one in choices):
            return None
        return f"one of {', '.join(map(_text, choices[:_MOST_SHOWN]))}{', ...' if choices[_MOST_SHOWN:] else ''}"
    low, high, whole = search.reach(factor)
    if _is_number(level, whole=whole) and low <= level <= high:
        return None
    return f"{'a whole number' if whole else 'a number'} from {low:g} to {high:g}"


def _written(search: Search, factor: str, level: Any) -> Any:
    """A level as the space writes it: 1 may stand for 1.0."""
    choices = search.choices(factor)
    if choices is None:
        return float(level) if _is_number(level, whole=False) and not search.reach(factor)[2] else level
    return next((one for one in choices if _is(level, one)), level)


def _text(level: Any) -> str:
    return json.dumps(level) if isinstance(level, dict | list) else show(level)


def _is_number(level: Any, *, whole: bool) -> bool:
    return isinstance(level, int if whole else int | float) and not isinstance(level, bool)


def _is(level: Any, choice: Any) -> bool:
    """Whether they are the same; `true` is not 1."""
    return isinstance(level, bool) is isinstance(choice, bool) and bool(level == choice)
