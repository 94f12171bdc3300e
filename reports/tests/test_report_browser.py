"""The HTML report as a real browser sees it: figures drawn, a silent console, no script in a name ever run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import synthetic_report
import zoo_study

from posestudy.home import Home
from posestudy_reports.sections import Chart

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=8000",
    "--dump-dom",
]
PLANTED = "<script>document.title = 'planted';</script>"
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def _rendered(page: Path, profile: Path) -> tuple[str, list[str]]:
    """The document after its scripts ran, and what it wrote to the console."""
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={profile}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@needs_browser
@pytest.mark.slow
def test_every_stage_has_its_interactive_curves_and_the_console_is_silent(tmp_path: Path) -> None:
    report = synthetic_report.finished().report()
    report.write(tmp_path / "out", ["html"])
    document, console = _rendered(tmp_path / "out" / "report.html", tmp_path / "profile")
    assert document.count('class="main-svg"') >= len(report.curves)
    assert console == []


@needs_browser
@pytest.mark.slow
def test_the_figures_of_the_study_are_drawn_and_its_pictures_shown(tmp_path: Path) -> None:
    report = zoo_study.pictured(zoo_study.zoo(), Home.resolve(tmp_path / "home"))
    report.write(tmp_path / "out", ["html"])
    page = tmp_path / "out" / "report.html"
    # What the browser made of the pictures is written where the test can read it.
    counted = (
        "<script>addEventListener('load', () => { document.body.dataset.shown = "
        "[...document.images].filter(i => i.complete && i.naturalWidth > 0).length; });</script>"
    )
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", counted + "</body>"), encoding="utf-8")
    document, console = _rendered(page, tmp_path / "profile")
    shown = [f for s in report.sections if not s.interactive for f in s.figures]
    charts = [f.name for f in shown if isinstance(f, Chart) and f.plotly]
    assert len(charts) >= 4
    for name in charts:
        figure = document.partition(f'<figure id="figure-{name}">')[2].partition("</figure>")[0]
        assert 'class="main-svg"' in figure
        if name.startswith(("tradeoff", "training_time")):
            assert figure.count('class="point"') >= 5
    assert f'data-shown="{len(shown) - len(charts)}"' in document
    assert console == []


@needs_browser
@pytest.mark.slow
def test_a_name_that_is_a_script_is_shown_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic_report, "NASTY", PLANTED)
    synthetic_report.nasty().report().write(tmp_path / "out", ["html"])
    page = tmp_path / "out" / "report.html"
    document, _ = _rendered(page, tmp_path / "profile")
    assert "&lt;script&gt;document.title" in document
    assert "<title>planted</title>" not in document
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", PLANTED + "</body>"), encoding="utf-8")
    document, _ = _rendered(page, tmp_path / "profile2")
    assert "<title>planted</title>" in document, "the browser runs scripts, so the check above can fail"
