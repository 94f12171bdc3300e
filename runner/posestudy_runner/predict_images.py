"""Images of a user's own: a picture of each with what was found in it, and one JSON of all."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2

from posestudy.durable import write_bytes
from posestudy.errors import PoseStudyError, UnreadableImageError
from posestudy_runner.detections import Scored
from posestudy_runner.predicted_pictures import drawn
from posestudy_runner.predicting import Predictor, read_image
from posestudy_runner.trained import Trained

Say = Callable[[str], Any]


def predict_images(
    images: Sequence[Path],
    trained: Trained,
    boxes_of: Callable[[Path], Sequence[Scored] | None],
    out: Path,
    device: str | None,
    say: Say,
    complain: Say,
) -> int:
    """Write `NAME.png` of each image and `predictions.json` into `out`; 1 where an image could not be read, else 0.

    Args:
        boxes_of: the boxes of an image; None: the whole of it is one.
        say, complain: hear of every file, and of every image that is skipped.

    Raises:
        PoseStudyError: the network predicts no keypoints in boxes, or the folder cannot be written.
    """
    predictor = Predictor(trained.config, trained.weights, device)
    stems = [path.stem for path in images]
    entries: list[dict[str, Any]] = []
    unreadable: list[dict[str, str]] = []
    try:
        for number, path in enumerate(images):
            name = path.stem if stems.count(path.stem) == 1 else path.name
            try:
                entries.append(_predict(predictor, path, boxes_of(path), number, out / f"{name}.png"))
            except UnreadableImageError as error:
                complain(f"skipped: {error}")
                unreadable.append({"file": path.name, "why": "cannot be decoded"})
            else:
                say(str(out / f"{name}.png"))
        told = {
            "by": trained.name,
            "keypoints": predictor.keypoint_names,
            "skeleton": predictor.links,
            "images": entries,
            "unreadable": unreadable,
        }
        write_bytes(out / "predictions.json", (json.dumps(told, indent=2) + "\n").encode())
    except OSError as error:
        raise PoseStudyError(f"the pictures cannot be written to {out}: {error.strerror or error}") from error
    say(str(out / "predictions.json"))
    return 1 if unreadable else 0


def _predict(
    predictor: Predictor, path: Path, boxes: Sequence[Scored] | None, number: int, picture: Path
) -> dict[str, Any]:
    """Draw one image; returns its entry in the JSON."""
    image = read_image(path)
    height, width = image.shape[:2]
    given = [((0.0, 0.0, float(width), float(height)), 1.0)] if boxes is None else boxes
    for (x, y, w, h), _ in given:
        if x >= width or y >= height or x + w <= 0 or y + h <= 0:
            shown = ",".join(f"{side:g}" for side in (x, y, w, h))
            raise PoseStudyError(f"found the box {shown}, which lies outside {path} of {width} x {height} px")
    rows = predictor.image(image, given, number) if given else ()
    write_bytes(picture, cv2.imencode(".png", drawn(image, rows, predictor.meta))[1].tobytes())
    found = [{"bbox": list(row.box), "keypoints": list(row.keypoints), "score": row.score} for row in rows]
    return {"file": path.name, "width": width, "height": height, "instances": found}
