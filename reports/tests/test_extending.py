"""The example package: installed beside posestudy it passes the contracts, and one study uses all that it adds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "extending"
PAGE = ROOT / "docs" / "extending.md"
_CODE = re.compile(r"^```\w+ title=\"(examples/[^\"]+)\"\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_POSESTUDY = ("-c", "from posestudy.commands.app import run; run()")


def test_the_code_of_the_page_is_that_of_the_example() -> None:
    blocks = _CODE.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) > 5
    for file, code in blocks:
        assert code in (ROOT / file).read_text(encoding="utf-8"), f"{PAGE.name} shows what is not in {file}:\n{code}"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the example is installed, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), str(EXAMPLE)]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return folder


def python(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A new Python for which the example is installed beside posestudy."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("PYTEST_", "POSESTUDY_", "MLFLOW_T"))}
    path = os.pathsep.join([str(installed), *filter(None, [kept.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env={**kept, "PYTHONPATH": path}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_it_stands_among_what_there_is_to_choose_from(installed: Path, tmp_path: Path) -> None:
    code = (
        "import json; from posestudy_reports import writers; from posestudy_runner import engines; "
        "from posestudy_studies import presets; from posestudy_studies.designs.registry import designs; "
        "print(json.dumps([list(designs()), presets.names(), engines.names(), writers.names()]))"
    )
    designs, presets, engines, formats = json.loads(python(installed, tmp_path, "-c", code).stdout)
    assert {"latin_square", "grid"} <= set(designs)
    assert {"plain_tiny", "resnet50"} <= set(presets)
    assert {"processes", "local"} <= set(engines)
    assert {"rst", "latex"} <= set(formats)


@pytest.mark.slow
def test_it_keeps_the_contracts(installed: Path, tmp_path: Path) -> None:
    options = ("-q", "-p", "no:cacheprovider", "-W", "ignore", "-c", os.devnull, f"--rootdir={tmp_path}")
    done = python(installed, tmp_path, "-m", "pytest", *options, str(EXAMPLE / "tests"))
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout


@pytest.mark.slow
def test_one_study_uses_all_of_it(installed: Path, tmp_path: Path) -> None:
    def posestudy(*arguments: str) -> subprocess.CompletedProcess[str]:
        return python(installed, tmp_path, *_POSESTUDY, *arguments)

    study = str(EXAMPLE / "study.yaml")
    for command in (
        ("draw", "drawn_cats", "--train", "16", "--val", "8"),
        ("check", study),
        ("launch", study, "--engine", "processes", "--workers", "1"),
        ("report", "extended", "--out", "out", "--format", "rst", "--no-mlflow"),
    ):
        done = posestudy(*command)
        assert done.returncode == 0, done.stdout + done.stderr
    trials = json.loads(posestudy("status", "extended", "--json").stdout)["trials"]
    assert [trial["cell"] for trial in trials] == ["cell_1", "cell_2", "cell_3", "cell_4"]
    assert {trial["outcome"] for trial in trials} == {"completed"}
    made = (tmp_path / "out" / "report.rst").read_text(encoding="utf-8")
    assert ".. list-table::" in made
    assert all(f"sigma {level}" in made for level in ("1", "1.5"))


BROKEN = """\
[posestudy.presets]
resnet50 = missing:PRESET
not_there = missing:PRESET
renamed = broken_presets:RENAMED
[posestudy.engines]
local = missing:run
not_there = missing:run
[posestudy.writers]
not_there = missing:write
"""
RENAMED = """\
from dataclasses import replace

from posestudy_studies import presets
from posestudy_studies.presets.resnets import PRESETS

RENAMED = replace(PRESETS[0], name="another")
"""


def test_a_broken_one_is_told_and_harms_nobody(tmp_path: Path) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(BROKEN, encoding="utf-8")
    (tmp_path / "broken_presets.py").write_text(RENAMED, encoding="utf-8")
    code = (
        "from posestudy.errors import PoseStudyError\n"
        "from posestudy_reports import writers\nfrom posestudy_runner import engines\n"
        "from posestudy_studies import presets\n"
        "print(presets.preset('resnet50').channels, *presets.names(), engines.engine('local').__module__)\n"
        "for ask in (engines.engine, writers.writer):\n"
        "    try:\n        ask('not_there')\n"
        "    except PoseStudyError as error:\n        print(error)\n"
    )
    done = python(tmp_path, tmp_path, "-c", code)
    first, *errors = done.stdout.splitlines()
    assert first.startswith("2048 resnet18 ")
    assert first.endswith(" posestudy_runner.engines.local")
    assert not {"not_there", "renamed", "another"} & set(first.split())
    assert "preset 'resnet50' (missing:PRESET) has the name of one that is built in" in done.stderr
    assert "preset 'not_there' (missing:PRESET) cannot be loaded: No module named 'missing'" in done.stderr
    assert "preset 'renamed' (broken_presets:RENAMED) calls itself 'another'" in done.stderr
    assert errors == [
        "engine 'not_there' (missing:run) cannot be loaded: No module named 'missing'",
        "format 'not_there' (missing:write) cannot be loaded: No module named 'missing'",
    ]
