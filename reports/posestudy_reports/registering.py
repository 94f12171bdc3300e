"""A trial's network as a registered MLflow model: this posestudy's code, the trial's config and its weights."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from posestudy.durable import sha256_file
from posestudy.settings import Settings

if TYPE_CHECKING:
    from posestudy.ledger.records import Snapshot, TrialRecord
    from posestudy.projections.mlflow_models import Registered
    from posestudy_runner.trained import Trained

# What the model imports, at the versions of this machine; `mlflow models serve --env-manager local` only compares them.
_REQUIRED = (
    "posestudy", "torch", "torchvision", "mmengine", "mmpose", "mmcv-lite", "numpy", "opencv-python-headless", "mlflow",
)  # fmt: skip


def register(study: str, asked: str, settings: Settings) -> tuple[TrialRecord, Registered]:
    """Register the network of a trial (its number, or `best`) under the study's name, with the alias `best`.

    The same config and weights keep their version.

    Raises:
        NotFoundError: no such study or trial, or its files are not on this machine.
        PoseStudyError: the weights do not fit the config, or MLflow cannot be used.
    """
    from posestudy.ledger import Ledger
    from posestudy.projections.mlflow_models import ModelRegistry
    from posestudy_runner.trained import choose, files_of

    ledger = Ledger.open(settings.database_url, create=False)
    try:
        snapshot = ledger.snapshot(study, values=False)
        trial = choose(snapshot, asked)
        trained = files_of(settings.home, snapshot, trial, "best")
        sums = {path.name: sha256_file(path) for path in (trained.config, trained.weights)}
        digest = hashlib.sha256("\n".join(sums.values()).encode()).hexdigest()
        registry = ModelRegistry(settings, ledger)
        found = registry.known(study, digest)
        if found is not None:
            return trial, found
        _check(trained)
        with tempfile.TemporaryDirectory() as temporary:
            folder = save(trained, Path(temporary))
            tags = {"posestudy.number": str(trial.number), "posestudy.weights_sha256": sums[trained.weights.name]}
            return trial, registry.put(study, trial.uid, folder, digest, tags, _about(snapshot, trial, trained))
    finally:
        ledger.close()


def save(trained: Trained, place: Path) -> Path:
    """Write MLflow's model folder into `place`; its path. Nothing in it is pickled but the tensors' own file."""
    from posestudy.projections.quiet_mlflow import prepare

    prepare()
    from mlflow import pyfunc

    parts = {"config": place / "config.py", "weights": place / "weights.pth"}
    shutil.copyfile(trained.config, parts["config"])
    shutil.copyfile(trained.weights, parts["weights"])
    folder = place / "model"
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    # Recorded and not filtered: the imports in here set filters of their own.
    with warnings.catch_warnings(record=True):
        from posestudy_reports import pose_model

        pyfunc.save_model(
            folder,
            python_model=pose_model.__file__,
            artifacts={name: str(path) for name, path in parts.items()},
            signature=pose_model.signature(),
            input_example=pose_model.example(),
            pip_requirements=[f"{name}=={found}" for name in _REQUIRED if (found := _installed(name))],
        )
    _forget_places(folder)
    return folder


def _forget_places(folder: Path) -> None:
    """MLflow notes where its parts were copied from and never looks there: no paths of this machine in a model."""
    from mlflow.models import Model

    described = Model.load(folder)
    flavour = described.flavors["python_function"]
    flavour["model_code_path"] = Path(flavour["model_code_path"]).name
    for part in flavour["artifacts"].values():
        part["uri"] = part["path"]
    described.save(folder / "MLmodel")


def _check(trained: Trained) -> None:
    """Load the network once, before MLflow has it: strictly, and with nothing but tensors read from the file."""
    from posestudy_runner.predicting import Predictor

    Predictor(trained.config, trained.weights, "cpu")


def _installed(name: str) -> str:
    try:
        # A local label, as of a build for one kind of machine, is no version another machine could install.
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return ""


def _about(snapshot: Snapshot, trial: TrialRecord, trained: Trained) -> str:
    cell = next(c for c in snapshot.cells if c.id == trial.cell_id)
    after = f", weights after epoch {trained.epoch}" if trained.epoch is not None else ""
    return f"Trial {trial.number} of the study {snapshot.study.name}: {cell.name}, seed {trial.seed}{after}."
