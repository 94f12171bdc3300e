"""How far predictions of a validation lay from the ground truth, image by image, for intervals over images."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestudy.durable import write_bytes
from posestudy_runner.matches import digest

Floats = NDArray[np.float64]


def save_distances(runner: Any, predictions: Path, final: Path, epoch: int) -> bool:
    """Keep what NME, PCK, AUC and EPE are made of; false where the runner measures none of them.

    Each is a mean over groups (the keypoints for PCK and AUC, else one) of sum / count. The file is a compressed `.npz`
    without pickles: `image_ids` int64 [I] (images with an instance, ascending), `epoch` int64, and for each metric
    under its ledger name `nme_sum` and `nme_count`, float64 [I, groups]. `predictions_sha256` uint8 [32] is of the
    file they were made from.

    Args:
        runner: an MMEngine runner whose validation evaluator holds MMPose's metrics.
        predictions: as `posestudy_runner.plugin.metrics.PredictionFile` writes them.
        final: where the file goes.
        epoch: finished epochs at that validation.
    """
    metrics = {type(metric).__name__: metric for metric in runner.val_evaluator.metrics}
    if not predictions.is_file() or not metrics.keys() & {"LabelledNME", "NME", "PCKAccuracy", "AUC", "EPE"}:
        return False
    arrays = measured(metrics, runner.val_dataloader.dataset, predictions)
    if not arrays:
        return False
    stream = io.BytesIO()
    np.savez_compressed(stream, epoch=np.int64(epoch), **arrays)  # type: ignore[arg-type]
    write_bytes(final, stream.getvalue())
    return True


def measured(metrics: Mapping[str, Any], dataset: Any, predictions: Path) -> dict[str, NDArray[Any]]:
    """The arrays of `save_distances` but `epoch`, from MMPose's metrics by class name and data set; none where nothing
    of it was predicted."""
    written = predictions.read_bytes()
    predicted = {row["id"]: row["keypoints"] for row in json.loads(written)}
    infos = [info for info in map(dataset.get_data_info, range(len(dataset))) if info["id"] in predicted]
    if not infos:
        return {}
    points = np.array([np.reshape(predicted[info["id"]], (-1, 3))[:, :2] for info in infos], dtype=np.float64)
    image_ids, places = np.unique([int(info["img_id"]) for info in infos], return_inverse=True)
    arrays: dict[str, NDArray[Any]] = {
        "image_ids": image_ids.astype(np.int64),
        "predictions_sha256": digest(written),
    }
    for name, sums, counts in _parts(infos, points, metrics):
        for key, rows in ((f"{name}_sum", sums), (f"{name}_count", counts)):
            arrays[key] = np.zeros((len(image_ids), rows.shape[1]))
            np.add.at(arrays[key], places.ravel(), rows)
    return arrays


def _parts(
    infos: list[dict[str, Any]], points: Floats, metrics: Mapping[str, Any]
) -> Iterator[tuple[str, Floats, Floats]]:
    """Name, sums and counts of each metric by instance, [N, groups], as MMPose defines it."""
    truth = np.array([info["keypoints"][0] for info in infos], dtype=np.float64)
    labelled = np.array([np.reshape(info["keypoints_visible"], (1, len(truth[0]), -1))[0, :, 0] > 0 for info in infos])
    distances = np.linalg.norm(points - truth, axis=-1)
    if "EPE" in metrics:
        yield "epe", *_mean(distances, labelled)
    if (nme := metrics.get("LabelledNME") or metrics.get("NME")) is not None and nme.keypoint_indices is not None:
        left, right = nme.keypoint_indices
        unit = np.linalg.norm(truth[:, left] - truth[:, right], axis=-1)
        counted = labelled & (labelled[:, [left, right]].all(axis=1) & (unit > 0))[:, None]
        yield "nme", *_mean(distances / np.where(unit > 0, unit, 1.0)[:, None], counted)
    if (pck := metrics.get("PCKAccuracy")) is not None:
        box = np.array([np.max(info["bbox"][0][2:] - info["bbox"][0][:2]) for info in infos])
        yield "pck", *_share(distances / box[:, None] < pck.thr, labelled)
    if (auc := metrics.get("AUC")) is not None:
        thresholds = np.arange(auc.num_thrs) / auc.num_thrs
        yield "auc", *_share((distances[..., None] / auc.norm_factor < thresholds).mean(axis=-1), labelled)


def _mean(values: Floats, labelled: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    return np.where(labelled, values, 0.0).sum(axis=1, keepdims=True), labelled.sum(axis=1, keepdims=True).astype(float)


def _share(values: NDArray[Any], labelled: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    return np.where(labelled, values, 0.0).astype(float), labelled.astype(float)
