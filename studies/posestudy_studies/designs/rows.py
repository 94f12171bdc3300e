"""The author's words for rows whose names a design makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from posestudy_studies.designs.base import Proposal, RowText
from posestudy_studies.mistakes import Mistake, show


def worded(proposals: Sequence[Proposal], rows: Sequence[RowText]) -> list[Proposal]:
    """The proposals with label and note of the first row whose levels they all set."""
    found: list[Proposal] = []
    for proposal in proposals:
        row = next((r for r in rows if _sets(proposal.levels, r)), None)
        found.append(replace(proposal, label=row.label, note=row.note) if row else proposal)
    return found


def _sets(levels: dict[str, Any], row: RowText) -> bool:
    return all(factor in levels and levels[factor] == level for factor, level in row.levels.items())


def row_mistakes(rows: Sequence[RowText], proposals: Sequence[Proposal]) -> list[Mistake]:
    """Rows that belong to none of the proposals."""
    return [
        Mistake(("rows", i, "levels"), show(row.levels), "levels of a cell of this stage")
        for i, row in enumerate(rows)
        if not any(_sets(p.levels, row) for p in proposals)
    ]
