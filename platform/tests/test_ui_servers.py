"""`posestudy ui` and the real MLflow server: addresses, ports in use, and a projection over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from projection_study import begin, create, epoch, finish, train

from posestudy.commands.app import main
from posestudy.errors import MissingPieceError
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.projections.servers import require_free
from posestudy.settings import Settings
from posestudy.testing_network import free_port


@pytest.fixture
def book(home: Home) -> Iterator[Ledger]:
    home.root.mkdir(parents=True)
    ledger = Ledger.open(f"sqlite:///{home.database}")
    yield ledger
    ledger.close()


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


def environment(home: Home) -> dict[str, str]:
    """A user's: without what would keep MLflow's telemetry off anyway, as CI and pytest do."""
    unwanted = {"CI", "PYTEST_CURRENT_TEST", "GITHUB_ACTIONS", "MLFLOW_TRACKING_URI", "POSESTUDY_DATABASE_URL"}
    kept = {key: value for key, value in os.environ.items() if key not in unwanted}
    return {**kept, "POSESTUDY_HOME": str(home.root), "PYTHONUNBUFFERED": "1"}


def get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=400) as answer:
        return answer.read()


def test_a_port_in_use_is_refused_with_the_option_that_helps(
    home: Home, taken: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSESTUDY_HOME", str(home.root))
    assert main(["ui", "--port", str(taken)]) == 2
    error = capsys.readouterr().err
    assert f"port {taken} on 127.0.0.1 is in use" in error
    assert "--port " in error
    assert main(["ui", "--port", str(free_port()), "--optuna-port", str(taken)]) == 2
    assert "choose another with --optuna-port" in capsys.readouterr().err


def test_the_same_port_for_both_pages_is_refused(capsys: pytest.CaptureFixture[str], home: Home) -> None:
    port = str(free_port())
    assert main(["--home", str(home.root), "ui", "--port", port, "--optuna-port", port]) == 2
    assert "expected two" in capsys.readouterr().err


def test_a_free_port_is_accepted() -> None:
    require_free(free_port(), "--port")


def test_the_suggested_port_is_free(taken: int) -> None:
    with pytest.raises(MissingPieceError) as caught:
        require_free(taken, "--port")
    require_free(int(str(caught.value).rsplit(" ", 1)[1]), "--port")


class Ui:
    """A running `posestudy ui`."""

    def __init__(self, home: Home, *arguments: str) -> None:
        self.port, self.optuna_port = free_port(), free_port()
        command = [sys.executable, "-c", "import sys; from posestudy.commands.app import main; sys.exit(main())", "ui"]
        command += [*arguments, "--port", str(self.port), "--optuna-port", str(self.optuna_port)]
        self.process = subprocess.Popen(command, env=environment(home), stdout=subprocess.PIPE, text=True)
        self.said: list[str] = []
        for line in self.process.stdout:
            self.said.append(line)
            if line.startswith("Ctrl-C"):
                return
        pytest.fail(f"posestudy ui ended: {self.said}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(400)


@pytest.mark.slow
def test_ui_serves_both_pages_and_a_projection_goes_through_its_server_once(home: Home, book: Ledger) -> None:
    from posestudy.projections.project import project_once
    from posestudy.projections.quiet_mlflow import open_client

    create(book)
    claim = begin(book)
    config = home.attempt("cats", 1, claim.trial.fence).config
    config.parent.mkdir(parents=True)
    config.write_text("model = dict()")
    epoch(book, claim, 1, 0.25)
    epoch(book, claim, 2, float("nan"))
    finish(book, claim)
    ui = Ui(home)
    try:
        mlflow, optuna = f"http://127.0.0.1:{ui.port}", f"http://127.0.0.1:{ui.optuna_port}"
        said = "".join(ui.said)
        assert mlflow in said
        assert optuna in said
        commands = [Path(f"/proc/{pid}/cmdline") for pid in os.listdir("/proc") if pid.isdigit()]
        servers = [c.read_bytes() for c in commands if c.exists() and str(ui.port).encode() in c.read_bytes()]
        assert servers
        assert not any(b"sqlite" in command for command in servers)
        assert b"<html" in get(mlflow).lower()
        for page in (mlflow, f"{optuna}/api/studies"):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(urllib.request.Request(page, headers={"Host": "evil.example"}), timeout=400)
        assert b"<html" in get(f"{optuna}/dashboard").lower()
        assert json.loads(get(f"{mlflow}/ajax-api/3.0/mlflow/ui-telemetry"))["disable_ui_telemetry"] is True

        settings = Settings(home, f"sqlite:///{home.database}", mlflow, f"sqlite:///{home.optuna_database}")
        assert project_once(settings, book) > 0
        assert project_once(settings, book) == 0
        book.forget_projection("mlflow")
        project_once(settings, book)
        client = open_client(mlflow)
        experiment = client.get_experiment_by_name("cats")
        (run,) = client.search_runs([experiment.experiment_id], "tags.`posestudy.trial` != ''")
        assert run.info.run_name == "★ #1 baseline seed 0"
        assert [m.step for m in client.get_metric_history(run.info.run_id, "coco/AP")] == [1, 2]
        assert [m.value for m in client.get_metric_history(run.info.run_id, "loss")] == [1.0, 0.5]
        assert [a.path for a in client.list_artifacts(run.info.run_id)] == ["config.py"]
        assert len(json.loads(get(f"{optuna}/api/studies"))["study_summaries"]) == 1
    finally:
        assert ui.stop() == 0
    with pytest.raises(urllib.error.URLError):
        get(mlflow)
    require_free(ui.port, "--port")
    require_free(ui.optuna_port, "--optuna-port")


@pytest.mark.slow
def test_the_service_sends_while_training_goes_on_and_survives_a_deleted_store(home: Home, book: Ledger) -> None:
    create(book)
    claim = begin(book)
    epoch(book, claim, 1, 0.1)
    command = [sys.executable, "-m", "posestudy.projections.service", "--home", str(home.root)]
    process = subprocess.Popen(command, env=environment(home), stdin=subprocess.PIPE)
    try:
        await_epoch(book, claim.trial.uid, 1)
        first = book.projected("mlflow")[claim.trial.uid].run_id
        home.mlflow_database.unlink()
        epoch(book, claim, 2, 0.2)
        deadline = time.monotonic() + 400
        while book.projected("mlflow")[claim.trial.uid].run_id == first and time.monotonic() < deadline:
            time.sleep(0.5)
        finish(book, claim)
        process.stdin.close()
        assert process.wait(400) == 0
    finally:
        process.kill()
    assert "drained" in home.projector_log.read_text()
    from posestudy.projections.quiet_mlflow import open_client

    run = open_client(f"sqlite:///{home.mlflow_database}").get_run(book.projected("mlflow")[claim.trial.uid].run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["coco/AP"] == 0.2
    assert run.data.tags["posestudy.best"] == "true"


def await_epoch(book: Ledger, uid: str, number: int) -> None:
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline:
        row = book.projected("mlflow").get(uid)
        if row is not None and row.epoch >= number:
            return
        time.sleep(0.5)
    pytest.fail(f"epoch {number} was not sent in time")


@pytest.mark.slow
def test_telemetry_is_off_for_users_too(home: Home, book: Ledger) -> None:
    code = (
        "from posestudy.projections.quiet_mlflow import open_client\n"
        f"open_client('sqlite:///{home.mlflow_database}')\n"
        "import mlflow.telemetry.client as c, mlflow.telemetry.utils as u, threading\n"
        "print(u._IS_IN_CI_ENV_OR_TESTING, u.is_telemetry_disabled(), c.get_telemetry_client())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(home), capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[1:] == ["True", "None"]
    assert done.stderr == ""


@pytest.mark.slow
def test_ui_links_to_the_study(home: Home, book: Ledger) -> None:
    from posestudy.projections.project import project_once

    create(book)
    train(book, [0.1])
    settings = Settings(home, f"sqlite:///{home.database}", f"sqlite:///{home.mlflow_database}", "")
    project_once(replace(settings, optuna_url=f"sqlite:///{home.optuna_database}"), book)
    ui = Ui(home, "cats")
    try:
        (line,) = [line for line in ui.said if "/#/experiments/" in line]
        assert line.strip().endswith("/runs")
    finally:
        assert ui.stop() == 0
