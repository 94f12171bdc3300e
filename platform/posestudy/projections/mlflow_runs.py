"""Writing to MLflow runs, each operation such that doing it twice is the same as doing it once."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from posestudy.home import AttemptPaths
from posestudy.projections.dataset_card import DatasetCard
from posestudy.projections.mlflow_index import SUPERSEDED_TAG, KnownRun
from posestudy.projections.run_card import Point

if TYPE_CHECKING:
    from mlflow import MlflowClient

UNFINISHED = frozenset({"RUNNING", "SCHEDULED"})


class RunWriter:
    """Creates runs and brings them to what they ought to be. Raises what MLflow raises."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def create(self, experiment_id: str, name: str, tags: Mapping[str, str], started: int | None = None) -> KnownRun:
        """A new run; `started` in milliseconds since the epoch, MLflow's clock where it is None."""
        return KnownRun.of(self._client.create_run(experiment_id, start_time=started, tags=dict(tags), run_name=name))

    def restore(self, known: KnownRun) -> None:
        self._client.restore_run(known.run_id)
        known.active = True

    def supersede(self, known: KnownRun) -> None:
        """Put a run away whose values the ledger has replaced: MLflow cannot forget single values."""
        if SUPERSEDED_TAG not in known.tags:
            self._client.set_tag(known.run_id, SUPERSEDED_TAG, "true")
        self._client.delete_run(known.run_id)
        known.active = False

    def mend(self, known: KnownRun, name: str, status: str, tags: Mapping[str, str], ended: int | None = None) -> bool:
        """Make name, status, end and posestudy's tags of a run what they ought to be; whether anything differed."""
        retagged = self._mend_tags(known, tags)
        renamed = known.name != name
        if renamed:
            self._client.update_run(known.run_id, name=name)
            known.name = name
        moved = known.status != status or (ended is not None and known.ended != ended)
        if moved and status in UNFINISHED:
            self._client.update_run(known.run_id, status=status)
        elif moved:
            self._client.set_terminated(known.run_id, status, ended)
        known.status, known.ended = status, ended or known.ended
        return retagged or renamed or moved

    def _mend_tags(self, known: KnownRun, tags: Mapping[str, str]) -> bool:
        from mlflow.entities import RunTag

        stale = [key for key in known.tags if key.startswith("posestudy.") and key not in tags]
        fresh = {key: value for key, value in tags.items() if known.tags.get(key) != value}
        for key in stale:
            self._client.delete_tag(known.run_id, key)
            del known.tags[key]
        if fresh:
            self._client.log_batch(known.run_id, tags=[RunTag(key, value) for key, value in fresh.items()])
            known.tags.update(fresh)
        return bool(stale or fresh)

    def send_values(self, run_id: str, points: Sequence[Point], params: Mapping[str, str]) -> None:
        """The client cuts this into requests of at most 1000 metrics and 100 parameters."""
        from mlflow.entities import Metric, Param

        self._client.log_batch(
            run_id,
            metrics=[Metric(p.key, p.value, p.timestamp, p.step) for p in points],
            params=[Param(key, value) for key, value in params.items()],
        )

    def send_datasets(self, run_id: str, datasets: Sequence[DatasetCard]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(card.name, card.digest, "local", json.dumps({"uri": card.source})),
                [InputTag("mlflow.data.context", card.context)],
            )
            for card in datasets
        ]
        if inputs:
            self._client.log_inputs(run_id, datasets=inputs)

    def send_files(self, run_id: str, attempt: AttemptPaths) -> None:
        """The artifacts that a trial's last attempt left; what it never wrote is left out."""
        files = [
            (attempt.config, None),
            (attempt.log, None),
            (attempt.best_weights, "weights"),
            (attempt.matches, None),
            (attempt.submission, None),
        ]
        for folder, name in ((attempt.drawings, "predictions"), (attempt.attention, "attention")):
            files += [(picture, name) for picture in sorted(folder.glob("*.png"))]
        for path, place in files:
            if path.is_file():
                self._client.log_artifact(run_id, str(path), place)

    def send_text(self, run_id: str, text: str, name: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_text(text, encoding="utf-8")
            self._client.log_artifact(run_id, str(path))
