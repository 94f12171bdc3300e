"""Removing checkpoints nothing can be resumed from any more, as far as the study's `retention` lets them go."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

ALL, BEST = "all", "best"
"""Values of `retention` beside the usual `best_and_last`."""

_EPOCH = re.compile(r"epoch_(\d+)\.pth")
_PREEMPTED = "preempted.pth"
_REPLACED = re.compile(r"best(?:\.keypoints)?\.before(?:_(\d+))?\.(?:pth|json)")
"""Best weights and their predictions, with the epoch at which better ones took their place."""
_TORN = re.compile(r"[^.].*\.tmp|(?:validating|testing)\.keypoints\.json")
"""What a process leaves that is killed while it writes."""
_BEST_WEIGHTS = "best.pth"


def tidy_after_epoch(trial_folder: Path, fence: int, oldest: int, retention: str = "") -> None:
    """Remove what the checkpoints of epoch `oldest` of this attempt and later ones do not need.

    These are the checkpoints before it, all of earlier attempts, and the best weights that were no longer the best at
    `oldest`. Newer ones stay even where the ledger does not know them yet: the trial runs on meanwhile.
    """
    for folder, path in _files(trial_folder, fence):
        earlier = folder.name != str(fence)
        if match := _EPOCH.fullmatch(path.name):
            gone = retention != ALL and (earlier or int(match[1]) < oldest)
        elif match := _REPLACED.fullmatch(path.name):
            gone = earlier or int(match[1] or 0) <= oldest
        else:
            gone = earlier and path.name == _PREEMPTED
        if gone:
            _remove(path)


def tidy_after_end(trial_folder: Path, fence: int, keep: Collection[Path], retention: str = "") -> None:
    """Remove everything only a resume would have needed, but `keep`; the trial process is dead."""
    for path in disposable(trial_folder, fence, keep, retention):
        _remove(path)


def disposable(trial_folder: Path, fence: int, last: Collection[Path], retention: str = "") -> list[Path]:
    """Files of a trial that ended under `fence` which its study does not keep.

    Args:
        trial_folder: the folder of its attempts.
        fence: of the attempt that ended it; later ones are left alone.
        last: the checkpoint the ledger points at. With `best` it stays only where there are no best weights.
        retention: of the study.
    """
    files = [path for _, path in _files(trial_folder, fence)]
    if retention == BEST and any(path.name == _BEST_WEIGHTS for path in files):
        last = ()
    return [path for path in files if path not in last and _is_disposable(path.name, retention)]


def _is_disposable(name: str, retention: str) -> bool:
    if _EPOCH.fullmatch(name):
        return retention != ALL
    return name == _PREEMPTED or bool(_REPLACED.fullmatch(name)) or is_torn(name)


def is_torn(name: str) -> bool:
    """Whether only a process that was killed leaves a file of this name in an attempt folder."""
    return bool(_TORN.fullmatch(name))


def _files(trial_folder: Path, fence: int) -> Iterator[tuple[Path, Path]]:
    """Files of this and earlier attempts, each with its attempt folder. A later attempt is another worker's."""
    for path in trial_folder.glob("*/*"):
        if path.parent.name.isdigit() and int(path.parent.name) <= fence:
            yield path.parent, path


def _remove(path: Path) -> None:
    # Disk space is all that is at stake.
    with suppress(OSError):
        path.unlink()
