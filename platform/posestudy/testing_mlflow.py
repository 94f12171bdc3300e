"""For tests: a real MLflow server, and what its own database must hold, read from its tables and not through MLflow."""

# ruff: noqa: S608 - the names in the queries are run ids and the study names of the tests
from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from posestudy.ledger.records import Snapshot
from posestudy.projections.dataset_card import dataset_cards
from posestudy.projections.quiet_mlflow import prepare
from posestudy.projections.run_card import cards, metric_name
from posestudy.testing_network import free_port


class RealServer:
    """`mlflow server` with an artifact proxy, on a store of its own; it may be killed and started again."""

    def __init__(self, folder: Path, empty_store: Path, uri: str | None = None) -> None:
        self.folder = folder
        self.database = folder / "mlflow.db"
        self.artifacts = folder / "artifacts"
        folder.mkdir(parents=True, exist_ok=True)
        if uri is None:
            shutil.copy(empty_store, self.database)
        self.uri = uri or f"sqlite:///{self.database}"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": self.uri}
        prepare(environment)
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--serve-artifacts", "--artifacts-destination", str(self.artifacts)]
        with open(self.folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        ends = time.monotonic() + 180
        while time.monotonic() < ends:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2):
                    return
            except OSError:
                assert self._process.poll() is None, (self.folder / "server.log").read_text()[-2000:]
                time.sleep(0.2)
        raise TimeoutError((self.folder / "server.log").read_text()[-2000:])

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def table(database: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute(query).fetchall()


def violations(database: Path, snapshot: Snapshot) -> list[str]:
    """What differs between the ledger and the tables `runs`, `tags`, `metrics`, `params` and `inputs` of MLflow."""
    name = snapshot.study.name
    experiment = table(database, f"SELECT experiment_id FROM experiments WHERE name = '{name}'")
    if len(experiment) != 1:
        return [f"{len(experiment)} experiments"]
    active = f"experiment_id = {experiment[0][0]} AND lifecycle_stage = 'active'"
    runs = dict(table(database, f"SELECT run_uuid, status FROM runs WHERE {active}"))
    tags: dict[str, dict[str, str]] = {run: {} for run in runs}
    metrics: dict[str, list[tuple[str, int, float, int]]] = {run: [] for run in runs}
    chosen = f"run_uuid IN (SELECT run_uuid FROM runs WHERE {active})"
    for run, key, value in table(database, f"SELECT run_uuid, key, value FROM tags WHERE {chosen}"):
        tags[run][key] = value
    query = f"SELECT run_uuid, key, step, value, timestamp FROM metrics WHERE {chosen}"
    for run, key, step, value, timestamp in table(database, query):
        metrics[run].append((key, step, value, timestamp))
    found = [f"run {run} is superseded and active" for run in runs if "posestudy.superseded" in tags[run]]
    for kind, wanted in (("study", 1), ("stage", len(snapshot.stages)), ("trial", len(cards(snapshot)))):
        there = [run for run in runs if tags[run].get("posestudy.kind") == kind]
        if len(there) != wanted:
            found.append(f"{len(there)} active runs of kind {kind}, expected {wanted}")
    by_trial = {tags[run]["posestudy.trial"]: run for run in runs if "posestudy.trial" in tags[run]}
    for card in cards(snapshot):
        run = by_trial.get(card.uid)
        if run is None:
            found.append(f"trial {card.number} has no run")
            continue
        twice = [place for place, times in Counter((key, step) for key, step, *_ in metrics[run]).items() if times > 1]
        found += [f"trial {card.number}: {place} is there twice" for place in twice]
        # The ledger's own rows and not the card's points: the card is what is under test.
        wanted_rows = {
            (metric_name(key), row.epoch, value, int(row.ts * 1000))
            for row in snapshot.values
            if row.trial_uid == card.uid
            for key, value in row.metrics.items()
            if value is not None
        }
        own = {row for row in metrics[run] if not row[0].startswith(("best/", "profile/"))}
        if own != wanted_rows:
            found.append(
                f"trial {card.number}: {len(own - wanted_rows)} metric rows too many, {len(wanted_rows - own)} missing"
            )
        if runs[run] != card.status or tags[run].get("posestudy.number") != str(card.number):
            found.append(f"trial {card.number}: status {runs[run]}, expected {card.status}")
        params = table(database, f"SELECT count(*) FROM params WHERE run_uuid = '{run}'")[0][0]
        if params != len(card.params):
            found.append(f"trial {card.number}: {params} parameters, expected {len(card.params)}")
        inputs = table(database, f"SELECT count(*) FROM inputs WHERE destination_id = '{run}'")[0][0]
        if inputs != len(dataset_cards(snapshot.study)):
            found.append(f"trial {card.number}: {inputs} data set inputs")
    return found
