"""MLflow as a projection: an experiment per study with a run of its own, a run per stage, a nested one per trial."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from posestudy.home import safe_part
from posestudy.ledger import Ledger
from posestudy.ledger.records import ProjectedRun, Snapshot, StageRecord, StudyRecord
from posestudy.projections.artifact_gate import ArtifactGate
from posestudy.projections.dataset_card import dataset_cards
from posestudy.projections.delivery import Delivery, ProjectionOutageError
from posestudy.projections.mlflow_index import WITHDRAWN_TAG, KnownRun, RunIndex
from posestudy.projections.mlflow_report import REPORT_TAG, kept_report, send_report
from posestudy.projections.mlflow_runs import UNFINISHED, RunWriter
from posestudy.projections.quiet_mlflow import open_client, trouble
from posestudy.projections.reasons import reason
from posestudy.projections.run_card import (
    BEST_TAG,
    KIND_TAG,
    NOTE_TAG,
    PARENT_TAG,
    STAGE_TAG,
    STAR,
    STUDY_TAG,
    TAG_LIMIT,
    RunCard,
    cards,
    cut,
    digest,
)
from posestudy.projections.turn import Turn, TurnLostError
from posestudy.settings import Settings, masked

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "mlflow"
_SOURCE_TAG = "posestudy.source_digest"
_LAST = "last to send to mlflow"
"""The name under which the ledger's locks keep who sent last; it is never waited for."""
_MOST_UNANSWERED = 3
"""After so many trials in a row that got no answer, the rest waits for the next pass: each may have taken minutes."""
# Without this tag MLflow 3 asks every visitor whether the experiment is about language models.
_EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}


class MlflowStore:
    """Sends studies to one MLflow store; keeps in memory only which runs exist there.

    The store is opened at the first use. A second sending of the same rows changes nothing.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._uri = settings.mlflow_uri
        self._opened: MlflowClient | None = None
        self._indexes: dict[str, RunIndex] = {}
        self._sender = uuid.uuid4().hex

    def send(self, ledger: Ledger, snapshot: Snapshot, *, rebuild: bool = False, turn: Turn | None = None) -> Delivery:
        """Bring the experiment of one study up to `snapshot`.

        `rebuild` sends everything again and brings back what a user deleted in MLflow's UI; `turn` is asked between
        runs and ends the pass where it is over. Raises ProjectionOutageError where MLflow cannot be reached at all.
        """
        delivery = Delivery()
        study = snapshot.study
        turn = turn or Turn()
        gate = self._gate()
        client = self._client()
        self._forget_what_others_changed(ledger)
        rows = ledger.projected(NAME)
        try:
            index = self._index(study, rebuild, delivery, rows)
            if index is None:
                return delivery
            delivery.sent += self._send_study(RunWriter(client), study, index, rebuild, delivery, gate)
            for stage in snapshot.stages:
                delivery.sent += self._send_stage(RunWriter(client), study, stage, index, rebuild, gate)
            delivery.sent += _put_aside(RunWriter(client), snapshot, index)
        except trouble() as error:
            self._raise_if_outage(error)
            self._indexes.pop(study.name, None)
            delivery.problems.append(f"study '{study.name}': MLflow refused it: {self._said(error)}")
            return delivery
        try:
            self._send_trials(ledger, snapshot, index, rows, rebuild, turn, gate, delivery)
        except TurnLostError:
            delivery.interrupted = True
        delivery.problems += gate.problems(study.name)
        if not delivery.complete:
            # What failed may have been changed in MLflow by others: look again before the next try.
            self._indexes.pop(study.name, None)
        return delivery

    def send_report(self, ledger: Ledger, study: StudyRecord) -> Delivery:
        """Bring only the study's own run up to date, with the report that is kept in the home.

        Raises ProjectionOutageError where MLflow cannot be reached at all.
        """
        delivery = Delivery()
        gate = self._gate()
        client = self._client()
        self._forget_what_others_changed(ledger)
        try:
            index = self._index(study, False, delivery, ledger.projected(NAME))
            if index is not None:
                delivery.sent += self._send_study(RunWriter(client), study, index, False, delivery, gate)
        except trouble() as error:
            self._raise_if_outage(error)
            self._indexes.pop(study.name, None)
            delivery.problems.append(f"study '{study.name}': MLflow refused it: {self._said(error)}")
        delivery.problems += gate.problems(study.name)
        return delivery

    def _forget_what_others_changed(self, ledger: Ledger) -> None:
        """Look at MLflow anew where somebody else sent to it since this one did: there may be runs unknown here."""
        if ledger.lock_holder(_LAST) != self._sender:
            self._indexes.clear()
            ledger.lock(_LAST, self._sender, 0.0)

    def _gate(self) -> ArtifactGate:
        return ArtifactGate(self._raise_if_outage)

    # -- experiment, study and stages

    def _index(
        self, study: StudyRecord, rebuild: bool, delivery: Delivery, rows: Mapping[str, ProjectedRun]
    ) -> RunIndex | None:
        """The known runs of the study's experiment, or None where a user deleted the experiment."""
        if study.name in self._indexes and not rebuild:
            return self._indexes[study.name]
        client = self._client()
        tags = {"posestudy.study": study.name, **_EXPERIMENT_KIND}
        if study.document.get("description"):
            tags[NOTE_TAG] = cut(str(study.document["description"]), TAG_LIMIT)
        experiment = client.get_experiment_by_name(study.name)
        if experiment is None:
            experiment_id = str(client.create_experiment(study.name, self._artifact_location(study), tags))
            delivery.sent += 1
        else:
            experiment_id = str(experiment.experiment_id)
            if experiment.lifecycle_stage != "active" and not rebuild:
                delivery.problems.append(
                    f"the MLflow experiment '{study.name}' was deleted in MLflow, so nothing is sent to it; "
                    f"`posestudy sync {study.name} --rebuild` restores it"
                )
                return None
            if experiment.lifecycle_stage != "active":
                client.restore_experiment(experiment_id)
            missing = {key: value for key, value in tags.items() if experiment.tags.get(key) != value}
            for key, value in missing.items():
                client.set_experiment_tag(experiment_id, key, value)
            delivery.sent += bool(missing)
        index = RunIndex.read(client, experiment_id, {row.run_id for row in rows.values()})
        for stray in index.strays:
            RunWriter(client).supersede(stray)
            delivery.sent += 1
        self._indexes[study.name] = index
        return index

    def _artifact_location(self, study: StudyRecord) -> str | None:
        """A server chooses its own place; a database's runs keep their artifacts in the home."""
        if self._uri.startswith(("http://", "https://")):
            return None
        return (self._settings.home.artifacts / safe_part(study.name)).as_uri()

    def _send_study(
        self,
        writer: RunWriter,
        study: StudyRecord,
        index: RunIndex,
        rebuild: bool,
        delivery: Delivery,
        gate: ArtifactGate,
    ) -> int:
        """The study's own run, which holds its report; what a user deleted stays so until `rebuild`."""
        known = index.studies.get(study.name)
        if known is not None and not known.active and not rebuild:
            delivery.notes.append(
                f"the MLflow run of the study '{study.name}' was deleted in MLflow and is left so; "
                f"`posestudy sync {study.name} --rebuild` restores it"
            )
            return 0
        tags = {KIND_TAG: "study", STUDY_TAG: study.name, "mlflow.source.name": "posestudy"}
        created = known is None
        if known is None:
            known = index.studies[study.name] = writer.create(index.experiment_id, study.name, tags)
        elif not known.active:
            writer.restore(known)
        report = kept_report(self._settings.home, study.name)
        sent, run_id = known.tags.get(REPORT_TAG), known.run_id
        if (
            report is not None
            and (rebuild or report.digest != sent)
            and gate.passes("the report", lambda: send_report(self._client(), run_id, report))
        ):
            sent = report.digest
        if sent:
            tags[REPORT_TAG] = sent
        # The ledger does not date the closing of a study, so MLflow's clock dates it, once.
        status = "FINISHED" if study.state == "closed" else "RUNNING"
        return int(writer.mend(known, study.name, status, tags) or created)

    def _send_stage(
        self,
        writer: RunWriter,
        study: StudyRecord,
        stage: StageRecord,
        index: RunIndex,
        rebuild: bool,
        gate: ArtifactGate,
    ) -> int:
        tags = {
            KIND_TAG: "stage",
            "posestudy.study": study.name,
            STAGE_TAG: stage.name,
            "posestudy.design": stage.design,
            "mlflow.source.name": "posestudy",
        }
        if stage.carried:
            tags["posestudy.carried"] = stage.carried
            tags[NOTE_TAG] = cut(f"carries {stage.carried}: {stage.carried_because}", TAG_LIMIT)
        known = index.stages.get(stage.name)
        if known is not None and not known.active and rebuild:
            writer.restore(known)
        created = known is None or not known.active
        if known is None or not known.active:
            known = index.stages[stage.name] = writer.create(index.experiment_id, stage.name, tags)
        source, sent, run_id = digest(study.source), known.tags.get(_SOURCE_TAG), known.run_id
        if (rebuild or sent != source) and gate.passes(
            "the study file", lambda: writer.send_text(run_id, study.source, f"{safe_part(study.name)}.yaml")
        ):
            sent = source
        if sent:
            tags[_SOURCE_TAG] = sent
        # The ledger does not date the closing of a stage, so MLflow's clock dates it, once.
        status = "FINISHED" if stage.state == "closed" else "RUNNING"
        return int(writer.mend(known, stage.name, status, tags) or created)

    # -- trials

    def _send_trials(
        self,
        ledger: Ledger,
        snapshot: Snapshot,
        index: RunIndex,
        rows: Mapping[str, ProjectedRun],
        rebuild: bool,
        turn: Turn,
        gate: ArtifactGate,
        delivery: Delivery,
    ) -> None:
        """All trials, where one's failure or deletion is noted and does not stop the others."""
        study, unanswered = snapshot.study, 0
        for card in cards(snapshot):
            if not turn.keep():
                raise TurnLostError
            known = index.trials.get(card.uid)
            if known is not None and not known.active and not rebuild:
                delivery.notes.append(
                    f"the MLflow run of trial #{card.number} was deleted in MLflow and is left so; "
                    f"`posestudy sync {study.name} --rebuild` restores it"
                )
                continue
            try:
                delivery.sent += self._send_trial(ledger, study, card, index, rows.get(card.uid), rebuild, turn, gate)
                unanswered = 0
            except trouble() as error:
                self._raise_if_outage(error)
                why = self._said(error)
                delivery.problems.append(f"study '{study.name}' trial #{card.number}: {why}")
                unanswered = unanswered + 1 if reason(error).passing else 0
                if unanswered == _MOST_UNANSWERED:
                    raise self._outage(error) from error

    def _send_trial(
        self,
        ledger: Ledger,
        study: StudyRecord,
        card: RunCard,
        index: RunIndex,
        row: ProjectedRun | None,
        rebuild: bool,
        turn: Turn,
        gate: ArtifactGate,
    ) -> bool:
        """Send what `row` says is missing, all of it where `rebuild`; whether anything was."""
        writer = RunWriter(self._client())
        tags = {**card.tags, PARENT_TAG: index.stages[card.stage].run_id}
        face = digest([card.face(), tags[PARENT_TAG]])
        known, sent, sent_face = self._standing(writer, card, index.trials.get(card.uid), row)
        if known is not None and not known.active:
            writer.restore(known)
        if rebuild:
            sent, sent_face = 0, ""
        new = [point for point in card.points if point.step > sent]
        mends = sent_face != face or known is None or _differs(known, card, tags)
        if not mends and not new:
            return False
        if known is None:
            started = card.started or card.ended
            known = index.trials[card.uid] = writer.create(index.experiment_id, card.name, tags, started)
        run_id, first = known.run_id, not sent_face
        writer.send_values(run_id, new, card.params if first else {})
        if first:
            writer.send_datasets(run_id, dataset_cards(study))
        if mends:
            writer.send_values(run_id, card.summary, {})
            writer.mend(known, card.name, card.status, tags, card.ended)
        history = card.history(card.last_epoch)
        if card.done and sent_face != face:
            attempt = self._settings.home.attempt(study.name, card.number, card.fence)
            if not gate.passes(f"trial #{card.number}", lambda: writer.send_files(run_id, attempt)):
                # The values need not wait for the files, nor be sent again with them.
                turn.record(ledger, ProjectedRun(NAME, card.uid, run_id, card.last_epoch, f"{history}.{sent_face}"))
                return bool(new)
        turn.record(ledger, ProjectedRun(NAME, card.uid, run_id, card.last_epoch, f"{history}.{face}"))
        return True

    def _standing(
        self, writer: RunWriter, card: RunCard, known: KnownRun | None, row: ProjectedRun | None
    ) -> tuple[KnownRun | None, int, str]:
        """The run to go on with, the last epoch it has and the digest of its face; (None, 0, "") to begin anew."""
        if known is None:
            return None, 0, ""
        if row is None or row.run_id != known.run_id:
            return known, 0, ""
        history, _, face = row.state.partition(".")
        if history != card.history(row.epoch):
            writer.supersede(known)
            return None, 0, ""
        return known, row.epoch, face

    # -- trouble

    def _client(self) -> MlflowClient:
        if self._opened is None:
            if _same_database(self._uri, self._settings.optuna_url):
                raise ProjectionOutageError(
                    f"MLflow and Optuna's tables were both given the database {masked(self._uri)}; expected one each, "
                    "for both keep their schema version in a table of the same name. Set MLFLOW_TRACKING_URI to "
                    "another database."
                )
            try:
                self._opened = open_client(self._uri)
            except trouble() as error:
                raise self._outage(error) from error
        return self._opened

    def _raise_if_outage(self, error: Exception) -> None:
        """Raise ProjectionOutageError where MLflow as a whole does not answer, not only this request."""
        try:
            self._client().search_experiments(max_results=1)
        except trouble() as probe:
            raise self._outage(probe) from error

    def _outage(self, error: Exception) -> ProjectionOutageError:
        self._indexes.clear()
        return ProjectionOutageError(
            f"MLflow at {masked(self._uri)} cannot be used: {self._said(error)}. Nothing is lost: the ledger keeps it, "
            "and `posestudy sync` sends it once MLflow is back."
        )

    def _said(self, error: Exception) -> str:
        return reason(error).said


def _differs(known: KnownRun, card: RunCard, tags: Mapping[str, str]) -> bool:
    """Whether a run shows something else than it ought to, such as what a frozen process sent when it woke up."""
    ours = {key for key in {*known.tags, *tags} if key.startswith("posestudy.") or key == PARENT_TAG}
    return (
        known.name != card.name
        or known.status != card.status
        or (card.ended is not None and known.ended != card.ended)
        or any(known.tags.get(key) != tags.get(key) for key in ours)
    )


def _same_database(left: str, right: str) -> bool:
    """Whether two URLs lead to one database, by whatever driver and user."""
    try:
        places = [make_url(url) for url in (left, right)]
    except (ArgumentError, ValueError):
        return False
    return len({(url.get_backend_name(), url.host, url.port, url.database) for url in places}) == 1


def _put_aside(writer: RunWriter, snapshot: Snapshot, index: RunIndex) -> int:
    """Mark and end the runs of what an edited study file took out; a trial that comes back goes on in its run."""
    stages, trials = {stage.name for stage in snapshot.stages}, {trial.uid for trial in snapshot.trials}
    gone = [run for name, run in index.stages.items() if name not in stages]
    gone += [run for uid, run in index.trials.items() if uid not in trials]
    marked = 0
    for run in gone:
        if run.active and WITHDRAWN_TAG not in run.tags:
            ours = {key: value for key, value in run.tags.items() if key != BEST_TAG} | {WITHDRAWN_TAG: "true"}
            status = "KILLED" if run.status in UNFINISHED else run.status
            marked += writer.mend(run, run.name.removeprefix(STAR), status, ours, run.ended)
    return marked
