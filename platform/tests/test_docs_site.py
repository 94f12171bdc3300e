"""The documentation site and the files at the front door: complete, whole, true, and nothing on it from elsewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from posestudy.commands.app import main
from posestudy_studies import drawn_cats

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OUTSIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md")
_TITLED = re.compile(r"^```\w+ title=\"([^\"]+)\"\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """`make docs` of the repository at `root`, into `site`."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="the extra `docs` is not installed")
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


class Page(HTMLParser):
    """What a page loads, and the text of its article that is neither code nor a heading."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._open: list[str] = []
        self.loaded: list[str] = []
        self._texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get("href") if tag == "link" else given.get("src") or given.get("data")
        if address:
            self.loaded.append(address)
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        inside = set(self._open)
        if "article" in inside and not inside & {"code", "pre", "script", "style", "h1", "h2", "h3"}:
            self._texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self._texts)


def pages(site: Path) -> dict[str, Page]:
    found = {str(p.relative_to(site)): Page(p.read_text(encoding="utf-8")) for p in site.rglob("*.html")}
    assert len(found) > 30
    return found


def test_pages_and_their_styles_load_nothing_from_elsewhere(site: Path) -> None:
    for name, page in pages(site).items():
        assert page.loaded
        assert [address for address in page.loaded if re.match(r"(\w+:)?//", address)] == [], name
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text(encoding="utf-8")), style.name


def test_no_markdown_is_left_as_text(site: Path) -> None:
    """A table with too few headings, a list without its empty line: readable in the file, not on the page."""
    left = re.compile(r"\|\s*-{3,}|```|\]\(\w|\*\*\w|`\w+`|^ *- \w", re.MULTILINE)
    assert {name: found[0] for name, page in pages(site).items() if (found := left.search(page.text))} == {}


def test_search_finds_pages_from_inside_and_outside_the_folder(site: Path) -> None:
    entries = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    for word, place in (
        ("bisect", "designs.html"), ("--workers", "reference/command_line.html"), ("JournalStorage", "benchmarks.html"),
        ("latency_p95_ms", "reference/frames.html"), ("test_the_stage_ends", "reference/python.html"),
    ):  # fmt: skip
        assert any(word in entry["text"] and entry["location"].startswith(place) for entry in entries), word
    assert {"contributing.html", "changelog.html", "benchmarks.html"} <= {e["location"] for e in entries}


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_an_option_is_looked_for_by_all_its_words(site: Path, tmp_path: Path) -> None:
    """What the search's worker is sent; it takes `--per-gpu` itself for a mistake and finds nothing."""
    typed = ["--per-gpu", "launch --retry", "per-gpu", "-sigma", "-- ", "--"]
    script = f"""<script>
      const sent = [];
      globalThis.Worker = class {{ postMessage(message) {{ sent.push(message.data); }} }};
    </script><script src="{(site / "search_words.js").as_uri()}"></script><script>
      for (const data of {json.dumps(typed)}) new Worker().postMessage({{ type: 2, data }});
      new Worker().postMessage({{ type: 0, data: "--kept" }});
      document.title = JSON.stringify(sent);
    </script>"""
    (tmp_path / "page.html").write_text(script, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    command = [str(CHROMIUM), *options, (tmp_path / "page.html").as_uri()]
    document = subprocess.run(command, capture_output=True, text=True, timeout=400, check=True).stdout
    sent = ['"per gpu"', 'launch "retry"', "per-gpu", "-sigma", "-- ", "--", "--kept"]
    assert f"<title>{json.dumps(sent, separators=(',', ':'))}</title>" in document
    assert all("search_words.js" in " ".join(page.loaded) for page in pages(site).values())


@pytest.mark.parametrize(
    ("page", "text", "told"),
    [
        ("docs/running.md", "\n[nowhere](nowhere.md)\n", "nowhere.md"),
        ("docs/running.md", "\n[no part](designs.md#no-such-part)\n", "no-such-part"),
        ("CONTRIBUTING.md", "\n[nowhere](docs/nowhere.md)\n", "nowhere.md"),
        ("docs/unlisted.md", "# A page without a place in the navigation\n", "unlisted.md"),
    ],
)
def test_what_is_wrong_with_a_page_fails_the_build(page: str, text: str, told: str, tmp_path: Path) -> None:
    pytest.importorskip("material", reason="the extra `docs` is not installed")
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "docs", copy / "docs")
    for file in ("mkdocs.yml", *OUTSIDE):
        (copy / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, copy / file)
    with (copy / page).open("a", encoding="utf-8") as stream:
        stream.write(text)
    done = build(copy, tmp_path / "site")
    assert done.returncode != 0
    assert told in done.stderr


def test_the_study_with_an_own_config_is_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = dict(_TITLED.findall((ROOT / "docs" / "own_config.md").read_text(encoding="utf-8")))
    assert set(blocks) == {"my_model.py", "study.yaml"}
    for name, text in blocks.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    drawn_cats.draw(tmp_path / "drawn_cats", train=2, val=2, seed=1)
    assert main(["check", "study.yaml"]) == 0
    told = capsys.readouterr().out
    assert "my_model.py is Python and is run." in told
    assert "OK: study 'mobile'" in told


@pytest.mark.parametrize("page", OUTSIDE)
def test_links_of_pages_from_outside_lead_somewhere(page: str) -> None:
    file = ROOT / page
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", file.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (file.parent / link).exists()] == []


def test_targets_that_pages_name_are_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / ".ci" / "run", *(ROOT / "docs").glob("*.md")):
        named = re.findall(r"(?:^|`|\$ )make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(named) <= targets, page.name
    assert "docs" in re.findall(r"^make ([a-z-]+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_citation_is_one_by_its_format() -> None:
    """What version 1.2.0 of the Citation File Format requires, and values that it knows."""
    citation = YAML(typ="safe", pure=True).load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert all(set(author) & {"name", "family-names", "given-names", "alias"} for author in citation["authors"])
    assert citation["authors"]
    assert citation["type"] in ("software", "dataset")
    known = {"abstract", "keywords", "license", "type", "version", "date-released", "doi", "identifiers", "url"}
    assert set(citation) - {"cff-version", "message", "title", "authors"} <= known
    named = (citation["title"], str(citation["version"]), citation["license"])
    assert named == (project["name"], project["version"], project["license"])


def test_the_changelog_has_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.startswith("# Changelog\n")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings
    assert all(re.fullmatch(r"\[Unreleased\]|\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading) for heading in headings)
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
