"""The tables a study file declares for its report: forms, stages, cells and columns that exist, else told where."""

from __future__ import annotations

import jsonschema
import pytest
from test_study_file import GOOD, complaints, write

from posestudy_studies import editor_schema, yaml_text
from posestudy_studies.file import load
from posestudy_studies.report_tables import FORMS, columns_of

LINES = len(GOOD.splitlines())


def declaring(*tables: str) -> str:
    """The good study with these tables, each in a line of its own from line LINES + 3."""
    return GOOD + "report:\n  tables:\n" + "".join(f"    - {table}\n" for table in tables)


def test_every_form_takes_all_of_its_columns(tmp_path):
    tables = [f"{{form: {f}, name: {f}, columns: [{', '.join(columns_of(f))}]}}" for f in FORMS]
    study = load(write(tmp_path, declaring(*tables)))
    assert [t.form for t in study.report.tables] == list(FORMS)
    assert all(t.columns == list(columns_of(t.form)) for t in study.report.tables)


def test_what_is_left_out_is_as_usual(tmp_path):
    (table,) = load(write(tmp_path, declaring("{form: zoo, name: a}"))).report.tables
    assert (table.stage, table.stages, table.rows, table.columns, table.priority) == (None, [], [], [], 20)
    assert table.footnotes
    assert load(write(tmp_path, GOOD)).report.tables == []


def test_rows_may_name_cells_of_one_stage_or_of_several(tmp_path):
    rows = "rows: [baseline, size/input_size_96x96, half]"
    (table,) = load(write(tmp_path, declaring(f"{{form: ablation, name: a, {rows}}}"))).report.tables
    assert table.rows == ["baseline", "size/input_size_96x96", "half"]


@pytest.mark.parametrize(
    ("table", "found", "hint"),
    [
        ("{form: ablatin, name: a}", "'ablatin'", "ablation"),
        ("{form: zoo, name: a, colums: [fps]}", "unknown key 'colums'", "columns"),
        ("{form: zoo, name: a, stage: sise}", "'sise'", "size"),
        ("{form: zoo, name: a, stages: [target, sise]}", "'sise'", "size"),
        ("{form: zoo, name: a, columns: [gflop]}", "'gflop'", "gflops"),
        ("{form: ablation, name: a, columns: [polici]}", "'polici'", "policy"),
        ("{form: ablation, name: a, stage: target, rows: [narow]}", "'narow'", "narrow"),
        ("{form: ablation, name: a, rows: [sise/baseline]}", "'sise/baseline'", "size"),
        ("{form: factors, name: a, factors: [sigm]}", "unknown factor 'sigm'", "sigma"),
    ],
)
def test_a_misspelt_word_is_told_in_its_line_with_the_nearest(tmp_path, table, found, hint):
    (text,) = complaints(tmp_path, declaring("{form: zoo, name: other}", table))
    assert text.startswith(f"study.yaml:{LINES + 4}:")
    assert f"found {found}" in text
    assert f"did you mean '{hint}'?" in text


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("{form: zoo}", "name: found nothing, expected this required key"),
        ("{form: zoo, name: ../x}", "found '../x', expected a name"),
        ("{form: zoo, name: other}", "found 'other' a second time, expected a name of its own for every table"),
        ("{form: zoo, name: a, columns: [fps, fps]}", "found 'fps' a second time, expected every column once"),
        ("{form: zoo, name: a, factors: [sigma]}", "only the form factors has it"),
        ("{form: differences, name: a, columns: [fps]}", "found 'fps', expected one of cell, difference, images"),
        ("{form: zoo, name: a, stage: size, stages: [target]}", "found stages beside stage, expected one of the two"),
        ("{form: zoo, name: a, stage: size, rows: [target/narrow]}", "expected a stage of the table: size"),
        ("{form: zoo, name: a, stage: size, rows: [narrow]}", "expected a cell of stage size: baseline, input_size_96"),
        ("{form: zoo, name: a, label: 'a}b'}", "found 'a}b', expected at most 80 letters"),
        ("{form: zoo, name: a, priority: 0}", "found 0, expected a whole number of at least 1"),
    ],
)
def test_what_cannot_be_is_told_in_its_line(tmp_path, table, told):
    (text,) = complaints(tmp_path, declaring("{form: zoo, name: other}", table))
    assert text.startswith(f"study.yaml:{LINES + 4}:")
    assert told in text


def test_cells_that_follow_from_results_may_be_named(tmp_path):
    bisect = "  - {name: long, design: bisect, factor: epochs, between: [2, 40], tolerance: 2}\n"
    smaller = "  - {name: batch, design: grid, out_of_memory: {largest_batch: true}, factors: {batch_size: [64]}}\n"
    rows = "[baseline, long/epochs_7, batch/batch_size_64-batch_56]"
    tables = f"report:\n  tables:\n    - {{form: ablation, name: a, rows: {rows}}}\n"
    (table,) = load(write(tmp_path, GOOD + bisect + smaller + tables)).report.tables
    assert table.rows[1:] == ["long/epochs_7", "batch/batch_size_64-batch_56"]


def test_an_unreadable_stage_hides_no_other_mistake_of_a_table(tmp_path):
    text = declaring("{form: zoo, name: a, columns: [gflop], rows: [x]}").replace("design: grid", "design: gird")
    told = complaints(tmp_path, text)
    assert any("'gird'" in line for line in told)
    assert any("'gflop'" in line for line in told)
    assert not any("'x'" in line for line in told)  # nothing is known of the cells


def test_an_editor_knows_the_forms():
    schema = editor_schema.schema()
    jsonschema.validate(yaml_text.parse(declaring("{form: zoo, name: a}"), "x").data, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml_text.parse(declaring("{form: zo, name: a}"), "x").data, schema)
