"""Passwords of the ledger's and of MLflow's server, looked for in everything that commands print, write and start."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from projection_study import begin, create, epoch, finish
from sqlalchemy.engine import make_url

from posestudy.ledger import Ledger
from posestudy.settings import Settings
from posestudy.testing_network import free_port

RUN = "import sys; from posestudy.commands.app import run; sys.argv[0] = 'posestudy'; run()"
OTHER = "0ther%2Fs3cret-of-mlflow"


class Watched:
    """Commands under one environment; remembers what they and all their children said and were called with."""

    def __init__(self, folder: Path, environment: dict[str, str], secrets: list[str]) -> None:
        self.folder, self.environment = folder, environment
        self.secrets = [secret.encode() for secret in secrets]
        self.leaks: list[str] = []
        self.seen = 0

    def run(self, *arguments: str, stop_after: str | None = None) -> str:
        """The output of `posestudy ARGUMENTS`, ended once it has said `stop_after`."""
        with (self.folder / "said").open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-c", RUN, *arguments],
                cwd=self.folder, env=self.environment, stdout=said, stderr=said, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            deadline = time.monotonic() + 400
            while process.poll() is None and time.monotonic() < deadline:
                self._look_at_command_lines(process.pid)
                if stop_after and stop_after.encode() in (self.folder / "said").read_bytes():
                    self._look_at_command_lines(process.pid)
                    process.terminate()
                time.sleep(0.05)
            if process.poll() is None:
                process.kill()
                pytest.fail(f"{arguments} did not end")
        text = (self.folder / "said").read_bytes()
        self._look(f"output of {arguments}", text)
        return text.decode(errors="replace")

    def _look_at_command_lines(self, root: int) -> None:
        for pid in descendants(root):
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            self.seen += 1
            self._look(f"command line {pid}", line)

    def look_at_files(self) -> int:
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        for path in files:
            self._look(str(path), path.read_bytes())
        return len(files)

    def _look(self, where: str, data: bytes) -> None:
        self.leaks += [f"{where}: {secret.decode()}" for secret in self.secrets if secret in data]


def descendants(root: int) -> Iterator[int]:
    yield root
    try:
        children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from descendants(int(child))


def tables(url: str) -> str:
    """Every row of every table, as text."""
    parsed = make_url(url).set(drivername="postgresql")
    with psycopg.connect(parsed.render_as_string(hide_password=False)) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        return "\n".join(str(connection.execute(f'SELECT * FROM "{name}"').fetchall()) for (name,) in names)


@pytest.mark.postgres
@pytest.mark.slow
def test_no_command_says_writes_or_hands_on_a_password(
    postgres_url: str, mlflow_settings: Settings, tmp_path: Path
) -> None:
    password = make_url(postgres_url).password
    home = mlflow_settings.home
    unwanted = {"CI", "PYTEST_CURRENT_TEST", "MLFLOW_TRACKING_URI"}
    environment = {key: value for key, value in os.environ.items() if key not in unwanted} | {
        "POSESTUDY_HOME": str(home.root), "POSESTUDY_DATABASE_URL": postgres_url, "PYTHONUNBUFFERED": "1",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }  # fmt: skip
    ledger = Ledger.open(postgres_url)
    create(ledger)
    claim = begin(ledger)
    epoch(ledger, claim, 1, 0.25)
    finish(ledger, claim)
    ledger.close()
    watched = Watched(tmp_path, environment, [password, OTHER, "0ther/s3cret-of-mlflow"])

    assert "cats" in watched.run("status", "--json")
    watched.run("logs", "cats", "1")
    assert "are up to the ledger" in watched.run("sync")
    with_query = postgres_url.replace(f":{password}@", "@") + f"?password={password}"
    watched.environment = {**environment, "POSESTUDY_DATABASE_URL": with_query}
    assert "cats" in watched.run("status")
    watched.environment = {**environment, "MLFLOW_TRACKING_URI": f"http://user:{OTHER}@127.0.0.1:1"}
    assert "***" in watched.run("sync")
    watched.environment = {**environment, "POSESTUDY_DATABASE_URL": postgres_url.replace("@127.0.0.1:", "@127.0.0.1:1")}
    watched.run("status", "--json")
    watched.environment = environment
    ports = ("--port", str(free_port()), "--optuna-port", str(free_port()))
    assert "Ctrl-C" in watched.run("ui", *ports, stop_after="Ctrl-C")

    assert watched.seen > 20
    assert watched.look_at_files() > 2
    assert watched.leaks == []
    assert password not in tables(postgres_url)
    assert "cats" in tables(postgres_url)


def test_the_watch_finds_a_leak(tmp_path: Path) -> None:
    watched = Watched(tmp_path, dict(os.environ), ["s3cret"])
    watched.run("s3cret")
    (tmp_path / "file").write_text("has s3cret in it")
    watched.look_at_files()
    assert {leak.partition(" ")[0] for leak in watched.leaks} == {
        "command",
        "output",
        f"{tmp_path / 'file'}:",
        f"{tmp_path / 'said'}:",
    }
