"""Differences with their intervals: over images from real COCOeval results, over seeds by what the seeds allow."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from coco_results import Drawn, evaluated, matches, write
from measured_study import Measured, evaluation, several
from synthetic_report import Builder

from posestudy.home import Home
from posestudy.vocabulary import Outcome
from posestudy_reports import comparison
from posestudy_reports.report import StudyReport


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> StudyReport:
    home = Home.resolve(tmp_path_factory.mktemp("several"))
    return several(home, report={"equivalence_margin": 0.05}).measured()


def seeds_only(*rows: tuple[str, tuple[float, ...]]) -> StudyReport:
    """A stage whose cells have these final values, one a seed, and no matches."""
    study = Builder()
    study.stage("sigma")
    for name, values in rows:
        study.cell(name, {} if name == "baseline" else {"sigma": 1 + len(study.cells)})
        for seed, value in enumerate(values):
            study.trial(scores=(value,), seed=seed)
    return study.report()


def printed(report: StudyReport, label: str) -> dict[str, str]:
    (table,) = report.difference_tables
    row = next(r for r in table.rows if r.entries[0].text == label)
    return {
        c.key: f"{e.text} ({e.detail})" if e.detail else e.text for c, e in zip(table.columns, row.entries, strict=True)
    }


def test_a_clear_gain_is_resolved_over_images_and_an_idle_change_is_not(report):
    rows = report.comparisons[0].by_cell
    assert rows["better"].images.low > 0.2
    assert rows["as_good"].images.holds_zero
    assert printed(report, "as_good")["resolved"] == "not resolved (images, seeds)"


def test_what_predicts_as_the_baseline_does_has_no_difference_and_is_not_resolved(report):
    row = report.comparisons[0].by_cell["same"]
    assert (row.images.low, row.images.high) == (0.0, 0.0)
    assert row.unresolved == ("images", "seeds")


def test_equivalence_is_a_statement_of_its_own(report):
    assert printed(report, "same")["equivalent"] == "equivalent"
    # Not told from zero is not the same as equal.
    assert printed(report, "as_good")["equivalent"] == "not shown"
    assert report.difference_tables[0].columns[-1].header == "Within ±0.05"


def test_the_ablation_table_says_what_is_not_resolved(report):
    column = next(i for i, c in enumerate(report.tables[0].columns) if c.key == "delta")
    details = {row.entries[1].text: row.entries[column].detail for row in report.tables[0].rows}
    assert details == {"baseline": "", "better": "not resolved", "as_good": "not resolved", "same": "not resolved"}


def test_both_kinds_of_interval_are_labelled_apart(report):
    row = printed(report, "better")
    assert "bootstrap, 60 images" in row["images"]
    assert "paired t, 3 seeds" in row["seeds"]
    over_images, over_seeds, equivalent = report.difference_tables[0].remarks
    assert over_images.startswith("Over images: these trained networks on other images")
    assert "the 60 validation images" in over_images
    assert over_seeds.startswith("Over seeds: networks trained again, evaluated on these images")
    assert equivalent.startswith("Equivalent: every interval lies within ±0.05;")


def test_the_interval_over_images_is_that_of_resampled_data_sets(report, tmp_path):
    """One row alone: its spread is that of the difference on data sets that are really drawn again."""
    home = Home.resolve(tmp_path)
    study = Measured(home)
    study.stage("sigma")
    study.row("baseline", 7.0)
    study.row("better", 5.0)
    interval = study.measured().comparisons[0].by_cell["better"].images
    data, random = Drawn.make(60), np.random.default_rng(5)
    results = data.predicted(7.0, 10), data.predicted(5.0, 20)
    drawn = []
    for _ in range(60):
        times = random.multinomial(60, np.full(60, 1 / 60))
        base, better = (evaluated(*data.repeated(r, times)).stats[0] for r in results)
        drawn.append(better - base)
    # 1.96 of their standard deviation, which 60 draws give to a tenth or so.
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * np.std(drawn), rel=0.35)
    assert (interval.high + interval.low) / 2 == pytest.approx(evaluation(5.0, 20)[0] - evaluation(7.0, 10)[0])


def test_more_rows_make_every_interval_wider(tmp_path):
    widths = []
    for rows in (1, 8):
        study = Measured(Home.resolve(tmp_path / str(rows)))
        study.stage("sigma")
        study.row("baseline", 7.0)
        for i in range(rows):
            study.row(f"row_{i}", 6.0)
        interval = study.measured().comparisons[0].by_cell["row_0"].images
        widths.append(interval.high - interval.low)
    assert widths[1] > 1.15 * widths[0]


@pytest.mark.slow
def test_simultaneous_intervals_hold_together_as_often_as_they_say(tmp_path):
    """Data sets drawn from one large population: how often all rows' intervals hold the population's differences."""
    population = Drawn.make(4000, seed=1)
    noises = (6.0, 5.0, 6.0, 4.0)
    kept = [matches(population, population.predicted(noise, i)) for i, noise in enumerate(noises)]
    truth = [comparison.bootstrap.value(m, "coco/AP") for m in kept]
    random, held, tries = np.random.default_rng(2), 0, 200
    for _ in range(tries):
        drawn = [_subset(m, images) for images in [random.choice(4000, 100, replace=False)] for m in kept]
        draws = comparison.Resamples(100, 400)
        values = [
            np.concatenate([[comparison.bootstrap.value(m, "coco/AP")], draws.values(m, "coco/AP")]) for m in drawn
        ]
        ends = comparison.simultaneous({str(i): values[i] - values[0] for i in (1, 2, 3)})
        held += all(ends[str(i)][0] <= truth[i] - truth[0] <= ends[str(i)][1] for i in (1, 2, 3))
    # 95 % of 200 is 190; below 178 such intervals would come less than once in two thousand times.
    assert held >= 178


def _subset(found, images):
    index = {int(image): i for i, image in enumerate(sorted(images))}
    mine = np.isin(found.dt_image, images)
    return type(found)(
        found.image_ids[sorted(images)], found.thresholds,
        np.array([index[int(i)] for i in found.dt_image[mine]], dtype=np.int64), found.dt_score[mine],
        found.dt_matched[:, mine], found.dt_ignored[:, mine], found.gt_count[sorted(images)], found.epoch,
    )  # fmt: skip


def test_three_seeds_give_a_paired_t_over_equal_seeds():
    # Differences 0.01, 0.02, 0.03 though the seeds themselves lie far apart.
    row = seeds_only(("baseline", (0.1, 0.3, 0.5)), ("x", (0.11, 0.32, 0.53))).comparisons[0].by_cell["x"]
    half = 4.302653 * 0.01 / math.sqrt(3)
    assert (row.seeds.low, row.seeds.high) == (
        pytest.approx(0.02 - half, abs=1e-6),
        pytest.approx(0.02 + half, abs=1e-6),
    )
    assert row.verdict == "not resolved (seeds)"


def test_t_intervals_hold_for_all_rows_at_once():
    rows = ("baseline", (0.1, 0.3, 0.5)), ("x", (0.11, 0.32, 0.53)), ("y", (0.2, 0.4, 0.7))
    both = seeds_only(*rows).comparisons[0].by_cell["x"].seeds
    # Bonferroni for two rows: the 98.75 % quantile of t with two degrees of freedom.
    assert both.high - 0.02 == pytest.approx(6.205347 * 0.01 / math.sqrt(3), abs=1e-6)


def test_two_seeds_give_their_range_which_resolves_nothing():
    report = seeds_only(("baseline", (0.1, 0.12)), ("x", (0.2, 0.25)), ("y", (0.11, 0.1)))
    rows = report.comparisons[0].by_cell
    assert (rows["x"].seeds.low, rows["x"].seeds.high) == (pytest.approx(0.1), pytest.approx(0.13))
    assert rows["x"].verdict == ""
    assert rows["y"].verdict == "not resolved (seeds)"
    assert printed(report, "x")["seeds"] == "+0.100 to +0.130 (range of 2 seeds, no confidence)"


def test_a_single_seed_is_held_against_the_spread_of_the_others():
    report = seeds_only(("baseline", (0.1, 0.11, 0.12)), ("near", (0.13,)), ("far", (0.5,)))
    rows = report.comparisons[0].by_cell
    assert rows["near"].seeds.method == "pooled t"
    assert rows["near"].verdict == "not resolved (seeds)"
    assert rows["far"].verdict == "resolved over seeds only"


def test_with_one_seed_everywhere_and_no_matches_nothing_is_claimed():
    report = seeds_only(("baseline", (0.1,)), ("x", (0.5,)))
    assert report.difference_tables == (None,)
    assert report.tables[0].rows[1].entries[6].detail == ""
    assert report.summary[-1].startswith("With one seed a cell")


def test_a_replicate_that_did_not_complete_is_no_pair():
    study = Builder()
    study.stage("sigma")
    study.cell("baseline", {})
    for seed, value in enumerate((0.1, 0.2, 0.3)):
        study.trial(scores=(value,), seed=seed)
    study.cell("x", {"sigma": 2.0})
    for seed, value in enumerate((0.2, 0.3)):
        study.trial(scores=(value,), seed=seed)
    study.trial(Outcome.DIVERGED, seed=2)
    assert study.report().comparisons[0].by_cell["x"].seeds.method == "range"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [("gone", "missing"), ("damaged", "missing"), ("epoch", "missing"), ("images", "other")],
)
def test_matches_that_cannot_be_used_are_said_to_be(tmp_path, spoil, reason):
    study = Measured(Home.resolve(tmp_path))
    study.stage("sigma")
    study.row("baseline", 7.0)
    study.row("kept", 5.0)
    study.row("spoilt", 5.0, images=59 if spoil == "images" else 60)
    path = study.home.attempt("cats_small", 3, 1).matches
    if spoil == "gone":
        path.unlink()
    elif spoil == "damaged":
        path.write_bytes(path.read_bytes()[:500])
    elif spoil == "epoch":
        write(type(evaluation(5.0, 30)[1])(**vars(evaluation(5.0, 30)[1]) | {"epoch": 15}), path)
    report = study.measured()
    rows = report.comparisons[0].by_cell
    assert rows["kept"].images is not None
    assert rows["spoilt"].images is None
    remark = report.difference_tables[0].remarks[-1]
    assert remark.startswith("No interval over images for No. 3: ")
    assert reason in remark


def test_a_value_that_its_matches_contradict_is_left_out_with_all_that_was_said_of_it(tmp_path):
    study = Measured(Home.resolve(tmp_path))
    study.stage("sigma")
    study.row("baseline", 7.0)
    study.row("kept", 5.0)
    study.row("spoilt", 3.0)
    assert "spoilt" in " ".join(study.measured().summary)
    write(evaluation(6.0, 30)[1], study.home.attempt("cats_small", 3, 1).matches)
    report = study.measured()
    assert "spoilt" not in report.comparisons[0].by_cell
    assert "spoilt" not in " ".join(report.summary)
    row, table = report.tables[0].rows[2], report.tables[0]
    assert row.entries[4].text == "contradicted"
    note = table.notes[row.entries[-1].marks[0] - 1]
    assert re.match(r"Trial 3 is left out: the ledger says AP 0\.\d+, the saved matches give 0\.\d+\.", note)


def test_an_earlier_attempts_matches_are_found(tmp_path):
    """The last attempt may only have finished what one before it evaluated."""
    study = Measured(Home.resolve(tmp_path))
    study.stage("sigma")
    study.row("baseline", 7.0)
    study.row("x", 5.0, fence=3)
    study.home.attempt("cats_small", 2, 3).folder.mkdir(parents=True)
    assert study.measured().comparisons[0].by_cell["x"].images is not None


def test_a_reused_trials_matches_are_its_sources(tmp_path):
    home = Home.resolve(tmp_path)
    source = {"kind": "reused", "study": "other", "stage": "a", "cell": "c", "number": 7, "uid": "0" * 32}
    study = Measured(home)
    study.stage("sigma")
    study.row("baseline", 7.0)
    study.row("x", 5.0, source=source)
    home.attempt("cats_small", 2, 1).matches.rename(home.root / "moved.npz")
    assert study.measured().comparisons[0].by_cell["x"].images is None
    target = home.attempt("other", 7, 2).matches
    target.parent.mkdir(parents=True)
    (home.root / "moved.npz").rename(target)
    assert study.measured().comparisons[0].by_cell["x"].images is not None


def test_a_metric_by_area_has_no_interval_over_images_and_says_so(tmp_path):
    study = several(Home.resolve(tmp_path), metric="coco/AP_M")
    report = study.measured()
    assert all(row.images is None for row in report.comparisons[0].rows)
    assert "AP(M) cannot be rebuilt from saved matches: no interval over images." in report.difference_tables[0].remarks


def test_the_same_ledger_and_files_give_the_same_bytes(tmp_path):
    formats = ("latex", "markdown", "csv", "html", "pdf")
    first = several(Home.resolve(tmp_path)).measured().files(formats)
    assert several(Home.resolve(tmp_path)).measured().files(formats) == first
    assert "tables/1_sigma_differences.tex" in first
    assert b"Differences from the baseline: sigma" in first["report.html"]
    assert b"### Differences from the baseline: sigma" in first["report.md"]


def test_differences_are_a_frame_for_programs(report):
    frame = report.differences.set_index("cell")
    assert frame.loc["better", "difference"] == pytest.approx(
        report.frame.set_index("cell").loc["better", "delta"].iloc[0]
    )
    assert frame.loc["better", "images_low"] < frame.loc["better", "difference"] < frame.loc["better", "images_high"]
    assert frame.loc["same", "equivalent"]
    assert frame.loc["better", "seeds_method"] == "paired t"


def test_seeds_of_one_configuration_count_once_in_whichever_stages_they_were_trained():
    """The second stage's baseline is the first one's again, with one seed more."""
    study = Builder()
    for stage, values in ("sigma", (0.1, 0.11, 0.12)), ("lr", (0.1, 0.11, 0.12, 0.13)):
        study.stage(stage)
        study.cell("baseline", {}, key="b" * 64)
        for seed, value in enumerate(values):
            study.trial(scores=(value,), seed=seed)
        study.cell("x", {"sigma": 2.0})
        study.trial(scores=(0.2,))
    assert [c.by_cell["x"].seeds.count for c in study.report().comparisons] == [3, 3]


def test_seeds_of_networks_that_learnt_nothing_do_not_stand_for_those_that_did():
    report = seeds_only(("baseline", (0.001, 0.002, 0.0015)), ("near", (0.003,)), ("far", (0.4,)))
    rows = report.comparisons[0].by_cell
    assert rows["near"].seeds.method == "pooled t"
    assert rows["far"].seeds is None
    assert rows["far"].verdict == ""
    assert report.summary[-1].startswith("No cell near the best one was trained with several seeds")
