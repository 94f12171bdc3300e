"""The shape of the repository: four regular packages, nothing that shadows the standard library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = {
    "platform": "posestudy",
    "studies": "posestudy_studies",
    "runner": "posestudy_runner",
    "reports": "posestudy_reports",
}


@pytest.mark.parametrize("part", PARTS)
def test_no_root_is_a_package(part: str) -> None:
    assert not (ROOT / part / "__init__.py").exists(), f"{part}/__init__.py would shadow or misplace a package"


@pytest.mark.parametrize(("part", "package"), PARTS.items())
def test_each_part_holds_one_regular_package(part: str, package: str) -> None:
    assert (ROOT / part / package / "__init__.py").exists()


def test_standard_library_platform_is_reachable_from_the_repository_root() -> None:
    subprocess.run([sys.executable, "-c", "import platform; platform.python_version()"], cwd=ROOT, check=True)


def test_no_module_takes_a_standard_library_name() -> None:
    own = [p for part, package in PARTS.items() for p in (ROOT / part / package).glob("*.py")]
    assert not [str(p) for p in own if p.stem in sys.stdlib_module_names]


def test_test_files_have_unique_names() -> None:
    names = [p.name for part in PARTS for p in (ROOT / part / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_every_module_opens_with_a_sentence() -> None:
    silent = [
        str(p.relative_to(ROOT))
        for part, package in PARTS.items()
        for p in (ROOT / part / package).rglob("*.py")
        if not p.read_text(encoding="utf-8").lstrip().startswith(('"""', 'r"""'))
    ]
    assert silent == []


def test_import_law_holds_and_catches_a_planted_break(tmp_path: Path) -> None:
    """The contract of pyproject.toml, run on the real packages and on a copy with one wrong import."""
    lint = Path(sys.executable).parent / "lint-imports"
    subprocess.run([lint], cwd=ROOT, check=True, capture_output=True)
    planted = tmp_path / "posestudy"
    planted.mkdir()
    (planted / "__init__.py").write_text('"""Planted."""\nimport posestudy_studies\n', encoding="utf-8")
    for package in ("posestudy_studies", "posestudy_runner", "posestudy_reports"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text('"""Planted."""\n', encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text(encoding="utf-8"), encoding="utf-8")
    broken = subprocess.run([lint], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert broken.returncode != 0
    assert "posestudy is not allowed to import posestudy_studies" in broken.stdout
