"""Optuna's tables as a projection, read back by optuna.load_study and through optuna-dashboard."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace

import optuna
import pytest
from projection_study import CONFIG, DOCUMENT, METRIC, begin, cell, create, epoch, finish, train

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import AddCells, OpenStage, WithdrawStages
from posestudy.projections.optuna_tables import OptunaTables, open_storage
from posestudy.projections.servers import dashboard
from posestudy.settings import Settings
from posestudy.vocabulary import Outcome


@pytest.fixture
def settings(home: Home) -> Settings:
    home.root.mkdir(parents=True)
    return Settings(home, f"sqlite:///{home.database}", "unused", f"sqlite:///{home.optuna_database}")


@pytest.fixture
def book(settings: Settings) -> Iterator[Ledger]:
    ledger = Ledger.open(settings.database_url)
    yield ledger
    ledger.close()


def send(settings: Settings, book: Ledger, name: str = "cats", *, rebuild: bool = False) -> int:
    return OptunaTables(settings).send(book, book.snapshot(name), rebuild=rebuild).sent


def load(settings: Settings, stage: str = "augmentation") -> optuna.Study:
    return optuna.load_study(study_name=f"cats/{stage}", storage=settings.optuna_url)


def test_a_stage_that_was_not_searched_is_an_optuna_study(settings: Settings, book: Ledger) -> None:
    create(book)
    claim = train(book, [0.1, 0.3])
    train(book, [0.5, 0.2])
    assert send(settings, book) > 0

    study = load(settings)
    assert study.direction is optuna.study.StudyDirection.MAXIMIZE
    assert study.metric_names == [METRIC]
    assert [t.state.name for t in study.trials] == ["COMPLETE", "COMPLETE"]
    assert study.best_trial.user_attrs["posestudy.cell"] == "baseline"
    assert study.best_value == 0.3
    first, second = study.trials
    assert first.params == {"augmentation.half_body": None}
    assert second.params == {"augmentation.half_body": "{}"}
    assert second.intermediate_values == {1: 0.5, 2: 0.2}
    assert first.user_attrs["posestudy.trial"] == claim.trial.uid
    assert first.datetime_complete is not None


def search_stage(book: Ledger) -> None:
    study_id = create(book)
    for _ in range(2):
        train(book, [0.1])
    kinds = {"optimizer.lr": optuna.distributions.FloatDistribution(1e-5, 1e-2, log=True)}
    asked = {
        "params": {"optimizer.lr": 0.0005},
        "distributions": {name: optuna.distributions.distribution_to_json(kind) for name, kind in kinds.items()},
        "system_attrs": {"hyperband:bracket": 1},
    }
    cells = (
        cell("baseline", {}, CONFIG),
        cell("s1", {"optimizer.lr": 0.0005}, {**CONFIG, "optimizer": {"type": "Adam", "lr": 0.0005}}, optuna=asked),
    )
    assert book.apply(study_id, [OpenStage(1, "lr", "search", "baseline", CONFIG, cells)])


def test_a_searched_stage_keeps_distributions_and_the_samplers_own_notes(settings: Settings, book: Ledger) -> None:
    search_stage(book)
    train(book, [0.2])
    claim = begin(book)
    epoch(book, claim, 1, 0.05)
    finish(book, claim, Outcome.PRUNED)
    send(settings, book)
    chosen = load(settings, "lr").trials[1]
    assert chosen.state is optuna.trial.TrialState.PRUNED
    assert chosen.value == 0.05
    assert chosen.params == {"optimizer.lr": 0.0005}
    assert chosen.distributions["optimizer.lr"] == optuna.distributions.FloatDistribution(1e-5, 1e-2, log=True)
    assert chosen.system_attrs["hyperband:bracket"] == 1
    # The baseline was not sampled, but its level lies in the space and may teach a sampler.
    assert load(settings, "lr").trials[0].params == {"optimizer.lr": 0.001}


def two_objectives(book: Ledger, second: str) -> None:
    """A search of three sampled cells: two trained, one out of memory."""
    kinds = {"optimizer.lr": optuna.distributions.FloatDistribution(1e-5, 1e-2, log=True)}
    texts = {name: optuna.distributions.distribution_to_json(kind) for name, kind in kinds.items()}
    document = {**DOCUMENT, "stages": [{"name": "lr", "design": "search", "objectives": [METRIC, second]}]}
    record = book.put_study("cats", document, "study: cats\n")
    cells = tuple(
        cell(
            f"s{i}",
            {"optimizer.lr": lr},
            {**CONFIG, "optimizer": {"type": "Adam", "lr": lr}},
            optuna={"params": {"optimizer.lr": lr}, "distributions": texts},
        )
        for i, lr in enumerate((1e-4, 1e-3, 1e-2))
    )
    assert book.apply(record.id, [OpenStage(0, "lr", "search", "s0", CONFIG, cells)])
    train(book, [0.1, 0.2, 0.3])
    train(book, [0.4])
    finish(book, begin(book), Outcome.OUT_OF_MEMORY, "9 GiB")


def test_two_objectives_are_optunas_two_directions(settings: Settings, book: Ledger) -> None:
    two_objectives(book, "duration_s")
    send(settings, book)
    study = load(settings, "lr")
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == [METRIC, "duration_s"]
    assert [t.state.name for t in study.trials] == ["COMPLETE", "COMPLETE", "FAIL"]
    durations = [t.duration_s for t in sorted(book.snapshot("cats").trials, key=lambda t: t.number)]
    assert [t.values for t in study.trials] == [[0.3, durations[0]], [0.4, durations[1]], None]
    # The second is better and was quicker: nothing else is worth having.
    assert [t.number for t in study.best_trials] == [1]
    assert send(settings, book) == 0


def test_a_second_metric_is_read_from_the_last_epoch(settings: Settings, book: Ledger) -> None:
    two_objectives(book, "loss")
    send(settings, book)
    assert [t.values for t in load(settings, "lr").trials] == [[0.3, 1 / 3], [0.4, 1.0], None]
    assert [t.number for t in load(settings, "lr").best_trials] == [0, 1]


def test_a_trial_with_two_objectives_grows_and_is_rebuilt_equal(settings: Settings, book: Ledger) -> None:
    kinds = {"sigma": optuna.distributions.FloatDistribution(1.0, 3.0)}
    texts = {name: optuna.distributions.distribution_to_json(kind) for name, kind in kinds.items()}
    document = {**DOCUMENT, "stages": [{"name": "sigma", "design": "search", "objectives": [METRIC, "peak_memory_mb"]}]}
    record = book.put_study("cats", document, "study: cats\n")
    asked = {"params": {"sigma": 2.0}, "distributions": texts}
    cells = (cell("s0", {"sigma": 2.0}, {**CONFIG, "sigma": 2.0}, optuna=asked),)
    assert book.apply(record.id, [OpenStage(0, "sigma", "search", "s0", CONFIG, cells)])
    claim = begin(book)
    epoch(book, claim, 1, 0.1)
    send(settings, book)
    study_id = load(settings, "sigma")._study_id
    assert load(settings, "sigma").trials[0].state.name == "RUNNING"
    epoch(book, claim, 2, 0.2)
    finish(book, claim)
    send(settings, book)
    [trial] = load(settings, "sigma").trials
    assert (trial.state.name, trial.values) == ("COMPLETE", [0.2, 300.0])
    assert load(settings, "sigma")._study_id == study_id
    again = replace(settings, optuna_url=f"sqlite:///{settings.home.root / 'again.db'}")
    send(again, book)
    [rebuilt] = load(again, "sigma").trials
    assert (rebuilt.values, rebuilt.params, rebuilt.user_attrs) == (trial.values, trial.params, trial.user_attrs)


def test_a_growing_stage_keeps_its_optuna_study(settings: Settings, book: Ledger) -> None:
    create(book)
    send(settings, book)
    assert [t.state.name for t in load(settings).trials] == ["WAITING", "WAITING"]
    study_id = load(settings)._study_id
    claim = begin(book)
    epoch(book, claim, 1, 0.1)
    send(settings, book)
    assert load(settings).trials[0].state.name == "RUNNING"
    epoch(book, claim, 2, 0.2)
    finish(book, claim)
    send(settings, book)
    assert send(settings, book) == 0
    trial = load(settings).trials[0]
    assert (trial.state.name, trial.value, trial.intermediate_values) == ("COMPLETE", 0.2, {1: 0.1, 2: 0.2})
    assert trial.user_attrs["posestudy.outcome"] == "completed"
    assert load(settings)._study_id == study_id


def test_new_cells_and_retries_write_the_stage_anew(settings: Settings, book: Ledger) -> None:
    study_id = create(book)
    claim = begin(book)
    epoch(book, claim, 1, 0.1)
    finish(book, claim, Outcome.FAILED, "boom")
    send(settings, book)
    assert load(settings).trials[0].state.name == "FAIL"
    book.retry("cats", [Outcome.FAILED])
    train(book, [0.4])
    send(settings, book)
    assert load(settings).trials[0].value == 0.4

    stage = book.snapshot("cats").stages[0]
    more = cell("sigma", {"sigma": 1.5}, {**CONFIG, "sigma": 1.5})
    assert book.apply(study_id, [AddCells(stage.id, stage.version, (more,))])
    send(settings, book)
    assert [t.params["sigma"] for t in load(settings).trials] == [None, None, 1.5]


def test_a_stage_that_an_edited_file_takes_out_leaves_no_optuna_study(settings: Settings, book: Ledger) -> None:
    study_id = create(book)
    create(book, "dogs")
    train(book, [0.1])
    for name in ("cats", "dogs"):
        OptunaTables(settings).send(book, book.snapshot(name))
    opened = OpenStage(0, "renamed", "variants", "baseline", CONFIG, (cell("baseline", {}, CONFIG),))
    assert book.apply(study_id, [WithdrawStages(0), opened])
    OptunaTables(settings).send(book, book.snapshot("cats"))
    assert sorted(optuna.get_all_study_names(settings.optuna_url)) == ["cats/renamed", "dogs/augmentation"]
    assert [t.state.name for t in load(settings, "renamed").trials] == ["COMPLETE"]


def test_deleted_tables_are_rebuilt_equal(settings: Settings, book: Ledger) -> None:
    create(book)
    train(book, [0.1, 0.3])
    train(book, [float("nan"), 0.2])
    send(settings, book)
    before = [(t.params, t.value, str(t.intermediate_values), t.user_attrs) for t in load(settings).trials]
    place = settings.home.root / "again.db"
    again = replace(settings, optuna_url=f"sqlite:///{place}")
    assert send(again, book) > 0
    assert send(again, book) == 0
    assert [(t.params, t.value, str(t.intermediate_values), t.user_attrs) for t in load(again).trials] == before


def test_a_finished_trial_without_a_value_is_a_failure_to_optuna(settings: Settings, book: Ledger) -> None:
    create(book)
    finish(book, begin(book), Outcome.OUT_OF_MEMORY, "9 GiB")
    finish(book, begin(book), Outcome.COMPLETED)
    send(settings, book)
    assert [t.state.name for t in load(settings).trials] == ["FAIL", "FAIL"]


@pytest.mark.postgres
def test_optunas_tables_live_beside_the_ledgers_in_postgresql(home: Home, postgres_url: str) -> None:
    settings = Settings(home, postgres_url, "unused", postgres_url)
    for _ in range(2):
        # Opened again after Optuna made its tables: neither takes the other's schema version for its own.
        ledger = Ledger.open(postgres_url)
        if not ledger.studies():
            create(ledger)
        train(ledger, [0.1, 0.2])
        send(settings, ledger)
        ledger.close()
    assert [t.value for t in load(settings).trials] == [0.2, 0.2]


def request(app, path: str, host: str = "127.0.0.1:8080", **headers: str) -> tuple[str, bytes]:
    status: list[str] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "HTTP_HOST": host, "wsgi.input": io.BytesIO(), **headers}
    body = b"".join(app(environ, lambda code, headers, *_: status.append(code)))
    return status[0], body


def test_optuna_dashboard_shows_every_stage(settings: Settings, book: Ledger) -> None:
    search_stage(book)
    send(settings, book)
    app = dashboard(open_storage(settings.optuna_url))
    status, body = request(app, "/api/studies")
    assert status.startswith("200")
    listed = {s["study_name"]: s["study_id"] for s in json.loads(body)["study_summaries"]}
    assert set(listed) == {"cats/augmentation", "cats/lr"}
    status, body = request(app, f"/api/studies/{listed['cats/augmentation']}")
    assert [t["state"] for t in json.loads(body)["trials"]] == ["Complete", "Complete"]


def test_optuna_dashboard_refuses_names_that_are_not_this_machine(settings: Settings) -> None:
    app = dashboard(open_storage(settings.optuna_url))
    assert request(app, "/api/studies", host="evil.example:8080")[0].startswith("403")
    assert request(app, "/api/studies", host="evil.127.0.0.1:8080")[0].startswith("403")
    assert request(app, "/api/studies", host="127.0.0.1@evil.example")[0].startswith("403")
    assert request(app, "/api/studies", host="localhost:8080")[0].startswith("200")


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:9999", "null"])
def test_optuna_dashboard_refuses_what_another_page_sends(settings: Settings, origin: str) -> None:
    app = dashboard(open_storage(settings.optuna_url))
    assert request(app, "/api/studies", HTTP_ORIGIN=origin)[0].startswith("403")
    assert request(app, "/api/studies", HTTP_ORIGIN="http://127.0.0.1:8080")[0].startswith("200")
