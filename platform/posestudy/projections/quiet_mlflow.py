"""The only place that imports MLflow: telemetry off, its own logging quiet, and outages noticed in seconds."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""Set for this process and for every MLflow process it starts."""

# MLflow's own defaults (7 retries, 120 s each) would hold the projector's lock for minutes in an outage,
# and the ledger keeps everything anyway; a user's own setting wins.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}


def prepare(environment: dict[str, str] | os._Environ[str] = os.environ) -> None:
    """Put MLflow's settings into `environment`; must happen before the first `import mlflow`."""
    environment.update(ENVIRONMENT)
    for name, value in _PATIENCE.items():
        environment.setdefault(name, value)


def open_client(uri: str) -> MlflowClient:
    """A client of the MLflow store at `uri`. Imports MLflow (seconds) and creates a missing database schema.

    Raises whatever MLflow or SQLAlchemy raises where the store cannot be opened.
    """
    prepare()
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def trouble() -> tuple[type[Exception], ...]:
    """What MLflow and what lies under it raise when a store, a server, a disk or a request is at fault."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return (MlflowException, SQLAlchemyError, OSError, ImportError, ValueError)
