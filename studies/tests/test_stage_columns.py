"""The columns a stage asks for: known names, each once, and a mistake is told where it stands."""

from __future__ import annotations

import pytest
from test_study_file import GOOD, complaints, write

from posestudy_studies.designs.columns import names
from posestudy_studies.file import load


def asking(columns: str) -> str:
    return f"{GOOD}    columns: {columns}\n"


def test_every_known_column_may_be_asked_for(tmp_path):
    study = load(write(tmp_path, asking(f"[{', '.join(names())}]")))
    assert study.stages[1].columns == list(names())
    assert study.stages[0].columns == []


@pytest.mark.parametrize(
    ("columns", "found", "hint"),
    [("[gflop]", "'gflop'", "gflops"), ("[model, coco/AP500]", "'coco/AP500'", "coco/AP50")],
)
def test_an_unknown_column_is_told_with_the_nearest(tmp_path, columns, found, hint):
    (text,) = complaints(tmp_path, asking(columns))
    assert f"found {found}" in text
    assert f"did you mean '{hint}'?" in text
    assert text.startswith(f"study.yaml:{len(asking('').splitlines())}:")


def test_a_column_stands_once(tmp_path):
    (text,) = complaints(tmp_path, asking("[fps, fps]"))
    assert "'fps' 2 times, expected every column once" in text
