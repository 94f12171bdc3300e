"""Why a stage carried what it carried, with its numbers as they are now."""

from __future__ import annotations

import re
from typing import Final

from posestudy_reports import cell_numbers, words
from posestudy_reports.addressed import Number, Text, said
from posestudy_reports.results import CellResult, StageResult, StudyResult

_DECIMAL: Final = re.compile(r"\d+\.\d{3,}")


def carry_reason(result: StudyResult, stage: StageResult) -> str:
    """The reason that was written down when the stage closed, without the full stop; empty where there is none.

    Each of its values must be one that a cell of the stage still has. Where one is not, as after further seeds, the
    values are left out: what was decided stays, what it was decided by has changed.
    """
    known = {number.text.lstrip(words.MINUS): number for number in _values(result, stage)}
    pieces: list[str | Number] = []
    end = 0
    for match in _DECIMAL.finditer(stage.reason):
        number = known.get(match[0]) or _longer(result, stage, match[0])
        if number is None:
            return "the best of its cells when the stage closed, by values that have changed since"
        pieces += [stage.reason[end : match.start()], number]
        end = match.end()
    return Text(*pieces, stage.reason[end:])


def _values(result: StudyResult, stage: StageResult) -> list[Number]:
    found = (cell_numbers.final(result, stage, cell) for cell in stage.cells)
    return [number for number in found if number is not None]


def _longer(result: StudyResult, stage: StageResult, text: str) -> Number | None:
    """The value of a cell that was written with more digits, so as to tell it from another."""
    digits = len(text.partition(".")[2])
    for number in _values(result, stage):
        if f"{number.value:.{digits}f}" == text:
            return Number(f"{number.address}/{digits}_digits", text, number.value, number.formula, number.uids)
    return None


def contradiction(result: StudyResult, stage: StageResult, carried: CellResult, better: CellResult) -> str:
    """What the seeds say now against a carry; nothing was redone for it."""
    left, right = (cell_numbers.final(result, stage, cell) for cell in (better, carried))
    return said(
        "Contradicted by later seeds: {better} is better now, {metric} {left} against {right}; what was built on the "
        "carried cell was not redone.",
        better=words.quoted(better.label),
        metric=result.metric.short,
        left=left or words.DASH,
        right=right or words.DASH,
    )
