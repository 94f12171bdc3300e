"""The projector killed at a request to a real MLflow server, before and after it was delivered: all arrives once."""

from __future__ import annotations

import functools
import importlib
import os
import random
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from projection_study import PROFILE, begin, close, create, epoch, finish

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.projections.project import Projector, project_once
from posestudy.projections.turn import turn
from posestudy.settings import Settings
from posestudy.testing_mlflow import RealServer, violations
from posestudy.testing_network import FaultyProxy, faulty_proxy
from posestudy.vocabulary import Outcome

SEED = 6
KILLS = int(os.environ.get("POSESTUDY_MLFLOW_KILLS", "2"))
"""Of each kind; 0 for one at every request there is."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_mlflow_store: Path) -> Iterator[RealServer]:
    running = RealServer(tmp_path_factory.mktemp("server"), empty_mlflow_store)
    running.start()
    yield running
    running.kill()


@pytest.fixture(scope="module")
def proxy(server: RealServer) -> Iterator[FaultyProxy]:
    with faulty_proxy(server.port) as proxy:
        yield proxy


def live(settings: Settings, name: str) -> None:
    """A study's life with a pass after each event: a trial that grows and ends, one that fails and is tried again."""
    ledger = Ledger.open(settings.database_url)
    projector = Projector(settings, ledger)

    def send() -> None:
        for _ in range(3):
            with turn(ledger) as held:
                if projector.run(turn=held).complete:
                    return
        raise TimeoutError("three passes were not enough")

    study_id = create(ledger, name)
    first = begin(ledger, name)
    epoch(ledger, first, 1, 0.1)
    send()
    epoch(ledger, first, 2, 0.2)
    assert ledger.profiled(first.trial.uid, first.trial.fence, PROFILE)
    files = settings.home.attempt(name, 1, first.trial.fence)
    files.folder.mkdir(parents=True)
    files.config.write_text("model = dict()")
    files.best_weights.write_bytes(b"weights" * 1000)
    finish(ledger, first)
    second = begin(ledger, name)
    epoch(ledger, second, 1, 0.3)
    finish(ledger, second, Outcome.FAILED, "boom")
    send()
    assert ledger.retry(name, [Outcome.FAILED]) == 1
    again = begin(ledger, name)
    epoch(ledger, again, 1, 0.31)
    epoch(ledger, again, 2, 0.41)
    finish(ledger, again)
    close(ledger, study_id, name)
    send()
    ledger.close()


def settings_for(folder: Path, address: str) -> Settings:
    home = Home.resolve(folder)
    home.root.mkdir(parents=True)
    return Settings(home, f"sqlite:///{home.database}", address, f"sqlite:///{home.optuna_database}")


def in_child(settings: Settings, name: str) -> int:
    """`live` in a process of its own; its id."""
    child = os.fork()
    if child == 0:
        try:
            live(settings, name)
            os._exit(0)
        finally:
            os._exit(1)
    return child


@pytest.mark.slow
def test_a_projector_killed_at_any_request_leaves_nothing_twice_and_nothing_out(
    server: RealServer, proxy: FaultyProxy, tmp_path: Path
) -> None:
    proxy.count_from_here(lambda number: None)
    undisturbed = settings_for(tmp_path / "undisturbed", proxy.address)
    assert os.waitpid(in_child(undisturbed, "undisturbed"), 0)[1] == 0
    requests, paths = proxy.seen, proxy.paths
    chooser = random.Random(SEED)
    instants = range(1, requests + 1)
    for moment in ("kill before", "kill after"):
        for number in sorted(chooser.sample(instants, KILLS)) if KILLS else instants:
            name = f"{moment.replace(' ', '_')}_{number}"
            settings = settings_for(tmp_path / name, proxy.address)
            proxy.count_from_here(lambda seen, at=number, moment=moment: moment if seen == at else None)  # type: ignore[misc]
            child = in_child(settings, name)
            proxy.kill = functools.partial(os.kill, child, signal.SIGKILL)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
            proxy.count_from_here(lambda number: None)
            ledger = Ledger.open(settings.database_url)
            project_once(settings, ledger)
            found = violations(server.database, ledger.snapshot(name))
            again = project_once(settings, ledger)
            ledger.close()
            assert found == [], f"{name}: {paths[number - 1]}"
            assert again == 0, f"{name}: {paths[number - 1]}"


def freeze(child: int, settings: Settings) -> None:
    """Stop the process, but not while it writes to the ledger: that would stop everybody who writes."""
    while True:
        os.kill(child, signal.SIGSTOP)
        with closing(sqlite3.connect(settings.home.database, timeout=2.0, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError:
                os.kill(child, signal.SIGCONT)


@pytest.mark.slow
@pytest.mark.parametrize("run", [2, 3], ids=["a stage's run", "a trial's run"])
def test_a_projector_frozen_while_it_creates_a_run_does_no_harm_when_it_wakes_up(
    server: RealServer, proxy: FaultyProxy, tmp_path: Path, run: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("posestudy.projections.turn"), "LEASE_S", 1.0)
    name = f"frozen_{run}"
    settings = settings_for(tmp_path / "home", proxy.address)
    proxy.count_from_here(
        lambda number: (
            "hold"
            if proxy.paths[-1].endswith("runs/create") and sum(p.endswith("runs/create") for p in proxy.paths) == run
            else None
        )
    )
    proxy.held.clear()
    proxy.released.clear()
    child = in_child(settings, name)
    assert proxy.held.wait(400)
    freeze(child, settings)
    ledger = Ledger.open(settings.database_url)
    assert project_once(settings, ledger) > 0
    # The request of the frozen one is delivered only now, and it wakes up to go on where it stood.
    proxy.released.set()
    os.kill(child, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    found = violations(server.database, ledger.snapshot(name))
    again = project_once(settings, ledger)
    ledger.close()
    assert (found, again) == ([], 0)
