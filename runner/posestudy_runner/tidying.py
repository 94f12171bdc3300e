"""Removing checkpoints nothing can be resumed from any more."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

_EPOCH = re.compile(r"epoch_(\d+)\.pth")
_DISPOSABLE = re.compile(r"epoch_\d+\.(pth|tmp)|best\.before\.pth|best\.tmp")


def tidy_after_epoch(trial_folder: Path, fence: int, oldest: int) -> None:
    """Remove the checkpoints of epochs before `oldest` of this attempt, and all of earlier attempts.

    Newer ones stay even where the ledger does not know them yet: the trial runs on meanwhile.
    """
    for folder, path in _files(trial_folder, fence):
        match = _EPOCH.fullmatch(path.name)
        if match and (folder.name != str(fence) or int(match[1]) < oldest):
            _remove(path)


def tidy_after_end(trial_folder: Path, fence: int, keep: Collection[Path]) -> None:
    """Remove everything only a resume would have needed, but `keep`; the trial process is dead."""
    for _, path in _files(trial_folder, fence):
        if _DISPOSABLE.fullmatch(path.name) and path not in keep:
            _remove(path)


def _files(trial_folder: Path, fence: int) -> Iterator[tuple[Path, Path]]:
    """Files of this and earlier attempts, each with its attempt folder. A later attempt is another worker's."""
    for path in trial_folder.glob("*/*"):
        if path.parent.name.isdigit() and int(path.parent.name) <= fence:
            yield path.parent, path


def _remove(path: Path) -> None:
    # Disk space is all that is at stake.
    with suppress(OSError):
        path.unlink()
