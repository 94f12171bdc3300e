"""The written tables, equal to those that were read and kept; `golden_files.py` tells how to write them anew."""

from __future__ import annotations

import pytest
from golden_files import DECLARED, FOLDER, ZOO, files

from posestudy_studies.report_tables import FORMS


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    return files()


def kept() -> list[str]:
    return sorted(path.name for path in FOLDER.iterdir())


@pytest.mark.parametrize("name", kept())
def test_a_file_equals_the_one_that_was_kept(written, name):
    assert written.get(name) == (FOLDER / name).read_text(encoding="utf-8")


def test_no_file_is_missing_and_every_form_is_among_them(written):
    assert sorted(written) == kept()
    assert {table["form"] for table in (*DECLARED, *ZOO)} == set(FORMS)
