"""Where everything of a posestudy home lies: one property a file, so that no other module joins paths."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from posestudy import given_paths

_SAFE = re.compile(r"[^A-Za-z0-9._-]+")


def safe_part(name: str) -> str:
    """`name` as a single path part: letters, digits, `.`, `_`, `-`; never empty, hidden or a parent."""
    part = _SAFE.sub("_", name).strip(".")
    return part[:120] or "_"


@dataclass(frozen=True)
class AttemptPaths:
    """The folder of one attempt: `runs/STUDY/NUMBER/FENCE/`. Only the attempt under that fence writes there."""

    folder: Path

    @property
    def config(self) -> Path:
        """The plain MMPose config."""
        return self.folder / "config.py"

    @property
    def order(self) -> Path:
        """What the worker asked of the trial process (JSON)."""
        return self.folder / "order.json"

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    @property
    def log(self) -> Path:
        """Everything the trial process printed."""
        return self.folder / "training.log"

    def checkpoint(self, epoch: int) -> Path:
        return self.folder / f"epoch_{epoch}.pth"

    @property
    def preempted(self) -> Path:
        """The state in the middle of an epoch of an attempt that gave way."""
        return self.folder / "preempted.pth"

    @property
    def best_weights(self) -> Path:
        """The state_dict of the best evaluated epoch, nothing else in it."""
        return self.folder / "best.pth"

    @property
    def predictions(self) -> Path:
        """COCO results of the last validation, as MMPose wrote them."""
        return self.folder / "predictions.keypoints.json"

    @property
    def validating(self) -> Path:
        """The same of a validation that has not ended; torn where the process was killed."""
        return self.folder / "validating.keypoints.json"

    @property
    def best_predictions(self) -> Path:
        """The same of the best evaluated epoch."""
        return self.folder / "best.keypoints.json"

    @property
    def matches(self) -> Path:
        """Which predictions of the last validation met which ground truth, per image (`posestudy_runner.matches`)."""
        return self.folder / "matches.npz"

    @property
    def submission(self) -> Path:
        """COCO results of the test split, to be handed in."""
        return self.folder / "test.keypoints.json"

    @property
    def testing(self) -> Path:
        """The same while it is written; torn where the process was killed."""
        return self.folder / "testing.keypoints.json"

    @property
    def drawings(self) -> Path:
        """Pictures of predictions on validation images."""
        return self.folder / "predictions"

    @property
    def attention(self) -> Path:
        """Attention pictures, where the network has an attention: `NNN_dependency.png` and `NNN_affect.png`."""
        return self.folder / "attention"


@dataclass(frozen=True)
class Home:
    """A posestudy home (`--home`, `POSESTUDY_HOME`, default `./.posestudy`)."""

    root: Path

    @classmethod
    def resolve(cls, root: str | os.PathLike[str] | None = None) -> Home:
        chosen = root or os.environ.get("POSESTUDY_HOME") or ".posestudy"
        return cls(given_paths.absolute(given_paths.expanded(chosen)))

    @property
    def database(self) -> Path:
        return self.root / "posestudy.db"

    @property
    def mlflow_database(self) -> Path:
        return self.root / "mlflow.db"

    @property
    def optuna_database(self) -> Path:
        return self.root / "optuna.db"

    @property
    def artifacts(self) -> Path:
        """MLflow's artifact store."""
        return self.root / "artifacts"

    def report(self, study: str) -> Path:
        """The files of the report last written of a study, kept for MLflow."""
        return self.root / "reports" / safe_part(study)

    @property
    def projector_log(self) -> Path:
        """What the background projector says."""
        return self.root / "projector.log"

    @property
    def backlog(self) -> Path:
        """What MLflow and Optuna's tables do not have yet (JSON); only there while something waits."""
        return self.root / "projections.json"

    @property
    def measurements(self) -> Path:
        """What `plan --measure` found, by cost class and device (JSON)."""
        return self.root / "measured.json"

    @property
    def profiles(self) -> Path:
        """What `models profile` measured, by model, settings and device (JSON)."""
        return self.root / "profiles.json"

    @property
    def model_counts(self) -> Path:
        """What `models list` computed once, by network (JSON); may be deleted."""
        return self.cache / "model_counts.json"

    @property
    def ui_log(self) -> Path:
        """What the MLflow server of `posestudy ui` says."""
        return self.root / "mlflow-ui.log"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def decoded_images(self) -> Path:
        """Images as the training sees them, shared by all trials; may be deleted while none runs."""
        return self.cache / "images"

    def jobs(self, study: str) -> Path:
        """Job scripts of a batch system, what was said as each was submitted, and what the jobs printed."""
        return self.root / "jobs" / safe_part(study)

    def notifications(self, study: str) -> Path:
        """What `--notify` was run for and how it ended, a line of JSON each."""
        return self.root / "notified" / f"{safe_part(study)}.jsonl"

    def task_journal(self, study: str, number: int, fence: int) -> Path:
        """What a task without a database would tell the ledger of its trial (`posestudy.task_journal`)."""
        return self.jobs(study) / "trials" / f"{number}.{fence}.journal"

    def attempt(self, study: str, number: int, fence: int) -> AttemptPaths:
        return AttemptPaths(self.runs / safe_part(study) / str(number) / str(fence))

    def attempts(self, study: str, number: int) -> tuple[AttemptPaths, ...]:
        """The folders of a trial's attempts that are on disk, the latest fence first."""
        folder = self.runs / safe_part(study) / str(number)
        try:
            fences = [int(part.name) for part in folder.iterdir() if part.name.isdecimal()]
        except OSError:
            return ()
        return tuple(self.attempt(study, number, fence) for fence in sorted(fences, reverse=True))
