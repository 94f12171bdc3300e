"""Predictions with a trained network through MMPose's own test pipeline, scored as the evaluation says."""

from __future__ import annotations

# The plugin first: it holds what MMPose needs to be importable here.
from posestudy_runner import plugin  # isort: skip

import contextlib
import copy
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpose.evaluation.metrics import CocoMetric
from numpy.typing import NDArray
from xtcocotools.coco import COCO

from posestudy.errors import PoseStudyError, UnreadableImageError
from posestudy_runner import attending
from posestudy_runner.result_forms import Box, Crop, Row

__all__ = ["Predicted", "Predictor", "plugin", "read_image"]

_QUIET = "posestudy-predict"
_SCORING = ("score_mode", "keypoint_score_thr", "nms_mode", "nms_thr", "pred_converter")
"""What of an evaluator decides on scores, and on which of two detections of one instance stays."""


@dataclass(frozen=True)
class Predicted:
    """What a split gave.

    Attributes:
        rows: in the order of the annotation file's images.
        doubles: ids of instances that the evaluation's suppression took for double detections and left out.
        dropped: ids of annotations that the loader left out; empty where the boxes are detected.
        dataset: the MMPose data set that was gone through.
    """

    rows: tuple[Row, ...]
    doubles: tuple[int, ...]
    dropped: tuple[int, ...]
    dataset: Any


class _Rows(CocoMetric):
    """CocoMetric up to its file: scores and suppression as always, and what would be written is kept."""

    def __init__(self, **options: Any) -> None:
        # Without ground truth the stock metric would write one.
        super().__init__(format_only=True, outfile_prefix="unused", **options)
        self.coco = COCO()
        self.rows: list[Row] = []

    def results2json(self, keypoints: dict[int, list[dict[str, Any]]], outfile_prefix: str) -> str:
        """Keep the instances."""
        self.rows = [_row(image, instance) for image, found in keypoints.items() for instance in found]
        return ""


def _row(image: int, instance: dict[str, Any]) -> Row:
    x, y, width, height = (float(part) for part in instance["bbox"])
    points = tuple(float(part) for part in np.asarray(instance["keypoints"]).ravel())
    number, category = int(instance["id"]), int(instance["category_id"])
    return Row(int(image), number, category, points, (x, y, width, height), float(instance["score"]))


class Predictor:
    """A network on its device, in evaluation mode.

    Args:
        config: an MMPose 1.x config of a top-down model. weights: a checkpoint or state_dict of it.
        device: `cpu`, `cuda:0`; None: the first GPU where there is one.

    Raises:
        PoseStudyError: the config makes no network, the weights are not those of it, or there is no such device.
    """

    def __init__(self, config: Path, weights: Path, device: str | None = None) -> None:
        # What CocoMetric logs goes to MMEngine's newest logger: this one, which says nothing of it.
        if not MMLogger.check_instance_created(_QUIET):
            MMLogger.get_instance(_QUIET, log_level="ERROR")
        model = attending.build(config)
        attending.load(model, weights)
        try:
            self.model = model.to(device or ("cuda:0" if torch.cuda.is_available() else "cpu"))
        except (RuntimeError, AssertionError) as error:
            raise PoseStudyError(f"--device: {device} cannot be used here: {error}; expected cpu or cuda:0") from error
        self.config: Config = model.cfg
        self.meta: dict[str, Any] = model.dataset_meta

    @property
    def crop(self) -> Crop:
        """How a box becomes the input.

        Raises:
            PoseStudyError: the test pipeline cuts no boxes, as that of a bottom-up model.
        """
        steps = {str(step["type"]).rpartition(".")[2]: step for step in self._pipeline("test")}
        if "TopdownAffine" not in steps or "GetBBoxCenterScale" not in steps:
            raise PoseStudyError(
                f"the test pipeline of {self.config.filename} cuts out no boxes; expected a top-down model, with "
                "GetBBoxCenterScale and TopdownAffine"
            )
        width, height = steps["TopdownAffine"]["input_size"]
        return Crop((int(width), int(height)), float(steps["GetBBoxCenterScale"].get("padding", 1.25)))

    @property
    def links(self) -> list[tuple[int, int]]:
        """Pairs of keypoints that are joined."""
        return [(int(a), int(b)) for a, b in self.meta.get("skeleton_links", [])]

    @property
    def keypoint_names(self) -> list[str]:
        names = self.meta["keypoint_id2name"]
        return [str(names[index]) for index in range(len(names))]

    def split(self, name: str) -> Predicted:
        """Every instance of the config's `test` or `val` data.

        Raises:
            PoseStudyError: there is no such data, its annotations are not there or not usable, or what is predicted is
                not finite.
            UnreadableImageError: an image is missing or damaged; the message names it.
        """
        loader = self.config.get(f"{name}_dataloader")
        if loader is None:
            raise PoseStudyError(f"{self.config.filename} has no {name}_dataloader, so there is no {name} split")
        init_default_scope(self.config.get("default_scope", "mmpose"))
        described = copy.deepcopy(loader.to_dict())
        # Workers of a loader wrap what an unreadable image is told by.
        described |= {"num_workers": 0, "persistent_workers": False}
        try:
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                batches = Runner.build_dataloader(described)
        except PoseStudyError:
            raise
        except Exception as error:
            raise PoseStudyError(
                f"the {name} data of {self.config.filename} cannot be loaded: {error}; expected the annotation file "
                f"{loader.dataset.get('ann_file')}"
            ) from error
        dataset: Any = batches.dataset
        metric = self._metric(dataset.metainfo)
        evaluator = Evaluator([metric])
        evaluator.dataset_meta = dataset.metainfo
        with torch.no_grad():
            for batch in self._prepared(batches, name):
                evaluator.process(data_samples=self.model.test_step(batch), data_batch=batch)
        evaluator.evaluate(len(dataset))
        given = [int(dataset.get_data_info(index)["id"]) for index in range(len(dataset))]
        kept, listed = {row.instance for row in metric.rows}, _annotated(dataset)
        doubles = tuple(number for number in given if number not in kept)
        return Predicted(self._finite(metric.rows), doubles, tuple(sorted(listed - set(given))), dataset)

    def _prepared(self, batches: Any, name: str) -> Iterator[Any]:
        iterator = iter(batches)
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                return
            except PoseStudyError:
                raise
            except Exception as error:
                raise PoseStudyError(
                    f"an instance of the {name} data of {self.config.filename} cannot be prepared: {error}"
                ) from error
            yield batch

    def image(self, image: NDArray[np.uint8], boxes: Sequence[tuple[Box, float]], number: int = 0) -> tuple[Row, ...]:
        """The instances of one image in `boxes`, each with its score, 0 to 1; `number` becomes the image's id.

        Args:
            image: height x width x 3, BGR.

        Raises:
            PoseStudyError: the test pipeline cuts out no boxes, or what is predicted is not finite.
        """
        self.crop  # noqa: B018 - says where the model cannot do this
        init_default_scope(self.config.get("default_scope", "mmpose"))
        prepare, samples = Compose(self._pipeline("test")), []
        for index, ((x, y, width, height), score) in enumerate(boxes):
            instance = {
                "img": image,
                "img_path": "",
                "id": index,
                "img_id": number,
                "category_id": 1,
                "raw_ann_info": {},
                "bbox": np.array([[x, y, x + width, y + height]], dtype=np.float32),
                "bbox_score": np.array([score], dtype=np.float32),
                **self.meta,
            }
            samples.append(prepare(instance))
        metric = self._metric(self.meta)
        with torch.no_grad():
            found = self.model.test_step(pseudo_collate(samples))
        metric.process({}, [sample.to_dict() for sample in found])
        metric.compute_metrics(metric.results)
        return self._finite(metric.rows)

    def _finite(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        if not all(np.isfinite([*row.keypoints, row.score]).all() for row in rows):
            raise PoseStudyError(
                f"the network of {self.config.filename} predicts numbers that are not finite: its training diverged"
            )
        return tuple(rows)

    def _pipeline(self, name: str) -> Any:
        try:
            return self.config[f"{name}_dataloader"].dataset.pipeline
        except (AttributeError, KeyError, TypeError) as error:
            raise PoseStudyError(
                f"{self.config.filename} has no {name}_dataloader.dataset.pipeline, which says how an image is prepared"
            ) from error

    def _metric(self, meta: Any) -> _Rows:
        """What scores the instances: as the config's first CocoMetric, else as MMPose does by default."""
        given: dict[str, Any] = {}
        for evaluator in (self.config.get("test_evaluator"), self.config.get("val_evaluator")):
            listed = evaluator if isinstance(evaluator, list | tuple) else [evaluator]
            given = given or next((e for e in listed if e and str(e.get("type")).endswith("CocoMetric")), {})
        options = {key: given[key] for key in _SCORING if given.get(key) is not None}
        if meta.get("sigmas") is None or not len(meta["sigmas"]):
            # Double detections are told apart by OKS, which needs sigmas.
            options["nms_mode"] = "none"
        metric = _Rows(**options)
        metric.dataset_meta = meta
        return metric


def _annotated(dataset: Any) -> set[int]:
    """Ids of the instances in the annotation file of a data set; none where its boxes are detected."""
    if dataset.bbox_file:
        return set()
    with contextlib.redirect_stdout(io.StringIO()):
        return {int(number) for number in COCO(dataset.ann_file).getAnnIds()}


def read_image(path: Path) -> NDArray[np.uint8]:
    """The image, height x width x 3, BGR.

    Raises:
        UnreadableImageError: it is missing or damaged.
    """
    # Without this OpenCV itself says on stderr what it does not like.
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        image = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        image = None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if image is None:
        raise UnreadableImageError(f"image {path} cannot be decoded; expected a whole JPEG or PNG file")
    return np.asarray(image, dtype=np.uint8)
