"""MLflow as a projection, on MLflow's own SQLite store, read back through MLflow and through its tables."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from projection_study import PROFILE, begin, cell, close, create, epoch, finish, train

from posestudy.commands.app import main
from posestudy.ledger import Ledger
from posestudy.ledger.records import AddCells, WithdrawStages
from posestudy.projections import service
from posestudy.projections.delivery import Delivery
from posestudy.projections.project import Projector, project_once
from posestudy.projections.quiet_mlflow import open_client
from posestudy.projections.turn import BusyError, Turn, turn
from posestudy.settings import Settings
from posestudy.vocabulary import AttemptEnd, Outcome


@pytest.fixture
def settings(mlflow_settings: Settings) -> Settings:
    return mlflow_settings


@pytest.fixture
def book(settings: Settings) -> Iterator[Ledger]:
    ledger = Ledger.open(settings.database_url)
    yield ledger
    ledger.close()


def rows(settings: Settings, query: str) -> list[tuple]:
    with sqlite3.connect(settings.mlflow_uri.removeprefix("sqlite:///")) as connection:
        return connection.execute(query).fetchall()


def runs(settings: Settings, study: str = "cats") -> dict:
    """The active trial runs of a study by number."""
    client = open_client(settings.mlflow_uri)
    experiment = client.get_experiment_by_name(study)
    found = client.search_runs([experiment.experiment_id])
    return {int(r.data.tags["posestudy.number"]): r for r in found if "posestudy.number" in r.data.tags}


def test_a_trial_becomes_a_nested_run_with_all_its_parts(settings: Settings, book: Ledger) -> None:
    study_id = create(book)
    train(book, [0.1, 0.2])
    claim = begin(book)
    files = settings.home.attempt("cats", 2, claim.trial.fence)
    files.drawings.mkdir(parents=True)
    files.attention.mkdir()
    pictures = (files.drawings / "1.png", files.attention / "001_dependency.png", files.attention / "001_affect.png")
    for path in (files.config, files.log, files.best_weights, files.predictions, *pictures):
        path.write_text("x")
    epoch(book, claim, 1, 0.3)
    finish(book, claim)
    close(book, study_id)

    assert project_once(settings, book) > 0

    client = open_client(settings.mlflow_uri)
    experiment = client.get_experiment_by_name("cats")
    assert experiment.tags["mlflow.note.content"] == "which augmentation helps"
    run = runs(settings)[2]
    tags = run.data.tags
    assert run.info.run_name == "★ #2 half_body seed 0"
    assert run.info.status == "FINISHED"
    assert tags["posestudy.trial"] == claim.trial.uid
    assert {key: tags[f"posestudy.{key}"] for key in ("study", "stage", "cell", "seed", "outcome", "git_commit")} == {
        "study": "cats",
        "stage": "augmentation",
        "cell": "half_body",
        "seed": "0",
        "outcome": "completed",
        "git_commit": "abc1234",
    }
    assert tags["mlflow.note.content"] == "Half_Body: Add Half-Body"
    assert run.data.params["optimizer.lr"] == "0.001"
    assert run.data.params["augmentation.half_body"] == "{}"
    assert run.data.params["input_size"] == "[96, 96]"
    assert run.data.params["init"] == "none"
    assert run.data.metrics["coco/AP"] == 0.3
    assert run.data.metrics["best/coco/AP"] == 0.3
    assert run.data.metrics["system/memory_mb"] == 300.0
    assert run.data.metrics["PCK_0.2 _all_"] == 0.5
    assert [d.dataset.name for d in run.inputs.dataset_inputs] == ["cats train", "cats val"]
    source = json.loads(run.inputs.dataset_inputs[0].dataset.source)
    assert source == {"uri": "/nowhere/cats/train.json"}
    artifacts = {
        a.path
        for folder in ("", "weights", "predictions", "attention")
        for a in client.list_artifacts(run.info.run_id, folder)
    }
    assert {"config.py", "training.log", "weights/best.pth", "predictions/1.png"} <= artifacts
    assert {"attention/001_dependency.png", "attention/001_affect.png"} <= artifacts
    assert run.info.artifact_uri.startswith(settings.home.artifacts.as_uri())

    parent = client.get_run(tags["mlflow.parentRunId"])
    assert parent.info.run_name == "augmentation"
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["posestudy.carried"] == "half_body"
    assert [a.path for a in client.list_artifacts(parent.info.run_id)] == ["cats.yaml"]


def test_metrics_carry_the_ledgers_times_and_are_sent_once(settings: Settings, book: Ledger) -> None:
    create(book)
    claim = begin(book)
    for number, value in enumerate((0.1, 0.2, 0.3), start=1):
        epoch(book, claim, number, value)
    assert book.profiled(claim.trial.uid, claim.trial.fence, PROFILE)
    finish(book, claim)
    project_once(settings, book)
    assert runs(settings)[1].data.metrics["profile/latency_p50_ms"] == 3.5
    assert project_once(settings, book) == 0

    book.forget_projection("mlflow")
    assert project_once(settings, book) > 0
    Projector(settings, book).run(rebuild=True)

    twice = rows(settings, "SELECT key, step FROM metrics GROUP BY run_uuid, key, step HAVING count(*) > 1")
    assert twice == []
    ledger_times = [(v.epoch, int(v.ts * 1000)) for v in book.snapshot("cats").values]
    assert rows(settings, "SELECT step, timestamp FROM metrics WHERE key = 'coco/AP' ORDER BY step") == ledger_times
    assert len(rows(settings, "SELECT 1 FROM runs")) == 3  # the study, the stage and the trial
    assert book.projected("mlflow")[claim.trial.uid].epoch == 3


def test_a_running_trial_grows_epoch_by_epoch(settings: Settings, book: Ledger) -> None:
    create(book)
    claim = begin(book)
    projector = Projector(settings, book)
    epoch(book, claim, 1, 0.1)
    projector.run()
    assert runs(settings)[1].info.status == "RUNNING"
    epoch(book, claim, 2, 0.2)
    assert projector.run().sent > 0
    assert projector.run().sent == 0
    steps = rows(settings, "SELECT step FROM metrics WHERE key = 'loss' ORDER BY step")
    assert steps == [(1,), (2,)]
    book.release(claim.trial.uid, claim.trial.fence, AttemptEnd.PREEMPTED, "SIGTERM")
    projector.run()
    assert runs(settings)[1].info.status == "SCHEDULED"


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(Outcome.OUT_OF_MEMORY, "FAILED"), (Outcome.PRUNED, "KILLED"), (Outcome.TIMED_OUT, "KILLED")],
)
def test_an_outcome_shows_as_status_and_tag(settings: Settings, book: Ledger, outcome: Outcome, status: str) -> None:
    create(book)
    finish(book, begin(book), outcome, "asked for 9 GiB")
    project_once(settings, book)
    run = runs(settings)[1]
    assert run.info.status == status
    assert run.data.tags["posestudy.outcome"] == outcome
    assert "asked for 9 GiB" in run.data.tags["mlflow.note.content"]


def test_the_star_moves_to_a_better_trial(settings: Settings, book: Ledger) -> None:
    create(book)
    train(book, [0.4, 0.2])
    projector = Projector(settings, book)
    projector.run()
    assert runs(settings)[1].info.run_name.startswith("★ ")
    train(book, [0.5])
    projector.run()
    found = runs(settings)
    assert [n for n, run in found.items() if "posestudy.best" in run.data.tags] == [2]
    assert found[1].info.run_name == "#1 baseline seed 0"
    assert found[2].info.run_name == "★ #2 half_body seed 0"


def test_a_retried_trial_gets_a_new_run_without_old_values(settings: Settings, book: Ledger) -> None:
    create(book)
    claim = begin(book)
    epoch(book, claim, 1, 0.1)
    finish(book, claim, Outcome.FAILED, "boom")
    project_once(settings, book)
    first = runs(settings)[1].info.run_id
    assert book.retry("cats", [Outcome.FAILED]) == 1
    train(book, [0.7, 0.8])
    project_once(settings, book)
    run = runs(settings)[1]
    assert run.info.run_id != first
    values = rows(settings, f"SELECT step, value FROM metrics WHERE key = 'coco/AP' AND run_uuid = '{run.info.run_id}'")
    assert sorted(values) == [(1, 0.7), (2, 0.8)]


def test_what_an_edited_file_takes_out_is_marked_and_goes_on_when_it_comes_back(
    settings: Settings, book: Ledger
) -> None:
    study_id = create(book)
    train(book, [0.4])
    epoch(book, begin(book), 1, 0.3)
    project_once(settings, book)
    before = {number: run.info.run_id for number, run in runs(settings).items()}
    assert book.apply(study_id, [WithdrawStages(0)])
    project_once(settings, book)
    out = runs(settings)
    assert [out[n].info.status for n in (1, 2)] == ["FINISHED", "KILLED"]
    assert out[1].info.run_name == "#1 baseline seed 0"
    assert {run.data.tags.get("posestudy.withdrawn") for run in out.values()} == {"true"}

    create(book)
    train(book, [0.3, 0.5])
    project_once(settings, book)
    back = runs(settings)
    assert {number: run.info.run_id for number, run in back.items()} == before
    assert [back[n].info.status for n in (1, 2)] == ["FINISHED", "FINISHED"]
    assert not any("posestudy.withdrawn" in run.data.tags for run in back.values())
    assert back[2].data.metrics["coco/AP"] == 0.5


def test_a_store_that_lost_its_runs_is_filled_again(settings: Settings, book: Ledger, empty_mlflow_store: Path) -> None:
    create(book)
    claim = train(book, [0.1, 0.2])
    project_once(settings, book)
    old = book.projected("mlflow")[claim.trial.uid].run_id
    shutil.copy(empty_mlflow_store, settings.home.root / "other.db")
    other = replace(settings, mlflow_uri=f"sqlite:///{settings.home.root / 'other.db'}")
    assert project_once(other, book) > 0
    assert project_once(other, book) == 0
    run = runs(other)[1]
    assert run.info.run_id == book.projected("mlflow")[claim.trial.uid].run_id != old
    assert rows(other, "SELECT step, value FROM metrics WHERE key = 'coco/AP' ORDER BY step") == [(1, 0.1), (2, 0.2)]


def test_what_a_user_deleted_stays_deleted_until_rebuilt(settings: Settings, book: Ledger) -> None:
    create(book)
    train(book, [0.1])
    train(book, [0.2])
    project_once(settings, book)
    client = open_client(settings.mlflow_uri)
    client.delete_run(runs(settings)[1].info.run_id)
    delivery = Projector(settings, book).run()
    assert (delivery.sent, delivery.problems) == (0, [])
    assert "trial #1 was deleted" in delivery.notes[0]

    client.delete_experiment(client.get_experiment_by_name("cats").experiment_id)
    delivery = Projector(settings, book).run()
    assert "'cats' was deleted in MLflow" in delivery.problems[0]
    assert "posestudy sync cats --rebuild" in delivery.problems[0]

    assert Projector(settings, book).run(rebuild=True).complete
    assert sorted(runs(settings)) == [1, 2]


def test_one_refused_trial_does_not_stop_the_others(settings: Settings, book: Ledger) -> None:
    create(book)
    claim = train(book, [0.1])
    train(book, [0.2])
    projector = Projector(settings, book)
    client = open_client(settings.mlflow_uri)
    projector.run()
    # A parameter can never change in MLflow: another hand's value makes it refuse ours.
    run_id = runs(settings)[2].info.run_id
    client.delete_run(runs(settings)[1].info.run_id)
    rows(settings, f"UPDATE params SET value = '9' WHERE run_uuid = '{run_id}' AND key = 'seed'")
    delivery = Projector(settings, book).run(rebuild=True)
    assert len(delivery.problems) == 1
    assert "trial #2" in delivery.problems[0]
    assert sorted(runs(settings)) == [1, 2]
    rows(settings, f"UPDATE params SET value = '0' WHERE run_uuid = '{run_id}' AND key = 'seed'")
    assert Projector(settings, book).run(rebuild=True).complete
    assert book.projected("mlflow")[claim.trial.uid].epoch == 1


def test_an_outage_loses_nothing(
    settings: Settings, book: Ledger, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    create(book)
    train(book, [0.1, 0.2])
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    before = book.snapshot("cats")
    down = replace(settings, mlflow_uri=f"http://user:hidden@127.0.0.1:{port}")
    delivery = Projector(down, book).run()
    assert "cannot be used" in delivery.problems[0]
    assert "hidden" not in delivery.problems[0]
    project_once(down, book)
    assert "posestudy sync" in caplog.text
    assert book.snapshot("cats") == before
    assert book.projected("mlflow") == {}
    assert len(book.projected("optuna")) == 2  # Optuna's tables do not wait for MLflow

    assert project_once(settings, book) > 0
    assert rows(settings, "SELECT count(*) FROM metrics WHERE key = 'coco/AP'") == [(2,)]


def test_a_trial_with_many_factors_and_long_levels(settings: Settings, book: Ledger) -> None:
    study_id = create(book)
    stage = book.snapshot("cats").stages[0]
    wide = {f"factor_{i}": "x" * 7000 if i == 0 else i for i in range(130)}
    assert book.apply(study_id, [AddCells(stage.id, stage.version, (cell("wide", {"factor_0": 1}, wide),))])
    for _ in range(3):
        train(book, [0.1])
    assert project_once(settings, book) > 0
    params = runs(settings)[3].data.params
    assert len(params) == 131
    assert len(params["factor_0"]) == 6000


def test_mlflow_and_optuna_cannot_share_a_database(settings: Settings, book: Ledger) -> None:
    create(book)
    shared = replace(settings, mlflow_uri=settings.optuna_url)
    delivery = Projector(shared, book).run()
    assert "expected one each" in delivery.problems[0]
    assert delivery.sent > 0  # Optuna's tables


def test_the_service_drains_before_it_ends(settings: Settings, book: Ledger) -> None:
    create(book)
    train(book, [0.1])
    stop = threading.Event()
    stop.set()
    running = service.Service(settings, stop)
    assert running.loop() == 0
    running.close()
    assert list(runs(settings)) == [1]


@pytest.mark.parametrize("is_to_end", [False, True])
def test_the_service_begins_anew_where_the_store_is_deleted_as_soon_as_its_first_pass_ends(
    settings: Settings, book: Ledger, monkeypatch: pytest.MonkeyPatch, is_to_end: bool
) -> None:
    monkeypatch.setattr(service, "PERIOD_S", 0.01)
    create(book)
    train(book, [0.1])
    whole, stop = Projector.run, threading.Event()

    def then_deleted(self: Projector, **options: Any) -> Delivery:
        delivery = whole(self, **options)
        settings.home.mlflow_database.unlink()
        if is_to_end:
            stop.set()
        return delivery

    begun: list[list[str]] = []

    def begin_anew(_: str, words: list[str]) -> None:
        begun.append(words)
        raise SystemExit

    monkeypatch.setattr(Projector, "run", then_deleted)
    monkeypatch.setattr(os, "execv", begin_anew)
    running = service.Service(settings, stop)
    with pytest.raises(SystemExit):
        running.loop()
    assert begun[0][1:3] == ["-m", "posestudy.projections.service"]
    # A new process has not heard of the signal.
    assert ("--drain" in begun[0]) is is_to_end


def test_a_service_that_is_only_to_drain_ends(settings: Settings, book: Ledger, tmp_path: Path) -> None:
    create(book)
    train(book, [0.1])
    command = [sys.executable, "-m", "posestudy.projections.service", "--home", str(settings.home.root), "--drain"]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": settings.mlflow_uri}
    # Its standard input stays open.
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        assert process.wait(400) == 0
    assert list(runs(settings)) == [1]


def test_the_service_outlives_an_unreachable_ledger(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "PERIOD_S", 0.01)
    damaged = settings.home.root / "damaged.db"
    damaged.write_bytes(b"this is no database" * 100)
    stop = threading.Event()
    stop.set()
    assert service.Service(replace(settings, database_url=f"sqlite:///{damaged}"), stop).loop() == 1


def test_only_one_sends_at_a_time(settings: Settings, book: Ledger) -> None:
    with turn(book), pytest.raises(BusyError, match="another posestudy process"), turn(book, wait_s=0.6):
        pass
    with turn(book, wait_s=0):
        pass


def test_a_pass_stops_where_the_lock_is_lost(settings: Settings, book: Ledger) -> None:
    create(book)
    train(book, [0.1])
    train(book, [0.2])
    answers = iter([True] * 4 + [False])  # the study, two trials for Optuna, one for MLflow
    projector = Projector(settings, book)
    assert projector.run(turn=Turn(keep=lambda: next(answers))).interrupted
    assert list(runs(settings)) == [1]
    assert projector.run().complete
    assert sorted(runs(settings)) == [1, 2]


def test_sync_brings_the_projections_up_and_says_so(
    settings: Settings, book: Ledger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("POSESTUDY_DATABASE_URL", raising=False)
    monkeypatch.setenv("POSESTUDY_HOME", str(settings.home.root))
    create(book)
    train(book, [0.1])
    assert main(["sync"]) == 0
    assert "up to the ledger" in capsys.readouterr().out
    assert main(["sync", "cats"]) == 0
    assert "nothing to send" in capsys.readouterr().out
    assert main(["sync", "cast"]) == 2
    assert "cats" in capsys.readouterr().err
    client = open_client(settings.mlflow_uri)
    client.delete_experiment(client.get_experiment_by_name("cats").experiment_id)
    assert main(["sync"]) == 1
    assert "--rebuild" in capsys.readouterr().err
    assert main(["sync", "cats", "--rebuild"]) == 0
