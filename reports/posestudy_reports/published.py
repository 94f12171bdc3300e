"""A report that was written goes to MLflow: kept in the home first, so that nothing is lost while MLflow is down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from posestudy.errors import PoseStudyError
from posestudy.settings import Settings, masked

_PATIENCE_S = 20.0


def publish(study: str, out: Path, paths: Sequence[Path], settings: Settings) -> str:
    """Keep the files of a report, and send them to the study's run in MLflow where there is an MLflow store already.

    Args:
        out: the folder of the report; paths: its files, all below.

    Returns:
        A sentence that says where they are now; trouble with MLflow or the home is in it and never raised.
    """
    from posestudy.projections import sqlite_file
    from posestudy.projections.mlflow_report import ARTIFACTS, keep_report

    try:
        keep_report(settings.home, study, {path.relative_to(out).as_posix(): path for path in paths})
    except OSError as error:
        return f"not kept for MLflow: {error}"
    if sqlite_file.is_file(settings.mlflow_uri) and sqlite_file.file_identity(settings.mlflow_uri) is None:
        # MLflow takes ten seconds to make its tables, and then would hold a report without its trials.
        return f"kept for MLflow; `posestudy sync {study}` makes its store and sends it"
    try:
        problems = _send(study, settings)
    except PoseStudyError as error:
        problems = [str(error)]
    if problems:
        return f"kept, not in MLflow yet ({'; '.join(problems)}); `posestudy sync {study}` sends it"
    return f"in MLflow at {masked(settings.mlflow_uri)}: experiment {study}, run {study}, artifacts {ARTIFACTS}/"


def _send(study: str, settings: Settings) -> list[str]:
    from posestudy.ledger import Ledger
    from posestudy.projections.mlflow_store import MlflowStore
    from posestudy.projections.turn import turn

    ledger = Ledger.open(settings.database_url)
    try:
        with turn(ledger, _PATIENCE_S):
            delivery = MlflowStore(settings).send_report(ledger, ledger.study(study))
            return delivery.problems + delivery.notes
    finally:
        ledger.close()
