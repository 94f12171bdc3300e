"""Finds the runs in logs and work dirs of MMPose 0.x and 1.x, and puts the files of each together."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from posestudy.durable import sha256_file
from posestudy.errors import InputError, Problem
from posestudy_studies.fields import is_name
from posestudy_studies.imports import config_facts, environment, json_lines, mmpose0_log, mmpose1_scalars
from posestudy_studies.imports.json_lines import Lines
from posestudy_studies.imports.logged_run import Facts, LoggedRun

_SCALARS = "scalars.json"
_HEAD_BYTES = 1 << 17
_WORK_DIRS, _SEED = "work_dirs", re.compile(r"seed_(\d{1,9})")


@dataclass(frozen=True)
class Place:
    """Which replicate of an exported study a run is, by the folders above it."""

    stage: str
    cell: str
    seed: int


@dataclass(frozen=True)
class LogSource:
    """One run and where it was read.

    Attributes:
        name: from the log or its work dir.
        file: the log, of a resumed run its last one, as the user named it.
        sha256: of the log, of a resumed run over all of its logs.
        place: of a trial of `posestudy export`; None for any other run.
    """

    name: str
    file: Path
    sha256: str
    run: LoggedRun
    place: Place | None = None


def runs(path: Path) -> list[LogSource]:
    """The runs in a log, or in a folder: a work dir or one that holds work dirs.

    A log that begins after epoch 1 goes on with the run of the log before it in the same work dir; one that begins with
    epoch 1 is a run of its own.

    Raises:
        InputError: nothing there is a log of MMPose, or a log is damaged or holds no validation.
    """
    if not path.is_dir():
        return [_source(_name_of(path), [json_lines.read(path)])]
    groups: dict[Path, list[Path]] = {}
    for file in sorted([*path.rglob(_SCALARS), *path.rglob("*.log.json")]):
        groups.setdefault(_work_dir(file), []).append(file)
    found = [source for folder, files in groups.items() for source in _in_work_dir(folder.name, files)]
    if not found:
        what = "a work dir with *.log.json (MMPose 0.x) or TIMESTAMP/vis_data/scalars.json (1.x)"
        raise InputError([Problem(str(path), 0, 0, "", "no log with a validation", what)])
    return found


def _in_work_dir(name: str, files: Sequence[Path]) -> list[LogSource]:
    grouped: list[list[Lines]] = []
    for lines in (json_lines.read(file) for file in files if file.stat().st_size):
        if grouped and _goes_on(lines, grouped[-1][0]):
            grouped[-1].append(lines)
        else:
            grouped.append([lines])
    found = []
    for parts in grouped:
        run = _run(parts)
        # A start that failed before its first validation leaves a log too.
        if run.evaluated:
            found.append(_sourced(name, parts, run))
    return found


def _source(name: str, parts: list[Lines]) -> LogSource:
    run = _run(parts)
    if not run.evaluated:
        expected = "a log with the values of at least one validation"
        raise InputError([Problem(str(parts[-1].file), 0, 0, "", "no validation", expected)])
    return _sourced(name, parts, run)


def _sourced(name: str, parts: Sequence[Lines], run: LoggedRun) -> LogSource:
    sums = [sha256_file(lines.file) for lines in parts]
    digest = sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()
    place = _place(_work_dir(parts[-1].file))
    return LogSource(name if place is None else place.cell, parts[-1].file, digest, run, place)


def _is_old(lines: Lines) -> bool:
    """Whether the lines are of MMPose 0.x; of 1.x else. Raises InputError where they are of neither."""
    if mmpose0_log.is_mine(lines):
        return True
    if mmpose1_scalars.is_mine(lines):
        return False
    number, first = lines.objects[0]
    found = f"an object with {', '.join(map(repr, list(first)[:4])) or 'nothing in it'}"
    expected = "lines of MMPose 0.x (with 'mode') or 1.x (with 'step')"
    raise InputError([Problem(str(lines.file), number, 1, "", found, expected)])


def _goes_on(lines: Lines, before: Lines) -> bool:
    old = _is_old(lines)
    kind = mmpose0_log if old else mmpose1_scalars
    return kind.first_epoch(lines) > 1 and _is_old(before) is old


def _run(parts: Sequence[Lines]) -> LoggedRun:
    if _is_old(parts[0]):
        return mmpose0_log.read(parts)
    first, last = _facts_beside(parts[0].file), _facts_beside(parts[-1].file)
    return mmpose1_scalars.read(parts, Facts(last.max_epochs, first.seed, last.provenance))


def _facts_beside(scalars: Path) -> Facts:
    """What the config and the text log of the same start say: `TIMESTAMP/vis_data/config.py`, `TIMESTAMP/*.log`."""
    if scalars.parent.name != "vis_data":
        return Facts()
    stated = config_facts.facts(_head(scalars.with_name("config.py"), 1 << 22))
    logs = sorted(scalars.parent.parent.glob("*.log"))
    found = environment.facts(_head(logs[-1], _HEAD_BYTES)) if logs else Facts()
    # MMEngine draws a seed where the config has none, and says so in the log.
    return Facts(stated.max_epochs, found.seed if found.seed is not None else stated.seed, found.provenance)


def _head(file: Path, size: int) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(size).decode("utf-8", "replace")
    except OSError:
        return ""


def _name_of(file: Path) -> str:
    if file.name == _SCALARS or file.parent.name == "vis_data":
        return _work_dir(file).name
    return file.name.removesuffix(".json").removesuffix(".log")


def _work_dir(file: Path) -> Path:
    """`WORK_DIR/TIMESTAMP/vis_data/scalars.json` (1.x), `WORK_DIR/TIMESTAMP.log.json` (0.x)."""
    folder = file.resolve().parent
    return folder.parent.parent if folder.name == "vis_data" else folder


def _place(work_dir: Path) -> Place | None:
    """`STAGE/CELL/seed_N/work_dirs`, as an exported study has it."""
    stage, cell, seed, last = ("", "", "", *work_dir.parts)[-4:]
    number = _SEED.fullmatch(seed)
    if last != _WORK_DIRS or number is None or not is_name(stage) or not is_name(cell):
        return None
    return Place(stage, cell, int(number[1]))


def distinct(names: Iterable[str]) -> list[str]:
    """The names, with `-2`, `-3` behind those that stood before."""
    taken: set[str] = set()
    found = []
    for name in names:
        count, unique = 1, name
        while unique in taken:
            count += 1
            unique = f"{name}-{count}"
        taken.add(unique)
        found.append(unique)
    return found
