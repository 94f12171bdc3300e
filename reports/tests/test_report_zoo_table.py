"""The table of the columns a stage asks for: what stands in it, what is best, and what a number was measured on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from synthetic_report import CREATED, finished
from zoo_study import COCO, CPU, GPU, WIDE, Zoo, profile, zoo

from posestudy.ledger.records import ValueRecord
from posestudy.vocabulary import Direction
from posestudy_reports.tables import Entry, Table
from posestudy_reports.zoo_table import ranked


@pytest.fixture(scope="module")
def tables() -> dict[str, Table]:
    return {table.name: table for table in zoo().report().zoo_tables}


def row(table: Table, label: str) -> dict[str, Entry]:
    found = next(r for r in table.rows if r.entries[0].text == label)
    return {column.key: entry for column, entry in zip(table.columns, found.entries, strict=True)}


def asking(*columns: str, **document) -> Zoo:
    """One stage that asks for these columns, still without cells."""
    study = Zoo("asking", stages=[{"name": "a", "columns": list(columns)}], **document)
    study.stage("a", design="variants")
    return study


def only(study: Zoo) -> Table:
    (table,) = study.report().zoo_tables
    assert table is not None
    return table


def test_a_stage_that_asks_for_no_columns_has_no_such_table():
    assert finished().report().zoo_tables == (None, None)


def test_the_columns_are_those_asked_for_in_their_order_with_units(tables):
    assert [c.key for c in tables["zoo"].columns] == ["label", *WIDE]
    headers = ["Cell", "Model", "Input [px]", "Params", "GFLOPs", "FPS", "AP", "AP50", "AP75", "AP(M)", "AP(L)"]
    assert [c.header for c in tables["zoo"].columns][:11] == headers
    assert [c.header for c in tables["boxes"].columns] == ["Cell", "Boxes", "Flip test", "Latency [ms]", "AP"]


def test_a_published_row_reads_as_published(tables):
    entries = row(tables["zoo"], "H-A4")
    texts = [entries[key].text for key in ("model", "input_size", "parameters", "gflops", "fps", "coco/AP50")]
    assert texts == ["transpose-h-a4", "192×256", "17.3M", "17.5", "41", "0.900"]


def test_best_and_second_follow_the_direction_of_their_column(tables):
    small, second, large = (row(tables["zoo"], name) for name in ("R-A3", "R-A4", "H-A6"))
    for key in ("parameters", "gflops", "fps"):
        assert [small[key].emphasis, second[key].emphasis, large[key].emphasis] == ["best", "second", ""]
    assert [small["coco/AP"].emphasis, large["coco/AP"].emphasis] == ["", "best"]


def test_what_prints_alike_is_marked_alike_and_a_column_of_equals_not_at_all(tables):
    assert (
        row(tables["zoo"], "H-A4")["coco/AR50"].emphasis == row(tables["zoo"], "H-A6")["coco/AR50"].emphasis == "best"
    )
    assert {r.entries[1].emphasis for r in tables["precision"].rows} == {""}  # one network: one number of GFLOPs
    assert ranked([1.0, 1.0, None], ["1", "1", "-"], Direction.LESS) == ["", "", ""]
    assert ranked([3.0, 1.0, 2.0], ["3", "1", "2"], Direction.MORE) == ["best", "", "second"]


def test_an_error_metric_is_best_where_it_is_least():
    study = asking("nme", "coco/AP", metric="nme")
    for name, error in (("baseline", 0.05), ("b", 0.04)):
        study.network(name, {}, model="resnet50")
        study.trial(final_value=error, final_epoch=5, best_value=error, best_epoch=5)
        study.values.append(ValueRecord(study.trials[-1].uid, 5, {"nme": error, "coco/AP": error}, CREATED, 1))
    entries = row(only(study), "b")
    assert (entries["nme"].text, entries["nme"].emphasis) == ("0.0400", "best")
    assert entries["coco/AP"].emphasis == "second"


def test_what_is_not_known_is_a_dash(tables):
    large = row(tables["losses"], "large")
    assert [large[key].text for key in ("model", "parameters", "coco/AP")] == ["resnet152", "–", "–"]
    assert tables["losses"].notes[large["label"].marks[0] - 1] == "No number: out of memory."
    study = asking("coco/AP75", "gflops", "boxes", "score_mode")
    study.network("baseline", {}, model="resnet50")
    study.trial(scores=(0.1, 0.2))
    assert [e.text for e in only(study).rows[0].entries[1:]] == ["–", "–", "–", "–"]
    assert only(study).remarks == ()


def test_a_metric_is_that_of_the_last_epoch():
    study = asking("coco/AP75")
    study.network("baseline", {}, model="resnet50")
    study.trial(scores=(0.3, 0.2))
    for value, number in zip(study.values, (0.9, 0.4), strict=True):
        value.metrics["coco/AP75"] = number
    assert row(only(study), "baseline")["coco/AP75"].text == "0.400"


def test_seeds_are_averaged_and_it_says_so(tables):
    assert row(tables["precision"], "sigma")["coco/AP"].text == "0.482"
    assert row(tables["precision"], "sigma")["train_time"].text == "2 h 31 min"
    assert "Several seeds: the mean." in tables["precision"].remarks


def test_gflops_are_named_as_multiply_adds(tables):
    assert "GFLOPs: multiply-adds of one image in 1e9, as papers count them." in tables["zoo"].remarks


def test_measurements_of_one_machine_say_which(tables):
    assert f"FPS: batch 1, without flip test, on {GPU}." in tables["zoo"].remarks
    assert f"Time and peak memory of the training, on {GPU}." in tables["precision"].remarks


def test_measurements_of_several_machines_are_footnoted_and_not_ranked(tables):
    table = tables["boxes"]
    here, there = row(table, "no_flip")["latency"], row(table, "detector")["latency"]
    assert table.notes[here.marks[0] - 1] == f"Measured on {GPU}."
    assert table.notes[there.marks[0] - 1] == f"Measured on {CPU}."
    assert {r.entries[3].emphasis for r in table.rows} == {""}
    assert (here.text, here.detail) == ("26.3", "30.3")
    assert "Latency (the median, below it the 95th percentile): batch 1, without flip test." in table.remarks


def test_threads_are_told_of_a_cpu():
    study = asking("fps")
    study.network("baseline", {}, model="resnet50")
    study.trial(scores=(0.1,), profile=profile(1000, 0.1, 9.0, CPU))
    assert only(study).remarks == (f"FPS: batch 1, without flip test, 2 threads, on {CPU}.",)


def test_the_evaluation_is_the_cells_own_or_the_studys(tables):
    assert [e.text for e in tables["boxes"].rows[0].entries[1:3]] == ["ground truth", "yes"]
    assert row(tables["boxes"], "no_flip")["flip_test"].text == "no"
    assert row(tables["boxes"], "detector")["boxes"].text == "AP_56"
    assert [row(tables["losses"], n)["score_mode"].text for n in ("AlexNet", "AlexNet, RLE")] == [
        "bbox_keypoint", "bbox_rle",
    ]  # fmt: skip


def test_the_ablation_table_tells_the_evaluation_in_effect_too():
    table = zoo().report().tables[1]
    policies = [r.entries[2].text for r in table.rows]
    assert policies == ["baseline", "flip test on → off", "boxes ground_truth → detections/AP_56.json"]


def test_an_evaluation_of_anothers_weights_says_whose(tables):
    table = tables["boxes"]
    (mark,) = row(table, "no_flip")["label"].marks
    assert table.notes[mark - 1] == "Evaluated, not trained again: the weights of trial 5."
    ablation = zoo().report().tables[1]
    assert "Evaluated, not trained again: the weights of trial 5." in ablation.notes


def test_weights_of_another_study_are_named_with_it():
    study = asking("coco/AP")
    study.network("baseline", {}, model="resnet50")
    study.trial(scores=(0.1,), provenance={"evaluated": {"study": "other", "number": 7, "uid": "f" * 32}})
    assert only(study).notes == ("Evaluated, not trained again: the weights of trial 7 of study “other”.",)


def test_weights_that_were_given_have_no_epoch_no_curve_and_no_training_time():
    report = zoo().report()
    final = report.tables[0].rows[0].entries[4]
    assert final.text == "0.717"
    assert "Evaluated, not trained: the weights as they were given." in report.tables[0].notes
    assert [bool(drawn) for drawn in report.curves] == [False, False, True, True]
    assert "at AP 0.758 (weights as given, one seed)" in " ".join(report.summary)
    assert "8 trials only evaluated weights that were there." in report.summary
    study = asking("train_time", "peak_memory")
    study.network("baseline", {}, model="resnet50")
    study.given((0.5,), profile(1, 1.0, 1.0))
    study.network("b", {})
    source = study.trials[0]
    study.given((0.4,), profile(1, 1.0, 1.0), provenance={"evaluated": {"number": 1, "uid": source.uid}})
    assert {e.text for r in only(study).rows for e in r.entries[1:]} == {"–"}


def test_an_evaluation_of_trained_weights_has_their_training_time():
    study = asking("train_time")
    study.network("baseline", {}, model="resnet50")
    study.trial(scores=(0.1, 0.2), duration_s=7260.0)
    study.network("b", {})
    evaluated = {"study": "asking", "number": 1, "uid": study.trials[0].uid}
    study.trial(scores=(0.1,), duration_s=5.0, provenance={"evaluated": evaluated})
    assert row(only(study), "b")["train_time"].text == "2 h 01 min"


def test_what_only_evaluates_has_no_interval_over_trained_seeds():
    """A seed spread of networks trained again says nothing of the same weights looked at twice."""
    report = zoo().report()
    by_stage = dict(zip([s.stage.name for s in report.stages], report.comparisons, strict=True))
    assert [r.seeds for r in by_stage["boxes"].rows] == [None, None]
    assert [r.seeds for r in by_stage["zoo"].rows] == [None] * 4
    assert all(r.seeds for r in by_stage["precision"].rows)


def test_a_reused_baseline_is_the_network_that_is_evaluated():
    study = asking()
    study.network("baseline", {}, model="resnet50")
    source = {"kind": "reused", "study": "asking", "stage": "z", "cell": "z", "number": 9, "uid": "9" * 32}
    study.trial(scores=(0.3,), source=source)
    study.network("no_flip", {"evaluation.flip_test": False}, model="resnet50")
    study.trial(scores=(0.29,), provenance={"evaluated": {"study": "asking", "number": 9, "uid": "9" * 32}})
    study.network("b", {"sigma": 2.0}, model="resnet50")
    for seed, value in enumerate((0.33, 0.35, 0.34)):
        study.trial(scores=(value,), seed=seed)
    by_cell = study.report().comparisons[0].by_cell
    assert by_cell["no_flip"].seeds is None
    assert by_cell["b"].seeds is not None
    remarks = study.report().difference_tables[0].remarks
    assert "The seeds make no difference to no_flip: the baseline's own weights, or given ones." in remarks


def test_every_number_of_the_table_has_its_trial(tables):
    trials = {t.uid for t in zoo().trials}
    for table in tables.values():
        assert all(r.uids and set(r.uids) <= trials for r in table.rows)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ({"config": "configs/my_pose.py"}, "my_pose"),
        ({"backbone": {"type": "SCNet", "depth": 50}, "channels": 2048, "stride": 32}, "SCNet-50"),
        ("hrnet_w32", "hrnet_w32"),
    ],
)
def test_any_model_has_a_name(model, name):
    study = asking("model")
    study.network("baseline", {}, model=model)
    study.trial(scores=(0.1,))
    assert row(only(study), "baseline")["model"].text == name


@pytest.mark.parametrize(
    ("parameters", "gmacs", "texts"),
    [(5_195_345, 8.04, ["5.2M", "8.0"]), (48_300, 0.043, ["48.3k", "0.043"]), (812, 0.96, ["812", "1.0"])],
)
def test_small_networks_keep_two_digits(parameters, gmacs, texts):
    study = asking("parameters", "gflops")
    study.network("baseline", {}, model="resnet50")
    study.trial(scores=(0.1,), profile=profile(parameters, gmacs, 10.0))
    assert [e.text for e in only(study).rows[0].entries[1:]] == texts


def test_a_profile_that_lacks_numbers_is_no_error():
    study = asking("parameters", "latency", "fps")
    study.network("baseline", {}, model="resnet50")
    study.trial(scores=(0.1,), profile={"parameters": 5, "latency_p50_ms": None})
    assert [e.text for e in only(study).rows[0].entries[1:]] == ["5", "–", "–"]


def test_ten_metrics_are_all_read():
    study = zoo()
    study.values = [replace(v, metrics=dict.fromkeys(v.metrics, 0.5)) for v in study.values]
    table = study.report().zoo_tables[0]
    assert [e.text for e in table.rows[1].entries[-len(COCO) + 1 :]] == ["0.500"] * 9
