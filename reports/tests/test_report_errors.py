"""What the model does wrong: OKS and AP as COCOeval has them, planted errors found one by one, true sentences."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import planted_errors
import pytest
from coco_results import SIGMAS as DRAWN_SIGMAS
from coco_results import Drawn, evaluated
from planted_errors import CATS, SIGMAS, Cats, K, off
from synthetic_report import NASTY, Builder

from posestudy_reports import (
    coco_annotations,
    coco_matching,
    detections,
    error_figures,
    error_sections,
    keypoint_scores,
)
from posestudy_reports.addressed import numbers_in
from posestudy_reports.error_shares import by_group, by_keypoint, size_classes
from posestudy_reports.error_types import Diagnosis, Kind, diagnose, mirrored
from posestudy_reports.oks import oks, outside, similarities
from posestudy_reports.oks_histogram import oks_histogram
from posestudy_reports.pairing import paired

PAIRS = CATS.flip_pairs


def arrays(drawn: Drawn, results: list, folder):
    (folder / "truth.json").write_text(json.dumps({"images": drawn.images, "annotations": drawn.annotations}))
    (folder / "found.json").write_text(json.dumps(results))
    return coco_annotations.read(folder / "truth.json", 17), detections.read(folder / "found.json", 17)


def diagnosed(cats: Cats, folder, *, true_boxes: bool = True) -> Diagnosis:
    truth, found = cats.arrays(folder)
    pair = paired(truth, found, SIGMAS, true_boxes=true_boxes)
    return diagnose(pair, CATS.sigmas, mirrored(K, PAIRS), true_boxes=true_boxes)


def section(report, name: str = "errors"):
    return next((s for s in error_sections.sections(report.material) if s.name == name), None)


def counts(found: Diagnosis) -> dict[str, int]:
    return {kind.word: number for kind, number in found.counts.items() if number}


# OKS and AP, held against xtcocotools


def test_oks_is_that_of_xtcocotools_with_and_without_labelled_keypoints(tmp_path):
    drawn = Drawn.make(60)
    results = drawn.predicted(9, 1)
    for annotation in drawn.annotations[::2]:
        annotation["keypoints"][2::3] = [
            0 if k % 3 == 0 and v else v for k, v in enumerate(annotation["keypoints"][2::3])
        ]
    truth, found = arrays(drawn, results, tmp_path)
    evaluation = evaluated(drawn, results)
    compared = 0
    for image in truth.image_ids:
        theirs = np.array(evaluation.ious[int(image), 1])
        # COCOeval leaves out predictions without a keypoint.
        dt = np.flatnonzero((found.image_ids == image) & found.confidences.any(axis=1))
        dt = dt[np.argsort(-found.scores[dt], kind="stable")]
        gt = np.flatnonzero(truth.image_ids[truth.image_of] == image)
        for j, n in enumerate(gt if theirs.size else ()):
            areas, count = truth.areas[[n] * len(dt)], len(dt)
            each = similarities(found.points[dt], truth.keypoints[[n] * count, :, :2], areas, DRAWN_SIGMAS)
            ours = oks(each, truth.labelled[[n] * count])
            ours = (
                outside(found.points[dt], truth.boxes[[n] * count], areas, DRAWN_SIGMAS)
                if np.isnan(ours).all()
                else ours
            )
            np.testing.assert_allclose(ours, theirs[:, j], rtol=1e-12)
            compared += count
    assert compared > 100
    assert any(not truth.labelled[n].any() for n in range(len(truth.ids)))


@pytest.mark.parametrize("seed", range(3))
def test_ap_is_that_of_cocoeval_on_crowds_doubles_and_full_images(tmp_path, seed):
    drawn = Drawn.make(50, seed)
    for annotation in drawn.annotations[::7]:
        annotation["iscrowd"] = 1
    results = drawn.predicted(6, seed) + drawn.predicted(12, seed + 9)
    images = [annotation["image_id"] for annotation in drawn.annotations]
    crowded = max(images, key=images.count)
    results += [row for row in drawn.predicted(4, 77) if row["image_id"] == crowded] * 15
    truth, found = arrays(drawn, results, tmp_path)
    assert (np.unique(found.image_ids, return_counts=True)[1] > 20).any()
    assert coco_matching.average_precision(truth, found, DRAWN_SIGMAS) == pytest.approx(
        evaluated(drawn, results).stats[0], abs=1e-12
    )


def test_the_ap_of_a_keypoint_is_cocos_where_only_it_is_labelled(tmp_path):
    drawn = Drawn.make(40, 4)
    random = np.random.default_rng(0)
    for annotation in drawn.annotations:
        annotation["keypoints"][2::3] = [v if random.uniform() < 0.7 else 0 for v in annotation["keypoints"][2::3]]
    results = drawn.predicted(5, 4)
    truth, found = arrays(drawn, results, tmp_path)
    ours = keypoint_scores.keypoint_ap(truth, found, DRAWN_SIGMAS)
    for k in (0, 11):
        alone = Drawn(drawn.images, [dict(a, keypoints=list(a["keypoints"])) for a in drawn.annotations])
        for annotation in alone.annotations:
            annotation["keypoints"][2::3] = [v if i == k else 0 for i, v in enumerate(annotation["keypoints"][2::3])]
        assert ours[k] == pytest.approx(evaluated(alone, results).stats[0], abs=1e-12)
    assert len(set(np.round(ours, 6))) > 5


def test_pck_counts_what_lies_within_a_share_of_the_larger_side(tmp_path):
    cats = Cats(2, 1)
    cats.put(0, 0, cats.point(0, 0, 9.9))
    cats.put(1, 0, cats.point(1, 0, 0, 10.1))
    cats.see(1, 1, 0)
    truth, found = cats.arrays(tmp_path)
    pair = paired(truth, found, SIGMAS, true_boxes=True)
    scores = keypoint_scores.keypoint_scores(truth, pair.points, keypoint_scores.larger_sides(truth, "bbox"))
    assert [int(scores.hits[at][0]) for at in (0.05, 0.1, 0.2)] == [0, 1, 2]
    assert scores.labelled[:3].tolist() == [2, 1, 2]
    assert scores.pck(0.1)[:2].tolist() == [0.5, 1.0]
    assert scores.error[0] == pytest.approx(0.1)


@pytest.mark.slow
def test_pck_is_that_of_mmpose(tmp_path):
    from mmpose.evaluation.functional import keypoint_pck_accuracy

    cats = Cats()
    cats.noisy(6, 0)
    for n in range(12):
        cats.see(n, n, 0)
    truth, found = cats.arrays(tmp_path)
    sides = keypoint_scores.larger_sides(truth, "bbox")
    scores = keypoint_scores.keypoint_scores(truth, found.points, sides)
    for at in keypoint_scores.PCK_AT:
        theirs, _, _ = keypoint_pck_accuracy(
            found.points, truth.keypoints[:, :, :2], truth.labelled, at, np.column_stack([sides, sides])
        )
        np.testing.assert_allclose(scores.pck(at), theirs, rtol=1e-6)


# Types of errors


def test_perfect_predictions_are_all_good_and_give_nothing_back(tmp_path):
    found = diagnosed(Cats(), tmp_path)
    assert counts(found) == {"good": 12 * K}
    assert found.ap == pytest.approx(1)
    assert set(found.gains) == {"jitter", "inversion", "swap", "miss", "all"}
    assert all(gain == pytest.approx(0) for gain in found.gains.values())


@pytest.mark.parametrize("seed", range(6))
def test_planted_errors_are_counted_one_by_one_and_putting_all_right_gives_ap_1(tmp_path, seed):
    random = np.random.default_rng(seed)
    cats, planted = Cats(), {"jitter": 0, "inversion": 0, "swap": 0, "miss": 0}
    single = [k for k in range(K) if not any(k in pair for pair in PAIRS)]
    for n in range(12):
        for pair in PAIRS:
            what = random.choice(["good", "invert", "jitter", "swap", "miss"])
            if what == "invert":
                cats.invert(n, pair)
                planted["inversion"] += 2
            elif what != "good":
                getattr(cats, what)(n, pair[0])
                planted[what] += 1
        for k in single:
            what = random.choice(["good", "jitter", "swap", "miss"])
            if what != "good":
                getattr(cats, what)(n, k)
                planted[what] += 1
    found = diagnosed(cats, tmp_path)
    assert counts(found) == {"good": 12 * K - sum(planted.values())} | {k: v for k, v in planted.items() if v}
    assert found.ap < 0.9
    assert found.ap + found.gains["all"] == pytest.approx(1)
    assert all(0 <= found.gains[kind] < found.gains["all"] for kind in planted)


@pytest.mark.parametrize(
    ("similarity", "kind"), [(0.86, Kind.GOOD), (0.84, Kind.JITTER), (0.51, Kind.JITTER), (0.49, Kind.MISS)]
)
def test_the_bounds_are_those_of_the_paper(tmp_path, similarity, kind):
    cats = Cats(1, 1)
    cats.jitter(0, 2, similarity)
    assert diagnosed(cats, tmp_path).kinds[0, 2] == kind


def test_a_keypoint_near_its_mirror_and_another_cat_is_what_it_is_nearer_to(tmp_path):
    cats = Cats(1, 2)
    one, other = PAIRS[0]
    # The second cat's keypoint `one` stands close to the first cat's keypoint `other`.
    beside = cats.point(0, other, off(one, 0.6))
    cats.annotations[1]["keypoints"][3 * one : 3 * one + 2] = beside.tolist()
    cats.put(0, one, cats.point(0, other))
    assert diagnosed(cats, tmp_path / "a").kinds[0, one] == Kind.INVERSION
    cats.put(0, one, beside)
    assert diagnosed(cats, tmp_path / "b").kinds[0, one] == Kind.SWAP


def test_a_mirrored_keypoint_that_is_not_labelled_is_no_inversion(tmp_path):
    cats = Cats(1, 1)
    one, other = PAIRS[2]
    cats.put(0, one, cats.point(0, other))
    assert diagnosed(cats, tmp_path / "a").kinds[0, one] == Kind.INVERSION
    cats.see(0, other, 0)
    found = diagnosed(cats, tmp_path / "b")
    assert found.kinds[0, one] == Kind.MISS
    assert found.kinds[0, other] == -1
    assert found.judged == K - 1


def test_an_inversion_goes_back_with_the_distance_it_has(tmp_path):
    cats = Cats(1, 1)
    one, other = PAIRS[1]
    cats.put(0, one, cats.point(0, other, off(one, 0.55)))
    cats.put(0, other, cats.point(0, one, off(other, 0.55)))
    found = diagnosed(cats, tmp_path)
    assert counts(found) == {"good": K - 2, "inversion": 2}
    # Two keypoints of 17 keep a similarity of 0.55: OKS 0.947, below the highest threshold alone.
    assert found.ap == pytest.approx(0.8)
    assert found.gains["inversion"] == pytest.approx(0.1)


def test_true_boxes_tell_whose_prediction_it_is_however_far_off(tmp_path):
    cats = Cats(2, 2)
    for k in range(K):
        cats.put(0, k, cats.point(1, k))  # every keypoint on the other cat: all swapped
        cats.put(2, k, cats.point(2, k, 0, 500))  # nowhere: all missed
    found = diagnosed(cats, tmp_path)
    assert counts(found) == {"good": 2 * K, "swap": K, "miss": K}
    assert len(found.paired.missed) == len(found.paired.background) == 0
    assert "background" not in found.gains


def test_boxes_of_a_detector_leave_background_and_missed_instances(tmp_path):
    cats = Cats(4, 1)
    for k in range(K):
        cats.put(1, k, np.array([-300.0, -300.0]))
    ghost = dict(cats.predictions[0], score=0.99, keypoints=[500.0, 500.0, 1.0] * K)
    cats.predictions += [ghost, ghost | {"image_id": 52}]
    found = diagnosed(cats, tmp_path, true_boxes=False)
    assert len(found.paired.background) == 3
    assert len(found.paired.missed) == 1
    assert counts(found) == {"good": 3 * K}
    assert found.gains["background"] > 0
    assert found.gains["missed"] > 0
    assert found.ap + found.gains["all"] == pytest.approx(1)


def test_crowds_and_instances_without_keypoints_are_no_errors(tmp_path):
    cats = Cats(3, 2)
    cats.annotations[0]["iscrowd"] = 1
    for k in range(K):
        cats.see(3, k, 0)
    cats.predictions.append(cats.predictions[0] | {"score": 0.1})
    for true_boxes in (True, False):
        found = diagnosed(cats, tmp_path, true_boxes=true_boxes)
        assert counts(found) == {"good": 4 * K}
        assert len(found.paired.missed) == len(found.paired.background) == 0


def test_putting_errors_right_never_costs_anything_with_true_boxes(tmp_path):
    for seed in range(4):
        cats = Cats(4, 1)
        cats.noisy(5, seed)
        gains = diagnosed(cats, tmp_path).gains
        assert all(-1e-12 <= gain <= gains["all"] + 1e-12 for gain in gains.values())
        assert gains["all"] > 0


# By keypoint, size and visibility


def test_shares_are_told_by_keypoint_size_and_visibility(tmp_path):
    cats = Cats(6, 1)
    for n in range(6):
        cats.annotations[n]["area"] = (500.0, 500.0, 3000.0, 3000.0, 20000.0, 20000.0)[n]
        cats.see(n, 3, 1)
    cats.miss(0, 3)
    cats.miss(1, 5)
    found = diagnosed(cats, tmp_path)
    rows = {row.label: row for row in by_keypoint(found, CATS.keypoint_names)}
    assert rows["Neck"].kinds == (5, 0, 0, 0, 1)
    assert rows["L_Eye"].kinds == (6, 0, 0, 0, 0)
    groups = {row.label: row for row in by_group(found)}
    assert list(groups) == ["all", "small", "medium", "large", "visible", "hidden"]
    assert (groups["small"].count, groups["small"].kinds[Kind.MISS]) == (2 * K, 2)
    assert groups["large"].kinds[Kind.GOOD] == 2 * K
    assert (groups["hidden"].count, groups["hidden"].kinds[Kind.MISS]) == (6, 1)
    assert groups["visible"].count == 6 * K - 6


def test_sizes_that_are_all_of_one_class_of_cocos_are_told_in_thirds(tmp_path):
    cats = Cats(6, 1)
    for n in range(6):
        cats.annotations[n]["area"] = 400.0 + n
    classes = size_classes(diagnosed(cats, tmp_path))
    assert [(label, int(mask.sum())) for label, mask in classes] == [
        ("smallest third", 2), ("middle third", 2), ("largest third", 2),
    ]  # fmt: skip


def test_of_very_many_keypoints_the_worst_are_drawn(tmp_path):
    truth, found = Cats(2, 1).arrays(tmp_path)
    found.points[:, 3] += 500
    many = [np.concatenate([a] * 3, axis=1) for a in (truth.keypoints, found.points, found.confidences)]
    truth = replace(truth, keypoints=many[0])
    found = replace(found, points=many[1], confidences=many[2])
    sigmas = np.concatenate([SIGMAS] * 3)
    pair = paired(truth, found, sigmas, true_boxes=True)
    rows = by_keypoint(diagnose(pair, sigmas, range(3 * K), true_boxes=True), tuple(f"k{i}" for i in range(3 * K)))
    assert len(rows) == 30
    assert {"k3", f"k{3 + K}", f"k{3 + 2 * K}"} <= {row.label for row in rows}


def test_instances_by_oks_are_counted_once_each():
    found = oks_histogram(("a",), (np.array([0.0, 0.04, 0.5, 1.0, np.nan]),), (1,))
    assert (found.counts[0][0], found.counts[0][10], found.counts[0][19], sum(found.counts[0])) == (2, 1, 1, 4)
    assert oks_histogram(("a",), (np.array([np.nan]),), (1,)) is None


# The section of a report


def test_the_sentences_tell_the_planted_errors(tmp_path):
    best = Cats(10, 2)
    for n in range(10):
        for k in (7, 8, 9, 10, 13):
            best.miss(n, k)
    best.miss(10, 13)
    best.jitter(11, 0)
    baseline = best.again()
    for n in range(20):
        baseline.invert(n, PAIRS[0])
    errors = section(planted_errors.study(tmp_path, best, baseline))
    said = " ".join(errors.texts)
    assert "Of the 340 labelled keypoints that “better” (trial 2) predicted" in said
    assert "84.7 % are good, 0.3 % jittered and 15.0 % missed." in said
    assert "Correcting every miss would raise AP most, by 0." in said
    assert "“L_B_Paw” has the lowest AP of a keypoint" in said
    assert "none is of the background" in said
    assert "good +11.5, jittered +0.3, inverted −11.8 and missed 0.0." in said
    assert [f.name for f in errors.figures] == ["errors_by_keypoint", "error_gains", "oks_histogram", "keypoint_scores"]
    assert all(not figure.wide for figure in errors.figures)


def test_every_number_has_one_address_and_one_value(tmp_path):
    best, baseline = Cats(), Cats()
    best.noisy(3, 1)
    baseline.noisy(5, 2)
    errors = section(planted_errors.study(tmp_path, best, baseline))
    entries = [entry.text for table in errors.tables for row in table.rows for entry in row.entries]
    numbers = list(numbers_in([*errors.texts, *entries]))
    assert len(numbers) > 150
    assert all(re.fullmatch(r"errors/[A-Za-z0-9/._-]+", number.address) for number in numbers)
    by_address: dict[str, set] = {}
    for number in numbers:
        by_address.setdefault(number.address, set()).add((number.text, number.value, number.uids))
    assert all(len(said) == 1 for said in by_address.values())
    printed = re.findall(r"\d+\.\d+", " ".join(errors.texts))
    assert {n for n in printed if n not in ("0.1", "0.5")} <= {str(number).lstrip("+−") for number in numbers}


def test_other_predictions_make_other_sentences(tmp_path):
    one, other = Cats(), Cats()
    one.miss(0, 3)
    other.swap(0, 3)
    said = [section(planted_errors.study(tmp_path / name, cats)).texts[0] for name, cats in (("a", one), ("b", other))]
    assert "missed" in said[0]
    assert "swapped" not in said[0]
    assert "swapped" in said[1]


def test_the_best_cell_alone_is_shown_where_it_is_the_baseline(tmp_path):
    errors = section(planted_errors.study(tmp_path, Cats()))
    assert "Shown: the best cell of the study, “better” (trial 1)." in errors.figures[1].caption
    assert [column.header for column in errors.tables[0].columns] == ["Type", "Count", "Share [%]", "AP given back"]


def test_the_report_has_the_sections(tmp_path):
    best = Cats()
    best.miss(0, 0)
    assert {"errors", "failures"} <= {s.name for s in planted_errors.study(tmp_path, best, Cats()).sections}


def test_without_predictions_nothing_is_said():
    report = Builder().report()
    assert section(report) is None


def test_annotations_that_are_gone_or_damaged_are_said_to_be(tmp_path):
    report = planted_errors.study(tmp_path, Cats())
    annotations = tmp_path / "data" / "annotations" / "val.json"
    annotations.write_text("{")
    (damaged,) = error_sections.sections(report.material)
    assert damaged.texts == ("Errors are not looked at: the annotations of the validation set cannot be read.",)
    annotations.unlink()
    (gone,) = error_sections.sections(report.material)
    assert gone.texts == ("Errors are not looked at: the annotations of the validation set cannot be found.",)
    assert gone.figures == ()


@pytest.mark.parametrize("damage", ["", "[1, 2]", '[{"image_id": 50}]', '{"a": 1}', "\x00\x01"])
def test_damaged_predictions_are_no_crash(tmp_path, damage):
    report = planted_errors.study(tmp_path, Cats(), Cats())
    for path in (tmp_path / "home").rglob("predictions.keypoints.json"):
        path.write_text(damage)
    with pytest.raises(detections.UnreadableDetectionsError):
        detections.read(path, K)
    errors = section(report)
    assert "damaged" in errors.texts[0]


def test_numbers_that_are_not_finite_are_damage(tmp_path):
    cats = Cats(1, 1)
    cats.predictions[0]["keypoints"][0] = float("nan")
    with pytest.raises(detections.UnreadableDetectionsError, match="not finite"):
        cats.arrays(tmp_path)


def test_predictions_that_contradict_the_ledger_are_not_diagnosed(tmp_path):
    cats = Cats()
    cats.noisy(4, 0)
    errors = section(planted_errors.study(tmp_path, cats, value=0.987))
    (said,) = errors.texts
    assert "where the ledger holds 0.987" in said
    assert errors.figures == ()


def test_a_study_of_distances_has_errors_by_keypoint_and_no_oks(tmp_path):
    cats = Cats()
    cats.put(0, 2, cats.point(0, 2, 30))
    for n, prediction in enumerate(cats.predictions):
        prediction["id"] = 1 + n
    errors = section(planted_errors.study(tmp_path, cats, metric="epe"))
    assert [f.name for f in errors.figures] == ["keypoint_scores"]
    assert [t.name for t in errors.tables] == ["scores_by_keypoint"]
    (said,) = errors.texts
    assert said.endswith("“Nose” has the largest mean error of a keypoint, 0.0250 of the larger side of the box.")
    nose = next(row for row in errors.tables[0].rows if row.entries[0].text == "Nose")
    assert [entry.text for entry in nose.entries] == ["Nose", "12", "0.0250", "0.917", "0.917", "0.917"]


@pytest.mark.slow
def test_figures_are_a_column_wide_legible_and_the_same_every_time(tmp_path):
    best, baseline = Cats(), Cats()
    best.noisy(3, 1)
    baseline.noisy(5, 2)
    first, second = (section(planted_errors.study(tmp_path / name, best, baseline)) for name in "ab")
    assert first.figures[-1].vector("pdf") == second.figures[-1].vector("pdf")
    for one in first.figures:
        svg = one.vector("svg").decode()
        assert float(re.search(r'width="([\d.]+)pt"', svg)[1]) == pytest.approx(84 / 25.4 * 72, abs=0.1)
        sizes = [float(size) for size in re.findall(r"font(?:-size)?: ?([\d.]+)px", svg)]
        assert sizes
        assert min(sizes) >= 6.5


@pytest.mark.slow
def test_any_label_is_drawn(tmp_path):
    best, baseline = Cats(2, 1), Cats(2, 1)
    baseline.noisy(5, 2)
    errors = section(planted_errors.study(tmp_path, best, baseline, label=NASTY))
    for figure in errors.figures:
        assert figure.vector("svg").startswith(b"<?xml")
        if figure.plotly:
            assert "<script>alert" not in figure.plotly().to_json()
    assert error_figures.cell_colour(0, 1) == error_figures.cell_colour(1, 2)
