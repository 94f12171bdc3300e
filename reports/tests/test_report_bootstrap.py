"""Average precision from saved matches: COCOeval's own numbers, also on data sets drawn again."""

from __future__ import annotations

import numpy as np
import pytest
from coco_results import STATS, Drawn, evaluated, matches, write

from posestudy_reports import bootstrap
from posestudy_reports.bootstrap import Resamples, UnreadableMatchesError


@pytest.fixture(scope="module")
def drawn():
    data = Drawn.make(40, seed=3)
    results = data.predicted(4.0, seed=1)
    return data, results, evaluated(data, results), matches(data, results)


def test_every_metric_is_the_one_of_cocoeval(drawn):
    _, _, evaluation, found = drawn
    assert found.dt_ignored.any(), "the data set must hold ignored animals"
    assert 0.1 < evaluation.stats[0] < 0.9
    assert len(set(found.dt_score)) < len(found.dt_score), "the data set must hold tied scores"
    for metric in bootstrap.METRICS:
        assert bootstrap.value(found, metric) == pytest.approx(evaluation.stats[STATS[metric]], abs=1e-14)


@pytest.mark.parametrize("seed", range(4))
def test_a_resample_is_the_data_set_with_its_images_repeated(drawn, seed):
    data, results, _, found = drawn
    times = np.random.default_rng(seed).multinomial(40, np.full(40, 1 / 40))
    expected = evaluated(*data.repeated(results, times)).stats
    precision = bootstrap.precision(found, times[None].astype(np.uint8))[0]
    recall = bootstrap.recall(found, times[None].astype(np.uint8))[0]
    assert precision.mean() == pytest.approx(expected[0], abs=1e-14)
    assert precision[[0, 5]] == pytest.approx(expected[1:3], abs=1e-14)
    assert recall.mean() == pytest.approx(expected[5], abs=1e-14)


def test_predictions_that_all_miss_give_zero_and_no_ground_truth_gives_nothing(drawn):
    data, results, _, _ = drawn
    far = [result | {"keypoints": [number + 9000.0 for number in result["keypoints"]]} for result in results]
    missed = matches(data, far)
    assert bootstrap.value(missed, "coco/AP") == 0.0
    assert bootstrap.value(missed, "coco/AR") == 0.0
    none = np.zeros((1, 40), np.uint8)
    none[0, np.flatnonzero(missed.gt_count == 0)] = 1
    assert np.isnan(bootstrap.precision(missed, none)).all()


def test_resamples_are_the_same_every_time_and_draw_as_many_images_as_there_are(drawn):
    _, _, evaluation, found = drawn
    first, again = Resamples(40, 500), Resamples(40, 500)
    assert np.array_equal(first.weights, again.weights)
    assert (first.weights.sum(axis=1) == 40).all()
    assert len(np.unique(first.weights, axis=0)) == 500
    values = first.values(found, "coco/AP")
    assert np.array_equal(values, again.values(found, "coco/AP"))
    assert values.mean() == pytest.approx(evaluation.stats[0], abs=3 * values.std())
    assert values.std() > 0.01


def test_accumulating_in_parts_changes_nothing(drawn, monkeypatch):
    found = drawn[3]
    whole = Resamples(40, 50).values(found, "coco/AP")
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 7 * len(found.dt_score))
    assert np.array_equal(Resamples(40, 50).values(found, "coco/AP"), whole)


def test_a_saved_file_is_read_as_it_was(drawn, tmp_path):
    found = drawn[3]
    write(found, tmp_path / "matches.npz")
    again = bootstrap.read(tmp_path / "matches.npz")
    assert again.same_images(found)
    assert bootstrap.value(again, "coco/AP") == bootstrap.value(found, "coco/AP")


@pytest.mark.parametrize("damage", ["text", "cut", "pickle", "shape", "image"])
def test_what_is_no_file_of_matches_is_refused(drawn, tmp_path, damage):
    found, path = drawn[3], tmp_path / "matches.npz"
    fields = dict(vars(found))
    if damage == "text":
        path.write_text("not a file of arrays")
    elif damage == "pickle":
        np.savez(path, **fields | {"image_ids": np.array([{"a": 1}], dtype=object)})
    elif damage == "shape":
        np.savez(path, **fields | {"dt_score": found.dt_score[:-1]})
    elif damage == "image":
        np.savez(path, **fields | {"dt_image": found.dt_image + 1000})
    else:
        write(found, path)
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UnreadableMatchesError, match="holds no matches"):
        bootstrap.read(path)
