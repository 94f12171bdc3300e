"""A split of the data set as a file of results, and the line in the ledger where it is the test split."""

from __future__ import annotations

from pathlib import Path

from posestudy.durable import write_bytes
from posestudy.errors import PoseStudyError
from posestudy.vocabulary import Purpose
from posestudy_runner.predicting import Predictor
from posestudy_runner.result_forms import Form, document, encoded
from posestudy_runner.split_use import write_down
from posestudy_runner.trained import Trained


def predict_split(
    split: str, trained: Trained, form: Form, out: Path, device: str | None, uid: str | None
) -> tuple[str, ...]:
    """Write the results to `out`, in a folder as `result_keypoints.json`; returns what there is to say of it.

    Args:
        uid: of the trial whose prediction of the test split is written down; None: nothing is.

    Raises:
        PoseStudyError: the split cannot be predicted, or the file not be written.
    """
    predictor = Predictor(trained.config, trained.weights, device)
    crop, found = predictor.crop, predictor.split(split)
    data = encoded(document(found.rows, form, crop))
    # First the ledger: no file of results without a line there.
    if uid is not None:
        write_down(uid, Purpose.PREDICT, found.dataset, data)
    file = out / "result_keypoints.json" if out.is_dir() or not out.suffix else out
    try:
        write_bytes(file, data)
    except OSError as error:
        raise PoseStudyError(f"the results cannot be written to {file}: {error.strerror or error}") from error
    images = len({row.image for row in found.rows})
    told = [f"{file}: {len(found.rows)} instances in {images} images of {split}, by {trained.name}"]
    if found.doubles:
        told.append(f"left out as double detections by the evaluation's nms_mode: {len(found.doubles)} instances")
    if found.dropped:
        told.append(
            f"left out by the loader, without a box of some area or without labels: {len(found.dropped)} instances"
        )
    return tuple(told)
