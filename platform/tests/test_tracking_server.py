"""What MLflow's server is started with: passwords from files, in a file of its own, never in an argument."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from posestudy.errors import PoseStudyError
from posestudy.projections import tracking_server

DATABASE_PASSWORD = "d%b/p@ss:word%40"
PASSWORD = "100% a d m i n %(x)s"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    secrets = {"database": DATABASE_PASSWORD, "admin": PASSWORD, "key": "k" * 64}
    for name, secret in secrets.items():
        (tmp_path / name).write_text(f"{secret}\n")
    return {
        "PATH": "/usr/bin",
        "MLFLOW_BACKEND_STORE_URI": "postgresql://mlflow@127.0.0.1:5433/mlflow",
        "MLFLOW_BACKEND_STORE_PASSWORD_FILE": str(tmp_path / "database"),
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD_FILE": str(tmp_path / "admin"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY_FILE": str(tmp_path / "key"),
    }


def test_mlflow_reads_the_passwords_that_the_files_hold(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tracking_server.server_environment(environment, tmp_path / "private")
    for name in ("MLFLOW_AUTH_CONFIG_PATH", "MLFLOW_FLASK_SERVER_SECRET_KEY", "MLFLOW_BACKEND_STORE_URI"):
        monkeypatch.setenv(name, started[name])
    from mlflow.server.auth.config import read_auth_config

    read = read_auth_config()
    assert (read.admin_username, read.admin_password) == ("admin", PASSWORD)
    for text in (read.database_uri, started["MLFLOW_BACKEND_STORE_URI"]):
        url = make_url(text)
        assert (url.drivername, url.password) == ("postgresql+psycopg", DATABASE_PASSWORD)
        assert (url.host, url.port, url.database) == ("127.0.0.1", 5433, "mlflow")
    assert read.authorization_function.endswith("authenticate_request_basic_auth")
    assert started["MLFLOW_FLASK_SERVER_SECRET_KEY"] == "k" * 64
    assert started["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert PASSWORD not in started.values()


def test_only_this_user_can_read_the_file_even_if_another_lay_there(
    environment: dict[str, str], tmp_path: Path
) -> None:
    private = tmp_path / "private"
    private.mkdir()
    (private / "basic_auth.ini").write_text("old")
    (private / "basic_auth.ini").chmod(0o666)
    tracking_server.server_environment(environment, private)
    assert stat.S_IMODE((private / "basic_auth.ini").stat().st_mode) == 0o600
    assert "old" not in (private / "basic_auth.ini").read_text()


def test_no_argument_of_the_server_is_secret(tmp_path: Path) -> None:
    command = tracking_server.command("127.0.0.1", 5007, tmp_path / "a b", 2)
    assert command[1:4] == ["-m", "mlflow", "server"]
    assert command[command.index("--app-name") + 1] == "basic-auth"
    assert command[command.index("--artifacts-destination") + 1] == f"file://{tmp_path}/a%20b"
    assert not any("postgresql" in part for part in command)


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("MLFLOW_BACKEND_STORE_URI", None, "MLFLOW_BACKEND_STORE_URI is not set"),
        ("MLFLOW_BACKEND_STORE_URI", "sqlite:///mlflow.db", "found a URL of sqlite"),
        ("MLFLOW_BACKEND_STORE_URI", "host/mlflow", "expected postgresql://USER@HOST/DATABASE"),
        ("MLFLOW_BACKEND_STORE_PASSWORD_FILE", None, "MLFLOW_BACKEND_STORE_PASSWORD_FILE is not set"),
        ("MLFLOW_TRACKING_PASSWORD_FILE", "/nowhere/at/all", "cannot be read"),
        ("MLFLOW_TRACKING_USERNAME", None, "MLFLOW_TRACKING_USERNAME is not set"),
        ("MLFLOW_FLASK_SERVER_SECRET_KEY_FILE", "", "MLFLOW_FLASK_SERVER_SECRET_KEY_FILE is not set"),
    ],
)
def test_what_is_missing_is_named(
    environment: dict[str, str], tmp_path: Path, variable: str, value: str | None, named: str
) -> None:
    environment.pop(variable)
    if value is not None:
        environment[variable] = value
    with pytest.raises(PoseStudyError) as caught:
        tracking_server.server_environment(environment, tmp_path / "private")
    assert named in str(caught.value)


def test_a_password_that_mlflow_would_refuse_is_refused_before_it_starts(
    environment: dict[str, str], tmp_path: Path
) -> None:
    Path(environment["MLFLOW_TRACKING_PASSWORD_FILE"]).write_text("too-short-1")
    command = [sys.executable, "-m", "posestudy.projections.tracking_server"]
    command += ["--artifacts", str(tmp_path), "--private", str(tmp_path / "private")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 2
    assert "found 11 characters, MLflow expects 12 or more" in done.stderr
    assert "too-short" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.postgres
def test_an_older_database_is_upgraded_without_its_password_in_an_argument(postgres_url: str, tmp_path: Path) -> None:
    import psycopg

    place = make_url(postgres_url)
    (tmp_path / "database").write_text(str(place.password))
    environment = {
        "PATH": "/usr/bin",
        "HOME": str(tmp_path),
        "MLFLOW_BACKEND_STORE_URI": place.set(password=None).render_as_string(hide_password=False),
        "MLFLOW_BACKEND_STORE_PASSWORD_FILE": str(tmp_path / "database"),
    }
    command = [sys.executable, "-m", "posestudy.projections.tracking_server", "--upgrade-database"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert str(place.password) not in done.stdout + done.stderr
    with psycopg.connect(place.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)
