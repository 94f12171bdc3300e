"""The documents: links lead somewhere, the reference is what the code says, examples are valid studies."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
_YAML = re.compile(r"```yaml\n(study: .*?)```", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_reference_is_what_the_code_says() -> None:
    for path, text in runpy.run_path(str(ROOT / "docs" / "make_reference.py"))["pages"]().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale: make reference"


def test_the_reference_says_values_as_a_study_file_does_and_leaves_nothing_unsaid() -> None:
    keys = (ROOT / "docs" / "reference" / "study_file.md").read_text(encoding="utf-8")
    assert "| `null` |" in keys
    assert re.findall(r"`(?:None|True|False)`", keys) == []
    options = (ROOT / "docs" / "reference" / "command_line.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| .* \| *\|$", options, re.MULTILINE) == []


def test_every_study_in_the_documents_is_valid(tmp_path: Path) -> None:
    from posestudy_studies.file import load

    found = [text for page in PAGES for text in _YAML.findall(page.read_text(encoding="utf-8"))]
    assert found
    for number, text in enumerate(found):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text, encoding="utf-8")
        load(path)


@pytest.mark.parametrize("study", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda p: p.name)
def test_studies_that_ship_are_valid_and_named_after_their_file(study: Path) -> None:
    from posestudy_studies.file import load

    assert load(study).study == study.stem


def test_the_two_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    commands = re.findall(r"^\$ make ([a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert commands == ["demo", "test"]
    assert all(f"\n{command}:" in makefile for command in commands)
