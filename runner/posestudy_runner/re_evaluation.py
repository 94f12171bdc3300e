"""Saved predictions evaluated again by the metrics that evaluated them first, to verify a report by."""

from __future__ import annotations

# The plugin first: it holds what MMPose needs to be importable here.
from posestudy_runner import plugin  # isort: skip

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import DATASETS, METRICS
from numpy.typing import NDArray

from posestudy.errors import MissingDataError, PoseStudyError
from posestudy.vocabulary import ledger_name
from posestudy_runner import distances, matches
from posestudy_studies.mmpose_config import config_text
from posestudy_studies.spec import Study, Training

__all__ = ["ReEvaluation", "plugin"]

Arrays = dict[str, NDArray[Any]]
_MEANS = ("nme", "epe", "pck", "auc")


class _Evaluated:
    """The validation data of a configuration and MMPose's metrics for it."""

    def __init__(self, config: Config) -> None:
        init_default_scope("mmpose")
        self.dataset = DATASETS.build(config.val_dataloader.dataset)
        given = config.val_evaluator
        self.metrics: dict[str, Any] = {}
        for one in given if isinstance(given, list) else [given]:
            metric = METRICS.build(one)
            metric.dataset_meta = self.dataset.metainfo
            self.metrics[type(metric).__name__] = metric


class ReEvaluation:
    """Evaluates files of predictions on the validation split of one study; every data set is read once."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._built: dict[str, _Evaluated] = {}
        self._by_training: dict[str, _Evaluated] = {}

    def evidence(self, training: Training, predictions: Path) -> Arrays:
        """The arrays of `matches.save_matches` or `distances.save_distances` but `epoch`; none where neither applies.

        Raises:
            OSError: the file cannot be read.
            MissingDataError: the data set is gone.
            PoseStudyError: the file holds no predictions of this data set.
        """
        held = self._held(training)
        with _said_of(predictions), contextlib.redirect_stdout(io.StringIO()):
            metric = held.metrics.get("CocoMetric")
            if metric is not None and metric.iou_type == "keypoints":
                return matches.evaluated(metric, predictions)
            return distances.measured(held.metrics, held.dataset, predictions)

    def metrics(self, training: Training, predictions: Path) -> dict[str, float]:
        """Every metric of the validation, by ledger name; COCO's -1 (no ground truth of that size) left out.

        Raises as `evidence`.
        """
        held = self._held(training)
        with _said_of(predictions), contextlib.redirect_stdout(io.StringIO()):
            metric = held.metrics.get("CocoMetric")
            if metric is not None:
                rows = metric._do_python_keypoint_eval(str(predictions).removesuffix(".keypoints.json"))
                found = {ledger_name(f"{metric.prefix}/{name}"): float(value) for name, value in rows}
                return {name: value for name, value in found.items() if value >= 0}
            arrays = distances.measured(held.metrics, held.dataset, predictions)
        return {name: _mean(arrays, name) for name in _MEANS if f"{name}_sum" in arrays}

    def _held(self, training: Training) -> _Evaluated:
        # Each trial asks several times, and a config is written and parsed for the answer.
        known = training.model_dump_json()
        if known not in self._by_training:
            self._by_training[known] = self._alike(training)
        return self._by_training[known]

    def _alike(self, training: Training) -> _Evaluated:
        """What every configuration that is validated alike shares."""
        config = Config.fromstring(config_text(self._study, training, 0), ".py")
        key = json.dumps([config.val_dataloader.dataset.to_dict(), config.val_evaluator], default=str, sort_keys=True)
        if key not in self._built:
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    self._built[key] = _Evaluated(config)
            except (OSError, KeyError, ValueError, TypeError, AssertionError) as error:
                root = self._study.dataset.root
                raise MissingDataError(f"the validation data in {root} cannot be read: {error}") from error
        return self._built[key]


@contextlib.contextmanager
def _said_of(predictions: Path) -> Any:
    """Whatever a file of other or damaged predictions makes the evaluators raise, as one error that names it."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise PoseStudyError(f"{predictions} holds no predictions of this data set: {error}") from error


def _mean(arrays: Arrays, name: str) -> float:
    """The mean over groups of sum / count, without groups of which nothing is labelled."""
    sums, counts = arrays[f"{name}_sum"].sum(axis=0), arrays[f"{name}_count"].sum(axis=0)
    labelled = counts > 0
    return float(np.mean(sums[labelled] / counts[labelled])) if labelled.any() else float("nan")
