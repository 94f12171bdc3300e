"""Numbers with an address, and text that knows which of its parts are such numbers.

A `Text` is the string that a reader sees; writers that can do more with a number (LaTeX macros, addresses in HTML) look
at its pieces. An f-string or `join` makes a plain string of it, so sentences are built with `said` and `joined`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any


@dataclass(frozen=True)
class Number:
    """A number that was measured, as it is printed.

    Attributes:
        address: unique in a report, letters, digits and `/._-+`: `augmentation/half_body/final`.
        text: as a reader sees it, with its sign and without its unit: `0.485`.
        value: unrounded, in the unit of the text.
        formula: how it follows from the trials: `mean of final coco/AP`.
        uids: of the trials it follows from, in order.
    """

    address: str
    text: str
    value: float
    formula: str
    uids: tuple[str, ...]

    def __str__(self) -> str:
        return self.text


class Text(str):
    """A string of which some parts are numbers with an address."""

    __slots__ = ("pieces",)
    pieces: tuple[str | Number, ...]

    def __new__(cls, *pieces: str | Number) -> Text:
        """The pieces, one after another; a `Text` among them brings its own."""
        flat = tuple(p for piece in pieces for p in pieces_of(piece))
        made = super().__new__(cls, "".join(map(str, flat)))
        made.pieces = flat
        return made

    def __copy__(self) -> Text:
        return self

    def __deepcopy__(self, memo: Any) -> Text:
        return self

    def __reduce__(self) -> tuple[type[Text], tuple[str | Number, ...]]:
        return (Text, self.pieces)


def pieces_of(text: str | Number) -> tuple[str | Number, ...]:
    """The parts of a text; a plain string is one part."""
    if isinstance(text, Text):
        return text.pieces
    return (text,)


def said(template: str, /, **values: str | Number | int) -> Text:
    """`template` with its `{names}` replaced, numbers keeping their address: `said("AP {gain}", gain=number)`.

    Raises:
        KeyError: a name of the template is not among `values`.
    """
    pieces: list[str | Number] = []
    for literal, name, _, _ in Formatter().parse(template):
        pieces.append(literal)
        if name is not None:
            value = values[name]
            pieces.append(str(value) if isinstance(value, int) else value)
    return Text(*pieces)


def joined(parts: Iterable[str | Number], separator: str = " ") -> Text:
    """The parts with the separator between them."""
    pieces: list[str | Number] = []
    for part in parts:
        pieces += [separator, part] if pieces else [part]
    return Text(*pieces)


def listed(parts: Sequence[str | Number]) -> Text:
    """`a`, `a and b`, `a, b and c`."""
    head, last = joined(parts[:-1], ", "), parts[-1:]
    return Text(head, " and ", *last) if head else Text(*last)


def numbers_in(texts: Iterable[str]) -> Iterator[Number]:
    """The numbers of these texts, in order, as often as they occur."""
    for text in texts:
        yield from (piece for piece in pieces_of(text) if isinstance(piece, Number))
