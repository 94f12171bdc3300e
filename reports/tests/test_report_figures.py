"""The figures of a study's cells: what is drawn, what is left out, and that both kinds of figure say the same."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from functools import cache

import pytest
from searched_study import BATCHES, RATES, Searched, searched
from synthetic_report import NASTY, Builder, finished, nasty

from posestudy.vocabulary import METRICS, Direction, Outcome
from posestudy_reports import effects, heat_map, parallel
from posestudy_reports.addressed import numbers_in
from posestudy_reports.budget_time import History, history
from posestudy_reports.budget_time_figure import budget_figure, budget_plotly
from posestudy_reports.curves import bands, curves
from posestudy_reports.effects_figure import effects_figure
from posestudy_reports.factor_space import Space, space
from posestudy_reports.figures import curve_chart, learning_curves, learning_curves_plotly
from posestudy_reports.heat_map_figure import heat_map_figure, heat_map_plotly
from posestudy_reports.importance import importance, measurable
from posestudy_reports.parallel_figure import parallel_figure, parallel_plotly
from posestudy_reports.report import StudyReport
from posestudy_reports.sections import Chart
from posestudy_reports.vector import COLUMN, NOTES, extent, fitted, width_of

SVG = "{http://www.w3.org/2000/svg}"
AP, NME = METRICS["coco/AP"], METRICS["nme"]
POINTS_PER_MM = 72 / 25.4


@cache
def report() -> StudyReport:
    return searched().report()


def stage(name: str, study: Builder | None = None) -> Space:
    result = (study.report() if study else report()).result
    return space(result, next(s for s in result.stages if s.stage.name == name))


def charts(found: StudyReport) -> dict[str, Chart]:
    drawn = {f.name: f for s in found.sections for f in s.figures if isinstance(f, Chart)}
    return drawn | {c.name: c for c in (curve_chart(found, *pair) for pair in zip(found.stages, found.curves))}  # noqa: B905


def texts(svg: bytes) -> list[str]:
    root = ET.fromstring(svg.decode())
    return ["".join(t.itertext()).strip() for t in root.iter(f"{SVG}text")]


# -- all of them

NAMES = {
    "curves_1_ablation", "curves_2_lr_batch", "curves_3_search", "effects", "heat_map_2_lr_batch",
    "importance_3_search", "parallel_2_lr_batch", "parallel_3_search", "budget", "history",
}  # fmt: skip


@cache
def drawn() -> dict[str, bytes]:
    return {name: chart.vector("svg") for name, chart in charts(report()).items()}


def test_a_study_has_the_figures_that_say_something_of_it():
    assert set(charts(report())) >= NAMES
    assert {c.name for s in finished().report().sections for c in s.figures} == {"effects"}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_figure_is_text_and_paths_within_its_column(name):
    root = ET.fromstring(drawn()[name].decode())
    assert not list(root.iter(f"{SVG}image"))
    width, height = (float(root.get(side, "").removesuffix("pt")) for side in ("width", "height"))
    assert width == pytest.approx(COLUMN * POINTS_PER_MM, abs=0.1)
    for text in root.iter(f"{SVG}text"):
        left, right, y, size = _extent(text)
        assert size >= NOTES - 0.01
        if left is None:
            continue
        assert left >= -1, "".join(text.itertext())
        assert right <= width + 1, "".join(text.itertext())
        assert size * 0.6 <= y <= height + 0.5, "".join(text.itertext())


def _extent(text: ET.Element) -> tuple[float | None, float, float, float]:
    """(left, right, baseline, size) of a text that stands upright, points; left None of one that is turned."""
    style = text.get("style", "")
    size = float(re.search(r"([\d.]+)px", style).group(1))  # type: ignore[union-attr]
    moved = re.search(r"translate\(([-\d.]+) ([-\d.]+)\)", text.get("transform", ""))
    turned = re.search(r"rotate\((-?[\d.]+)", text.get("transform", ""))
    if turned and float(turned.group(1)) % 360:
        return None, 0, 0, size
    x, y = (float(v) for v in moved.groups()) if moved else (float(text.get("x", 0)), float(text.get("y", 0)))
    wide = extent("".join(text.itertext()), size)[0]
    anchor = re.search(r"text-anchor: (\w+)", style)
    left = x - {"middle": wide / 2, "end": wide}.get(anchor.group(1) if anchor else "", 0.0)
    return left, left + wide, y, size


def test_the_same_study_gives_the_same_bytes():
    again = charts(searched().report())
    assert {name: again[name].vector("svg") for name in NAMES} == {name: drawn()[name] for name in NAMES}


def test_names_that_mean_something_to_a_format_are_drawn_as_they_are():
    study = searched(NASTY)
    found = charts(study.report())
    for name in ("curves_1_ablation", "effects"):
        assert any(text.startswith("<script>a") for text in texts(found[name].vector("svg")))
        assert found[name].vector("pdf").startswith(b"%PDF")
    for name in ("curves_1_ablation", "budget", "parallel_3_search", "heat_map_2_lr_batch"):
        plotly = found[name].plotly
        assert plotly is not None
        assert "<script" not in str(plotly().to_dict())


def test_text_keeps_its_length_where_a_reader_lacks_the_face():
    root = ET.fromstring(drawn()["effects"].decode())
    label = next(t for t in root.iter(f"{SVG}text") if t.text == "alike")
    assert float(label.get("textLength", "0")) == pytest.approx(extent("alike", 7.0)[0], abs=0.01)
    assert "'Libertinus Serif', " in label.get("style", "")


# -- learning curves


def test_the_band_of_a_cell_is_the_mean_and_the_range_of_its_seeds():
    first = report().stages[0]
    band = bands(curves(report().result, first))[0]
    finals = first.cells[0].finals
    assert band.epochs == (5, 10, 15, 20)
    assert (band.low[-1], band.high[-1]) == (min(finals), max(finals))
    assert band.mean[-1] == pytest.approx(math.fsum(finals) / 3)
    assert band.role == "baseline"


def test_a_seed_that_did_not_complete_is_outside_the_band():
    study = Searched()
    study.stage("a")
    study.row("baseline", {}, (0.4, 0.5))
    study.trial(Outcome.PRUNED, (0.01,), seed=2)
    (band,) = bands(study.report().curves[0])
    assert (len(band.members), len(band.others)) == (2, 1)
    assert band.low[0] > 0.1
    chart = curve_chart(study.report(), study.report().stages[0], study.report().curves[0])
    assert "Seeds that did not complete are drawn thin" in chart.caption
    assert (chart.wide, chart.priority) == (False, 30)


def test_of_many_cells_the_best_and_the_baseline_have_a_colour():
    shown = bands(report().curves[2])
    named = [band for band in shown if band.named]
    assert len(named) == 8
    assert any(band.role == "baseline" for band in named)
    worst = min(band.mean[-1] for band in named if not band.role)
    assert all(band.mean[-1] <= worst for band in shown if not band.named)
    assert len({band.colour for band in named}) == 8
    assert f"{len(shown) - 8} other cells" in texts(drawn()["curves_3_search"])


def test_of_an_error_the_smallest_end_best():
    lowest = min(b.mean[-1] for b in bands(report().curves[2]))
    assert lowest in [b.mean[-1] for b in bands(report().curves[2], Direction.LESS) if b.named]
    assert lowest not in [b.mean[-1] for b in bands(report().curves[2]) if b.named and not b.role]


def test_both_kinds_of_curves_draw_the_same_means():
    lines = learning_curves_plotly(report().curves[0], AP).data
    means = {trace.name: list(trace.y) for trace in lines if trace.name}
    for band in bands(report().curves[0]):
        name = next(n for n in means if n.split(" (")[0] == band.label)
        assert means[name] == list(band.mean)
    hovers = " ".join(trace.hovertemplate or "" for trace in lines)
    assert all(curve.uid in hovers for curve in report().curves[0])


def test_imported_finals_and_bests_are_no_curve():
    study = Searched()
    study.stage("a")
    source = {"kind": "imported", "file": "table.csv", "line": 2}
    for name, scores in (("baseline", (0.4, 0.5)), ("logged", (0.2, 0.4, 0.5))):
        study.cell(name, {})
        study.trial(scores=scores, source=source)
    assert [curve.label for curve in study.report().curves[0]] == ["logged"]


def test_a_stage_without_values_says_so():
    assert "nothing evaluated yet" in texts(learning_curves((), AP))


# -- effects


def shown_effects(study: Builder | None = None) -> effects.Effects:
    made = study.report() if study else report()
    (found,) = effects.effects(made.result, made.comparisons)
    return found


def test_effects_are_the_differences_with_their_intervals():
    rows = {row.cell: row for row in shown_effects().rows}
    assert set(rows) == {"alike", "better", "joint"}
    made = report().comparisons[0].by_cell
    assert all(rows[name].value == made[name].value and rows[name].seeds == made[name].seeds for name in rows)
    assert (rows["alike"].resolved, rows["better"].resolved) == (False, True)
    assert rows["joint"].joint
    assert not rows["better"].joint


def test_hollow_and_filled_points_are_as_many_as_said():
    root = ET.fromstring(drawn()["effects"].decode())
    points = [u.get("style", "") for u in root.iter(f"{SVG}use") if "#222222" in u.get("style", "")]
    hollow = [style for style in points if "fill: #ffffff" in style]
    assert (len(hollow), len(points) - len(hollow)) == (1 + 1, 2 + 1)  # the rows, and one each in the legend


def test_the_caption_of_effects_tells_what_the_marks_mean():
    said = effects.caption(shown_effects(), AP)
    for part in ("95 %", "dashed: over seeds", "Filled: resolved", "±0.02", "† Several factors", "stage “search”"):
        assert part in said
    assert "over validation images" not in said
    labels = texts(drawn()["effects"])
    assert {"alike", "better", "joint †", "difference of AP", "better →", "resolved", "not resolved"} <= set(labels)


def test_an_interval_that_goes_far_beyond_is_cut_and_said_to_go_on():
    study = Searched()
    study.stage("a")
    study.row("baseline", {}, (0.5, 0.51, 0.49))
    for i, spread in enumerate((0.001, 0.001, 0.001, 0.2)):
        study.row(f"c{i}", {"sigma": 2.0 + i}, (0.5 + spread, 0.52 - spread / 2, 0.5 - spread))
    found = shown_effects(study)
    assert found.reach < max(i.high for row in found.rows for i in row.intervals)
    assert "Arrowheads: the interval goes on." in effects.caption(found, AP)
    assert all(abs(row.value) <= found.reach for row in found.rows)


def test_of_an_error_better_is_to_the_left():
    assert "← better" in texts(effects_figure(shown_effects(), NME))


def test_sampled_cells_are_no_effects():
    study = Searched()
    study.stage("a", design="search")
    for i in range(4):
        study.row(f"c{i}" if i else "baseline", {"sigma": 1.0 + i}, (0.5, 0.51, 0.52))
    assert any(row.intervals for row in study.report().comparisons[0].rows)
    assert effects.effects(study.report().result, study.report().comparisons) == ()


def test_a_stage_without_intervals_has_no_effects():
    study = Searched()
    study.stage("a")
    study.row("baseline", {}, (0.5,))
    study.row("b", {"sigma": 2.0}, (0.6,))
    assert effects.effects(study.report().result, study.report().comparisons) == ()


# -- two crossed factors


def the_map() -> heat_map.HeatMap:
    (found,) = heat_map.heat_maps(stage("lr_batch"), Direction.MORE)
    return found


def test_the_squares_are_the_cells_of_the_grid():
    found = the_map()
    assert {found.across.factor, found.up.factor} == {"optimizer.lr", "batch_size"}
    assert (found.up.levels, found.across.levels) == (RATES, BATCHES)
    values = {(s.row, s.column): round(s.value.mean, 6) for s in found.squares if s.value}
    assert values == {divmod(i, 3): round(0.40 + 0.01 * i, 6) for i in range(9) if i not in (2, 6)}
    assert [s.ending for s in found.squares if not s.value] == ["diverged", "out of memory"]
    (best,) = (s for s in found.squares if s.best)
    assert (best.row, best.column) == (2, 2)


def test_every_value_and_outcome_is_printed():
    assert {"0.400", "0.410", "0.480", "OOM", "div.", "lr", "batch size", "16", "1e-4"} <= set(
        texts(drawn()["heat_map_2_lr_batch"])
    )
    said = heat_map.caption(the_map(), AP)
    assert "Without a number: diverged (div.) and out of memory (OOM)." in said


def test_both_kinds_of_map_hold_the_same_values():
    (heat,) = heat_map_plotly(the_map(), AP).data
    values = {(s.row, s.column): s.value.mean if s.value else None for s in the_map().squares}
    assert {(row, column): heat.z[row][column] for row, column in values} == values
    assert all(any(uid in heat.customdata[s.row][s.column] for uid in s.place.uids) for s in the_map().squares)


def test_factors_that_change_one_at_a_time_are_not_crossed():
    study = Searched()
    study.stage("a", design="variants")
    for i, levels in enumerate(({}, {"sigma": 2.0}, {"optimizer.lr": 1e-3}, {"sigma": 3.0})):
        study.row(f"c{i}", levels, (0.5 + i / 100,))
    assert heat_map.heat_maps(stage("a", study), Direction.MORE) == ()


def test_of_three_factors_a_square_shows_the_best_over_the_third():
    study = Searched()
    study.stage("a", design="grid")
    for i in range(8):
        levels = {"optimizer.lr": RATES[i % 2], "batch_size": BATCHES[i // 2 % 2], "sigma": 1.0 + i // 4}
        study.row(f"c{i}", levels, (0.1 * i,))
    first = heat_map.heat_maps(stage("a", study), Direction.MORE)[0]
    assert {first.across.factor, first.up.factor} == {"optimizer.lr", "batch_size"}
    assert sorted(round(s.value.mean, 3) for s in first.squares if s.value) == [0.4, 0.5, 0.6, 0.7]
    assert "the best over sigma" in heat_map.caption(first, AP)
    lowest = heat_map.heat_maps(stage("a", study), Direction.LESS)[0]
    assert sorted(round(s.value.mean, 3) for s in lowest.squares if s.value) == [0.0, 0.1, 0.2, 0.3]


def test_a_search_of_three_factors_has_no_map():
    study = Searched()
    study.stage("a", design="search")
    for i in range(8):
        study.row(f"c{i}", {"amp": bool(i % 2), "batch_size": BATCHES[i // 2 % 2], "sigma": 1.0 + i // 4}, (0.1 * i,))
    assert heat_map.heat_maps(stage("a", study), Direction.MORE) == ()


def test_a_map_of_equal_values_is_drawn():
    study = Searched()
    study.stage("a", design="grid")
    for i in range(4):
        study.row(f"c{i}", {"optimizer.lr": RATES[i % 2], "sigma": 1.0 + i // 2}, (0.5,))
    (found,) = heat_map.heat_maps(stage("a", study), Direction.MORE)
    assert texts(heat_map_figure(found, AP)).count("0.500") >= 4


# -- parallel coordinates


def the_lines() -> parallel.Parallel:
    found = parallel.parallel(stage("search"), Direction.MORE)
    assert found is not None
    return found


def test_every_cell_of_a_search_is_a_line_over_its_levels():
    found = the_lines()
    assert [a.factor for a in found.axes] == ["optimizer.lr", "sigma", "optimizer.type"]
    assert [a.scale for a in found.axes] == ["log", "linear", "levels"]
    assert len(found.lines) == 25
    low, high = (math.log10(level) for level in (found.axes[0].levels[0], found.axes[0].levels[-1]))
    for line in found.lines:
        assert line.at[0] == pytest.approx((math.log10(line.place.levels[0]) - low) / (high - low))
    assert found.lines[-1].best
    assert found.lines[-1].at[-1] == 1.0
    assert [line.at[-1] for line in found.lines[:2]] == [parallel.BELOW] * 2
    assert "1 out of memory, 1 pruned" in parallel.caption(found, AP)


def test_both_kinds_of_lines_are_the_same():
    (shown,) = parallel_plotly(the_lines(), AP).data
    assert [d.label for d in shown.dimensions] == ["trial", "lr", "sigma", "optimizer", "AP"]
    for i in range(4):
        assert list(shown.dimensions[i + 1]["values"]) == [line.at[i] for line in the_lines().lines]
    root = ET.fromstring(drawn()["parallel_3_search"].decode())
    paths = [p for p in root.iter(f"{SVG}path") if (p.get("d") or "").count("L") == 3]
    assert len(paths) >= 25


def test_a_factor_searched_by_decades_has_a_logarithmic_axis_however_short():
    study = Searched(stages=[{"name": "a", "space": {"optimizer.lr": {"log": [1e-4, 5e-4]}}}])
    study.stage("a", design="search")
    for rate in (1e-4, 2e-4, 5e-4):
        study.row(f"c{rate}", {"optimizer.lr": rate, "sigma": 1e4 * rate}, (0.5,))
    assert [axis.scale for axis in stage("a", study).axes] == ["log", "linear"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(1e-5, 1e-2, [1e-5, 1e-4, 1e-3, 1e-2]), (2e-4, 3e-3, [3e-4, 1e-3, 3e-3]), (1.0, 2.0, [1.0, 2.0])],
)
def test_ticks_of_a_logarithmic_axis_are_round(low, high, expected):
    assert parallel._decades(low, high) == expected


def test_ticks_of_a_linear_axis_are_round():
    assert parallel._steps(0.93, 3.1) == [1.0, 1.5, 2.0, 2.5, 3.0]


def test_too_few_cells_or_factors_have_no_lines():
    assert parallel.parallel(stage("ablation"), Direction.MORE) is None
    study = Searched()
    study.stage("a", design="grid")
    for i in range(7):
        study.row(f"c{i}", {"sigma": 1.0 + i}, (0.1 * i,))
    assert parallel.parallel(stage("a", study), Direction.MORE) is None


# -- importance


@cache
def shares(direction: Direction = Direction.MORE) -> dict[str, tuple[float | None, float]]:
    return {s.factor: (s.fanova, s.ped_anova) for s in importance(stage("search"), direction).shares}


def test_the_factor_that_decides_is_the_most_important():
    found = shares()
    assert next(iter(found)) == "optimizer.lr"
    assert found["optimizer.lr"][1] == max(ped for _, ped in found.values())
    for by in (0, 1):
        assert math.fsum(share[by] or 0.0 for share in found.values()) == pytest.approx(1.0)


def test_importance_is_the_same_every_time_and_depends_on_the_direction():
    assert {s.factor: (s.fanova, s.ped_anova) for s in importance(stage("search"), Direction.MORE).shares} == shares()
    assert shares(Direction.LESS) != shares()


def test_levels_of_any_kind_have_an_importance():
    study = Searched()
    study.stage("a", design="grid")
    kinds = (None, {"prob": 0.3}, {"prob": 0.5})
    for i in range(9):
        study.row(
            f"c{i}", {"augmentation.half_body": kinds[i // 3], "heatmap_size": [48, 64 + i % 3]}, (0.1 * (i // 3),)
        )
    found = stage("a", study)
    assert [axis.texts for axis in found.axes] == [("off", "prob 0.3", "prob 0.5"), ("48×64", "48×65", "48×66")]
    first = importance(found, Direction.MORE).shares[0]
    assert first.title == "half body"
    assert first.fanova == pytest.approx(1.0, abs=0.05)


def test_importance_is_told_from_eight_cells_on():
    assert measurable(stage("search"))
    assert not measurable(stage("lr_batch"))  # seven have a value
    assert not measurable(stage("ablation"))
    said = next(c.caption for c in charts(report()).values() if c.name == "importance_3_search")
    assert "from 23 cells" in said
    assert "2 cells without a value are left out" in said
    labels = texts(drawn()["importance_3_search"])
    assert {"lr", "sigma", "optimizer", "fANOVA", "PED-ANOVA"} <= set(labels)
    assert f"{shares()['optimizer.lr'][0]:.2f}" in labels


# -- what was found by when


def the_history() -> History:
    found = history(report().result)
    assert found is not None
    return found


def test_the_best_so_far_follows_the_ends_of_the_trials():
    found = the_history()
    assert [f.order for f in found.finishes] == list(range(1, len(found.finishes) + 1))
    best = None
    for finish in found.finishes:
        if finish.value is not None and (best is None or finish.value > best):
            best = finish.value
        assert finish.best == best
    pruned = [f for f in found.finishes if f.ending == "pruned"]
    assert [f.value for f in pruned] == [None]  # its last value is not that of a whole training
    assert found.finishes[3].spent == 4 * 900.0
    assert found.device == "GPU"


def test_trials_are_in_order_of_their_end_not_of_their_number():
    study = searched()
    study.trials[0] = study.trials[0].__class__(**{**vars(study.trials[0]), "ended": study.trials[-1].ended + 9})
    found = history(study.report().result)
    assert found is not None
    assert found.finishes[-1].number == 1


def test_time_is_called_gpu_hours_only_where_it_is_a_gpus():
    assert "time spent [GPU-hours]" in texts(drawn()["budget"])
    study = Searched()
    study.stage("a")
    for i in range(7):
        study.row(f"c{i}", {"sigma": 1.0 + i}, (0.1 * i,), device="cpu")
    found = history(study.report().result)
    assert found is not None
    assert "time spent [min]" in texts(budget_figure(found, AP))


def test_reused_and_imported_trials_are_not_in_the_history():
    study = searched()
    record = study.trials[5]
    study.trials[5] = record.__class__(**{**vars(record), "source": {"kind": "reused"}})
    found = history(study.report().result)
    assert found is not None
    assert record.uid not in {f.uid for f in found.finishes}
    assert found.elsewhere == 1
    assert history(finished().report().result) is None  # all ended at once


@pytest.mark.parametrize("over_time", [True, False])
def test_both_kinds_of_history_hold_the_same_points(over_time):
    figure = budget_plotly(the_history(), AP, over_time=over_time)
    line = next(t for t in figure.data if t.name == "best so far")
    assert list(line.y) == [f.best for f in the_history().finishes if f.best is not None]
    hovers = [text for t in figure.data for text in (t.hovertext or ())]
    assert len(hovers) == len(the_history().finishes)
    assert all(any(f.uid in text for text in hovers) for f in the_history().finishes)


def test_the_sentences_say_what_the_figures_show():
    said = {s.name: s.texts for s in report().sections}
    assert said["factors"] == (
        "Of the 7 pairs of lr and batch size in stage “lr_batch” that have a value, lr 1e-3 with batch size 64 ends "
        "best, at AP 0.480.",
    )
    best = max(report().result.snapshot.trials, key=lambda t: t.final_value or 0)
    number = f"{best.final_value:.3f}"
    assert said["history"][0].startswith(f"The best single value, AP {number}, is that of trial {best.number} (stage")
    numbers = {n.address: n for n in numbers_in([*said["factors"], *said["history"]])}
    assert numbers["study/history/best"].uids == (best.uid,)
    assert "lr_batch/cell_8/final" in numbers
    assert "study/history/spent" not in numbers  # the time of three trials is not known


def test_the_time_until_the_best_is_told_where_every_time_is_known():
    study = Searched()
    study.stage("a")
    for i, value in enumerate((0.1, 0.2, 0.5, 0.4, 0.3, 0.2, 0.1)):
        study.row(f"c{i}", {"sigma": 1.0 + i}, (value,))
    text = next(s.texts for s in study.report().sections if s.name == "history")[0]
    assert text.endswith("number 3 of 7 trials to end, after 45 min 00 s of 1 h 45 min of GPU time.")


# -- the numbers behind them


def test_the_numbers_are_there_for_programs():
    from posestudy_reports import figure_frames

    found = report()
    assert list(found.learning_curves) == list(figure_frames.CURVE_COLUMNS)
    assert list(found.effects.columns) == list(figure_frames.EFFECT_COLUMNS)
    assert list(found.heat_maps.columns) == list(figure_frames.HEAT_MAP_COLUMNS)
    assert found.effects.set_index("cell").difference["better"] == report().comparisons[0].by_cell["better"].value
    assert found.heat_maps.query("stage == 'lr_batch'").value.count() == 7
    assert found.history.best.iloc[-1] == max(f.value for f in the_history().finishes if f.value is not None)
    assert found.history.ended.is_monotonic_increasing
    assert found.importance.groupby("stage").ped_anova.sum().tolist() == pytest.approx([1.0])
    assert all(len(getattr(Builder().report(), name)) == 0 for name in ("effects", "heat_maps", "history"))


def test_labels_are_shortened_to_the_room_they_have():
    assert fitted("short", 30, 7) == "short"
    assert width_of("猫猫猫猫", 10) > 4 * 10 / POINTS_PER_MM - 0.01  # letters the measured face lacks are squares
    cut = fitted("a label that goes on and on and on", 20, 7)
    assert cut.endswith("…")
    assert width_of(cut, 7) <= 20
    assert texts(curve_chart(nasty().report(), nasty().report().stages[0], nasty().report().curves[0]).vector("svg"))


def test_parallel_lines_of_a_grid_fit_one_column():
    found = parallel.parallel(stage("lr_batch"), Direction.MORE)
    assert found is not None
    assert {"lr", "batch size", "AP", "none"} <= set(texts(parallel_figure(found, AP)))
