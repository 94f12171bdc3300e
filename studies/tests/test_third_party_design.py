"""A design from another distribution: found by its entry point, held to the contract; a broken one harms nobody."""

import os
import subprocess
import sys

import pytest

DESIGN = """\
from typing import Any, Literal

from posestudy_studies.designs.base import Design, Probe, Proposal


class LatinSquare(Design):
    design: Literal["latin_square"]
    first: dict[str, list[Any]]

    def opening(self, start):
        levels = [dict(zip(self.first, row)) for row in zip(*self.first.values())]
        return [Proposal(f"row_{i}", row) for i, row in enumerate(levels)]

    def probes(self):
        return [
            Probe(("first",), proposal.levels, {f: ("first", f, i) for f in self.first})
            for i, proposal in enumerate(self.opening(None))
        ]
"""
CONTRACT = """\
from posestudy_studies.designs.contract import DesignContract


class TestLatinSquare(DesignContract):
    stage = {"name": "s", "design": "latin_square", "first": {"sigma": [1.0, 3.0], "batch_size": [4, 16]}}
"""
ENTRIES = """\
[posestudy.designs]
latin_square = square:LatinSquare
broken = square:NotThere
"""


@pytest.fixture
def distribution(tmp_path):
    (tmp_path / "square.py").write_text(DESIGN, encoding="utf-8")
    (tmp_path / "test_square.py").write_text(CONTRACT, encoding="utf-8")
    info = tmp_path / "square-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: square\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(ENTRIES, encoding="utf-8")
    return tmp_path


def python(folder, *arguments):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env={**kept, "PYTHONPATH": str(folder)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_it_passes_the_contract_under_its_entry_point(distribution):
    done = python(distribution, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "test_square.py")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_a_broken_one_is_named_in_a_warning_and_left_out(distribution):
    code = "from posestudy_studies.designs.registry import designs; print(*designs())"
    done = python(distribution, "-c", code)
    assert {"latin_square", "variants", "bisect", "search"} <= set(done.stdout.split())
    assert "broken" not in done.stdout
    assert "design 'broken' (square:NotThere) cannot be loaded" in done.stderr
