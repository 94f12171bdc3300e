"""Failure cases: chosen by their rule, drawn where they were predicted, and to be clicked through in a browser."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import planted_errors
import pytest
from PIL import Image
from planted_errors import Cats, K
from synthetic_report import NASTY

from posestudy_reports import error_sections, failure_page
from posestudy_reports.addressed import numbers_in
from posestudy_reports.sections import Section

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
GREEN, RED = (0, 158, 115), (213, 94, 0)


def ruined(cats: Cats, cat: int, keypoints: int) -> None:
    """The first keypoints of a cat far away: OKS falls by 1/17 for each."""
    for k in range(keypoints):
        cats.put(cat, k, cats.point(cat, k, 9, 10))


def two() -> tuple[Cats, Cats]:
    """Best and baseline of 8 cats: 0 worst of both, 1 and 2 better, 3 worse, 4 a little worse, but right."""
    best, baseline = Cats(4, 2), Cats(4, 2)
    for cats, off in ((best, (16, 2, 0, 12, 5, 0, 0, 0)), (baseline, (16, 12, 14, 1, 0, 0, 0, 0))):
        for cat, keypoints in enumerate(off):
            ruined(cats, cat, keypoints)
    return best, baseline


def failures(report) -> Section | None:
    return next((s for s in error_sections.sections(report.material) if s.name == "failures"), None)


class Page(HTMLParser):
    """The tags of a page and what its images hold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.tags if name == tag]


def test_cases_are_chosen_by_their_rule_and_named_in_the_caption(tmp_path):
    section = failures(planted_errors.study(tmp_path, *two()))
    worst, better, worse = (figure.caption for figure in section.figures)
    assert [figure.name for figure in section.figures] == ["failures_worst", "failures_better", "failures_worse"]
    assert worst.startswith("Worst predictions. The lowest OKS of “better” (trial 2), the worst first (6 of 8).")
    # Of the four perfect ones the smallest annotation ids, of one image, come first.
    assert (
        "(a) image 50 (annotation 1), 0.06, (b) image 51 (annotation 4), 0.29, (c) image 52 (annotation 5), 0.71, "
        in worst
    )
    assert "the largest change of OKS first (2)" in better
    assert better.endswith(
        "OKS: (a) image 51 (annotation 3), 0.18 → 1.00 and (b) image 50 (annotation 2), 0.29 → 0.88."
    )
    assert worse.endswith("OKS: (a) image 51 (annotation 4), 0.94 → 0.29.")


def test_the_sentence_counts_what_changed(tmp_path):
    section = failures(planted_errors.study(tmp_path, *two()))
    (said,) = section.texts
    assert said.startswith(
        "Of 8 instances that the baseline and the best cell both predicted, 2 are wrong by the baseline"
    )
    assert [number.value for number in numbers_in(section.texts)] == [8, 2, 1]


def test_without_a_baseline_only_the_worst_are_shown(tmp_path):
    section = failures(planted_errors.study(tmp_path, two()[0]))
    assert [figure.name for figure in section.figures] == ["failures_worst"]
    assert section.texts == ()


def colours(picture: Image.Image, box: tuple[float, float, float, float]) -> set[str]:
    """Which of truth and prediction is drawn inside a box of a picture."""
    found = set()
    for colour in picture.crop(tuple(round(v) for v in box)).get_flattened_data():
        for name, wanted in (("truth", GREEN), ("prediction", RED)):
            if all(abs(a - b) < 40 for a, b in zip(colour, wanted, strict=True)):
                found.add(name)
    return found


def test_truth_and_prediction_are_drawn_where_they_are(tmp_path):
    cats = Cats(1, 1)
    for k in range(K):
        cats.put(0, k, cats.point(0, k, 0, 40))
    section = failures(planted_errors.study(tmp_path, cats))
    (figure,) = section.figures
    sheet = Image.open(io.BytesIO(figure.data))
    assert sheet.size == figure.size
    assert sheet.width == 907  # a column of 84 mm at 10.8 pixels a millimetre
    tile = sheet.crop((0, 32, 298, 32 + 298))
    assert colours(tile, (0, 0, 298, 298)) == {"truth", "prediction"}
    # The crop is the box (20 to 120) and what is 40 px below; the first row of keypoints has no prediction there.
    scale = 298 / 162
    top = (30 - 5 + 4) * scale
    assert colours(tile, (0, top - 25, 298, top + 10)) == {"truth"}
    assert "prediction" in colours(tile, (0, 220, 298, 298))


def test_images_that_are_gone_give_way_to_the_next(tmp_path):
    report = planted_errors.study(tmp_path, *two())
    (tmp_path / "data" / "images" / "cat_50.jpg").unlink()
    (tmp_path / "data" / "images" / "cat_52.jpg").write_bytes(b"no picture")
    section = failures(report)
    assert "image 50" not in section.figures[0].caption
    assert "image 52" not in section.figures[0].caption
    assert "(a) image 51 (annotation 4), 0.29" in section.figures[0].caption
    assert len(Page(section.interactive()).of("img")) == 4 + 1 + 1


def test_without_any_image_a_sentence_says_so(tmp_path):
    section = failures(planted_errors.study(tmp_path, *two(), pictures=False))
    assert section.figures == ()
    assert section.interactive is None
    assert section.texts == ("The validation images cannot be found or cannot be read.",)


def test_a_file_outside_the_folder_of_images_is_not_shown(tmp_path):
    best = Cats(1, 1)
    ruined(best, 0, 3)
    report = planted_errors.study(tmp_path, best)
    secret = tmp_path / "secret.jpg"
    (tmp_path / "data" / "images" / "cat_50.jpg").rename(secret)
    annotations = tmp_path / "data" / "annotations" / "val.json"
    annotations.write_text(annotations.read_text().replace("cat_50.jpg", "../../secret.jpg"))
    assert failures(report).figures == ()


def test_the_same_files_give_the_same_bytes(tmp_path):
    one, other = (failures(planted_errors.study(tmp_path / name, *two())) for name in "ab")
    assert [f.data for f in one.figures] == [f.data for f in other.figures]
    assert one.interactive() == other.interactive()


def test_the_page_needs_nothing_and_is_escaped(tmp_path):
    text = failures(planted_errors.study(tmp_path, *two(), label=NASTY)).interactive()
    page = Page(text)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "<script>alert" not in text
    assert len(page.of("figure")) == 8 + 2 + 1
    for image in page.of("img"):
        kind, _, data = image["src"].partition(",")
        assert kind == "data:image/jpeg;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == (int(image["width"]), int(image["height"]))
    assert not re.search(r"https?://(?!www\.w3\.org)", text)
    assert page.of("img")[0].get("hidden") is None  # without scripts all cases stand below one another


def test_the_pictures_of_the_page_stay_within_their_size(tmp_path, monkeypatch):
    section = failures(planted_errors.study(tmp_path, *two()))
    whole = Page(section.interactive()).of("img")
    sizes = [len(base64.b64decode(image["src"].partition(",")[2])) for image in whole]
    monkeypatch.setattr(failure_page, "MOST_BYTES", sum(sizes) // 2)
    fewer = Page(section.interactive())
    kept = sum(len(base64.b64decode(image["src"].partition(",")[2])) for image in fewer.of("img"))
    assert 0 < kept <= sum(sizes) // 2
    # Every kind keeps its most telling case.
    assert {figure["data-group"] for figure in fewer.of("figure")} == {"worst", "better", "worse"}


def test_a_study_of_distances_shows_the_largest_errors(tmp_path):
    cats = Cats(2, 1)
    cats.put(1, 2, cats.point(1, 2, 34))
    for n, prediction in enumerate(cats.predictions):
        prediction["id"] = 1 + n
    (figure,) = failures(planted_errors.study(tmp_path, cats, metric="epe")).figures
    assert "The largest mean error of “better”" in figure.caption
    assert "mean error in larger sides of the box: (a) image 51, 0.02 and (b) image 50, 0.00." in figure.caption


_CLICKS = """<script>addEventListener('load', () => {
  const root = document.getElementById('failures-gallery'), seen = [];
  const look = () => { const shown = [...root.querySelectorAll('figure')].filter(f => f.offsetParent !== null);
    seen.push(shown.map(f => f.dataset.group + ':' + f.querySelector('figcaption').textContent.slice(0, 8)).join('+')
      + ' ' + root.querySelector('.counter').textContent); };
  const key = name => root.dispatchEvent(new KeyboardEvent('keydown', { key: name, bubbles: true }));
  look(); key('ArrowRight'); look(); root.querySelector('.next').click(); look(); key('ArrowLeft'); key('ArrowLeft');
  key('ArrowLeft'); look(); root.querySelector('button[data-group=worse]').click(); look();
  const marks = () => [...root.querySelectorAll('g.best')].filter(g => g.getClientRects().length).length;
  seen.push(marks() > 0); root.querySelector('input[data-layer=best]').click(); seen.push(marks() > 0);
  document.body.dataset.seen = seen.join(' | ');
});</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.slow
def test_a_browser_clicks_through_the_cases_and_its_console_is_silent(tmp_path):
    page: Path = tmp_path / "page.html"
    text = failures(planted_errors.study(tmp_path, *two())).interactive()
    page.write_text(f'<!doctype html><meta charset="utf-8"><body>{text}{_CLICKS}</body>', encoding="utf-8")
    done = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--enable-logging=stderr",
         "--disable-background-networking", "--virtual-time-budget=4000", "--dump-dom",
         f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()],
        capture_output=True, text=True, timeout=400, check=True,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    (seen,) = re.findall(r'data-seen="([^"]*)"', done.stdout)
    assert seen.split(" | ") == [
        "worst:Image 50 1 / 8", "worst:Image 51 2 / 8", "worst:Image 52 3 / 8", "worst:Image 53 8 / 8",
        "worse:Image 51 1 / 1", "true", "false",
    ]  # fmt: skip
