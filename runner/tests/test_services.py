"""The services of docker-compose.yml without containers: their own commands and environment, on loopback.

What an engine would do is done here: variables are put in, names of services become 127.0.0.1 with free ports, mounted
secrets and volumes become files and folders below a temporary one.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest
from compose_file import ROOT, services
from standin_pool import until
from test_compose_file import prepare, seconds

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Snapshot
from posestudy.settings import Settings
from posestudy.testing import _as_server_user, _find
from posestudy.testing_network import free_port
from posestudy.vocabulary import Outcome, TrialState
from posestudy_runner.doctor import _tracking
from posestudy_runner.forkserver import PARENT_ONLY

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

STUDY = "served"
YAML = """
study: served
dataset:
  keypoints: cats
  root: {root}
  train: {{annotations: annotations/train.json, images: images}}
  val: {{annotations: annotations/val.json, images: images}}
baseline: {{model: resnet_tiny, input_size: [64, 64], epochs: 4, batch_size: 4, optimizer: {{lr: 1.0e-3}}}}
stages:
  - {{name: only, design: variants, include_baseline: false, variants: {{wide: {{sigma: 1.5}}}}}}
"""


@dataclass
class Services:
    """Processes of the services in `folder`, as docker-compose.yml describes them."""

    folder: Path
    postgres_port: int = field(default_factory=free_port)
    mlflow_port: int = field(default_factory=free_port)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        prepare(self.folder)
        variables = {
            "POSESTUDY_MLFLOW_PORT": str(self.mlflow_port),
            "POSESTUDY_POSTGRES_PORT": str(self.postgres_port),
            "POSESTUDY_STUDY": STUDY,
        }
        self.described = self._placed(services(variables))

    def _placed(self, node: Any) -> Any:
        if isinstance(node, dict):
            return {key: self._placed(value) for key, value in node.items()}
        if isinstance(node, list):
            return [self._placed(value) for value in node]
        if not isinstance(node, str):
            return node
        text = re.sub(r"^/run/secrets/(\w+)$", rf"{self.folder}/secrets/\1.txt", node)
        for inside, outside in (
            ("0.0.0.0", "127.0.0.1"),
            ("postgres:5432", f"127.0.0.1:{self.postgres_port}"),
            ("--port=5432", f"--port={self.postgres_port}"),
            ("mlflow:5000", f"127.0.0.1:{self.mlflow_port}"),
            ("127.0.0.1:5000", f"127.0.0.1:{self.mlflow_port}"),
            ("/run/posestudy", f"{self.folder}/private"),
            ("/posestudy/", f"{self.folder}/"),
        ):
            text = text.replace(inside, outside) if not text.startswith(str(self.folder)) else text
        return str(self.mlflow_port) if text == "5000" else text

    def secret(self, name: str) -> str:
        return (self.folder / "secrets" / f"{name}.txt").read_text()

    def secrets(self) -> dict[str, str]:
        return {path.stem: path.read_text() for path in (self.folder / "secrets").iterdir()}

    def environment(self, name: str) -> dict[str, str]:
        """What the container would have: nothing of this process but what finds programs."""
        base = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(self.folder), "LANG": "C"}
        return {**base, "PYTHONPATH": str(ROOT / "runner" / "tests"), **self.described[name]["environment"]}

    def start(self, name: str, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable if part == "python" else part for part in command]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=self.environment(name), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                **options,
            )  # fmt: skip
        self.running[name] = process
        return process

    def healthy(self, name: str, limit_s: float = 400.0) -> None:
        """Ask as the engine does until the answer is yes."""
        command = [sys.executable if part == "python" else part for part in self.described[name]["healthcheck"]["test"]]
        assert command.pop(0) == "CMD"
        ends = time.monotonic() + limit_s
        while subprocess.run(command, capture_output=True, env=self.environment(name), check=False).returncode:
            assert self.running[name].poll() is None, self.log(name)
            assert time.monotonic() < ends, self.log(name)
            time.sleep(0.3)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def start_postgres(self) -> None:
        """What the image does: a cluster with the arguments of the environment, the script, then the command."""
        given = self.environment("postgres")
        data = self.folder / "database" / Path(given["PGDATA"]).name
        data.parent.mkdir()
        password = self.folder / "database" / "password"
        shutil.copy(given["POSTGRES_PASSWORD_FILE"], password)
        if os.geteuid() == 0:
            for place in (data.parent, password):
                shutil.chown(place, "postgres", "postgres")
        user = _as_server_user()
        initdb = [*user, str(_find("initdb")), "-D", str(data), "-U", given["POSTGRES_USER"], f"--pwfile={password}"]
        initdb += [*given["POSTGRES_INITDB_ARGS"].split(), "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=data.parent)
        password.unlink()
        program, *options = self.described["postgres"]["command"]
        here = ["-D", str(data), "-h", "127.0.0.1", "-p", str(self.postgres_port), "-k", "", "-c", "fsync=off"]
        self.start("postgres", [*user, str(_find(program)), *here, *options])
        self.healthy("postgres")
        script = subprocess.run(
            ["sh", str(ROOT / "deploy" / "postgres" / "databases.sh")],
            env={
                **given,
                "PGHOST": "127.0.0.1",
                "PGPORT": str(self.postgres_port),
                "PGPASSWORD": self.secret("postgres_password"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert script.returncode == 0, script.stderr
        assert script.stdout + script.stderr == ""

    def start_mlflow(self) -> None:
        described = self.described["mlflow"]
        self.start("mlflow", [*described["entrypoint"], *described["command"]])
        self.healthy("mlflow")

    def start_worker(self) -> subprocess.Popen[bytes]:
        program = str(ROOT / "runner" / "tests" / "service_worker.py")
        return self.start("worker-cpu", ["python", program, *self.described["worker-cpu"]["command"]])

    def posestudy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What `docker compose run --rm posestudy ARGUMENTS` would do."""
        return subprocess.run(
            [sys.executable, "-c", "from posestudy.commands.app import run; run()", *arguments],
            env=self.environment("posestudy"), capture_output=True, text=True, check=False, cwd=self.folder,
        )  # fmt: skip

    def stop(self, name: str) -> int:
        """As `docker stop` does: the service's signal, then its grace time, then SIGKILL."""
        process = self.running.pop(name)
        described = self.described[name]
        process.send_signal(signal.Signals[described["stop_signal"]])
        try:
            return process.wait(seconds(described["stop_grace_period"]))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return -9

    def stop_all(self) -> None:
        for process in self.running.values():
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    with suppress(psutil.NoSuchProcess):
                        child.kill()
            process.kill()
            process.wait()

    def processes(self) -> list[psutil.Process]:
        found = [psutil.Process(process.pid) for process in self.running.values() if process.poll() is None]
        return [*found, *(child for process in found for child in process.children(recursive=True))]

    def ask(self, path: str, password: str | None = None, host: str | None = None) -> tuple[int, bytes]:
        """Status and body of MLflow's answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.mlflow_port}{path}")
        if password is not None:
            request.add_header("Authorization", "Basic " + base64.b64encode(f"admin:{password}".encode()).decode())
        if host is not None:
            request.add_header("Host", host)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def mlflow(self, path: str) -> Any:
        status, body = self.ask(f"/api/2.0/mlflow/{path}", self.secret("mlflow_password"))
        assert status == 200, body
        return json.loads(body)

    def ledger(self) -> Ledger:
        password = self.secret("posestudy_password")
        return Ledger.open(f"postgresql://posestudy:{password}@127.0.0.1:{self.postgres_port}/posestudy")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    for module in ("psycopg", "flask_wtf"):
        pytest.importorskip(module, reason=f"{module} is not installed: pip install 'posestudy[postgres,server]'")
    for program in ("initdb", "postgres", "psql", "pg_isready"):
        if _find(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install postgresql")
    # Not pytest's folder, which the user of the database server may not enter.
    folder = Path(tempfile.mkdtemp(prefix="posestudy-services-"))
    folder.chmod(0o755)
    running = Services(folder)
    try:
        running.start_postgres()
        running.start_mlflow()
        yield running
        assert running.stop("mlflow") in (0, -15), running.log("mlflow")
        assert running.stop("postgres") == 0, running.log("postgres")
    finally:
        running.stop_all()
        shutil.rmtree(folder, ignore_errors=True)


def test_mlflow_asks_for_the_password_of_the_secret(up: Services) -> None:
    path = "/api/2.0/mlflow/experiments/search?max_results=1"
    assert up.ask("/health")[0] == 200
    assert up.ask(path)[0] == 401
    assert up.ask(path, "password1234")[0] == 401
    assert up.ask(path, up.secret("mlflow_secret_key"))[0] == 401
    assert up.ask(path, up.secret("mlflow_password"))[0] == 200
    assert up.ask("/")[0] == 401


def test_mlflow_answers_to_no_other_name(up: Services) -> None:
    path = "/api/2.0/mlflow/experiments/search?max_results=1"
    status, body = up.ask(path, up.secret("mlflow_password"), host="attacker.example:5000")
    assert (status, b"Invalid Host header" in body) == (403, True)
    assert up.ask(path, up.secret("mlflow_password"), host=f"localhost:{up.mlflow_port}")[0] == 200


def test_each_role_enters_its_own_database_alone_and_with_its_password(up: Services) -> None:
    import psycopg

    def enter(user: str, secret: str, database: str) -> str:
        try:
            psycopg.connect(
                host="127.0.0.1", port=up.postgres_port, user=user, password=secret, dbname=database, connect_timeout=10
            ).close()
        except psycopg.OperationalError as error:
            return str(error)
        return "in"

    ledger, mlflow = up.secret("posestudy_password"), up.secret("mlflow_database_password")
    assert enter("posestudy", ledger, "posestudy") == "in"
    assert enter("mlflow", mlflow, "mlflow") == "in"
    assert "password authentication failed" in enter("posestudy", mlflow, "posestudy")
    assert "no password supplied" in enter("postgres", "", "postgres")
    assert "permission denied for database" in enter("posestudy", ledger, "mlflow")
    assert "permission denied for database" in enter("mlflow", mlflow, "posestudy")


def test_a_wrong_password_file_is_told_of_in_one_sentence(up: Services, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text(secrets.token_hex(16))
    up.described["posestudy"]["environment"]["POSESTUDY_DATABASE_PASSWORD_FILE"] = str(wrong)
    try:
        done = up.posestudy("status")
    finally:
        up.described["posestudy"]["environment"] = dict(up.described["worker-cpu"]["environment"])
    assert done.returncode == 2
    assert "password authentication failed" in done.stderr
    assert "Traceback" not in done.stderr
    assert wrong.read_text() not in done.stderr + done.stdout


def test_the_doctor_says_whether_the_server_lets_this_user_in(
    up: Services, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in up.described["posestudy"]["environment"].items():
        monkeypatch.setenv(name, value)
    found = _tracking(Settings.resolve())
    assert (found.state, version("mlflow") in found.detail) == ("ok", True)
    (tmp_path / "wrong").write_text("another-password")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD_FILE", str(tmp_path / "wrong"))
    refused = _tracking(Settings.resolve())
    assert (refused.state, "are not right" in refused.detail) == ("missing", True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "does not answer" in _tracking(Settings.resolve()).detail


def put_study(up: Services) -> None:
    from posestudy_studies.dataset import sealed
    from posestudy_studies.drawn_cats import draw
    from posestudy_studies.file import load

    draw(up.folder / "cats", train=4, val=2, seed=1, size_px=64)
    file = up.folder / "served.yaml"
    file.write_text(YAML.format(root=up.folder / "cats"))
    ledger = up.ledger()
    ledger.put_study(STUDY, sealed(load(file)).model_dump(mode="json"), file.read_text())
    ledger.close()


def seen(up: Services) -> Snapshot:
    ledger = up.ledger()
    try:
        return ledger.snapshot(STUDY)
    finally:
        ledger.close()


def assert_loopback_only(up: Services) -> None:
    listening = set()
    for process in up.processes():
        with suppress(psutil.NoSuchProcess):
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    listening.add((connection.laddr.ip, connection.laddr.port))
    assert {ip for ip, _ in listening} == {"127.0.0.1"}, listening
    assert {up.postgres_port, up.mlflow_port} <= {port for _, port in listening}


def assert_no_secret_in(up: Services, texts: dict[str, str]) -> None:
    for place, text in texts.items():
        for name, secret in up.secrets().items():
            assert secret not in text, f"{name} stands in {place}"


def test_a_worker_trains_gives_its_lease_back_when_it_is_stopped_and_mlflow_gets_it_all(up: Services) -> None:
    put_study(up)
    up.start_worker()
    until(lambda: seen(up).values or up.running["worker-cpu"].poll() is not None)
    assert up.running["worker-cpu"].poll() is None, up.log("worker-cpu")
    assert_loopback_only(up)
    assert_no_secret_in(up, {f"arguments of {p.name()}": " ".join(p.cmdline()) for p in up.processes()})

    up.stop("worker-cpu")
    (trial,) = seen(up).trials
    assert trial.state is TrialState.WAITING, up.log("worker-cpu")
    assert [str(attempt.end) for attempt in seen(up).attempts] == ["preempted"]
    epochs_before = len(seen(up).values)
    assert 1 <= epochs_before < 4

    up.start_worker()
    assert up.running["worker-cpu"].wait(400) == 0, up.log("worker-cpu")
    (trial,) = seen(up).trials
    assert trial.outcome is Outcome.COMPLETED
    resumed = Home(up.folder / "home").attempt(STUDY, trial.number, trial.fence)
    assert int((resumed.folder / "from_epoch").read_text()) == epochs_before

    (experiment,) = [e for e in up.mlflow("experiments/search?max_results=50")["experiments"] if e["name"] == STUDY]
    assert experiment["artifact_location"].startswith("mlflow-artifacts:/")
    run = run_of(up, experiment["experiment_id"], trial.uid)
    metrics = up.mlflow(f"metrics/get-history?run_id={run}&metric_key=coco/AP")["metrics"]
    assert [(m["step"], m["value"]) for m in metrics] == [(e, pytest.approx(e / 100)) for e in range(1, 5)]
    listed = {entry["path"] for entry in up.mlflow(f"artifacts/list?run_id={run}")["files"]}
    assert {"config.py", "training.log"} <= listed
    status, body = up.ask(f"/get-artifact?path=config.py&run_uuid={run}", up.secret("mlflow_password"))
    assert (status, body) == (200, b"model = dict()\n")
    assert list((up.folder / "artifacts").rglob("config.py")), "the server keeps artifacts elsewhere"

    given = json.loads((resumed.folder / "environment.json").read_text())
    assert not given["python"].keys() & set(PARENT_ONLY)
    assert not [name for name in PARENT_ONLY if f"{name}=" in given["kernel"]]
    assert given["python"]["POSESTUDY_HOME"] == str(up.folder / "home")
    written = [*(up.folder / "home").rglob("*"), *(up.folder / "artifacts").rglob("*"), *up.folder.glob("*.log")]
    texts = {str(path): path.read_text(errors="replace") for path in written if path.is_file()}
    assert any(place.endswith("order.json") for place in texts)
    assert_no_secret_in(up, texts)
    assert_no_secret_in(up, {"the ledger": repr(seen(up)), "MLflow": repr(up.mlflow(f"runs/get?run_id={run}"))})


def run_of(up: Services, experiment: str, uid: str) -> str:
    request = urllib.request.Request(
        f"http://127.0.0.1:{up.mlflow_port}/api/2.0/mlflow/runs/search",
        data=json.dumps({"experiment_ids": [experiment], "filter": f"tags.`posestudy.trial` = '{uid}'"}).encode(),
        headers={
            "Content-Type": "application/json",
            "Authorization": "Basic " + base64.b64encode(f"admin:{up.secret('mlflow_password')}".encode()).decode(),
        },
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        (run,) = json.load(answer)["runs"]
    return str(run["info"]["run_id"])
