"""Which MLflow runs of an experiment belong to which trial and stage, and to the study, found by their tags."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from posestudy.projections.run_card import KIND_TAG, STAGE_TAG, STUDY_TAG, TRIAL_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SUPERSEDED_TAG = "posestudy.superseded"
"""Marks a run whose history the ledger has replaced (a retried trial); such runs are deleted and never used again."""
WITHDRAWN_TAG = "posestudy.withdrawn"
"""Marks the run of a stage or trial that an edited study file does not ask for any more."""

_PAGE = 1000


@dataclass
class KnownRun:
    """What is known of a run without asking MLflow again."""

    run_id: str
    name: str
    status: str
    ended: int | None
    active: bool
    tags: dict[str, str]

    @classmethod
    def of(cls, run: Run) -> KnownRun:
        info: Any = run.info
        return cls(
            info.run_id,
            info.run_name or "",
            str(info.status),
            info.end_time,
            info.lifecycle_stage == "active",
            dict(run.data.tags),
        )


@dataclass
class RunIndex:
    """The runs of one experiment by trial uid, by stage name, and that of the study."""

    experiment_id: str
    trials: dict[str, KnownRun] = field(default_factory=dict)
    stages: dict[str, KnownRun] = field(default_factory=dict)
    studies: dict[str, KnownRun] = field(default_factory=dict)
    """The run of the study itself, by the study's name."""
    strays: list[KnownRun] = field(default_factory=list)
    """Active runs that ought not to be: a second one of the same thing, and what was superseded but not yet deleted.

    A run whose creation got no answer is created again, and a process may die between two requests.
    """

    @classmethod
    def read(cls, client: MlflowClient, experiment_id: str, preferred: Collection[str] = ()) -> RunIndex:
        """`preferred`: run ids that the ledger has written down, which win over others of the same trial."""
        index = cls(experiment_id)
        found = [KnownRun.of(run) for run in _all_runs(client, experiment_id)]
        # The sort is stable: of equals the earliest stays first.
        for run in sorted(found, key=lambda run: (not run.active, run.run_id not in preferred)):
            index.add(run)
        return index

    def add(self, run: KnownRun) -> None:
        """File `run` under its tags; the first of several is the one to go on with."""
        if SUPERSEDED_TAG in run.tags:
            if run.active:
                self.strays.append(run)
            return
        if TRIAL_TAG in run.tags:
            place, key = self.trials, run.tags[TRIAL_TAG]
        elif run.tags.get(KIND_TAG) == "stage":
            place, key = self.stages, run.tags.get(STAGE_TAG, "")
        elif run.tags.get(KIND_TAG) == "study":
            place, key = self.studies, run.tags.get(STUDY_TAG, "")
        else:
            return
        if key not in place:
            place[key] = run
        elif run.active:
            self.strays.append(run)


def _all_runs(client: MlflowClient, experiment_id: str) -> Iterable[Run]:
    from mlflow.entities import ViewType

    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment_id],
            run_view_type=ViewType.ALL,
            max_results=_PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return
