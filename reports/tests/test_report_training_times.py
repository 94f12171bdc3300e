"""The bar chart of training times: where it is drawn, in which order, in which unit, and with what beside the bars."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from synthetic_report import finished
from zoo_study import GPU, OLD_GPU, Zoo, zoo

from posestudy_reports.quantities import time_unit
from posestudy_reports.training_times import TrainingTimes, caption, training_times
from posestudy_reports.training_times_figure import training_times_figure, training_times_plotly

SVG = "{http://www.w3.org/2000/svg}"


def timed(*rows: tuple[str, str, float], **fields) -> Zoo:
    """A cell for each (model, loss, seconds)."""
    study = Zoo("timed")
    study.stage("a", baseline="cell1")
    for i, (model, loss, seconds) in enumerate(rows, start=1):
        study.network(f"cell{i}", {}, f"cell {i}", model=model, codec={"type": "regression"}, loss={"type": loss})
        study.trial(scores=(0.1, 0.2), duration_s=seconds, **fields)
    return study


def of(study) -> TrainingTimes:
    found = training_times(study.report().result)
    assert found is not None
    return found


def texts(found: TrainingTimes) -> list[str]:
    root = ET.fromstring(training_times_figure(found).decode())
    return ["".join(t.itertext()).strip() for t in root.iter(f"{SVG}text")]


def test_cells_of_a_family_stand_together_in_order_of_the_study():
    rows = (("resnet50", "rle", 60.0), ("alexnet", "rle", 50.0), ("resnet101", "smooth_l1", 90.0))
    assert [(b.label, b.family) for b in of(timed(*rows)).bars] == [
        ("cell 1", "ResNet"), ("cell 3", "ResNet"), ("cell 2", "AlexNet"),
    ]  # fmt: skip


def test_one_network_trained_in_several_ways_has_no_such_chart():
    assert training_times(finished().report().result) is None
    assert training_times(timed(*[("resnet50", "rle", 60.0 + i) for i in range(4)]).report().result) is None


def test_two_cells_are_too_few():
    rows = (("resnet50", "rle", 60.0), ("alexnet", "rle", 50.0))
    assert training_times(timed(*rows).report().result) is None


def test_a_loss_alone_makes_cells_worth_comparing():
    rows = (("resnet50", "rle", 60.0), ("resnet50", "smooth_l1", 61.0), ("resnet50", "wing", 62.0))
    assert [b.head for b in of(timed(*rows)).bars] == ["RLE", "regression", "regression"]


def test_weights_that_were_only_evaluated_have_no_bar():
    labels = [b.label for b in of(zoo()).bars]
    assert not {"R-A3", "H-A6", "no_flip", "detector"} & set(labels)
    assert "transpose-r-thin" in labels


def test_seeds_are_averaged_with_their_range():
    bar = next(b for b in of(zoo()).bars if b.label == "sigma")
    assert (bar.seconds.mean, bar.seconds.low, bar.seconds.high) == (9060.0, 9000.0, 9120.0)


@pytest.mark.parametrize(
    ("seconds", "unit"), [(50.0, "s"), (119.0, "s"), (600.0, "min"), (7199.0, "min"), (7200.0, "h"), (90000.0, "h")]
)
def test_the_unit_fits_the_longest(seconds, unit):
    assert time_unit(seconds)[1] == unit


def test_every_bar_is_labelled_with_its_time():
    found = texts(of(timed(("resnet50", "rle", 4500.0), ("alexnet", "rle", 1200.0), ("resnet101", "rle", 6000.0))))
    assert {"cell 1", "cell 2", "cell 3", "training time [min]", "1 h 15 min", "20 min 00 s"} <= set(found)


def test_epochs_stand_beside_the_bars_where_they_differ_and_below_where_not():
    study = timed(("resnet50", "rle", 4500.0), ("alexnet", "rle", 1200.0), ("resnet101", "rle", 6000.0))
    assert caption(of(study)).startswith("Time of training of 10 epochs, by family")
    study.network("longer", {}, model="scnet50")
    study.trial(scores=(0.1, 0.2, 0.3), duration_s=3000.0)
    assert caption(of(study)).startswith("Time of training, by family")
    assert {"50 min 00 s, 15 epochs", "20 min 00 s, 10 epochs"} <= set(texts(of(study)))


def test_machines_are_named_at_the_bars_where_there_are_several():
    found = of(zoo())
    assert found.machines == (GPU, OLD_GPU)
    assert "cannot be held against each other" in caption(found)
    assert f"3 h 50 min, {OLD_GPU}" in texts(found)


def test_so_many_bars_are_drawn_and_the_rest_counted():
    study = timed(*[(f"network{i}", "rle", 60.0 + i) for i in range(43)])
    assert len(of(study).bars) == 40
    assert caption(of(study)).endswith("There is no room for 3 further cells.")


def test_the_chart_is_the_same_every_time_and_its_hovers_name_the_trials():
    found = of(zoo())
    assert training_times_figure(found) == training_times_figure(found)
    hovers = [text for trace in training_times_plotly(found).data for text in trace.hovertext]
    assert len(hovers) == len(found.bars)
    assert all(any(all(uid in text for uid in bar.uids) for text in hovers) for bar in found.bars)
