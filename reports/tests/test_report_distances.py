"""A study of an error, of which less is better: its intervals over images, what is bold, what is called best."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic_report import Builder

from posestudy.home import Home
from posestudy_reports import bootstrap
from posestudy_reports.bootstrap import Resamples, UnreadableMatchesError
from posestudy_reports.distances import Distances
from posestudy_reports.saved_matches import SavedMatches
from posestudy_reports.writers import markdown

IMAGES, KEYPOINTS, LABELLED = 50, 4, 20.0


def distances(level: float, *, seed: int = 0, images: int = IMAGES) -> Distances:
    """Errors of about `level` of what normalises them; the fourth keypoint is labelled in no image."""
    difficulty = np.random.default_rng(0).uniform(0.7, 1.3, (images, 1))
    random = np.random.default_rng([seed, round(1e6 * level)])
    nme = LABELLED * level * difficulty * random.uniform(0.9, 1.1, (images, 1))
    hits = random.integers(0, 3, (images, KEYPOINTS)).astype(float)
    seen = np.full((images, KEYPOINTS), 3.0)
    seen[:, 3] = hits[:, 3] = 0.0
    counts = {"nme": np.full((images, 1), LABELLED), "pck": seen}
    return Distances(np.arange(images), {"nme": nme, "pck": hits}, counts, epoch=5)


def write(found: Distances, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sums = {f"{name}_sum": part for name, part in found.sums.items()}
    counts = {f"{name}_count": part for name, part in found.counts.items()}
    np.savez_compressed(path, image_ids=found.image_ids, epoch=np.int64(found.epoch), **sums, **counts)


class Errors(Builder):
    """A study of NME whose trials leave their distances in `home`."""

    def __init__(self, home: Home) -> None:
        super().__init__("faces", metric="nme")
        self.home = home
        self.stage("loss", carried="better", carry_reason="nme 0.0300 is the best (lowest) of 4 cells")

    def row(self, name: str, level: float, seeds: int = 1) -> None:
        self.cell(name, {} if name == "baseline" else {"sigma": 1.0 + len(self.cells)})
        for seed in range(seeds):
            found = distances(level, seed=seed)
            value = bootstrap.value(found, "nme")
            worst = {"best_value": value, "best_epoch": 5, "final_value": value, "final_epoch": 5}
            self.trial(scores=(value,), seed=seed, **worst)
            write(found, self.home.attempt("faces", len(self.trials), 1).matches)


@pytest.fixture
def errors(tmp_path: Path) -> Errors:
    study = Errors(Home.resolve(tmp_path / "home"))
    study.row("baseline", 0.05)
    study.row("better", 0.03)
    study.row("worse", 0.09)
    study.row("as_good", 0.0501)
    return study


def test_a_file_of_distances_is_read_back(tmp_path: Path) -> None:
    made = distances(0.04)
    write(made, tmp_path / "matches.npz")
    found = bootstrap.read(tmp_path / "matches.npz")
    assert isinstance(found, Distances)
    assert found.metrics == ("nme", "pck")
    assert bootstrap.value(found, "nme") == bootstrap.value(made, "nme") == pytest.approx(0.04, rel=0.1)
    assert not found.same_images(distances(0.04, images=IMAGES - 1))


def test_arrays_that_do_not_fit_are_no_distances(tmp_path: Path) -> None:
    np.savez_compressed(
        tmp_path / "odd.npz", image_ids=np.arange(3), epoch=1, nme_sum=np.ones((2, 1)), nme_count=np.ones((2, 1))
    )
    with pytest.raises(UnreadableMatchesError, match="holds no matches"):
        bootstrap.read(tmp_path / "odd.npz")


def test_a_keypoint_without_a_label_is_left_out_of_the_mean() -> None:
    found = distances(0.04)
    shares = found.sums["pck"][:, :3].sum(axis=0) / found.counts["pck"][:, :3].sum(axis=0)
    assert bootstrap.value(found, "pck") == pytest.approx(shares.mean())


def test_a_resample_is_a_data_set_in_which_images_stand_so_often() -> None:
    made, draws = distances(0.04), Resamples(IMAGES, 3)
    for times, value in zip(draws.weights, draws.values(made, "nme"), strict=True):
        sums, counts = (np.repeat(part["nme"], times, axis=0) for part in (made.sums, made.counts))
        assert value == pytest.approx(float(sums.sum() / counts.sum()))


def test_an_error_has_intervals_over_images(errors: Errors) -> None:
    rows = errors.report(SavedMatches(errors.home)).comparisons[0].by_cell
    assert rows["better"].images.high < -0.015
    assert rows["worse"].images.low > 0.03
    assert rows["as_good"].images.holds_zero
    assert rows["better"].images.count == IMAGES


def test_the_smallest_error_is_bold_and_the_best_of_the_study(errors: Errors) -> None:
    report = errors.report(SavedMatches(errors.home))
    assert report.result.best is not None
    assert report.result.best[1].cell.name == "better"
    text = markdown.write(report)["report.md"].decode()
    (bold,) = [line for line in text.splitlines() if "**5: 0.03" in line]
    assert "| better" in bold
    assert "**5: 0.09" not in text
    assert "**5: 0.05" not in text


def test_without_saved_distances_there_is_a_reason_in_place_of_the_interval(errors: Errors) -> None:
    report = errors.report()
    assert report.comparisons[0].by_cell["better"].images is None
    assert set(report.comparisons[0].without) == {"missing"}
