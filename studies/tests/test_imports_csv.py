"""A table of results is read as it was written down, and every mistake in it has its line."""

import pytest

from posestudy.errors import InputError
from posestudy.vocabulary import Outcome
from posestudy_studies.imports import results_csv


def read(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "results.csv"
    path.write_bytes(text.encode(encoding))
    return results_csv.read(path)


def mistakes(tmp_path, text):
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    return [(p.line, p.column, p.path, p.found) for p in error.value.problems], str(error.value)


@pytest.mark.parametrize("final", ["150: 0.485", "150:0.485", "0.485 (150)", "0.485(150)"])
def test_value_and_epoch_in_one_field(tmp_path, final):
    row = read(tmp_path, f"stage,label,final,best\nlr,15,{final},125: 4.68e-1\n")[0]
    assert (row.final, row.final_epoch, row.best, row.best_epoch) == (0.485, 150, 0.468, 125)
    assert (row.line, row.stage, row.label, row.cell, row.outcome) == (2, "lr", "15", "", Outcome.COMPLETED)


def test_value_and_epoch_in_two_columns(tmp_path):
    text = "stage,cell,seed,final,final_epoch,best,best_epoch,peak_memory_mb\nlr,a,3,0.4,20,0.5,15,6622\n"
    row = read(tmp_path, text)[0]
    assert (row.final, row.final_epoch, row.best, row.best_epoch) == (0.4, 20, 0.5, 15)
    assert (row.seed, row.peak_memory_mb) == (3, 6622)


@pytest.mark.parametrize(
    ("word", "outcome"),
    [
        ("not converge", Outcome.NOT_CONVERGED),
        ("Not converged", Outcome.NOT_CONVERGED),
        ("CUDA out of memory", Outcome.OUT_OF_MEMORY),
        ("OOM", Outcome.OUT_OF_MEMORY),
        ("out_of_memory", Outcome.OUT_OF_MEMORY),
        ("diverged", Outcome.DIVERGED),
        ("timed out", Outcome.TIMED_OUT),
    ],
)
def test_an_outcome_stands_in_its_column_or_in_place_of_the_final_value(tmp_path, word, outcome):
    row = read(tmp_path, f"stage,label,final,best\nnetwork,26,{word},none\n")[0]
    assert (row.outcome, row.final, row.best) == (outcome, None, None)
    assert read(tmp_path, f"stage,label,outcome\nnetwork,26,{word}\n")[0].outcome is outcome


def test_a_spreadsheets_export_is_read(tmp_path):
    text = '\ufeffstage;label;final;note\r\nlr;9;"150: 0.456";"two\r\nlines"\r\n\r\nlr;10;150: 0.460;\r\n'
    rows = read(tmp_path, text)
    assert [(r.line, r.label, r.note.split()) for r in rows] == [(2, "9", ["two", "lines"]), (5, "10", [])]


def test_every_mistake_has_its_line_and_column(tmp_path):
    text = (
        "stage,cell,seed,outcome,final,best\n"
        ",a,0,,20: 0.1,\n"
        "lr,,0,,20: 0.1,\n"
        'lr,b,-1,,"0,485",\n'
        "lr,c,0,compleeted,20: 0.1,\n"
        "lr,d,0,failed,,\n"
        "lr,e,0,,,\n"
        "lr,f,0,oom,20: 0.1\n"
        "lr,g,0,,20: 0.1,0.2\n"
        "lr,h,0,diverged,out of memory,\n"
    )
    found, said = mistakes(tmp_path, text)
    assert [(line, column) for line, column, _, _ in found] == [
        (2, 1), (3, 2), (4, 3), (4, 5), (5, 4), (6, 4), (7, 5), (8, 1), (9, 6), (10, 5),
    ]  # fmt: skip
    assert "did you mean 'completed'?" in said
    assert "leave the row out and it is trained" in said
    assert "write a decimal point" in said


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("stage,lable,final", "did you mean 'label'?"),
        ("stage,label,final,final", "the column 'final' again"),
        ("label,final", "no column 'stage'"),
        ("stage,final", "no column 'cell' or 'label'"),
        ("stage,label", "no column 'final', 'outcome' or 'log'"),
    ],
)
def test_a_wrong_first_line_is_told(tmp_path, header, found):
    assert found in mistakes(tmp_path, f"{header}\nlr,9,150: 0.4\n")[1]


def test_a_result_that_stands_twice_is_refused_and_replicates_are_not(tmp_path):
    found, said = mistakes(tmp_path, "stage,label,final\nlr,9,20: 0.4\nnet,9,20: 0.5\nlr,9,20: 0.6\n")
    assert [line for line, *_ in found] == [4]
    assert "first on line 2" in said
    rows = read(tmp_path, "stage,label,seed,final\nlr,9,0,20: 0.4\nlr,9,1,20: 0.6\n")
    assert [row.seed for row in rows] == [0, 1]


@pytest.mark.parametrize("text", ["", "stage,label,final\n", 'stage,label,final\nlr,"9,20: 0.4\n'])
def test_what_is_no_table_is_an_error_for_the_user(tmp_path, text):
    assert mistakes(tmp_path, text)[0]


def test_a_zero_byte_is_told_with_its_line(tmp_path):
    assert mistakes(tmp_path, "stage,label,final\nlr,9,20: 0.4\nlr,1\0,20: 0.4\n")[0][0][0] == 3


def test_bytes_that_are_no_text_and_missing_files_are_errors_for_the_user(tmp_path):
    with pytest.raises(InputError, match="no UTF-8"):
        read(tmp_path, "stage,label,final\nlr,ü,20: 0.4\n", encoding="latin-1")
    with pytest.raises(InputError, match="No such file"):
        results_csv.read(tmp_path / "nothing.csv")
