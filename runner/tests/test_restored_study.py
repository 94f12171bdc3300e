"""A study whose home was backed up while it ran goes on from there, in another home, with the same results."""

from __future__ import annotations

from pathlib import Path

import pytest
from standin_pool import Standin, in_background, until
from standin_pool import importable_standins as importable_standins

from posestudy.backups.making import make
from posestudy.backups.restoring import restore
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.vocabulary import Outcome

CELLS = {"quick": {}, "slow": {"steps": 20, "step_s": 0.1}, "later": {"steps": 4, "step_s": 0.05}}


@pytest.mark.slow
def test_a_restored_study_goes_on_from_its_checkpoints(home: Home, sqlite_ledger: Ledger, tmp_path: Path) -> None:
    study = Standin(home, sqlite_ledger, CELLS)
    running = in_background(study.pool())
    until(lambda: len(study.trials()) == 3 and study.trials()[1].ckpt_epoch >= 1)
    make(home, sqlite_ledger, tmp_path / "kept")
    running.join(400)

    other = Home.resolve(tmp_path / "elsewhere")
    restore(other, f"sqlite:///{other.database}", tmp_path / "kept")
    ledger = Ledger.open(f"sqlite:///{other.database}")
    restored = Standin(other, ledger, CELLS)
    began = {trial.number: trial.ckpt_epoch for trial in restored.trials()}
    restored.pool().run(1)
    for before, after in zip(study.trials(), restored.trials(), strict=True):
        assert after.outcome is Outcome.COMPLETED
        assert (after.uid, after.final_value, after.best_epoch) == (before.uid, before.final_value, before.best_epoch)
        assert restored.values(after) == study.values(before)
    slow = restored.trials()[1]
    assert slow.fence == 1001
    assert int((restored.folder(2, 1001) / "from_epoch").read_text()) == began[2] >= 1
    ledger.close()
