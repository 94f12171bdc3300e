"""The page on security names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_the_page_names_is_there() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(?:\w+/tests/)?(test_\w+\.py)`", page))
    there = {file.name for file in ROOT.glob("*/tests/test_*.py")}
    assert len(named) > 12
    assert named <= there
    assert {path for path in re.findall(r"`(\w+/tests/test_\w+\.py)`", page) if not (ROOT / path).is_file()} == set()
