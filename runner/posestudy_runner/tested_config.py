"""The config of a trial with the test split its study has now, which may be newer than the trial."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posestudy.durable import write_text
from posestudy.errors import PoseStudyError
from posestudy.home import Home, safe_part
from posestudy.ledger.records import Snapshot, TrialRecord


def with_test_split(home: Home, config: Path, snapshot: Snapshot, trial: TrialRecord) -> Path:
    """`config` where it loads the study's test split, else one written anew from the study and the trial's cell.

    The test split is no part of what makes trials alike: it may be declared after a trial was trained, and the trial
    may have been trained for another study.

    Raises:
        PoseStudyError: the study as the ledger has it makes no config.
    """
    from mmengine.config import Config

    from posestudy_studies.mmpose_config import config_text
    from posestudy_studies.spec import Study, Training

    document = snapshot.study.document
    if _loads(Config.fromfile(config, import_custom_modules=False), document["dataset"]["test"]):
        return config
    (cell,) = (cell for cell in snapshot.cells if cell.id == trial.cell_id)
    try:
        study, training = Study.model_validate(dict(document)), Training.model_validate(dict(cell.config))
    except ValueError as error:
        raise PoseStudyError(
            f"the config of trial {trial.number} has no test split, and the study as it was launched makes no other: "
            f"{error}"
        ) from error
    made = home.cache / "tested" / safe_part(snapshot.study.name) / f"{trial.number}.py"
    write_text(made, config_text(study, training, trial.seed))
    return made


def _loads(config: Any, split: Mapping[str, Any]) -> bool:
    dataset = (config.get("test_dataloader") or {}).get("dataset") or {}
    inside = os.sep + os.path.normpath(str(split["annotations"]))
    return bool(str(dataset.get("ann_file")).endswith(inside) and dataset.get("keep_unlabelled"))
