"""Matches as the runner saves them from MMPose's own metric give that metric's own numbers."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from coco_results import SIGMAS, Drawn, truth

from posestudy.vocabulary import METRICS
from posestudy_reports import bootstrap
from posestudy_runner.matches import save_matches


@pytest.mark.slow
def test_the_numbers_of_mmposes_cocometric_are_rebuilt(tmp_path):
    import posestudy_runner.plugin  # noqa: F401, I001 - first: it makes MMPose importable
    from mmpose.evaluation.metrics import CocoMetric

    data = Drawn.make(30, seed=2)
    (tmp_path / "val.json").write_text(json.dumps(truth(data).dataset))
    metric = CocoMetric(ann_file=str(tmp_path / "val.json"))
    metric.dataset_meta = {"sigmas": SIGMAS, "num_keypoints": len(SIGMAS)}
    predictions = tmp_path / "predictions.keypoints.json"
    predictions.write_text(json.dumps(data.predicted(4.0, seed=3)))
    stated = dict(metric._do_python_keypoint_eval(str(tmp_path / "predictions")))
    runner = SimpleNamespace(val_evaluator=SimpleNamespace(metrics=[metric]))
    assert save_matches(runner, predictions, tmp_path / "matches.npz", 20)
    found = bootstrap.read(tmp_path / "matches.npz")
    assert 0.1 < stated["AP"] < 0.9
    for name in bootstrap.METRICS:
        own = METRICS[name].mmpose.removeprefix("coco/")
        assert bootstrap.value(found, name) == pytest.approx(stated[own], abs=1e-14)
