"""What is made from a restored ledger is what was made from the one it was copied from: reports, MLflow's runs."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from projection_study import close, create, train

from posestudy.backups.making import make
from posestudy.backups.restoring import restore
from posestudy.commands.app import main
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.projections.project import project_once
from posestudy.settings import Settings

FORMATS = "csv,markdown,latex,html"


def written(folder: Path, ledger: Ledger) -> dict[str, bytes]:
    """The files of a report, with the ids that MLflow gave its runs taken out: it chooses them itself."""
    run_ids = [run.run_id for run in ledger.projected("mlflow").values()]
    files = {}
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            for run_id in run_ids:
                data = data.replace(run_id.encode(), b"run")
            files[str(path.relative_to(folder))] = data
    return files


def told_to_mlflow(settings: Settings) -> list[tuple]:
    """Every point of every trial's run, by the trial's uid, as MLflow's own tables hold it."""
    query = (
        "SELECT t.value, m.key, m.step, m.value, m.timestamp FROM metrics m JOIN tags t ON t.run_uuid = m.run_uuid "
        "WHERE t.key = 'posestudy.trial' ORDER BY 1, 2, 3"
    )
    with sqlite3.connect(settings.mlflow_uri.removeprefix("sqlite:///")) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.slow
def test_the_report_is_the_same_and_mlflow_is_rebuilt(
    mlflow_settings: Settings, empty_mlflow_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POSESTUDY_DATABASE_URL", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    ledger = Ledger.open(mlflow_settings.database_url)
    study = create(ledger)
    train(ledger, [0.1, 0.3, 0.2])
    train(ledger, [0.2, 0.4])
    close(ledger, study)
    project_once(mlflow_settings, ledger)
    make(mlflow_settings.home, ledger, tmp_path / "kept.tar")
    monkeypatch.setenv("POSESTUDY_HOME", str(mlflow_settings.home.root))
    assert main(["report", "cats", "--out", str(tmp_path / "before"), "--format", FORMATS, "--no-mlflow"]) == 0
    before = written(tmp_path / "before", ledger)
    ledger.close()

    home = Home.resolve(tmp_path / "elsewhere")
    monkeypatch.setenv("POSESTUDY_HOME", str(home.root))
    other = Settings.resolve()
    restore(home, other.database_url, tmp_path / "kept.tar")
    shutil.copy(empty_mlflow_store, home.mlflow_database)
    restored = Ledger.open(other.database_url)
    project_once(other, restored)
    assert main(["report", "cats", "--out", str(tmp_path / "after"), "--format", FORMATS, "--no-mlflow"]) == 0
    assert len(before) > 5
    assert written(tmp_path / "after", restored) == before
    restored.close()
    points = told_to_mlflow(mlflow_settings)
    assert len(points) > 10
    assert told_to_mlflow(other) == points
