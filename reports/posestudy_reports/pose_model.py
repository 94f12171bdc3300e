"""The trained network as an MLflow model: MLflow keeps this file itself and runs it, so no object is ever pickled.

A row is an image with optional boxes; the answer to it is its instances, `{"instances": [{"box", "score", "keypoints":
[{"name", "x", "y", "score"}]}]}`, all lengths in pixels of the image. Beside it lie `config.py` and `weights.pth`, a
state_dict that torch reads with `weights_only`. Nothing is fetched from anywhere.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel
from numpy.typing import NDArray

DEVICE = "POSESTUDY_DEVICE"
"""Environment variable: `cpu`, `cuda:0`; without it the first GPU where there is one."""

IMAGES = "POSESTUDY_IMAGES"
"""Environment variable: the folder whose images may be named by path; without it none may. Whoever can ask a server
could read every image of its machine else."""

MOST_PIXELS = 100_000_000
_LONGEST_PATH = 4096


class PoseModel(PythonModel):
    """Predicts keypoints; what it needs is read when MLflow loads it."""

    def load_context(self, context: Any) -> None:
        """Build the network of `config` with `weights`."""
        from posestudy_runner.predicting import Predictor

        artifacts = context.artifacts
        self._predictor = Predictor(Path(artifacts["config"]), Path(artifacts["weights"]), os.environ.get(DEVICE))

    # Without annotations: MLflow would take them for the schema of a row.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """The instances of each row, in order of its boxes; a box that is told to be a double has none.

        Args:
            model_input: a frame or records with the column `image`: the bytes of a JPEG or PNG as base64, height x
                width x 3 numbers 0 to 255 in the order red, green, blue, or a path inside the folder that
                `POSESTUDY_IMAGES` names. `boxes`, which may be missing: `[[x, y, width, height], ...]`; without them
                the whole image is one box. A plain list is one of images.

        Raises:
            MlflowException: an image or a box is none of these; a server answers 400 with the sentence.
        """
        del context, params
        answers = []
        for place, (image, boxes) in enumerate(_rows(model_input)):
            pixels = _pixels(image, place)
            height, width = pixels.shape[:2]
            asked = _boxes(boxes, place) or [(0.0, 0.0, float(width), float(height))]
            found = self._predictor.image(pixels, [(box, 1.0) for box in asked])
            names = self._predictor.keypoint_names
            instances = sorted(found, key=lambda row: row.instance)
            answers.append({"instances": [_instance(row, asked[row.instance], names) for row in instances]})
        return answers


def signature() -> Any:
    """What goes in and comes out, as MLflow checks and shows it."""
    from mlflow.models import ModelSignature
    from mlflow.types import DataType, Schema
    from mlflow.types.schema import AnyType, Array, ColSpec, Object, Property

    double, text = DataType.double, DataType.string
    keypoint = Object([Property("name", text), *(Property(name, double) for name in ("x", "y", "score"))])
    parts = [Property("box", Array(double)), Property("score", double), Property("keypoints", Array(keypoint))]
    # Numbers of any kind: MLflow would refuse whole ones where it was told of others.
    anything = AnyType()  # type: ignore[no-untyped-call]
    boxes = ColSpec(anything, "boxes", required=False)
    answer = ColSpec(Array(Object(parts)), "instances")
    return ModelSignature(Schema([ColSpec(anything, "image"), boxes]), Schema([answer]))


def example() -> Any:
    """A row to try the model with: a small picture as base64, and a box."""
    import pandas as pd
    from PIL import Image

    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    picture = np.stack([np.tile(ramp, (48, 1)), np.tile(ramp[::-1], (48, 1)), np.full((48, 64), 128, np.uint8)], axis=2)
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    row = {"image": base64.b64encode(stream.getvalue()).decode(), "boxes": [[8.0, 6.0, 40.0, 36.0]]}
    return pd.DataFrame([row])


def _rows(given: Any) -> list[tuple[Any, Any]]:
    """(image, boxes) pairs of whatever MLflow hands on."""
    records = given.to_dict("records") if hasattr(given, "to_dict") else given
    if isinstance(records, dict):
        records = [records]
    if isinstance(records, str | bytes) or not isinstance(records, Sequence | np.ndarray):
        raise _refused(f"found {type(records).__name__}; expected a frame or a list of images")
    rows = []
    for place, record in enumerate(records):
        if isinstance(record, dict) and "image" not in record:
            raise _refused(f"row {place} has no image; found {', '.join(map(str, record)) or 'nothing'}")
        rows.append((record["image"], record.get("boxes")) if isinstance(record, dict) else (record, None))
    return rows


def _pixels(image: Any, place: int) -> NDArray[np.uint8]:
    """Height x width x 3, blue first."""
    file = _file(image) if isinstance(image, str) else None
    if file is not None:
        try:
            return _decoded(file.read_bytes(), place)
        except OSError as error:
            raise _refused(f"row {place}: {file} cannot be read ({error.strerror})") from error
    if isinstance(image, str | bytes):
        return _decoded(_bytes(image, place), place)
    try:
        numbers = np.asarray(image)
        whole = numbers.astype(np.uint8)
    except (ValueError, TypeError):
        raise _refused(f"row {place}: the numbers make no rectangle; expected height x width x 3") from None
    if whole.ndim != 3 or whole.shape[2] != 3 or not whole.size or whole.size > 3 * MOST_PIXELS:
        raise _refused(f"row {place}: found an array of shape {numbers.shape}; expected height x width x 3")
    if not np.array_equal(whole, numbers):
        raise _refused(f"row {place}: found numbers that are not whole or not within 0 to 255")
    return np.ascontiguousarray(whole[:, :, ::-1])


def _file(text: str) -> Path | None:
    """The file that `text` names inside the folder of images, links followed; None for any other text."""
    folder = os.environ.get(IMAGES)
    if not folder or len(text) > _LONGEST_PATH:
        return None
    try:
        root = Path(folder).resolve()
        path = (root / text).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None
    except (OSError, ValueError):
        return None


def _bytes(image: str | bytes, place: int) -> bytes:
    if isinstance(image, bytes):
        return image
    head, comma, rest = image.partition(",")
    text = rest if comma and head.startswith("data:") else image
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        shown = image if len(image) <= 80 else image[:80] + "\u2026"
        raise _refused(
            f"row {place}: {shown!r} is no base64 and names no image inside the folder of {IMAGES}; expected base64, "
            "numbers or such a path, nothing is fetched from a network"
        ) from None


def _decoded(data: bytes, place: int) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "BMP", "WEBP")) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise _refused(f"row {place}: the image has more than {MOST_PIXELS} pixels")
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise _refused(f"row {place}: the bytes are no whole JPEG or PNG") from error
    import cv2

    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise _refused(f"row {place}: the bytes are no whole JPEG or PNG")
    return np.asarray(image, dtype=np.uint8)


def _boxes(given: Any, place: int) -> list[tuple[float, float, float, float]]:
    """None, a missing value of a frame and an empty list are no boxes."""
    if given is None or (isinstance(given, float) and np.isnan(given)):
        return []
    try:
        numbers = np.asarray([list(box) for box in given], dtype=np.float64)
    except (ValueError, TypeError):
        raise _refused(f"row {place}: found boxes {given!r}; expected [[x, y, width, height], ...]") from None
    if not numbers.size:
        return []
    if numbers.ndim != 2 or numbers.shape[1] != 4 or not np.isfinite(numbers).all() or (numbers[:, 2:] <= 0).any():
        raise _refused(f"row {place}: found boxes {given!r}; expected [[x, y, width, height], ...], all sizes positive")
    return [(x, y, width, height) for x, y, width, height in numbers.tolist()]


def _instance(row: Any, box: tuple[float, float, float, float], names: Sequence[str]) -> dict[str, Any]:
    points = np.asarray(row.keypoints, dtype=np.float64).reshape(-1, 3).tolist()
    keypoints = [
        {"name": name, "x": x, "y": y, "score": score} for name, (x, y, score) in zip(names, points, strict=True)
    ]
    return {"box": list(box), "score": float(row.score), "keypoints": keypoints}


def _refused(sentence: str) -> MlflowException:
    refused: MlflowException = MlflowException.invalid_parameter_value(sentence)
    return refused


mlflow.models.set_model(PoseModel())
