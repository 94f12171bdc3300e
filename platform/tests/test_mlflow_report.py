"""The study's own run in MLflow and its report: sent twice harmless, deleted and rebuilt whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from projection_study import close, create, train

from posestudy.ledger import Ledger
from posestudy.projections.mlflow_report import keep_report, kept_report
from posestudy.projections.mlflow_store import MlflowStore
from posestudy.projections.project import Projector
from posestudy.projections.quiet_mlflow import open_client
from posestudy.settings import Settings


@pytest.fixture
def settings(mlflow_settings: Settings) -> Settings:
    return mlflow_settings


@pytest.fixture
def book(settings: Settings) -> Iterator[Ledger]:
    ledger = Ledger.open(settings.database_url)
    yield ledger
    ledger.close()


def study_run(settings: Settings):
    client = open_client(settings.mlflow_uri)
    experiment = client.get_experiment_by_name("cats")
    (run,) = client.search_runs([experiment.experiment_id], "tags.`posestudy.kind` = 'study'")
    return run


def artifacts(settings: Settings) -> dict[str, bytes]:
    """The report as the run has it, by path."""
    folder = Path(study_run(settings).info.artifact_uri.removeprefix("file://"))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def written(tmp_path: Path, **files: bytes) -> dict[str, Path]:
    found = {}
    for number, (name, data) in enumerate(files.items()):
        path = tmp_path / f"{number}"
        path.write_bytes(data)
        found[name.replace("__", "/").replace("_", ".")] = path
    return found


def test_the_study_has_a_run_that_ends_with_it(settings: Settings, book: Ledger) -> None:
    study_id = create(book)
    train(book, [0.1])
    assert Projector(settings, book).run().complete
    run = study_run(settings)
    assert (run.info.run_name, run.info.status, run.data.tags["posestudy.study"]) == ("cats", "RUNNING", "cats")
    assert artifacts(settings) == {}
    train(book, [0.2])
    close(book, study_id)
    assert Projector(settings, book).run().complete
    assert study_run(settings).info.status == "FINISHED"
    assert Projector(settings, book).run().sent == 0


def test_a_report_replaces_the_one_before_and_the_same_bytes_change_nothing(
    settings: Settings, book: Ledger, tmp_path: Path
) -> None:
    create(book)
    train(book, [0.1])
    store, study = MlflowStore(settings), book.study("cats")
    keep_report(settings.home, "cats", written(tmp_path, report_html=b"one", tables__1_csv=b"a,b"))
    assert store.send_report(book, study).problems == []
    assert artifacts(settings) == {"report/report.html": b"one", "report/tables/1.csv": b"a,b"}
    before = study_run(settings)
    assert store.send_report(book, study).sent == 0
    assert MlflowStore(settings).send_report(book, study).sent == 0
    keep_report(settings.home, "cats", written(tmp_path, report_html=b"two"))
    assert store.send_report(book, study).sent == 1
    assert artifacts(settings) == {"report/report.html": b"two"}
    assert study_run(settings).info.run_id == before.info.run_id


def test_deleting_mlflow_loses_no_report(
    settings: Settings, book: Ledger, empty_mlflow_store: Path, tmp_path: Path
) -> None:
    create(book)
    train(book, [0.1])
    keep_report(settings.home, "cats", written(tmp_path, report_html=b"one"))
    assert Projector(settings, book).run().complete
    old = study_run(settings).info.run_id
    shutil.copy(empty_mlflow_store, settings.home.mlflow_database)
    shutil.rmtree(settings.home.artifacts)
    assert Projector(settings, book).run(rebuild=True).complete
    assert study_run(settings).info.run_id != old
    assert artifacts(settings) == {"report/report.html": b"one"}


def test_what_another_host_sent_stays_where_this_home_has_no_report(
    settings: Settings, book: Ledger, tmp_path: Path
) -> None:
    create(book)
    keep_report(settings.home, "cats", written(tmp_path, report_html=b"one"))
    assert Projector(settings, book).run().complete
    shutil.rmtree(settings.home.report("cats"))
    assert kept_report(settings.home, "cats") is None
    assert Projector(settings, book).run(rebuild=True).complete
    assert artifacts(settings) == {"report/report.html": b"one"}
    assert study_run(settings).data.tags["posestudy.report_digest"]


def test_a_deleted_run_is_left_so_until_a_rebuild(settings: Settings, book: Ledger, tmp_path: Path) -> None:
    create(book)
    assert Projector(settings, book).run().complete
    open_client(settings.mlflow_uri).delete_run(study_run(settings).info.run_id)
    keep_report(settings.home, "cats", written(tmp_path, report_html=b"one"))
    assert "--rebuild" in MlflowStore(settings).send_report(book, book.study("cats")).notes[0]
    assert Projector(settings, book).run(rebuild=True).complete
    assert artifacts(settings) == {"report/report.html": b"one"}
