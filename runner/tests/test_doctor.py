"""What `posestudy doctor` says of the ledger, and that it makes none."""

from __future__ import annotations

from pathlib import Path

import pytest

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.settings import Settings
from posestudy.testing import put_small_study
from posestudy_runner import doctor


def test_a_ledger_elsewhere_is_looked_for_there_and_not_made(
    home: Home, sqlite_ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_small_study(sqlite_ledger)
    monkeypatch.delenv("POSESTUDY_DATABASE_URL", raising=False)
    assert doctor._ledger(Settings.resolve(str(home.root))).detail.endswith(f"{home.database}: 1 study")
    other = tmp_path / "other.db"
    monkeypatch.setenv("POSESTUDY_DATABASE_URL", f"sqlite:///{other}")
    assert doctor._ledger(Settings.resolve(str(home.root))).detail.endswith("other.db (made at the first launch)")
    assert not other.exists()
