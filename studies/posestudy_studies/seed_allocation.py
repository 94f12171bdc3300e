"""Which cells get the next seed: those whose differences it can resolve, most per expected cost.

A question is a pair of cells whose difference is not resolved. A seed more of a cell is worth the probability that it
resolves a question, added up over the questions of the cell, divided by what a trial of the cell is expected to take.
A round goes on until each question has a seed: the cell that is worth most gets one, with it the other cell of a
question that is worth about as much, and their questions are served. So a pool of workers has something to do, and what
is decided does not depend on how many there are. The order of a round is that of its trials: where a budget ends it,
the most valuable ones ran.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posestudy_studies import resolution
from posestudy_studies.resolution import Spread

ABOUT = 0.9
"""The other cell of a question gets a seed as well from this share of the first one's worth on."""
LEAST_CHANCE = 0.05
"""A question whose chance to be resolved is below this is given up where the study says so."""


@dataclass(frozen=True)
class Candidate:
    """A cell that may get seeds.

    Attributes:
        values: its final values, one a seed; at least one.
        left: the seeds that it can still get, in order.
        cost: what one trial of it is expected to take; the same unit for all.
    """

    name: str
    values: Sequence[float]
    left: Sequence[int]
    cost: float


@dataclass(frozen=True)
class Question:
    """Two cells whose difference is not resolved, and the spread that may stand for theirs (None: not known)."""

    one: str
    other: str
    spread: Spread | None


def has_chance(question: Question, candidates: Mapping[str, Candidate]) -> bool:
    """Whether all the seeds that are left resolve a question with a probability of `LEAST_CHANCE` or more."""
    pair = candidates[question.one], candidates[question.other]
    if not any(candidate.left for candidate in pair):
        return False
    if question.spread is None:
        return True
    most = tuple(len(candidate.values) + len(candidate.left) for candidate in pair)
    found = resolution.chance(pair[0].values, pair[1].values, question.spread, (most[0], most[1]))
    return found >= LEAST_CHANCE


def next_round(questions: Sequence[Question], candidates: Sequence[Candidate]) -> dict[str, int]:
    """The next seed of some cells, the most valuable first; empty where no question has seeds left."""
    by_name = {candidate.name: candidate for candidate in candidates}
    order = {candidate.name: place for place, candidate in enumerate(candidates)}
    waiting = [q for q in questions if by_name[q.one].left or by_name[q.other].left]
    chosen: dict[str, int] = {}
    while waiting:
        worth = {c.name: _worth(c, waiting, by_name) for c in candidates if c.left and _asked(c.name, waiting)}
        first = min(worth, key=lambda name: (-worth[name], len(by_name[name].values), order[name]))
        partners = [_other(q, first) for q in waiting if first in (q.one, q.other)]
        also = [name for name in partners if name in worth and worth[name] >= ABOUT * worth[first]]
        for name in (first, *also):
            chosen[name] = by_name[name].left[0]
        waiting = [q for q in waiting if q.one not in chosen and q.other not in chosen]
    return chosen


def _asked(name: str, questions: Sequence[Question]) -> bool:
    return any(name in (q.one, q.other) for q in questions)


def _other(question: Question, name: str) -> str:
    return question.other if question.one == name else question.one


def _worth(candidate: Candidate, questions: Sequence[Question], by_name: Mapping[str, Candidate]) -> float:
    found = 0.0
    for question in questions:
        if candidate.name in (question.one, question.other):
            other = by_name[_other(question, candidate.name)]
            most = (len(candidate.values) + 1, len(other.values))
            # Where nothing is known of the spread any second seed tells of it.
            known = question.spread
            found += 1.0 if known is None else resolution.chance(candidate.values, other.values, known, most)
    return found / candidate.cost
