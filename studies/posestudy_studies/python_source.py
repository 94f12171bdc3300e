"""Plain data as readable Python source, in the style of MMPose's own config files."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from typing import Any

WIDTH = 100
"""Columns within which a value stays on one line."""


def assignments(values: Mapping[str, Any]) -> str:
    """One assignment a key, which run as Python gives `values` back.

    Args:
        values: names to dicts, lists, tuples, strings, numbers, booleans and None, nested at will.
    """
    return "".join(f"{name} = {_source(value, 0, len(name) + 3)}\n" for name, value in values.items())


def _source(value: Any, depth: int, column: int) -> str:
    """`value` as an expression that starts at `column` of a line indented by `depth` levels."""
    parts, opening, closing = _parts(value, depth + 1)
    if parts is None:
        return repr(value)
    one_line = opening + ", ".join(parts) + ("," if opening == "(" and len(parts) == 1 else "") + closing
    if "\n" not in one_line and column + len(one_line) < WIDTH:
        return one_line
    inner, outer = "    " * (depth + 1), "    " * depth
    return opening + "\n" + "".join(f"{inner}{part},\n" for part in parts) + outer + closing


def _parts(value: Any, depth: int) -> tuple[list[str] | None, str, str]:
    """The items of a container as source with its brackets, or None for anything else."""
    column = 4 * depth
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key) for key in value):
            items = [f"{key}={_source(item, depth, column + len(key) + 1)}" for key, item in value.items()]
            return items, "dict(", ")"
        items = [f"{key!r}: {_source(item, depth, column + len(repr(key)) + 2)}" for key, item in value.items()]
        return items, "{", "}"
    if isinstance(value, (list, tuple)):
        brackets = ("[", "]") if isinstance(value, list) else ("(", ")")
        return [_source(item, depth, column) for item in value], *brackets
    return None, "", ""
