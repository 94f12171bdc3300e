"""The test of truth: MLflow's and Optuna's stores deleted and made again give the same report, but for run ids."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import NewCell, OpenStage
from posestudy.vocabulary import Direction, Outcome

COMMAND = (sys.executable, "-c", "import sys; from posestudy.commands.app import main; sys.exit(main())")
CONFIG = {"sigma": 1.0, "optimizer": {"type": "Adam", "lr": 1e-4}}


def trained_study(home: Home) -> None:
    """Study `cats` with two finished trials."""
    ledger = Ledger.open(f"sqlite:///{home.database}")
    study = ledger.put_study("cats", {"metric": "coco/AP", "stages": [{"name": "sigma"}]}, "study: cats\n")
    cells = (
        NewCell("baseline", "", "", "0" * 64, {}, CONFIG, (0,)),
        NewCell("sigma_2", "", "Wider", "1" * 64, {"sigma": 2.0}, CONFIG | {"sigma": 2.0}, (0,)),
    )
    assert ledger.apply(study.id, [OpenStage(0, "sigma", "variants", "baseline", CONFIG, cells)])
    for last in (0.25, 0.5):
        claim = ledger.claim("cats", "host:1", 60.0)
        assert claim is not None
        uid, fence = claim.trial.uid, claim.trial.fence
        for epoch, value in ((1, 0.1), (2, last)):
            assert ledger.record_epoch(uid, fence, {epoch: {"coco/AP": value}}, None, 1.5)
        assert ledger.finish(
            uid, fence, Outcome.COMPLETED, None, metric="coco/AP", direction=Direction.MORE, peak_memory_mb=100.0
        )
    ledger.close()


def run_ids(home: Home) -> list[str]:
    """Of the trials in order of their uids, which a rebuild does not change."""
    ledger = Ledger.open(f"sqlite:///{home.database}")
    found = ledger.projected("mlflow")
    ledger.close()
    return [found[uid].run_id for uid in sorted(found)]


@pytest.mark.slow
def test_the_report_is_the_same_after_the_stores_were_deleted_and_made_again(
    home: Home, tmp_path: Path, empty_mlflow_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSESTUDY_HOME", str(home.root))
    for name in ("POSESTUDY_DATABASE_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    home.root.mkdir(parents=True)
    trained_study(home)
    ids, files = [], []
    for turn in ("before", "after"):
        shutil.copy(empty_mlflow_store, home.mlflow_database)
        # A process of its own, as a user's: MLflow keeps a deleted file open for as long as its process lives.
        subprocess.run([*COMMAND, "sync"], check=True)
        out = tmp_path / turn
        subprocess.run(
            [*COMMAND, "report", "cats", "--out", str(out), "--format", "markdown,csv,latex,html"], check=False
        )
        ids.append(run_ids(home))
        files.append({p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()})
        home.mlflow_database.unlink()
        home.optuna_database.unlink()
        shutil.rmtree(home.artifacts)
    before, after = files
    assert not set(ids[0]) & set(ids[1])
    assert ids[0][0].encode() in before["trials.csv"]
    for old, new in zip(*ids, strict=True):
        after = {name: data.replace(new.encode(), old.encode()) for name, data in after.items()}
    assert after.keys() == before.keys()
    assert [name for name in before if before[name] != after[name]] == []
