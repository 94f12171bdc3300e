"""Sentences that cite, and the numbers their citations get in the order in which they are read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from posestudy_reports.addressed import Text, joined
from posestudy_reports.document import Paragraph, Reference, Span
from posestudy_reports.references import reference


@dataclass(frozen=True)
class Sentence:
    """A sentence with its full stop and the works it rests on, by their keys."""

    text: str
    cites: tuple[str, ...] = ()


class Citations:
    """Numbers works from 1 in the order in which they are first cited."""

    def __init__(self) -> None:
        self._keys: list[str] = []

    def paragraph(self, sentences: Iterable[Sentence | str], heading: str = "", priority: int = 0) -> Paragraph | None:
        """The sentences as one paragraph; None where there are none."""
        spans: list[Span] = []
        for sentence in sentences:
            said = sentence if isinstance(sentence, Sentence) else Sentence(sentence)
            if not said.text:
                continue
            if spans:
                spans.append(Span(" "))
            spans += self._spans(said)
        return Paragraph.of(_plain_together(spans), heading, priority=priority) if spans else None

    def _spans(self, sentence: Sentence) -> list[Span]:
        keys = tuple(dict.fromkeys(sentence.cites))
        if not keys:
            return [Span(sentence.text)]
        places = sorted(self._number(key) for key in keys)
        cited = Span(f"[{', '.join(map(str, places))}]", "cite", tuple(self._keys[n - 1] for n in places))
        stop = "." if sentence.text.endswith(".") else ""
        return [Span(_without(sentence.text, stop)), Span("\u00a0"), cited, Span(stop)]

    def _number(self, key: str) -> int:
        if key not in self._keys:
            self._keys.append(key)
        return self._keys.index(key) + 1

    @property
    def references(self) -> tuple[Reference, ...]:
        """What was cited, in order of its numbers."""
        return tuple(map(reference, self._keys))


def _without(text: str, ending: str) -> str:
    """The text without its ending, numbers in it keeping their address."""
    if not ending:
        return text
    if isinstance(text, Text) and isinstance(text.pieces[-1], str):
        return Text(*text.pieces[:-1], text.pieces[-1].removesuffix(ending))
    return text.removesuffix(ending)


def _plain_together(spans: Sequence[Span]) -> list[Span]:
    """Neighbours without a style as one span."""
    found: list[Span] = []
    for span in spans:
        if found and not span.style and not found[-1].style:
            found[-1] = Span(joined([found[-1].text, span.text], ""))
        elif span.text:
            found.append(span)
    return found
