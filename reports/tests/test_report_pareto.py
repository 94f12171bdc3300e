"""A search of two objectives: which cells are not dominated, in a table, a figure and a sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from searched_study import Searched

from posestudy_reports import pareto
from posestudy_reports.report import StudyReport
from posestudy_reports.results import StudyResult
from posestudy_reports.tables import Table

TWO = ["coco/AP", "duration_s"]
CELLS = {
    "slow": (0.7, 900.0), "quick": (0.5, 100.0), "worse": (0.4, 200.0), "even": (0.7, 950.0), "middle": (0.6, 300.0),
}  # fmt: skip


def study(cells: dict[str, tuple[float, float]], objectives: list[str] = TWO, **stage: Any) -> StudyReport:
    made = Searched(stages=[{"name": "find", "design": "search", "objectives": objectives, **stage}, {"name": "next"}])
    made.stage("find", design="search", baseline=None, carried="slow", carry_reason="slow: best.")
    for name, (value, seconds) in cells.items():
        made.row(name, {"optimizer.lr": 1e-3}, (value,), seconds=seconds)
    return made.report()


def test_latency_is_the_second_objective_as_the_profiles_of_the_trials_have_it() -> None:
    made = Searched(stages=[{"name": "find", "design": "search", "objectives": ["coco/AP", "latency_ms"]}])
    made.stage("find", design="search", baseline=None)
    for name, value, latency in (("slow", 0.7, 9.0), ("quick", 0.5, 2.5), ("worse", 0.4, 3.0), ("unknown", 0.9, None)):
        made.row(name, {"optimizer.lr": 1e-3}, (value,))
        profile = None if latency is None else {"latency_p50_ms": latency, "device_name": "A100"}
        made.trials[-1] = replace(made.trials[-1], profile=profile)
    report = made.report()
    found = section(report)
    assert rows(found.tables[0]) == [["slow", "0.700", "9.0", ""], ["quick", "0.500", "2.5", ""]]
    assert "Of 3 cells" in found.texts[0]
    assert "by AP and latency" in found.texts[0]
    assert "AP against the median latency of one image on A100, a point per" in found.figures[0].caption


def test_a_configuration_that_was_asked_for_twice_stands_once() -> None:
    made = Searched(stages=[{"name": "find", "design": "search", "objectives": TWO}])
    made.stage("find", design="search", baseline=None, carried="again")
    for name, rate in (("first", 1e-3), ("again", 1e-3), ("other", 1e-4)):
        made.row(name, {"optimizer.lr": rate}, (0.5,), seconds=100.0)
        made.cells[-1] = replace(made.cells[-1], key=str(rate))
    found = section(made.report())
    assert rows(found.tables[0]) == [["again", "0.500", "1 min 40 s", "yes"], ["other", "0.500", "1 min 40 s", ""]]
    assert "Of 2 cells" in found.texts[0]


def test_times_of_two_machines_are_not_held_against_each_other() -> None:
    made = Searched(stages=[{"name": "find", "design": "search", "objectives": TWO}])
    made.stage("find", design="search", baseline=None)
    for name, value, seconds, device in (
        ("here", 0.7, 900.0, "A100"), ("there too", 0.5, 800.0, "A100"), ("reused", 0.8, 1.0, "CPU"),
    ):  # fmt: skip
        made.row(name, {"optimizer.lr": 1e-3}, (value,), seconds=seconds, device=device)
    found = section(made.report())
    assert [row[0] for row in rows(found.tables[0])] == ["here", "there too"]
    assert "Left out, measured on another machine: reused." in found.texts[0]
    assert "Left out, measured on another machine: reused." in found.figures[0].caption


def section(report: StudyReport) -> Any:
    return next((found for found in report.sections if found.name == "pareto"), None)


def rows(table: Table) -> list[list[str]]:
    return [[str(entry.text) for entry in row.entries] for row in table.rows]


def test_the_table_holds_what_is_not_dominated_and_marks_what_is_carried() -> None:
    report = study(CELLS)
    found = section(report)
    assert rows(found.tables[0]) == [
        ["slow", "0.700", "15 min 00 s", "yes"],
        ["middle", "0.600", "5 min 00 s", ""],
        ["quick", "0.500", "1 min 40 s", ""],
    ]
    assert found.texts[0] == (
        "Of 5 cells of stage \u201cfind\u201d with both 3 are not dominated by AP and training time: no other cell is "
        "as good by both and better by one. A stage of two objectives carries its best cell by AP, the study's metric: "
        "\u201cslow\u201d."
    )
    assert report.numbers["find/quick/objective/duration_s"].value == 100.0
    assert report.numbers["find/middle/final"].text == "0.600"


def test_the_figure_shows_every_cell_and_rings_the_set() -> None:
    [chart] = section(study(CELLS)).figures
    assert chart.name == "pareto_1"
    said = "AP against the time of training on cuda:0, a point per completed cell of stage \u201cfind\u201d."
    assert said in chart.caption
    assert b"<svg" in chart.vector("svg")


def test_a_carry_outside_of_the_set_is_said() -> None:
    cells = {**CELLS, "slow": (0.7, 1000.0)}
    assert "\u201cslow\u201d, which is not in the set." in section(study(cells)).texts[0]


def test_a_search_of_one_objective_has_no_pareto_set() -> None:
    assert section(study(CELLS, objectives=[])) is None


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=8))
def test_nothing_outside_of_the_set_is_missed_and_nothing_in_it_is_dominated(pairs: list[tuple[int, int]]) -> None:
    cells = {f"c{i}": (value / 10, float(seconds)) for i, (value, seconds) in enumerate(pairs)}
    result: StudyResult = study(cells).result
    [found] = pareto.pareto_sets(result)
    front = {member.cell.cell.name for member in found.front}
    for name, (value, seconds) in cells.items():
        better = [
            other
            for other, (v, s) in cells.items()
            if v >= value and s <= seconds and (v, s) != (value, seconds) and other != name
        ]
        assert (name in front) is (not better)
        assert not better or any(other in front for other in better)
