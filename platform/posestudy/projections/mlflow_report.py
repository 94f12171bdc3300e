"""The report of a study in MLflow: its files are kept in the home and sent from there to the study's own run."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from posestudy.durable import write_bytes
from posestudy.home import Home

if TYPE_CHECKING:
    from mlflow import MlflowClient

ARTIFACTS = "report"
"""The folder of the files among the artifacts of the run."""
REPORT_TAG = "posestudy.report_digest"


@dataclass(frozen=True)
class KeptReport:
    """The report last written of a study: `files` are its paths below `folder`, with `/`, in order.

    Attributes:
        digest: 16 hexadecimal digits of the names and bytes of all files.
    """

    folder: Path
    files: tuple[str, ...]
    digest: str


def keep_report(home: Home, study: str, files: Mapping[str, Path]) -> KeptReport | None:
    """Copy a report into the home, in place of the one before; `files` by their paths in it.

    MLflow can then be deleted and filled anew at any time. None where there is no file.

    Raises:
        OSError: a file cannot be read or the home cannot be written.
    """
    folder = home.report(study)
    for name, path in sorted(files.items()):
        write_bytes(folder / name, path.read_bytes())
    for name in set(_files_below(folder)) - set(files):
        (folder / name).unlink(missing_ok=True)
    return kept_report(home, study)


def kept_report(home: Home, study: str) -> KeptReport | None:
    """What `keep_report` has kept; None where it has nothing."""
    folder = home.report(study)
    files = tuple(sorted(_files_below(folder)))
    if not files:
        return None
    total = hashlib.sha256()
    for name in files:
        with (folder / name).open("rb") as stream:
            total.update(f"{name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return KeptReport(folder, files, total.hexdigest()[:16])


def _files_below(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(folder).as_posix()


def send_report(client: MlflowClient, run_id: str, report: KeptReport) -> None:
    """Make the run's artifacts under `report/` these files; where a store cannot delete, older ones stay beside them.

    Raises what MLflow raises.
    """
    client.log_artifacts(run_id, str(report.folder), ARTIFACTS)
    stale = set(_artifacts(client, run_id, ARTIFACTS)) - {f"{ARTIFACTS}/{name}" for name in report.files}
    if stale:
        _delete(client, run_id, stale)


def _artifacts(client: MlflowClient, run_id: str, folder: str) -> Iterator[str]:
    for found in client.list_artifacts(run_id, folder):
        if found.is_dir:
            yield from _artifacts(client, run_id, found.path)
        else:
            yield found.path


def _delete(client: MlflowClient, run_id: str, paths: set[str]) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    place = str(client.get_run(run_id).info.artifact_uri)
    with contextlib.suppress(MlflowException, NotImplementedError):
        store = get_artifact_repository(place, tracking_uri=client.tracking_uri)
        for path in sorted(paths):
            store.delete_artifacts(path)  # type: ignore[no-untyped-call]
