"""A power cut, played on the files of processes that were just killed: what was not synced is lost."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Rename:
    """A rename whose folder was not synced afterwards."""

    source: Path
    target: Path
    stashed: int


def cut(root: Path, events: Path, stash: Path, rng: random.Random) -> str:
    """Make the files below `root` what they could be after a power cut; returns what was done in few words.

    A file keeps what it held at its last fsync; of what was written after that, a random part of the tail is lost. A
    rename whose folder was not synced may not have happened. Shared memory of SQLite never survives.
    """
    durable, renames = _history(events)
    undone = sum(_undo(rename, stash, rng) for rename in reversed(renames) if rng.random() < 0.5)
    lost = [_truncate(path, durable, rng) for path in sorted(root.rglob("*")) if path.is_file()]
    for kept in stash.iterdir():
        kept.unlink()
    settle(root, events)
    return f"{sum(size > 0 for size in lost)} files shortened by {sum(lost)} bytes, {undone} renames undone"


def settle(root: Path, events: Path) -> None:
    """Take everything below `root` as being on the disk, as it is after a restart or a while of rest."""
    sizes = {path.stat().st_ino: path.stat().st_size for path in root.rglob("*") if path.is_file()}
    lines = [f"0\tsync\t{inode}\t{size}\t{root}\t\t-1\n" for inode, size in sizes.items()]
    # Written in place: processes that live have it open.
    events.write_text("".join(lines), encoding="utf-8")


def _history(events: Path) -> tuple[dict[int, int], list[Rename]]:
    durable: dict[int, int] = {}
    renames: list[Rename] = []
    for line in events.read_text(encoding="utf-8", errors="replace").splitlines() if events.exists() else ():
        fields = line.split("\t")
        if len(fields) != 7:
            continue
        _, call, inode, size, path, target, stashed = fields
        if call == "sync":
            durable[int(inode)] = int(size)
        elif call == "rename":
            renames.append(Rename(Path(path), Path(target), int(stashed)))
        elif call == "folder":
            renames = [rename for rename in renames if str(rename.target.parent) != path]
    return durable, renames


def _undo(rename: Rename, stash: Path, rng: random.Random) -> bool:
    if not rename.target.exists() or rename.source.exists():
        return False
    os.rename(rename.target, rename.source)
    before = stash / str(rename.stashed)
    if rename.stashed >= 0 and before.exists():
        os.link(before, rename.target)
    return True


def _truncate(path: Path, durable: dict[int, int], rng: random.Random) -> int:
    if path.name.endswith("-shm"):
        path.unlink()
        return 0
    status = path.stat()
    kept = min(status.st_size, durable.get(status.st_ino, 0))
    if kept == status.st_size:
        return 0
    kept += rng.choice((0, rng.randrange(status.st_size - kept)))
    os.truncate(path, kept)
    return status.st_size - kept
