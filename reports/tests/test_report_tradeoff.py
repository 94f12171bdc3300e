"""Accuracy against cost: which cells are points, which of them no other beats, and what a reader sees of it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from synthetic_report import Builder, finished
from zoo_study import GPU, OLD_GPU, Zoo, profile, zoo

from posestudy.vocabulary import METRICS
from posestudy_reports.placement import Box, place
from posestudy_reports.results import StudyResult
from posestudy_reports.tradeoff import Tradeoff, caption, tradeoffs
from posestudy_reports.tradeoff_figure import tradeoff_figure, tradeoff_plotly
from posestudy_reports.vector import COLUMN

SVG = "{http://www.w3.org/2000/svg}"


def result(study: Builder) -> StudyResult:
    return study.report().result


def of(study: Builder, cost: str) -> Tradeoff:
    return next(t for t in tradeoffs(result(study)) if t.quantity.name == cost)


def networks(*rows: tuple[float, float], metric: str = "coco/AP", device: str = GPU) -> Zoo:
    """A cell of its own network for each (multiply-adds, final metric)."""
    study = Zoo("points", metric=metric)
    study.stage("a", baseline="cell1")
    for i, (gmacs, value) in enumerate(rows, start=1):
        study.network(f"cell{i}", {}, f"cell {i}", model=f"network{i}")
        study.trial(
            final_value=value, final_epoch=5, best_value=value, best_epoch=5, profile=profile(1000, gmacs, 10.0, device)
        )
    return study


def front(study: Builder, cost: str = "gflops") -> list[str]:
    return [p.label for p in of(study, cost).front]


def test_the_front_holds_what_nothing_else_beats():
    study = networks((4.0, 0.6), (2.0, 0.5), (5.0, 0.55), (2.5, 0.5), (9.0, 0.7), (9.5, 0.7))
    assert front(study) == ["cell 2", "cell 1", "cell 5"]


def test_points_that_are_equal_are_both_on_the_front():
    assert front(networks((2.0, 0.5), (2.0, 0.5), (3.0, 0.4))) == ["cell 1", "cell 2"]


def test_of_an_error_less_is_better():
    assert front(networks((4.0, 0.06), (2.0, 0.05), (5.0, 0.04), metric="nme")) == ["cell 2", "cell 3"]


def test_a_point_is_the_mean_of_its_seeds_with_their_range():
    study = networks((1.0, 0.4), (3.0, 0.6))
    study.trial(
        final_value=0.7, final_epoch=5, best_value=0.7, best_epoch=5, seed=1, profile=profile(1000, 3.0, 20.0),
    )  # fmt: skip
    point = of(study, "latency").points[1]
    assert (point.metric.mean, point.metric.low, point.metric.high) == (pytest.approx(0.65), 0.6, 0.7)
    assert (point.cost.mean, point.cost.low, point.cost.high) == (75.0, 50.0, 100.0)
    assert point.numbers == (2, 3)


def test_families_of_heads_are_told_apart():
    heads = {p.label: p.head for p in of(zoo(), "gflops").points}
    assert [heads[n] for n in ("R-A3", "AlexNet", "AlexNet, RLE", "ResNet-50, SimCC")] == [
        "heatmap", "regression", "RLE", "SimCC",
    ]  # fmt: skip


def test_a_cell_that_two_stages_hold_is_one_point():
    study = zoo()
    labels = [p.label for p in of(study, "gflops").points]
    assert labels.count("H-A6") == 1
    assert len(labels) == len(set(labels)) == len({c.key for c in study.cells}) - 1  # one ran out of memory


def test_labels_that_are_equal_get_their_stage():
    study = networks((1.0, 0.4), (2.0, 0.5))
    study.stage("b")
    study.network("x", {}, "cell 1", model="other")
    study.trial(final_value=0.3, final_epoch=5, best_value=0.3, best_epoch=5, profile=profile(1, 3.0, 1.0))
    assert [p.label for p in of(study, "gflops").points] == ["cell 1 (a)", "cell 2", "cell 1 (b)"]


def test_a_baseline_without_a_name_is_called_by_its_network():
    assert "AlexNet" in [p.label for p in of(zoo(), "gflops").points]
    assert "transpose-r-thin" in [p.label for p in of(zoo(), "gflops").points]


def test_a_machine_of_its_own_is_left_out_and_named():
    found = of(zoo(), "latency")
    assert found.device == GPU
    assert found.elsewhere == ("detector",)
    assert "detector" not in [p.label for p in found.points]
    said = caption(result(zoo()), found)
    assert f"on {GPU}" in said
    assert "Left out, measured on another machine: detector." in said
    assert of(zoo(), "train_time").device == OLD_GPU


def test_multiply_adds_are_the_same_on_every_machine():
    assert "detector" in [p.label for p in of(zoo(), "gflops").points]


def test_a_study_of_one_network_has_no_such_figure():
    assert tradeoffs(result(finished())) == ()
    study = Zoo("same")
    study.stage("a")
    for i, name in enumerate(("baseline", "b", "c")):
        study.network(name, {"sigma": 1.0 + i}, model="resnet50", sigma=1.0 + i)
        study.trial(scores=(0.1 * i, 0.2), profile=profile(1000, 1.0, 100.0 + i))  # a latency that only jitters
    assert tradeoffs(result(study)) == ()


def test_one_measured_cell_is_no_tradeoff():
    study = networks((1.0, 0.4))
    study.network("unmeasured", {}, model="other")
    study.trial(scores=(0.5,), duration_s=None)
    assert tradeoffs(result(study)) == ()


def test_costs_far_apart_are_drawn_by_their_logarithm():
    assert of(networks((0.1, 0.4), (9.0, 0.5)), "gflops").logarithmic
    assert not of(networks((1.0, 0.4), (9.0, 0.5)), "gflops").logarithmic


def test_the_drawing_is_text_and_paths_and_the_same_every_time():
    found = of(zoo(), "gflops")
    svg = tradeoff_figure(found, METRICS["coco/AP"])
    assert svg == tradeoff_figure(found, METRICS["coco/AP"])
    root = ET.fromstring(svg.decode())
    texts = {"".join(t.itertext()).strip() for t in root.iter(f"{SVG}text")}
    assert {"GFLOPs", "AP", "heatmap", "SimCC", "regression", "RLE", "Pareto front"} <= texts
    assert {p.label for p in found.front} <= texts
    assert not list(root.iter(f"{SVG}image"))
    assert tradeoff_figure(found, METRICS["coco/AP"], "pdf").startswith(b"%PDF")


def test_training_time_on_a_gpu_is_in_gpu_hours():
    study = networks((4.0, 0.6), (2.0, 0.5))
    for i, trial in enumerate(study.trials):
        study.trials[i] = replace(trial, duration_s=9000.0 * (i + 1), provenance={"device": "cuda:0"})
    found = of(study, "train_time")
    assert found.kind == "GPU"
    assert b"training time [GPU-hours]" in tradeoff_figure(found, METRICS["coco/AP"])
    assert tradeoff_plotly(found, METRICS["coco/AP"]).layout.xaxis.title.text == "training time [GPU-hours]"
    study.trials = [replace(trial, provenance={}) for trial in study.trials]
    assert b"training time [h]" in tradeoff_figure(of(study, "train_time"), METRICS["coco/AP"])


def test_the_drawing_is_as_wide_as_a_column():
    root = ET.fromstring(tradeoff_figure(of(zoo(), "gflops"), METRICS["coco/AP"]).decode())
    assert float(root.get("width", "").removesuffix("pt")) == pytest.approx(COLUMN * 72 / 25.4, abs=0.1)


def test_an_axis_of_errors_says_that_less_is_better():
    found = of(networks((4.0, 0.06), (2.0, 0.05), metric="nme"), "gflops")
    texts = [
        "".join(t.itertext()) for t in ET.fromstring(tradeoff_figure(found, METRICS["nme"]).decode()).iter(f"{SVG}text")
    ]
    assert "NME, less is better" in texts


def test_hovering_names_the_trials_of_every_point():
    found = of(zoo(), "gflops")
    figure = tradeoff_plotly(found, METRICS["coco/AP"])
    hovers = [text for trace in figure.data if trace.hovertext for text in trace.hovertext]
    assert len(hovers) == len(found.points)
    for point in found.points:
        assert any(all(uid in text for uid in point.uids) for text in hovers)
    steps = next(t for t in figure.data if t.name == "Pareto front")
    assert list(steps.y) == sorted(steps.y)
    assert steps.line.shape == "hv"


def test_a_label_that_is_markup_is_escaped_for_hovering():
    study = networks((1.0, 0.4), (2.0, 0.5))
    study.network("x", {}, "<script>$x_2$", model="other")
    study.trial(final_value=0.6, final_epoch=5, best_value=0.6, best_epoch=5, profile=profile(1, 3.0, 1.0))
    found = of(study, "gflops")
    figure = tradeoff_plotly(found, METRICS["coco/AP"])
    assert not re.search("<script", str(figure.to_dict()))
    texts = [
        "".join(t.itertext()) for t in ET.fromstring(tradeoff_figure(found, METRICS["coco/AP"])).iter(f"{SVG}text")
    ]
    assert "<script>$x_2$" in texts


def test_labels_cover_neither_each_other_nor_points():
    points = [(50.0, 50.0), (52.0, 50.0), (90.0, 20.0), (10.0, 95.0), (51.0, 60.0)]
    frame = Box(0, 0, 200, 100)
    placed = place(points, [(30.0, 8.0)] * 5, frame, 3.0)
    boxes = [box for box in placed if box]
    assert len(boxes) == 5
    for i, box in enumerate(boxes):
        assert box.inside(frame)
        assert not any(box.overlap(Box.around(x, y, 3.0)) for x, y in points)
        assert not any(box.overlap(other) for other in boxes[:i])


def test_where_there_is_no_room_there_is_no_label_and_the_first_come_first():
    crowded = [(10.0 + 0.1 * i, 10.0) for i in range(8)]
    placed = place(crowded, [(14.0, 8.0)] * 8, Box(0, 0, 30, 26), 2.0, first=[7])
    assert placed[7] is not None
    assert None in placed
