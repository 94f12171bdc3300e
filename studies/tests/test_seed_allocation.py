"""The next seed goes where it is worth most: by the chance that it decides something, and by what it costs."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posestudy_studies import resolution, seed_allocation
from posestudy_studies.seed_allocation import Candidate, Question

SPREAD = (0.01, 4)


def cell(name: str, *values: float, left: int = 4, cost: float = 1.0) -> Candidate:
    return Candidate(name, values, list(range(len(values), len(values) + left)), cost)


def ask(one: str, other: str, spread: resolution.Spread | None = SPREAD) -> Question:
    return Question(one, other, spread)


def test_equal_cells_get_a_seed_each() -> None:
    assert seed_allocation.next_round([ask("a", "b")], [cell("a", 0.50), cell("b", 0.51)]) == {"a": 1, "b": 1}


def test_the_cheaper_of_two_cells_gets_the_seed() -> None:
    found = seed_allocation.next_round([ask("a", "b")], [cell("a", 0.50, cost=3.0), cell("b", 0.51)])
    assert found == {"b": 1}


def test_a_baseline_that_many_rows_are_held_against_comes_first() -> None:
    rows = [cell(name, 0.52) for name in "abc"]
    questions = [ask(name, "baseline") for name in "abc"]
    assert seed_allocation.next_round(questions, [cell("baseline", 0.5), *rows]) == {"baseline": 1}


def test_where_the_baseline_has_all_its_seeds_each_row_gets_one_the_likeliest_first() -> None:
    baseline = cell("baseline", 0.5, 0.5, 0.5, left=0)
    rows = [cell("far", 0.501), cell("near", 0.525), cell("dear", 0.525, cost=9.0)]
    found = seed_allocation.next_round([ask(row.name, "baseline") for row in rows], [baseline, *rows])
    assert next(iter(found)) == "near"
    assert set(found) == {"far", "near", "dear"}


def test_without_a_known_spread_the_cells_with_the_fewest_seeds_come_first() -> None:
    found = seed_allocation.next_round([ask("a", "b", None)], [cell("a", 0.5, 0.5, left=0), cell("b", 0.51)])
    assert found == {"b": 1}


def test_no_seeds_left_is_no_round() -> None:
    assert seed_allocation.next_round([ask("a", "b")], [cell("a", 0.5, left=0), cell("b", 0.6, left=0)]) == {}


@pytest.mark.parametrize(("values", "hopeless"), [((0.5, 0.5, 0.5), True), ((0.51, 0.52, 0.52), False)])
def test_a_question_without_a_chance_is_told(values: tuple[float, ...], hopeless: bool) -> None:
    pair = {"a": cell("a", *values, left=1), "b": cell("b", 0.5, 0.5, 0.5, left=0)}
    assert seed_allocation.has_chance(ask("a", "b"), pair) is not hopeless


names = st.sampled_from("abcdef")


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.lists(st.integers(0, 100), min_size=1, max_size=4), min_size=6, max_size=6),
    pairs=st.lists(st.tuples(names, names).filter(lambda p: p[0] != p[1]), min_size=1, max_size=8, unique=True),
    left=st.lists(st.integers(0, 2), min_size=6, max_size=6),
    costs=st.lists(st.sampled_from([1.0, 2.5, 40.0]), min_size=6, max_size=6),
)
def test_a_round_serves_every_question_that_has_seeds_and_nobody_else(
    values: list[list[int]], pairs: list[tuple[str, str]], left: list[int], costs: list[float]
) -> None:
    cells = [
        Candidate(name, [v / 100 for v in values[i]], list(range(10, 10 + left[i])), costs[i])
        for i, name in enumerate("abcdef")
    ]
    questions = [ask(*pair) for pair in pairs]
    found = seed_allocation.next_round(questions, cells)
    has = {c.name for c in cells if c.left}
    assert set(found) <= {name for pair in pairs for name in pair} & has
    assert all(seed == 10 for seed in found.values())
    assert all(set(pair) & set(found) for pair in pairs if set(pair) & has)
    assert found == seed_allocation.next_round(questions, cells)


@pytest.mark.parametrize(("gap", "now", "then"), [(0.02, 1, 3), (0.0, 2, 6), (0.035, 1, 2)])
def test_the_chance_is_what_drawing_the_seeds_that_are_left_gives(gap: float, now: int, then: int) -> None:
    """With a spread that is all but known; the means it starts from are drawn again from where they were seen."""
    sd = (0.01, 10_000)
    told = resolution.chance([gap] * now, [0.0] * now, sd, (then, then))
    drawn = random.Random(3)
    hits, tries = 0, 20_000
    limit = resolution.smallest_resolvable(0.01, 10_000, then)
    for _ in range(tries):
        ends = []
        for mean in (gap, 0.0):
            true = drawn.gauss(mean, 0.01 / math.sqrt(now))
            later = sum(drawn.gauss(true, 0.01) for _ in range(then - now))
            ends.append((now * mean + later) / then)
        hits += abs(ends[0] - ends[1]) > limit
    assert told == pytest.approx(hits / tries, abs=0.012)


def test_with_no_seed_left_the_chance_is_what_is_known() -> None:
    assert resolution.chance([0.6, 0.6], [0.5, 0.5], SPREAD, (2, 2)) == 1.0
    assert resolution.chance([0.501, 0.501], [0.5, 0.5], SPREAD, (2, 2)) == 0.0
