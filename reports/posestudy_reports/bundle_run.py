"""The proof of an archive: unpacked elsewhere, without posestudy, it predicts what its result file says."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

from posestudy.errors import PoseStudyError
from posestudy_reports.bundle_archive import unzip
from posestudy_reports.bundle_check import MODEL, RESULTS
from posestudy_reports.bundle_code import FOLDER, PlainConfig

IMAGES: Final = 3
TOLERANCE_PX: Final = 1e-3
LIMIT_S: Final = 900.0
_LINES: Final = 12


@dataclass(frozen=True)
class Proof:
    """How near the prediction from the archive came: `far` is the largest difference of a coordinate, px."""

    images: tuple[int, ...]
    instances: int
    far: float


def chosen(images: Sequence[int]) -> tuple[int, ...]:
    """The first, the middle and the last of the images by id; all where there are fewer than three."""
    ordered = sorted(set(images))
    places = {0, len(ordered) // 2, len(ordered) - 1} if ordered else set()
    return tuple(ordered[place] for place in sorted(places))


def prove(archive: bytes, name: str, plain: PlainConfig, config: str, device: str = "cpu") -> Proof:
    """Unpack `archive` into a temporary folder, predict three images of the test split there, and compare.

    Args:
        name: folder within the archive. config: file name in its configs. device: that the results were made on.

    Raises:
        PoseStudyError: it does not run without posestudy, or it predicts something else.
    """
    with tempfile.TemporaryDirectory(prefix="posestudy-bundle-") as place:
        unzip(archive, Path(place))
        root = Path(place) / name
        results = json.loads((root / RESULTS).read_bytes())
        images = chosen([row["image_id"] for row in results])
        folder = root / FOLDER
        _put_data(folder, plain, images)
        _run(folder, f"configs/{config}", os.path.relpath(root / MODEL, folder), device)
        found = json.loads((folder / f"{plain.values['test_evaluator']['outfile_prefix']}.keypoints.json").read_bytes())
    expected = [row for row in results if row["image_id"] in images]
    far = difference(expected, sorted(found, key=lambda row: row["image_id"]))
    if not far <= TOLERANCE_PX:
        raise PoseStudyError(
            f"predicted again from the archive, keypoints of images {', '.join(map(str, images))} differ by up to "
            f"{far:.3g} px from {RESULTS}; expected at most {TOLERANCE_PX:g} px"
        )
    return Proof(images, len(expected), far)


def difference(expected: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> float:
    """The largest difference of a coordinate, px; instances are compared in their order.

    Raises:
        PoseStudyError: other images, or another number of instances or keypoints.
    """
    told = [[(row["image_id"], len(row["keypoints"])) for row in rows] for rows in (expected, found)]
    if told[0] != told[1]:
        raise PoseStudyError(
            f"predicted again from the archive there are {len(found)} instances in images "
            f"{sorted({row['image_id'] for row in found})}, expected {len(expected)} in "
            f"{sorted({row['image_id'] for row in expected})}, in the same order"
        )
    far = 0.0
    for left, right in zip(expected, found, strict=True):
        for axis in (0, 1):
            pairs = zip(left["keypoints"][axis::3], right["keypoints"][axis::3], strict=True)
            # Written so that a NaN counts.
            far = max([far, *(abs(a - b) if abs(a - b) <= float("inf") else float("inf") for a, b in pairs)])
    return far


def _put_data(folder: Path, plain: PlainConfig, images: Sequence[int]) -> None:
    """Only these images of the test split, where the config looks for them."""
    described = plain.values["test_dataloader"]["dataset"]
    annotations = json.loads(_original(plain, described["ann_file"]).read_bytes())
    subset = copy.copy(annotations)
    subset["images"] = [one for one in annotations["images"] if one["id"] in images]
    subset["annotations"] = [one for one in annotations.get("annotations", []) if one["image_id"] in images]
    _write(folder / described["ann_file"], subset)
    if described.get("bbox_file"):
        boxes = json.loads(_original(plain, described["bbox_file"]).read_bytes())
        _write(folder / described["bbox_file"], [one for one in boxes if one["image_id"] in images])
    for image in subset["images"]:
        there = folder / described["data_prefix"]["img"] / image["file_name"]
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_original(plain, described["data_prefix"]["img"]) / image["file_name"], there)


def _original(plain: PlainConfig, path: str) -> Path:
    """Where on this machine lies what the config calls `path`."""
    for root, instead in plain.moved.items():
        if path == instead or path.startswith(instead + "/"):
            return Path(root + path.removeprefix(instead))
    return Path(path)


def _write(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")


def _run(folder: Path, config: str, weights: str, device: str) -> None:
    with as_file(files("posestudy_reports").joinpath("bundle_probe.py")) as probe:
        # MMEngine takes the first GPU it sees.
        seen = {**os.environ, **({"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {})}
        command = [sys.executable, "-I", str(probe), str(folder), config, weights]
        try:
            done = subprocess.run(command, capture_output=True, cwd=folder, timeout=LIMIT_S, env=seen, check=False)
        except subprocess.TimeoutExpired as error:
            raise PoseStudyError(f"predicting three images from the archive took more than {LIMIT_S:.0f} s") from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()[-_LINES:]
        raise PoseStudyError("the archive does not predict without posestudy:\n  " + "\n  ".join(said))
