"""Cells the user names, each with the levels it sets and the words shown for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posestudy_studies import factors, mistakes
from posestudy_studies.designs.base import BASELINE
from posestudy_studies.mistakes import Mistake, show
from posestudy_studies.training import NAME_RULE, is_name

WORDS = ("label", "note")

Entry = Mapping[str, Any]
"""Levels by factor, with `label` and `note` among them."""


def schema(**further: Any) -> dict[str, Any]:
    """JSON Schema of `{name: entry}`, whose entries may also hold the keys `further`."""
    levels = {name: {"description": f"Level of the factor {name}."} for name in factors.known()}
    words = {"label": {"type": "string", "description": "Row label in the tables."},
             "note": {"type": "string", "description": "What the row tries, in words."}}  # fmt: skip
    entry = {"type": "object", "properties": words | further | levels, "additionalProperties": False}
    return {"additionalProperties": entry}


def levels(entry: Entry) -> dict[str, Any]:
    """The levels of an entry without its words."""
    return {factor: level for factor, level in entry.items() if factor not in WORDS}


def words(entry: Entry) -> tuple[str, str]:
    """Label and note of an entry; empty where it has none."""
    return str(entry.get("label", "")), str(entry.get("note", ""))


def name_mistakes(path: mistakes.Path, name: str) -> list[Mistake]:
    """What is wrong with `name`, which stands at `path`, as the name of a cell."""
    wrong: list[Mistake] = []
    if not is_name(name):
        wrong.append(Mistake(path, repr(name), NAME_RULE, at_key=True))
    if name == BASELINE:
        hint = "the baseline is a cell of every stage; `include_baseline: false` leaves it out"
        wrong.append(Mistake(path, "'baseline'", "another name", hint, at_key=True))
    return wrong


def word_mistakes(path: mistakes.Path, entry: Entry) -> list[Mistake]:
    """What is wrong with the label and the note of an entry at `path`."""
    return [
        Mistake((*path, word), show(entry[word]), "text", "put it in quotes")
        for word in WORDS
        if word in entry and not isinstance(entry[word], str)
    ]


def entry_mistakes(path: mistakes.Path, name: str, entry: Entry) -> list[Mistake]:
    """What is wrong with an entry at `path` that must set at least one factor."""
    wrong = name_mistakes(path, name)
    if not levels(entry):
        wrong.append(Mistake(path, "no factor", "at least one factor with its level, as `sigma: 1.5`", at_key=True))
    return wrong + word_mistakes(path, entry)
