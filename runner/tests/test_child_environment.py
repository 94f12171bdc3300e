"""What of this process's environment a trial process gets: neither the stores' places nor their passwords."""

from __future__ import annotations

import os
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from standin_pool import importable_standins as importable_standins

from posestudy.home import Home
from posestudy.masking import hidden
from posestudy_runner.forkserver import PARENT_ONLY, Starter, StartMethod
from posestudy_runner.projector import Projector


def tell(connection: Connection) -> None:
    """Send what this process has in its environment: as Python sees it, and as the kernel was given it."""
    connection.send((dict(os.environ), Path("/proc/self/environ").read_bytes().decode(errors="replace")))


@pytest.mark.parametrize("method", list(StartMethod))
def test_a_trial_process_knows_no_password(method: StartMethod, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PARENT_ONLY:
        monkeypatch.setenv(name, f"secret of {name}")
    monkeypatch.setenv("POSESTUDY_HOME", "somewhere")
    with Starter(method, None) as starter:
        ours, theirs = starter.pipe()
        process = starter.start(tell, (theirs,), "child")
        assert ours.poll(60)
        seen, given = ours.recv()
        assert starter.exit_code(process, 60.0) == 0
        assert seen["POSESTUDY_HOME"] == "somewhere"
        assert not seen.keys() & set(PARENT_ONLY)
        assert "secret of" not in given
    assert all(os.environ[name] == f"secret of {name}" for name in PARENT_ONLY)


def test_the_projector_knows_them(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It starts while the pool's own environment is the trials'."""
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nenv > "{tmp_path}/env"\n')
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD_FILE", "/run/secrets/mlflow_password")
    monkeypatch.setenv("POSESTUDY_DATABASE_URL", "postgresql://me@host/ledger")
    projector = Projector(home, print)
    with Starter(StartMethod.SPAWN, None):
        projector.start()
        projector.drain(lambda: False)
    lines = (tmp_path / "env").read_text().splitlines()
    assert "MLFLOW_TRACKING_PASSWORD_FILE=/run/secrets/mlflow_password" in lines
    assert "POSESTUDY_DATABASE_URL=postgresql://me@host/ledger" in lines
    assert "OMP_NUM_THREADS=1" in lines


def test_messages_of_the_pool_are_still_without_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "the-mlflow-password")
    monkeypatch.setenv("POSESTUDY_DATABASE_URL", "postgresql://me:the-ledger-password@host/ledger")
    with Starter(StartMethod.SPAWN, None):
        assert hidden("it said the-mlflow-password, the-ledger-password") == "it said ***, ***"
