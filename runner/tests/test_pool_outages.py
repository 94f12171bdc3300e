"""Pools of stand-in trials while MLflow's server or PostgreSQL is away: training goes on, all arrives once."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from standin_pool import STUDY, Standin, importable_standins, in_background, until

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.testing import PostgresServer
from posestudy.testing_mlflow import RealServer, violations
from posestudy.testing_network import FaultyProxy, TcpProxy, faulty_proxy
from posestudy.vocabulary import Outcome
from posestudy_runner import attempt, projector
from posestudy_runner.projector import Projector

__all__ = ["importable_standins"]


# -- MLflow


@pytest.fixture
def server(tmp_path: Path, empty_mlflow_store: Path) -> Iterator[RealServer]:
    running = RealServer(tmp_path / "server", empty_mlflow_store)
    yield running
    running.kill()


@pytest.fixture
def proxy(server: RealServer) -> Iterator[FaultyProxy]:
    with faulty_proxy(server.port) as proxy:
        yield proxy


def services(home: Home) -> list[int]:
    """The process ids of the projectors of this home."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"posestudy.projections.service" in words and str(home.root).encode() in words:
            found.append(int(entry))
    return found


@pytest.mark.slow
def test_mlflow_that_comes_and_goes_gets_everything_once(
    home: Home, sqlite_ledger: Ledger, server: RealServer, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    monkeypatch.delenv("POSESTUDY_DATABASE_URL", raising=False)
    monkeypatch.setattr(projector, "FIRST_PAUSE_S", 0.5)
    cells = {"first": {"steps": 10, "step_s": 0.05}, "second": {"seeds": [0, 1], "steps": 10, "step_s": 0.05}}
    study = Standin(home, sqlite_ledger, cells)
    sqlite_ledger.put_study(STUDY, {"cells": cells, "metric": "coco/AP"}, "")
    study.cells["long"] = {"epochs": 4000, "steps": 10, "step_s": 0.05}
    sqlite_ledger.put_study(STUDY, {"cells": study.cells, "metric": "coco/AP"}, "")
    proxy.count_from_here(lambda number: "hang" if number % 2 else 503)  # the server itself does not even run
    pool = study.pool(projects=True)
    running = in_background(pool)
    said = study.output
    until(lambda: sum(trial.outcome is Outcome.COMPLETED for trial in study.trials()) == 3)
    until(lambda: "behind since" in said.getvalue())
    server.start()
    proxy.count_from_here(lambda number: None)
    until(lambda: "have caught up" in said.getvalue())
    (victim,) = services(home)
    os.kill(victim, signal.SIGKILL)
    until(lambda: "ended (SIGKILL) and is started again" in said.getvalue())
    until(lambda: services(home) not in ([], [victim]))
    server.kill()
    pool.stop.request("the test is over")
    running.join()
    assert running.error is None
    server.start()
    sync = [sys.executable, "-c", "import sys; from posestudy.commands.app import main; sys.exit(main())"]
    done = subprocess.run([*sync, "--home", str(home.root), "sync"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert violations(server.database, sqlite_ledger.snapshot(STUDY)) == []
    for outage in re.split("have caught up|is started again", said.getvalue()):
        told = [line.partition("behind since")[2] for line in outage.splitlines() if "behind since" in line]
        # Each kind of trouble once; how many trials wait, and since when, is no other kind.
        kinds = [re.sub(r"\d+", "#", text) for text in told]
        assert len(kinds) == len(set(kinds)), "said once an outage, not once a pass"


@pytest.fixture
def quick_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projector, "FIRST_PAUSE_S", 0.2)


def service_that(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let the projector's process run `code` instead of the real one, which takes MLflow's import."""
    real = subprocess.Popen

    def start(command: list[str], **more: object) -> subprocess.Popen[bytes]:
        return real([sys.executable, "-c", code], **more)  # type: ignore[call-overload, no-any-return]

    parts = {"Popen": start, "PIPE": subprocess.PIPE, "DEVNULL": subprocess.DEVNULL}
    monkeypatch.setattr(projector, "subprocess", SimpleNamespace(**parts, TimeoutExpired=subprocess.TimeoutExpired))


@pytest.mark.usefixtures("quick_to_end")
def test_a_projector_that_dies_is_started_again_with_longer_and_longer_pauses(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    service_that(monkeypatch, "raise SystemExit(3)")
    said: list[str] = []
    under_test = Projector(home, said.append)
    under_test.start()
    until(lambda: len(said) >= 3)
    assert "exit code 3" in said[0]
    pauses = [float(line.split(" in ")[1].split(" s")[0]) for line in said[:3]]
    assert pauses == sorted(pauses)
    under_test.drain(lambda: False)
    count = len(said)
    time.sleep(1.0)
    assert len(said) == count, "started again after the end"


@pytest.mark.usefixtures("quick_to_end")
def test_a_projector_that_cannot_be_started_is_tried_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has no process left to give for a while."""
    tries: list[str] = []

    def refused(*_arguments: object, **_more: object) -> subprocess.Popen[bytes]:
        tries.append("again")
        if len(tries) < 3:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)

    monkeypatch.setattr(projector, "subprocess", SimpleNamespace(Popen=refused, PIPE=-1, DEVNULL=-3))
    said: list[str] = []
    under_test = Projector(home, said.append)
    under_test.start()
    until(lambda: len(tries) == 3)
    assert [("could not be started" in line, "Resource" in line) for line in said] == [(True, True)] * 2
    monkeypatch.setattr(projector, "subprocess", subprocess)
    under_test.drain(lambda: False)


def test_the_end_of_a_pool_does_not_wait_long_for_what_is_known_to_be_away(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projector, "KNOWN_OUTAGE_S", 0.2)
    told = '{"say": "MLflow is away", "behind": true}'
    service_that(monkeypatch, f"import time\nprint('''{told}''', flush=True)\ntime.sleep(600)")
    said: list[str] = []
    under_test = Projector(home, said.append)
    under_test.start()
    until(lambda: said == ["MLflow is away"])
    assert under_test.drain(lambda: False) is False


def test_the_first_ctrl_c_ends_the_wait_for_mlflow(
    home: Home, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    service_that(monkeypatch, "import time\ntime.sleep(600)")
    study = Standin(home, sqlite_ledger, {"quick": {"epochs": 1}})
    pool = study.pool(projects=True)
    running = in_background(pool)
    until(lambda: "bringing MLflow" in study.output.getvalue())
    pool.stop.request("the pool got SIGINT")
    running.join(400)
    assert not running.is_alive()
    assert "`posestudy sync` sends the rest" in study.output.getvalue()


# -- PostgreSQL


@pytest.fixture
def line(postgres_server: PostgresServer) -> Iterator[TcpProxy]:
    proxy = TcpProxy(postgres_server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def far_ledger(postgres_server: PostgresServer, postgres_url: str, line: TcpProxy) -> Iterator[Ledger]:
    """A ledger behind `line`."""
    book = Ledger.open(postgres_url.replace(f":{postgres_server.port}/", f":{line.port}/"))
    yield book
    book.close()


@pytest.mark.postgres
@pytest.mark.parametrize("how", ["refuse", "cut", "swallow"])
def test_training_goes_on_without_postgresql_and_values_arrive_once_in_order(
    home: Home, far_ledger: Ledger, postgres_url: str, line: TcpProxy, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "RETRY_S", 0.2)
    study = Standin(home, far_ledger, {"long": {"epochs": 60, "steps": 5, "step_s": 0.02, "seeds": [0, 1]}})
    pool = study.pool(lease_s=3.0)
    running = in_background(pool, workers=2)
    near = Ledger.open(postgres_url)
    until(lambda: len(near.snapshot(STUDY).values) >= 4)
    if how == "cut":
        for _ in range(10):
            line.cut()
            time.sleep(0.2)
    else:
        line.mode = how
        before = [study.folder(number, 1) / "epoch_60.pth" for number in (1, 2)]
        # Longer than the lease, and to the last epoch of both: nobody waited for the database.
        until(lambda: all(path.exists() for path in before))
        time.sleep(4.0)
        line.mode = "pass"
    running.join(400)
    assert running.error is None
    snapshot = near.snapshot(STUDY)
    assert [trial.outcome for trial in snapshot.trials] == [Outcome.COMPLETED] * 2
    for trial in snapshot.trials:
        assert [value.epoch for value in snapshot.values if value.trial_uid == trial.uid] == list(range(1, 61))
    fences = [attempt.fence for attempt in snapshot.attempts]
    near.close()
    assert fences == [1, 1], "taken over although its worker lived"


@pytest.mark.postgres
@pytest.mark.parametrize("how", ["refuse", "swallow"])
def test_a_command_says_in_seconds_that_postgresql_is_away(
    home: Home, postgres_server: PostgresServer, postgres_url: str, line: TcpProxy, how: str
) -> None:
    line.mode = how
    far = postgres_url.replace(f":{postgres_server.port}/", f":{line.port}/")
    environment = {**os.environ, "POSESTUDY_DATABASE_URL": far, "POSESTUDY_HOME": str(home.root)}
    command = [sys.executable, "-c", "import sys; from posestudy.commands.app import main; sys.exit(main())", "status"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 2
    assert "cannot be used just now" in done.stderr
    assert "Traceback" not in done.stderr
    assert postgres_server.password not in done.stderr
