"""MLflow away, refusing, full, read-only and locked: what the user reads, and that all arrives once afterwards."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from projection_study import begin, create, epoch, finish, train

from posestudy.commands.app import main
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import ProjectedRun
from posestudy.projections import service
from posestudy.projections.backlog import read_backlog
from posestudy.projections.mlflow_store import NAME
from posestudy.projections.news import News
from posestudy.projections.optuna_tables import open_storage, study_name
from posestudy.projections.project import Projector, project_once
from posestudy.projections.quiet_mlflow import open_client
from posestudy.projections.turn import LOCK, Turn, TurnLostError, turn
from posestudy.settings import Settings
from posestudy.testing import Mount
from posestudy.testing_mlflow import table, violations
from posestudy.testing_network import FaultyProxy, faulty_proxy


@pytest.fixture
def settings(mlflow_settings: Settings) -> Settings:
    return mlflow_settings


@pytest.fixture
def book(settings: Settings) -> Iterator[Ledger]:
    ledger = Ledger.open(settings.database_url)
    yield ledger
    ledger.close()


@pytest.fixture
def away() -> Iterator[FaultyProxy]:
    """A server with nothing behind it."""
    with faulty_proxy(1) as proxy:
        yield proxy


def test_a_server_that_refuses_fails_or_hangs_is_told_of_in_clear_words(
    settings: Settings, book: Ledger, away: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hidden-password")
    create(book)
    train(book, [0.1])
    expected = {
        401: "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        403: "refuses this user (403)",
        500: "answers with an error (500)",
        503: "answers with an error (503)",
        "hang": "does not answer",
        "lost": "connection was cut",
    }
    for what, said in expected.items():
        away.count_from_here(lambda number, what=what: what)  # type: ignore[misc]
        delivery = Projector(replace(settings, mlflow_uri=away.address), book).run()
        (problem,) = delivery.problems
        assert said in problem
        assert "hidden-password" not in problem
        assert away.seen <= 2, "asked again and again"
    with faulty_proxy(1) as closed:
        closed.close()
        (problem,) = Projector(replace(settings, mlflow_uri=closed.address), book).run().problems
    assert "the connection is refused" in problem


def test_two_runs_of_a_trial_and_a_half_deleted_one_become_one(settings: Settings, book: Ledger) -> None:
    create(book)
    train(book, [0.1, 0.2])
    project_once(settings, book)
    client = open_client(settings.mlflow_uri)
    experiment = client.get_experiment_by_name("cats").experiment_id
    ours = {run.data.tags["posestudy.kind"]: run for run in client.search_runs([experiment])}
    for run in ours.values():
        # As a creation whose answer was lost leaves it; earlier than the one that the ledger knows.
        tags = {key: value for key, value in run.data.tags.items() if key.startswith(("posestudy.", "mlflow.parent"))}
        client.create_run(experiment, start_time=1, tags=tags, run_name="again")
    client.create_run(experiment, tags={**ours["trial"].data.tags, "posestudy.superseded": "true"})
    assert violations(settings.home.mlflow_database, book.snapshot("cats")) != []
    assert project_once(settings, book) > 0
    assert violations(settings.home.mlflow_database, book.snapshot("cats")) == []
    assert client.get_run(ours["trial"].info.run_id).info.lifecycle_stage == "active"
    assert project_once(settings, book) == 0


def test_two_hosts_that_take_turns_make_one_run_of_everything(settings: Settings, book: Ledger) -> None:
    create(book)
    claim = begin(book)
    one, other = Projector(settings, book), Projector(settings, book)
    epoch(book, claim, 1, 0.1)
    one.run()
    finish(book, claim)
    second = begin(book)
    epoch(book, second, 1, 0.2)
    other.run()
    epoch(book, second, 2, 0.3)
    one.run()
    finish(book, second)
    other.run()
    assert violations(settings.home.mlflow_database, book.snapshot("cats")) == []
    deleted = table(settings.home.mlflow_database, "SELECT count(*) FROM runs WHERE lifecycle_stage = 'deleted'")
    assert deleted == [(0,)], "not even for a moment"


def test_who_lost_the_lock_writes_no_cursor(settings: Settings, book: Ledger) -> None:
    create(book)
    claim = train(book, [0.1])
    with turn(book) as frozen:
        with closing(sqlite3.connect(settings.home.database)) as database:
            database.execute("UPDATE lock SET until = 0 WHERE name = ?", (LOCK,))
            database.commit()
        with turn(book, wait_s=0):
            assert Projector(settings, book).run(turn=frozen).interrupted
            with pytest.raises(TurnLostError):
                frozen.record(book, ProjectedRun(NAME, claim.trial.uid, "wrong", 9, ""))
    assert book.projected(NAME) == {}
    assert book.projected("optuna") == {}
    project_once(settings, book)
    assert violations(settings.home.mlflow_database, book.snapshot("cats")) == []
    assert len(open_storage(settings.optuna_url).get_all_trials(1)) == 2


def test_a_dead_holder_of_the_lock_is_not_waited_for(settings: Settings, book: Ledger) -> None:
    child = os.fork()
    if child == 0:
        ledger = Ledger.open(settings.database_url)
        held = turn(ledger)
        held.__enter__()
        os._exit(0)
    os.waitpid(child, 0)
    assert book.lock_holder(LOCK) is not None
    with turn(book, wait_s=0):
        pass


@pytest.mark.slow
def test_a_trial_added_twice_to_optunas_tables_is_there_once_again(settings: Settings, book: Ledger) -> None:
    create(book)
    train(book, [0.1])
    project_once(settings, book)
    storage = open_storage(settings.optuna_url)
    study = storage.get_study_id_from_name(study_name("cats", "augmentation"))
    storage.create_new_trial(study, template_trial=storage.get_all_trials(study)[0])
    train(book, [0.2])
    project_once(settings, book)
    study = storage.get_study_id_from_name(study_name("cats", "augmentation"))
    uids = [trial.user_attrs["posestudy.trial"] for trial in storage.get_all_trials(study)]
    assert uids == [trial.uid for trial in book.snapshot("cats").trials]


@pytest.mark.slow
def test_optunas_file_may_be_deleted_while_the_projector_lives(settings: Settings, book: Ledger) -> None:
    create(book)
    train(book, [0.1])
    projector = Projector(settings, book)
    projector.run()
    settings.home.optuna_database.unlink()
    train(book, [0.2])
    assert projector.run().complete
    storage = open_storage(settings.optuna_url)
    assert [trial.value for trial in storage.get_all_trials(1)] == [0.1, 0.2]


@pytest.fixture
def small_disk(tmp_path: Path, mount: Mount) -> Path:
    """A file system of 3 MB of its own."""
    return mount(tmp_path / "disk", "size=3m")


def with_files(book: Ledger, home: Home, values: list[float], size: int = 100_000) -> Path:
    """A finished trial with weights; their path."""
    claim = begin(book)
    files = home.attempt("cats", claim.trial.number, claim.trial.fence)
    files.folder.mkdir(parents=True)
    files.config.write_text("model = dict()")
    files.best_weights.write_bytes(os.urandom(size))
    for number, value in enumerate(values, start=1):
        epoch(book, claim, number, value)
    finish(book, claim)
    return files.best_weights


def sent_weights(settings: Settings) -> dict[int, bytes | None]:
    """By trial number: the weights as MLflow's artifact store has them."""
    query = (
        "SELECT CAST(t.value AS INTEGER), r.artifact_uri FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid "
        "WHERE t.key = 'posestudy.number' AND r.lifecycle_stage = 'active'"
    )
    found = {}
    for number, place in table(settings.home.mlflow_database, query):
        path = Path(place.removeprefix("file://")) / "weights" / "best.pth"
        found[number] = path.read_bytes() if path.exists() else None
    return found


def test_a_full_and_a_read_only_artifact_store_holds_up_files_only(
    settings: Settings, book: Ledger, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    create(book)
    settings.home.artifacts.symlink_to(small_disk)
    full = small_disk / "filler"
    with suppress_full(), full.open("wb") as file:
        for _ in range(64):
            file.write(bytes(50_000))
            file.flush()
    first = with_files(book, settings.home, [0.1, 0.2])
    caplog.set_level("INFO", "posestudy.projections")
    running = service.Service(settings, threading.Event())
    assert [running._pass() for _ in range(3)] == [False] * 3
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    (line,) = [text for text in told if "artifact store" in text]
    assert "the disk is full" in line
    snapshot = book.snapshot("cats")
    assert violations(settings.home.mlflow_database, snapshot) == [], "values do not wait for files"
    assert sent_weights(settings)[1] != first.read_bytes()

    full.unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    second = with_files(book, settings.home, [0.3])
    assert running._pass() is False
    assert "read-only" in read_backlog(settings.home).sentences[0]
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert running._pass() is True
    assert "caught up" in caplog.text
    assert read_backlog(settings.home) is None
    assert sent_weights(settings) == {1: first.read_bytes(), 2: second.read_bytes()}
    assert violations(settings.home.mlflow_database, book.snapshot("cats")) == []
    running.close()


class suppress_full:  # noqa: N801 - reads like contextlib's
    def __enter__(self) -> None: ...

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> bool:
        return isinstance(error, OSError)


@pytest.mark.slow
def test_mlflows_database_on_a_full_disk(
    settings: Settings, book: Ledger, small_disk: Path, empty_mlflow_store: Path
) -> None:
    shutil.copy(empty_mlflow_store, small_disk / "mlflow.db")
    there = replace(settings, mlflow_uri=f"sqlite:///{small_disk / 'mlflow.db'}")
    with suppress_full(), (small_disk / "filler").open("wb") as file:
        for _ in range(3000):
            file.write(bytes(1000))
            file.flush()
    create(book)
    train(book, [0.1, 0.2])
    projector = Projector(there, book)
    delivery = projector.run()
    assert len(delivery.problems) == 1
    assert "the disk is full" in delivery.problems[0]
    (small_disk / "filler").unlink()
    assert projector.run().complete
    assert violations(small_disk / "mlflow.db", book.snapshot("cats")) == []


@pytest.mark.slow
def test_a_locked_database_is_waited_for_and_named(
    settings: Settings, book: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow.store.db.utils as under_test
    import sqlalchemy as sa

    real = sa.text
    impatient = lambda text: real(text.replace("busy_timeout = 20000", "busy_timeout = 200"))  # noqa: E731
    monkeypatch.setattr(under_test.sql, "text", impatient)
    create(book)
    train(book, [0.1])
    projector = Projector(settings, book)
    with closing(sqlite3.connect(settings.home.mlflow_database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        (problem,) = projector.run().problems
        assert "another process keeps its database locked" in problem
        assert "database is locked" not in problem
        other.execute("ROLLBACK")
    assert projector.run().complete
    assert violations(settings.home.mlflow_database, book.snapshot("cats")) == []


def test_status_says_what_waits_and_sync_ends_it(
    settings: Settings, book: Ledger, away: FaultyProxy, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("POSESTUDY_HOME", str(settings.home.root))
    monkeypatch.delenv("POSESTUDY_DATABASE_URL", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", away.address)
    away.count_from_here(lambda number: 503)
    create(book)
    train(book, [0.1])
    assert main(["sync"]) == 1
    capsys.readouterr()
    main(["status"])
    assert "behind since" in capsys.readouterr().out
    main(["status", "cats", "--json"])
    assert "503" in json.loads(capsys.readouterr().out)["projections_behind"]["why"][0]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert main(["sync"]) == 0
    capsys.readouterr()
    main(["status"])
    assert "behind" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_deleted_store_is_rebuilt_to_the_same_tables(
    settings: Settings, book: Ledger, empty_mlflow_store: Path
) -> None:
    create(book)
    with_files(book, settings.home, [0.1, 0.2])
    with_files(book, settings.home, [0.3])
    project_once(settings, book)

    def tables() -> dict[str, list[tuple]]:
        """Rows by the trial (or the kind) that their run is tagged with: run ids differ."""
        who = (
            "SELECT coalesce((SELECT value FROM tags WHERE run_uuid = r.run_uuid AND key = 'posestudy.trial'), "
            "(SELECT value FROM tags WHERE run_uuid = r.run_uuid AND key = 'posestudy.kind')), "
        )
        of_run = "JOIN runs r ON r.run_uuid = x.run_uuid"
        queries = {
            "metrics": f"{who} x.key, step, x.value, timestamp, is_nan FROM metrics x {of_run} ORDER BY 1, 2, 3",
            "params": f"{who} x.key, x.value FROM params x {of_run} ORDER BY 1, 2",
            "tags": f"{who} x.key, x.value FROM tags x {of_run} WHERE x.key != 'mlflow.parentRunId' ORDER BY 1, 2",
            "runs": f"{who} name, status, lifecycle_stage, artifact_uri IS NULL FROM runs r ORDER BY 1, 2",
        }
        return {name: table(settings.home.mlflow_database, query) for name, query in queries.items()}

    before, weights = tables(), sent_weights(settings)
    assert len(before["metrics"]) > 10
    shutil.copy(empty_mlflow_store, settings.home.mlflow_database)
    shutil.rmtree(settings.home.artifacts)
    settings.home.optuna_database.unlink()
    assert project_once(settings, book) > 0
    assert tables() == before
    assert sent_weights(settings) == weights
    assert [trial.value for trial in open_storage(settings.optuna_url).get_all_trials(1)] == [0.2, 0.3]


def test_a_turn_without_a_lock_writes_what_it_is_given(book: Ledger) -> None:
    create(book)
    claim = begin(book)
    Turn().record(book, ProjectedRun(NAME, claim.trial.uid, "run", 1, ""))
    assert book.projected(NAME)[claim.trial.uid].epoch == 1


def test_a_trouble_is_told_once_and_its_end_too_even_by_the_next_process(home: Home) -> None:
    home.root.mkdir(parents=True)
    told: list[tuple[str | None, bool]] = []
    log = logging.getLogger("posestudy.test")
    news = News(home, log, lambda text, behind: told.append((text, behind)))
    news.passed([])
    news.passed(["MLflow is away, 3 trials wait."])
    news.passed([])
    assert [text for text, _ in told] == [None] * 3, "over with the next pass: not worth a line"
    for waiting in (3, 4, 5):
        news.passed([f"MLflow is away, {waiting} trials wait."])
    said = [text for text, _ in told if text]
    assert len(said) == 1
    assert said[0].endswith("MLflow is away, 4 trials wait. Training goes on.")
    assert told[-1][1] is True
    assert "5 trials" in read_backlog(home).sentences[0]
    told.clear()
    News(home, log, lambda text, behind: told.append((text, behind))).passed([])
    assert told == [("MLflow and Optuna's tables have caught up", False)]
    assert read_backlog(home) is None
