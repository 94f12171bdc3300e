"""Plain data as readable Python source, in the style of MMPose's own config files."""

from __future__ import annotations

import keyword
import math
from collections.abc import Mapping
from typing import Any

from posestudy.errors import PoseStudyError

WIDTH = 100
"""Columns within which a value stays on one line."""


def assignments(values: Mapping[str, Any]) -> str:
    """One assignment a key, which run as Python gives `values` back.

    Args:
        values: names to dicts, lists, tuples, strings, numbers, booleans and None, nested at will.

    Raises:
        PoseStudyError: something else is among them, which text cannot give back.
    """
    return "".join(f"{name} = {_source(value, 0, len(name) + 3)}\n" for name, value in values.items())


def _source(value: Any, depth: int, column: int) -> str:
    """`value` as an expression that starts at `column` of a line indented by `depth` levels."""
    parts, opening, closing = _parts(value, depth + 1)
    if parts is None:
        return _literal(value)
    one_line = opening + ", ".join(parts) + ("," if opening == "(" and len(parts) == 1 else "") + closing
    if "\n" not in one_line and column + len(one_line) < WIDTH:
        return one_line
    inner, outer = "    " * (depth + 1), "    " * depth
    return opening + "\n" + "".join(f"{inner}{part},\n" for part in parts) + outer + closing


def _literal(value: Any) -> str:
    """`value` as a literal that MMEngine reads as it stands.

    Before it runs a config, MMEngine replaces `{{fileDirname}}`, `{{$VARIABLE:default}}` and `{{_base_.name}}` anywhere
    in its text: a keypoint of such a name would take an environment variable into the config, or end its own quotes.
    """
    if value is not None and not isinstance(value, str | bool | int | float):
        raise PoseStudyError(
            f"found {type(value).__name__} {value!r} in an MMPose config; expected dicts, lists, text and numbers"
        )
    if isinstance(value, float):
        return repr(float(value)) if math.isfinite(value) else f"float({str(float(value))!r})"
    return repr(value).replace("{{", "{\\x7b")


def _is_keyword_argument(key: str) -> bool:
    """Whether `dict(key=...)` gives that key back: Python folds letters beyond ASCII into others."""
    return key.isascii() and key.isidentifier() and not keyword.iskeyword(key) and key != "__debug__"


def _parts(value: Any, depth: int) -> tuple[list[str] | None, str, str]:
    """The items of a container as source with its brackets, or None for anything else."""
    column = 4 * depth
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and _is_keyword_argument(key) for key in value):
            items = [f"{key}={_source(item, depth, column + len(key) + 1)}" for key, item in value.items()]
            return items, "dict(", ")"
        keys = {key: _literal(key) for key in value}
        items = [f"{keys[key]}: {_source(item, depth, column + len(keys[key]) + 2)}" for key, item in value.items()]
        return items, "{", "}"
    if isinstance(value, (list, tuple)):
        brackets = ("[", "]") if isinstance(value, list) else ("(", ")")
        return [_source(item, depth, column) for item in value], *brackets
    return None, "", ""
