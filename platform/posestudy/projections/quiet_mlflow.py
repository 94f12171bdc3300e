"""The only place that imports MLflow: telemetry off, its own logging quiet, and outages noticed in seconds."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from posestudy.projections.sqlite_file import create_whole, file_identity, is_file
from posestudy.settings import mlflow_password

if TYPE_CHECKING:
    from mlflow import MlflowClient

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow would send again whatever got no answer, also what creates a run, and then there are two: the next pass
    # looks first what is there.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""Set for this process and for every MLflow process it starts."""

_files: dict[str, tuple[int, int] | None] = {}
"""By URL, the file that this process opened."""

# MLflow's own default (120 s) would hold the projector's lock for minutes in an outage, and the ledger keeps everything
# anyway; a user's own setting wins.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}


def prepare(environment: dict[str, str] | os._Environ[str] = os.environ) -> None:
    """Put MLflow's settings into `environment`; must happen before the first `import mlflow`."""
    environment.update(ENVIRONMENT)
    for name, value in _PATIENCE.items():
        environment.setdefault(name, value)


def open_client(uri: str) -> MlflowClient:
    """A client of the MLflow store at `uri`. Imports MLflow (seconds) and creates a missing database schema.

    Raises whatever MLflow or SQLAlchemy raises where the store cannot be opened, and PoseStudyError where the file
    with the server's password cannot be used.
    """
    prepare()
    password = mlflow_password()
    if password is not None:
        # MLflow looks for it there at every request; this process trains nothing and starts no trial.
        os.environ["MLFLOW_TRACKING_PASSWORD"] = password
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from mlflow import MlflowClient

    create_whole(uri, lambda url: MlflowClient(tracking_uri=url))
    client = MlflowClient(tracking_uri=uri)
    _files.setdefault(uri, file_identity(uri))
    return client


def file_replaced(uri: str) -> bool:
    """Whether the SQLite file of the store at `uri` was deleted or replaced since this process opened it first.

    MLflow looks at a database once in a process and keeps a deleted file open: only a new process sees another one.
    """
    # Without an identity it was deleted in the instant between its opening and the look at it.
    return is_file(uri) and uri in _files and (_files[uri] is None or _files[uri] != file_identity(uri))


def trouble() -> tuple[type[Exception], ...]:
    """What MLflow and what lies under it raise when a store, a server, a disk or a request is at fault."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return (MlflowException, SQLAlchemyError, OSError, ImportError, ValueError)
