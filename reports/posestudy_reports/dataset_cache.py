"""Keeps what was found of a data set, so that reading its images is paid for once."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from posestudy import sealed_json
from posestudy.home import Home
from posestudy_reports.dataset_analysis import DatasetAnalysis, analyse, splits_of
from posestudy_studies import layouts
from posestudy_studies.spec import Dataset

VERSION: Final = 2
"""To be raised with whatever changes the numbers."""

Stamps = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Known:
    """What is known of a data set.

    Attributes:
        there: whether its files are still there; else `analysis` is what was found when they were.
        changed: whether they are not those that the study was launched with.
    """

    analysis: DatasetAnalysis
    there: bool
    changed: bool


@dataclass(frozen=True)
class _Kept:
    stamps: Stamps
    analysis: DatasetAnalysis


def known(dataset: Dataset, home: Home | None, *, anew: bool = False) -> Known | None:
    """What the data set holds: from the cache of `home`, where its annotation files and folders are as they were, else
    from its files; None where neither is there.

    Args:
        dataset: with the fingerprint it was launched with, where it was.
        home: None: nothing is kept.
        anew: read the files even where the cache would do.

    Raises:
        PoseStudyError: the keypoint layout is not known.
    """
    path = None if home is None else home.cache / f"dataset_{_key(dataset)}.json"
    now, kept = _stamps(dataset), _read(path)
    if kept is None or anew or (kept.stamps != now and now.keys() >= kept.stamps.keys()):
        analysis = analyse(dataset)
        if not analysis.splits:
            return None
        kept = _Kept(now, analysis)
        _write(path, kept)
    there = now.keys() >= kept.stamps.keys()
    found = kept.analysis.fingerprint
    changed = there and bool(dataset.fingerprint) and bool(found) and found != dataset.fingerprint
    return Known(kept.analysis, there, changed)


def _key(dataset: Dataset) -> str:
    """Of what the analysis depends on beside the contents of the files."""
    layout = layouts.layout(dataset.keypoints)
    parts = [VERSION, dataset.model_dump(mode="json", exclude={"fingerprint"}), layout.metainfo, dataset.boxes_from]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _stamps(dataset: Dataset) -> Stamps:
    """Of the annotation files and image folders that are there: the latest change (ns) and the length, of a folder
    that of all files in it, so that an image that takes the place of another is noticed."""
    found: Stamps = {}
    for name, split in splits_of(dataset).items():
        for what in (split.annotations, split.images):
            path = Path(dataset.root) / what
            try:
                found[f"{name}:{what}"] = _folder(path) if path.is_dir() else _stamp(path.stat())
            except OSError:
                continue
    return found


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_mtime_ns, status.st_size


def _folder(path: Path) -> tuple[int, int]:
    with os.scandir(path) as entries:
        stamps = [_stamp(path.stat()), *(_stamp(entry.stat()) for entry in entries if entry.is_file())]
    return max(changed for changed, _ in stamps), sum(size for _, size in stamps)


def _read(path: Path | None) -> _Kept | None:
    """None where there is no such file, or one that is damaged."""
    from pydantic import TypeAdapter, ValidationError

    try:
        document = sealed_json.read(path) if path else None
        return TypeAdapter(_Kept).validate_json(document["kept"]) if document else None
    except (KeyError, ValidationError, RecursionError):
        return None


def _write(path: Path | None, kept: _Kept) -> None:
    """A home that cannot be written costs time, not the report."""
    from contextlib import suppress

    from pydantic import TypeAdapter

    if path is not None:
        with suppress(OSError):
            sealed_json.write(path, {"kept": TypeAdapter(_Kept).dump_json(kept).decode()})
