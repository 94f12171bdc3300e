"""The tables a study declares for its report: their rows, columns, marks, notes; and the usual ones without them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from golden_files import declaring
from measured_study import several
from synthetic_report import NASTY, Builder, config, finished, nasty, unfinished
from zoo_study import GPU, OLD_GPU, Zoo, profile, zoo

from posestudy.home import Home
from posestudy.vocabulary import Outcome
from posestudy_reports.addressed import numbers_in
from posestudy_reports.grouped_table import headings
from posestudy_reports.report import StudyReport
from posestudy_reports.tables import Entry, Table
from posestudy_reports.writers import latex, tables_by_stage


def one(study: Builder, **spec: Any) -> Table:
    """The only table of the report of `study`, which declares this one."""
    (table,) = declaring(study, [{"name": "t", **spec}]).all_tables
    return table


def keys(table: Table) -> list[str]:
    return [column.key for column in table.columns]


def texts(table: Table, key: str) -> list[str]:
    return [row.entries[keys(table).index(key)].text for row in table.rows]


def entries(table: Table, key: str) -> list[Entry]:
    return [row.entries[keys(table).index(key)] for row in table.rows]


def marked(table: Table, key: str) -> dict[str, str]:
    """By label, what is best or second."""
    found = zip(texts(table, "label"), entries(table, key), strict=True)
    return {label: entry.emphasis for label, entry in found if entry.emphasis}


def switches(design: str = "leave_one_out", flips: tuple[object, ...] = ({"prob": 0.5}, None)) -> Builder:
    """A full configuration, and each of two components taken away; `flips` are the levels of the first."""
    study = Builder(stages=[{"name": "parts", "design": design}])
    study.stage("parts", design=design)
    rows = (("baseline", flips[0], True, 0.5), ("no_flip", flips[1], True, 0.4), ("no_amp", flips[0], False, 0.45))
    for name, flip, amp, top in rows:
        changed = {"augmentation.flip": flip} if name == "no_flip" else {"amp": amp} if name == "no_amp" else {}
        study.cell(name, changed)
        study.cells[-1].config.update(config() | {"augmentation": {"flip": flip}, "amp": amp})
        study.trial(scores=(top / 2, top))
    return study


def test_without_a_word_every_stage_has_its_usual_tables():
    names = [table.name for table in finished().report().all_tables]
    assert names == ["1_lr", "1_lr_differences", "2_sigma", "2_sigma_differences"]
    assert [t.name for t in zoo().report().all_tables if t.name.endswith("_columns")] == [
        "1_zoo_columns", "2_boxes_columns", "3_precision_columns", "4_losses_columns",
    ]  # fmt: skip


def test_components_taken_away_have_a_pivot_without_asking():
    tables = switches().report().all_tables
    assert [t.name for t in tables][-1] == "1_parts_factors"
    assert texts(tables[-1], "factor augmentation.flip") == ["✓", "✗", "✓"]
    assert not any(t.name.endswith("_factors") for t in switches("variants").report().all_tables)


def test_combinations_have_a_pivot_without_asking():
    stage = {"name": "both", "design": "one_at_a_time", "variants": {"a": {}, "b": {}}, "combine": [["a", "b"]]}
    study = Builder(stages=[stage])
    study.stage("both", design="one_at_a_time")
    for name, levels in (
        ("baseline", {}),
        ("a", {"lr": 1e-3}),
        ("b", {"sigma": 2.0}),
        ("a-b", {"lr": 1e-3, "sigma": 2.0}),
    ):
        study.cell(name, {f"optimizer.{k}" if k == "lr" else k: v for k, v in levels.items()})
        study.trial(scores=(0.1, 0.2))
    table = study.report().all_tables[-1]
    assert table.name == "1_both_factors"
    assert texts(table, "factor optimizer.lr") == ["1e-4", "1e-3", "1e-4", "1e-3"]
    assert texts(table, "factor sigma") == ["1", "1", "2", "2"]


def test_declared_tables_stand_in_the_order_of_the_study_file_and_no_other():
    specs = [{"form": "replicates", "name": "b", "stage": "sigma"}, {"form": "ablation", "name": "a", "stage": "lr"}]
    report = declaring(finished(), specs)
    assert [t.name for t in report.all_tables] == ["b", "a"]
    assert [(t.form, t.stages) for t in report.paper_tables] == [("replicates", ("sigma",)), ("ablation", ("lr",))]


def test_rows_and_columns_stand_as_they_were_asked_for():
    table = one(finished(), form="ablation", stage="lr", rows=["lr_3e-3", "baseline"], columns=["final", "cell"])
    assert keys(table) == ["final", "label"]
    assert texts(table, "label") == ["3e-3", "baseline"]
    assert texts(table, "final") == ["20: 0.451", "20: 0.107"]


def test_best_and_second_are_those_of_the_rows_that_are_shown():
    everything, few = (
        one(finished(), form="ablation", stage="lr", **rows) for rows in ({}, {"rows": ["baseline", "lr_1e-3"]})
    )
    assert marked(everything, "final") == {"3e-3": "best", "1e-3": "second"}
    assert marked(few, "final") == {"1e-3": "best", "baseline": "second"}


def test_several_stages_are_one_table_with_headings_and_one_best():
    table = one(finished(), form="ablation", stages=["sigma", "lr"])
    assert headings(table) == {0: "sigma", 3: "lr"}
    assert len(table.rows) == 8
    assert marked(table, "final") == {"sigma_2": "best", "3e-3": "second"}
    assert table.title == "Ablation: sigma and lr"


def test_all_stages_where_none_is_named_and_those_that_are_not_open_yet_are_left_out():
    assert len(one(finished(), form="ablation").rows) == 8
    assert declaring(unfinished(), [{"form": "ablation", "name": "t", "stage": "sigma"}]).all_tables == ()
    assert headings(one(unfinished(), form="ablation")) == {}


def test_a_cell_may_be_named_with_its_stage():
    table = one(finished(), form="ablation", rows=["sigma/baseline", "lr_1e-3"], columns=["cell", "final"])
    assert headings(table) == {0: "lr", 1: "sigma"}
    assert texts(table, "final") == ["20: 0.380", "20: 0.450"]


def test_footnotes_are_numbered_as_they_are_read_and_only_those_of_the_rows():
    whole = one(finished(), form="ablation", stage="lr")
    few = one(finished(), form="ablation", stage="lr", rows=["large"], columns=["outcome", "cell"])
    assert [n.split(":")[0] for n in few.notes] == ["Several factors differ from the baseline at once"]
    assert few.rows[0].entries[1].marks == (1,)
    assert len(whole.notes) > len(few.notes)
    marks = [mark for row in whole.rows for entry in row.entries for mark in entry.marks]
    assert list(dict.fromkeys(marks)) == list(range(1, len(whole.notes) + 1))


def test_footnotes_of_several_stages_each_stand_once():
    table = one(finished(), form="ablation")
    assert len(set(table.notes)) == len(table.notes)
    baselines = [
        e for e, text in zip(entries(table, "label"), texts(table, "label"), strict=True) if text == "baseline"
    ]
    assert len({entry.marks[0] for entry in baselines}) == 1


def test_a_table_may_have_no_footnotes():
    table = one(finished(), form="ablation", footnotes=False)
    assert table.notes == ()
    assert not any(entry.marks for row in table.rows for entry in row.entries)


def test_the_authors_words_are_in_the_table():
    spec = {"form": "zoo", "title": NASTY, "caption": f"Of {NASTY}", "label": "tab:mine", "priority": 3}
    table = one(zoo(), **spec)
    assert (table.title, table.caption, table.label, table.priority) == (NASTY, f"Of {NASTY}", "tab:mine", 3)
    assert texts(one(nasty(), form="ablation"), "policy")[0] == NASTY


def test_costs_may_stand_beside_an_ablation():
    table = one(zoo(), form="ablation", stage="losses", columns=["cell", "final", "gflops", "coco/AP"])
    assert keys(table) == ["label", "final", "gflops", "coco/AP"]
    assert texts(table, "gflops")[0] == "0.70"
    assert [c.header for c in table.columns][2:] == ["GFLOPs", "AP"]


def test_a_zoo_has_the_columns_of_its_stage_or_what_is_known():
    assert keys(one(zoo(), form="zoo", stage="boxes")) == ["label", "boxes", "flip_test", "latency", "coco/AP"]
    known = keys(one(finished(), form="zoo", stage="lr"))
    assert known == ["label", "model", "input_size", "peak_memory", "train_time", "coco/AP"]


def test_a_zoo_of_several_stages_ranks_over_all_of_them_but_not_over_machines():
    study = Zoo("two")
    for name, device, top in (("a", GPU, 0.3), ("b", OLD_GPU, 0.5)):
        study.stage(name)
        study.network("baseline", {}, f"{name} one", model="resnet50")
        study.trial(scores=(top,), profile=profile(1000, 1.0, 100 * top, device))
        study.network("other", {}, f"{name} two", model="resnet50")
        study.trial(scores=(top + 0.1,), profile=profile(2000, 2.0, 90 * top, device))
    table = one(study, form="zoo", columns=["parameters", "fps", "coco/AP"])
    assert marked(table, "coco/AP") == {"b two": "best", "b one": "second"}
    assert marked(table, "parameters") == {"a one": "best", "b one": "best", "a two": "second", "b two": "second"}
    assert marked(table, "fps") == {}
    assert "FPS was measured on several machines and is not ranked." in table.remarks


def test_a_pivot_has_a_column_per_factor_that_differs():
    table = one(switches(), form="factors", columns=["final", "difference", "peak_memory"])
    assert keys(table) == ["label", "factor augmentation.flip", "factor amp", "final", "delta", "peak_memory"]
    assert [c.header for c in table.columns][1:4] == ["flip", "amp", "AP"]
    assert texts(table, "factor amp") == ["✓", "✓", "✗"]
    assert texts(table, "delta") == ["–", "−0.100", "−0.050"]
    assert marked(table, "final") == {"baseline": "best", "no_amp": "second"}
    assert "✓: with it, ✗: without it." in table.remarks


def test_levels_that_are_on_in_two_ways_are_told_in_words():
    table = one(switches(flips=({"prob": 0.5}, {"prob": 0.9})), form="factors", columns=["final"])
    assert texts(table, "factor augmentation.flip") == ["prob 0.5", "prob 0.9", "prob 0.5"]


def test_a_pivot_may_name_its_factors():
    table = one(finished(), form="factors", stage="lr", factors=["sigma"], columns=["best"])
    assert keys(table) == ["label", "factor sigma", "best"]


def test_a_pivot_says_in_words_why_there_is_no_number():
    table = one(finished(), form="factors", columns=["final", "best"])
    assert texts(table, "final")[3:5] == ["diverged", "out of memory"]
    assert texts(table, "final")[-1] == "pruned at epoch 10"
    assert texts(table, "best")[3] == "–"


def test_replicates_have_the_interval_of_students_t():
    table = one(finished(), form="replicates", stage="lr", columns=["seeds", "final"])
    assert keys(table) == ["label", "seeds", "final"]
    assert texts(table, "seeds") == ["3", "1", "3", "0", "0"]
    assert texts(table, "final")[:3] == ["0.107 ± 0.014", "0.380", "0.451 ± 0.004"]
    mean, half = numbers_in([entries(table, "final")[0].text])
    values = (0.101, 0.112, 0.108)
    sd = math.sqrt(sum((v - sum(values) / 3) ** 2 for v in values) / 2)
    assert half.value == pytest.approx(4.302652729696142 * sd / math.sqrt(3))
    assert half.address == "lr/baseline/final/half_width"
    assert mean.uids == half.uids


def test_two_seeds_have_their_range_and_one_has_its_value():
    study = Builder()
    study.stage("a")
    for name, tops in (("baseline", (0.2, 0.3)), ("b", (0.4,))):
        study.cell(name, {})
        for seed, top in enumerate(tops):
            study.trial(scores=(top,), seed=seed)
    table = one(study, form="replicates", columns=["final"])
    assert [(e.text, e.detail) for e in entries(table, "final")] == [("0.250", "0.200–0.300"), ("0.400", "")]
    assert table.remarks == (
        "Two seeds: below the mean the range of what was seen, which has no confidence.",
        "One seed: its value; nothing is known of others.",
    )


def test_a_seed_that_failed_is_not_among_the_seeds():
    study = Builder()
    study.stage("a")
    study.cell("baseline", {})
    for seed, top in enumerate((0.2, 0.3, 0.4)):
        study.trial(scores=(top,), seed=seed)
    study.trial(Outcome.OUT_OF_MEMORY, seed=3)
    table = one(study, form="replicates", columns=["seeds", "final"])
    assert texts(table, "seeds") == ["3"]
    assert "Of 4 seeds not in the mean: seed 3 out of memory." in table.notes


def test_differences_have_the_rows_that_were_asked_for(tmp_path):
    study = several(Home.resolve(tmp_path))
    study.study.document["report"] = {
        "tables": [{"form": "differences", "name": "t", "rows": ["as_good"], "columns": ["cell", "seeds", "resolved"]}]
    }
    (table,) = study.measured().all_tables
    assert keys(table) == ["label", "seeds", "resolved"]
    assert texts(table, "label") == ["as_good"]


def test_a_table_of_another_version_of_the_study_file_is_left_out():
    specs = [{"form": "sunburst", "name": "a"}, {"form": "ablation", "name": "b", "stage": "lr"}]
    assert [t.name for t in declaring(finished(), specs).all_tables] == ["b"]


def test_every_number_of_every_form_has_its_trials():
    forms = ("ablation", "zoo", "factors", "differences", "replicates")
    report = declaring(finished(), [{"form": form, "name": form} for form in forms])
    known = {t.uid for t in report.result.snapshot.trials}
    assert [t.name for t in report.all_tables] == list(forms)
    for table in report.all_tables:
        found = [n for row in table.rows for entry in row.entries for n in numbers_in([entry.text, entry.detail])]
        assert found
        assert all(number.uids and set(number.uids) <= known for number in found)
        assert {number.address for number in found} <= set(report.numbers)


def test_a_stage_that_no_declared_table_covers_keeps_its_own():
    report = declaring(finished(), [{"form": "replicates", "name": "seeds", "stage": "lr"}])
    several, by_stage = tables_by_stage(report)
    assert several == ()
    assert [[t.name for t in tables] for tables in by_stage] == [["seeds"], ["2_sigma"]]
    both = declaring(finished(), [{"form": "replicates", "name": "seeds"}])
    assert [len(tables) for tables in tables_by_stage(both)[1]] == [0, 0]
    paper = latex.tex_files(report)["report.tex"]
    assert paper.index(r"\input{tables/seeds}") < paper.index(r"\input{tables/2_sigma}")
    assert r"\input{tables/1_lr}" not in paper


@pytest.mark.parametrize("form", ["csv", "markdown", "html"])
def test_declared_tables_are_in_every_format(form):
    report: StudyReport = declaring(finished(), [{"form": "replicates", "name": "seeds", "title": "Of seeds"}])
    written = report.files([form])
    if form == "csv":
        lines = written["tables/seeds.csv"].decode().splitlines()
        assert lines[0].startswith("stage,label,seeds,final,")
        assert lines[1].startswith("lr,baseline,3,0.107 ± 0.014,")
        assert "tables/1_lr.csv" not in written
    else:
        text = next(iter(written.values())) if form == "html" else written["report.md"]
        assert b"Of seeds" in text
        assert b"Stage 1: lr" in text
