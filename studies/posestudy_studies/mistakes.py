"""A mistake in a study: where in the document, what was found, what was expected."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]
"""Keys and list indices from the root of a document."""


@dataclass(frozen=True)
class Mistake:
    """Like `posestudy.errors.Problem`, before the document's positions are looked up.

    Attributes:
        path: where in the document; may end in a key that is missing there.
        at_key: whether the key is what is wrong, rather than its value.
    """

    path: Path
    found: str
    expected: str
    hint: str = ""
    at_key: bool = False

    def __str__(self) -> str:
        where = ".".join(map(str, self.path))
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}: found {self.found}, expected {self.expected}{hint}".removeprefix(": ")

    def under(self, *prefix: str | int) -> Mistake:
        """The same mistake of a part that lies at `prefix` of a larger document."""
        return Mistake((*prefix, *self.path), self.found, self.expected, self.hint, self.at_key)


def show(value: Any) -> str:
    """`value` as a short text for an error message."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    if len(text) <= 60:
        return text
    return f"a list of {len(value)}" if isinstance(value, list) else text[:57] + "..."
