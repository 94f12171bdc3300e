"""Registered models: a folder that MLflow's own `save_model` wrote becomes a version, once for the same contents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from posestudy.errors import NotFoundError
from posestudy.ledger import Ledger
from posestudy.projections.delivery import ProjectionOutageError
from posestudy.projections.mlflow_store import NAME, MlflowStore
from posestudy.projections.quiet_mlflow import open_client, trouble
from posestudy.projections.reasons import reason
from posestudy.projections.turn import turn
from posestudy.settings import Settings, masked

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIAS = "best"
DIGEST_TAG = "posestudy.model_digest"

_REFUSED = re.compile(r"[/:]")


@dataclass(frozen=True)
class Registered:
    """A version of a registered model that bears the alias `best`; `reused`: it was there already."""

    name: str
    version: str
    reused: bool

    @property
    def uri(self) -> str:
        return f"models:/{self.name}@{ALIAS}"


class ModelRegistry:
    """Registers models of a study's trials under the name of the study.

    Args:
        settings: which MLflow store.
        ledger: of the study; its trials are sent to MLflow first where they are not there.
    """

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger

    def known(self, study: str, digest: str) -> Registered | None:
        """The version with these contents, which gets the alias; None: there is none that is still whole.

        Raises ProjectionOutageError where MLflow cannot be used.
        """
        name = model_name(study)
        try:
            client = open_client(self._settings.mlflow_uri)
            for version in client.search_model_versions(f"name = '{_quoted(name)}'"):
                if version.tags.get(DIGEST_TAG) == digest and _whole(client, str(version.run_id), digest):
                    client.set_registered_model_alias(name, ALIAS, str(version.version))
                    return Registered(name, str(version.version), reused=True)
        except trouble() as error:
            raise self._outage(error) from error
        return None

    def put(self, study: str, uid: str, folder: Path, digest: str, tags: Mapping[str, str], about: str) -> Registered:
        """A new version: `folder` becomes artifacts of the run of the trial `uid`, and the alias moves to it.

        Args:
            digest: of what makes the model another one; see `known`.
            about: a sentence for the version's page.

        Raises:
            NotFoundError: the trial's run was deleted in MLflow.
            ProjectionOutageError: MLflow cannot be used.
        """
        name = model_name(study)
        run_id = self._run_of(study, uid)
        try:
            client = open_client(self._settings.mlflow_uri)
            client.log_artifacts(run_id, str(folder), _artifacts(digest))
            if not client.search_registered_models(f"name = '{_quoted(name)}'"):
                client.create_registered_model(name, {"posestudy.study": study})
            source = f"runs:/{run_id}/{_artifacts(digest)}"
            version = client.create_model_version(
                name, source, run_id, tags={DIGEST_TAG: digest, "posestudy.trial": uid, **tags}, description=about
            )
            client.set_registered_model_alias(name, ALIAS, str(version.version))
        except trouble() as error:
            raise self._outage(error) from error
        return Registered(name, str(version.version), reused=False)

    def _run_of(self, study: str, uid: str) -> str:
        with turn(self._ledger) as held:
            delivery = MlflowStore(self._settings).send(self._ledger, self._ledger.snapshot(study), turn=held)
        row = self._ledger.projected(NAME).get(uid)
        if row is None or delivery.problems:
            why = "; ".join(delivery.problems) or "it has no run"
            raise NotFoundError(f"the trial cannot be sent to MLflow: {why}")
        client = open_client(self._settings.mlflow_uri)
        if client.get_run(row.run_id).info.lifecycle_stage != "active":
            raise NotFoundError(
                f"the trial's run was deleted in MLflow; `posestudy sync {study} --rebuild` restores it, then try again"
            )
        return row.run_id

    def _outage(self, error: Exception) -> ProjectionOutageError:
        place = masked(self._settings.mlflow_uri)
        said = reason(error).said
        return ProjectionOutageError(f"MLflow at {place} cannot be used: {said}. Nothing is registered; try again.")


def model_name(study: str) -> str:
    """The study's name as MLflow accepts it for a model: `/` and `:` become `_`."""
    return _REFUSED.sub("_", study)


def _quoted(name: str) -> str:
    return name.replace("'", "''")


def _artifacts(digest: str) -> str:
    """The folder among the artifacts of the trial's run: one for each contents, or a version would become another."""
    return f"model/{digest[:12]}"


def _whole(client: MlflowClient, run_id: str, digest: str) -> bool:
    """Whether the model of a run is still among its artifacts."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.list_artifacts(run_id, _artifacts(digest))
    except (MlflowException, OSError):
        return False
    return any(part.path == f"{_artifacts(digest)}/MLmodel" for part in found)
