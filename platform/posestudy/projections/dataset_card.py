"""The data set inputs of a study's runs: name, digest and place of each split, without secrets."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from posestudy.ledger.records import StudyRecord
from posestudy.projections.run_card import cut, digest

# MLflow's limits for data set names and digests.
_NAME_LIMIT = 500
_DIGEST_CHARACTERS = 32

_CONTEXTS = {"train": "training", "val": "validation"}


@dataclass(frozen=True)
class DatasetCard:
    """One split as MLflow shall show it. `digest` is the annotation file's sha256 (32 hexadecimal digits of it)."""

    name: str
    digest: str
    source: str
    context: str


def without_secrets(place: str) -> str:
    """`place` without user name, password, query and fragment where it is a URL."""
    if "://" not in place:
        return place
    parts = urlsplit(place)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def dataset_cards(study: StudyRecord) -> list[DatasetCard]:
    """The splits that every trial of `study` reads; none where the study file names no annotations."""
    dataset = study.document.get("dataset")
    if not isinstance(dataset, Mapping):
        return []
    root = str(dataset.get("root") or "")
    found = []
    for split, context in _CONTEXTS.items():
        section = dataset.get(split)
        if not isinstance(section, Mapping) or not section.get("annotations"):
            continue
        place = _join(root, str(section["annotations"]))
        found.append(
            DatasetCard(
                name=cut(f"{study.name} {split}", _NAME_LIMIT),
                digest=_file_digest(place) or digest([root, dict(section)]),
                source=without_secrets(place),
                context=context,
            )
        )
    return found


def _join(root: str, annotations: str) -> str:
    return f"{root.rstrip('/')}/{annotations}" if "://" in root else str(Path(root) / annotations)


def _file_digest(place: str) -> str | None:
    try:
        stat = Path(place).stat()
        return _sha256(place, stat.st_mtime_ns, stat.st_size)
    except (OSError, ValueError):
        return None


@functools.lru_cache(maxsize=64)
def _sha256(place: str, modified: int, size: int) -> str:
    """The arguments beside `place` only make a changed file miss the cache."""
    with open(place, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_DIGEST_CHARACTERS]
