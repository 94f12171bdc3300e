"""Starts MLflow's server with PostgreSQL, an artifact proxy and basic authentication, its passwords from files.

`python -m posestudy.projections.tracking_server` writes what MLflow wants to read of a password into a file that only
this user can read, or into its own environment, and then becomes the server: nothing secret is in an argument, which
every user of the machine could read. It is what the `mlflow` service of docker-compose.yml runs.
"""

from __future__ import annotations

import argparse
import configparser
import io
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from posestudy.errors import MissingPieceError, PoseStudyError
from posestudy.projections.quiet_mlflow import prepare
from posestudy.secret_files import read_secret

DATABASE_URL = "MLFLOW_BACKEND_STORE_URI"
DATABASE_PASSWORD_FILE = "MLFLOW_BACKEND_STORE_PASSWORD_FILE"  # noqa: S105  the name of a variable
USERNAME = "MLFLOW_TRACKING_USERNAME"
PASSWORD_FILE = "MLFLOW_TRACKING_PASSWORD_FILE"  # noqa: S105  the name of a variable
SECRET_KEY_FILE = "MLFLOW_FLASK_SERVER_SECRET_KEY_FILE"  # noqa: S105  the name of a variable
SHORTEST_PASSWORD = 12
"""Characters; MLflow refuses shorter ones."""


def _needed(variable: str, environment: Mapping[str, str]) -> str:
    found = environment.get(variable)
    if not found:
        raise PoseStudyError(f"{variable} is not set; MLflow's server needs it, see docs/services.md")
    return found


def _secret(variable: str, environment: Mapping[str, str]) -> str:
    _needed(variable, environment)
    return read_secret(variable, environment) or ""


def database_url(environment: Mapping[str, str]) -> str:
    """The database of MLflow's runs and users, with its password from the file.

    Raises:
        PoseStudyError: a variable or its file is missing, or the URL is not one of PostgreSQL.
    """
    try:
        url = make_url(_needed(DATABASE_URL, environment))
    except ArgumentError:
        raise PoseStudyError(f"{DATABASE_URL}: expected postgresql://USER@HOST/DATABASE") from None
    if url.get_backend_name() != "postgresql":
        raise PoseStudyError(
            f"{DATABASE_URL}: found a URL of {url.get_backend_name()}, expected postgresql://USER@HOST/DATABASE"
        )
    # PostgreSQL's newer driver, which the ledger uses too: MLflow alone would ask for another.
    url = url.set(drivername="postgresql+psycopg", password=_secret(DATABASE_PASSWORD_FILE, environment))
    return url.render_as_string(hide_password=False).replace(" ", "%20")


def authentication(environment: Mapping[str, str]) -> str:
    """The text of MLflow's `basic_auth.ini`: where users are kept, and the administrator that the first start makes.

    Raises:
        PoseStudyError: a variable or its file is missing, or the password is one that MLflow would refuse.
    """
    password = _secret(PASSWORD_FILE, environment)
    if len(password) < SHORTEST_PASSWORD:
        raise PoseStudyError(
            f"{PASSWORD_FILE}: found {len(password)} characters, MLflow expects {SHORTEST_PASSWORD} or more"
        )
    settings = {
        "default_permission": "READ",
        "database_uri": database_url(environment),
        "admin_username": _needed(USERNAME, environment),
        "admin_password": password,
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
    }
    parser = configparser.ConfigParser()
    # MLflow reads the file with interpolation on: a percent sign stands for itself only when doubled.
    parser["mlflow"] = {name: value.replace("%", "%%") for name, value in settings.items()}
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def write_private(path: Path, text: str) -> None:
    """Put `text` into a file that only this user can read, whatever stood there before.

    Raises:
        PoseStudyError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise PoseStudyError(f"--private: {path} cannot be written: {error.strerror}") from None


def server_environment(environment: Mapping[str, str], private: Path) -> dict[str, str]:
    """What MLflow's server is started with; writes `basic_auth.ini` into the folder `private`.

    Raises:
        PoseStudyError: see `authentication` and `write_private`.
    """
    configuration = private / "basic_auth.ini"
    write_private(configuration, authentication(environment))
    started = {name: value for name, value in environment.items() if name not in (PASSWORD_FILE, USERNAME)}
    prepare(started)
    started[DATABASE_URL] = database_url(environment)
    started["MLFLOW_AUTH_CONFIG_PATH"] = str(configuration)
    started["MLFLOW_FLASK_SERVER_SECRET_KEY"] = _secret(SECRET_KEY_FILE, environment)
    return started


def command(host: str, port: int, artifacts: Path, workers: int) -> list[str]:
    """MLflow's own command; its URLs and passwords come by environment."""
    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", str(workers)),
        *("--serve-artifacts", "--artifacts-destination", artifacts.resolve().as_uri()),
        *("--app-name", "basic-auth"),
    ]


def upgrade(environment: Mapping[str, str]) -> NoReturn:
    """Migrate MLflow's database, as `mlflow db upgrade URL` does, whose argument would show the password.

    Raises:
        PoseStudyError: see `database_url`.
    """
    url = database_url(environment)
    prepare()
    from mlflow.cli import cli

    cli(["db", "upgrade", url])
    sys.exit(0)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Become MLflow's server; leaves with 2 after a sentence on standard error where it cannot start."""
    parser = argparse.ArgumentParser(prog="posestudy.projections.tracking_server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=1, help="server processes")
    parser.add_argument("--artifacts", type=Path, default=Path("mlflow-artifacts"), help="folder of the artifacts")
    parser.add_argument("--private", type=Path, default=Path("mlflow-private"), help="folder for passwords")
    parser.add_argument("--upgrade-database", action="store_true", help="bring the schema up to this MLflow, and leave")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.upgrade_database:
            upgrade(os.environ)
        if find_spec("flask_wtf") is None:
            raise MissingPieceError("MLflow's authentication needs Flask-WTF: pip install 'posestudy[server]'")
        environment = server_environment(os.environ, chosen.private)
    except PoseStudyError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    started = command(chosen.host, chosen.port, chosen.artifacts, chosen.workers)
    os.execve(started[0], started, environment)  # noqa: S606 - the arguments are ours


if __name__ == "__main__":
    main()
