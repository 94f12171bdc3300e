"""What is kept of a validation gives back what MMPose's own metrics say of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import posestudy_runner.plugin  # noqa: F401  (before mmpose, which does not import without it)

from mmpose.evaluation.metrics import AUC, EPE, NME, PCKAccuracy  # isort: skip

from posestudy_runner.distances import save_distances
from posestudy_runner.hooks import EpochReporter, ledger_metrics
from posestudy_runner.plugin.metrics import LabelledNME, PredictionFile
from posestudy_studies.scoring import NME_KEYPOINTS

KEYPOINTS, INSTANCES = 6, 40
META = {"dataset_name": "any", "keypoint_id2name": {i: str(i) for i in range(KEYPOINTS)}}
PAIR = {"norm_mode": "keypoint_distance", "keypoint_indices": (0, 1)}


class Data:
    """A validation split of two instances an image, as MMPose's data sets give it, and predictions of it."""

    def __init__(self, *, labelled: float) -> None:
        random = np.random.default_rng(5)
        self.infos = []
        for number in range(INSTANCES):
            visible = (random.random((1, KEYPOINTS)) < labelled).astype(np.float32)
            points = random.uniform(10, 90, (1, KEYPOINTS, 2)).astype(np.float32) * visible[..., None]
            self.infos.append(
                {
                    "id": number, "img_id": 100 - number // 2, "keypoints": points, "keypoints_visible": visible,
                    "bbox": np.array([[5, 5, 5 + random.uniform(20, 90), 40]], dtype=np.float32),
                }
            )  # fmt: skip
        self.samples = [self._sample(random, info) for info in self.infos]

    def _sample(self, random: np.random.Generator, info: dict[str, Any]) -> dict[str, Any]:
        predicted = info["keypoints"] + random.normal(0, 6, (1, KEYPOINTS, 2))
        return {
            "id": info["id"], "img_id": info["img_id"],
            "pred_instances": {"keypoints": predicted, "keypoint_scores": np.ones((1, KEYPOINTS), dtype=np.float32)},
            "gt_instances": {
                "keypoints": info["keypoints"], "keypoints_visible": info["keypoints_visible"], "bboxes": info["bbox"],
            },
        }  # fmt: skip

    def __len__(self) -> int:
        return len(self.infos)

    def get_data_info(self, index: int) -> dict[str, Any]:
        return self.infos[index]


def measured(metric: Any, samples: list[dict[str, Any]]) -> dict[str, float]:
    metric.dataset_meta = META
    metric.process([], samples)
    found: dict[str, float] = metric.evaluate(len(samples))
    return found


def test_where_every_keypoint_is_labelled_it_is_mmposes_nme() -> None:
    samples = Data(labelled=1.0).samples
    assert measured(LabelledNME(**PAIR), samples) == measured(NME(**PAIR), samples)


def test_an_instance_without_both_normalising_keypoints_counts_for_nothing() -> None:
    samples = Data(labelled=0.6).samples
    whole = [s for s in samples if s["gt_instances"]["keypoints_visible"][0, :2].all()]
    assert 5 < len(whole) < INSTANCES - 5
    ours = measured(LabelledNME(**PAIR), samples)
    assert ours == pytest.approx(measured(NME(**PAIR), whole))
    assert ours["NME"] != pytest.approx(measured(NME(**PAIR), samples)["NME"], rel=0.01)


@pytest.mark.parametrize("labelled", [1.0, 0.6])
def test_saved_distances_give_the_metrics_back(tmp_path: Path, labelled: float) -> None:
    data = Data(labelled=labelled)
    metrics = [LabelledNME(**PAIR), PCKAccuracy(thr=0.1), AUC(), EPE()]
    stated = {name: value for metric in metrics for name, value in measured(metric, data.samples).items()}
    predictions = tmp_path / "predictions.keypoints.json"
    assert measured(PredictionFile(file=str(predictions)), data.samples) == {}
    evaluator = SimpleNamespace(metrics=metrics)
    runner = SimpleNamespace(val_evaluator=evaluator, val_dataloader=SimpleNamespace(dataset=data))
    assert save_distances(runner, predictions, tmp_path / "matches.npz", 7)
    with np.load(tmp_path / "matches.npz") as found:
        assert int(found["epoch"]) == 7
        assert found["image_ids"].tolist() == list(range(81, 101))
        for name in ("nme", "pck", "auc", "epe"):
            sums, counts = found[f"{name}_sum"].sum(axis=0), found[f"{name}_count"].sum(axis=0)
            assert np.mean(sums / counts) == pytest.approx(stated[name.upper()], rel=1e-5), name
            assert stated[name.upper()] > 0


def test_predictions_are_coco_results_that_name_their_annotation(tmp_path: Path) -> None:
    data = Data(labelled=1.0)
    measured(PredictionFile(file=str(tmp_path / "found.json")), data.samples)
    rows = json.loads((tmp_path / "found.json").read_text())
    assert [row["id"] for row in rows] == list(range(INSTANCES))
    assert rows[3].keys() == {"image_id", "id", "category_id", "keypoints", "score"}
    assert rows[3]["keypoints"][:2] == pytest.approx(data.samples[3]["pred_instances"]["keypoints"][0, 0].tolist())


def test_nothing_is_saved_where_nothing_was_predicted(tmp_path: Path) -> None:
    runner = SimpleNamespace(val_evaluator=SimpleNamespace(metrics=[EPE()]))
    assert not save_distances(runner, tmp_path / "none.json", tmp_path / "matches.npz", 1)
    assert not (tmp_path / "matches.npz").exists()


def test_float32_metrics_reach_the_ledger() -> None:
    found = measured(EPE(), Data(labelled=1.0).samples)
    assert not isinstance(found["EPE"], float)
    assert ledger_metrics(found) == {"epe": pytest.approx(float(found["EPE"]))}
    assert ledger_metrics({"NME": np.float32("nan"), "coco/AP": -1.0, "PCK": 0.5}) == {"pck": 0.5}


def test_an_error_that_is_no_number_means_that_training_diverged() -> None:
    order: Any = SimpleNamespace(metric="nme", direction="less", device="cpu", floor=None, prunes=False)
    reporter = EpochReporter(order, SimpleNamespace(), SimpleNamespace(keep_predictions=lambda: None))
    with pytest.raises(FloatingPointError, match="nme was nan after epoch 3"):
        reporter.after_val_epoch(SimpleNamespace(epoch=3), {"NME": np.float32("nan"), "PCK": 0.0})


def test_pairs_are_mmposes() -> None:
    assert {name: list(pair) for name, pair in NME_KEYPOINTS.items()} == NME.DEFAULT_KEYPOINT_INDICES
