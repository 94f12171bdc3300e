"""Names of strangers as parts of paths: always one plain part, and no two studies in one folder."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posestudy.errors import LedgerError
from posestudy.home import Home, safe_part
from posestudy.ledger import Ledger

ODD = [
    "",
    ".",
    "..",
    "../x",
    "/etc",
    "a/b",
    "a\\b",
    "-rf",
    "a\0b",
    "a\nb",
    "\u202etxt.exe",
    "~",
    "C:",
    "x" * 500,
    "\ud800",
]


@given(name=st.one_of(st.sampled_from(ODD), st.text()))
def test_a_part_never_leaves_its_folder(name: str) -> None:
    part = safe_part(name)
    assert part == PurePosixPath(part).name == PureWindowsPath(part).name
    assert 0 < len(part.encode()) <= 120
    assert not part.startswith(".")
    assert part.isascii()
    assert part.isprintable()


@pytest.mark.parametrize("other", ["Cats", "CATS", "cats.", ".cats"])
def test_two_studies_never_share_a_folder(other: str, ledger_url: str) -> None:
    ledger = Ledger.open(ledger_url)
    try:
        ledger.put_study("cats", {}, "")
        assert ledger.put_study("cats", {"again": 1}, "").name == "cats"
        with pytest.raises(LedgerError, match=f"a study '{other}' would share its folder with the study 'cats'"):
            ledger.put_study(other, {}, "")
        assert [study.name for study in ledger.studies()] == ["cats"]
        ledger.put_study("cats_2", {}, "")
    finally:
        ledger.close()


def test_an_attempt_lies_in_its_home_whatever_the_study_is_called(tmp_path) -> None:
    home = Home(tmp_path)
    for name in ODD:
        assert home.attempt(name, 1, 1).folder.parent.parent.parent == home.runs
        assert home.report(name).parent == tmp_path / "reports"
