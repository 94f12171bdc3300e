"""Makes a backup of a home while workers write to it."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import posestudy
from posestudy.backups import containers, manifest
from posestudy.backups.containers import Limited, Sink
from posestudy.backups.manifest import BackupError, FileEntry, LedgerEntry, Manifest
from posestudy.home import Home, safe_part
from posestudy.ledger import Ledger, copying, schema

_COMPRESSED = (".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z")
"""Who gives such a name expects one compressed file, not a folder called so."""


@dataclass
class _Copied:
    files: list[FileEntry] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def make(home: Home, ledger: Ledger, place: Path, *, files: bool = True, force: bool = False) -> Manifest:
    """Write a backup of `home` and its ledger to `place`, a new folder or, by its name, a tar file.

    Args:
        files: false for the ledger alone.
        force: replace a backup that is there.

    Raises:
        BackupError: `place` is taken or cannot be written; nothing is left there, and an earlier backup is as it was.
        LedgerError: the ledger cannot be read.
    """
    place = place.expanduser().absolute()
    _check_place(home, place, force)
    try:
        sink = containers.sink(place)
    except OSError as error:
        raise BackupError(f"cannot write a backup to {place}: {error.strerror or error}") from error
    try:
        made = _fill(sink, home, ledger, files)
        sink.finish()
    except OSError as error:
        raise BackupError(
            f"the backup {place} could not be written, nothing is left of it: {error.strerror or error}"
        ) from error
    finally:
        sink.discard()
    return made


def _check_place(home: Home, place: Path, force: bool) -> None:
    if any(place.is_relative_to(home.root / folder) for folder in manifest.FOLDERS):
        raise BackupError(f"{place} lies among the files to be copied; expected a place outside of {home.runs}")
    if place.suffix.lower() in _COMPRESSED:
        raise BackupError(f"cannot write a backup to {place}: expected the name of a folder, or one that ends in .tar")
    if not place.parent.is_dir():
        raise BackupError(f"cannot write a backup to {place}: there is no folder {place.parent}")
    if not os.path.lexists(place):
        return
    if not force:
        raise BackupError(f"{place} is there already; --force replaces a backup, another name keeps both")
    with containers.source(place) as old:
        old.manifest()
    if place.is_dir() == (place.suffix == ".tar"):
        raise BackupError(f"{place} is another kind of backup; remove it, or choose another name")


def _fill(sink: Sink, home: Home, ledger: Ledger, files: bool) -> Manifest:
    made = datetime.now(UTC).isoformat(timespec="seconds")
    copy = sink.work / f"{manifest.LEDGER}.copy"
    rows = ledger.copy_to(copy)
    contents = copying.contents(copy)
    ledger_entry = _put(sink, manifest.LEDGER, copy)
    copy.unlink()
    copied = _Copied()
    if files:
        _check_room(sink, home, contents)
        _copy_checkpoints(sink, home, contents, copied)
        for path in _others(home, contents):
            _copy(sink, home, path, copied)
    document = Manifest(
        made=made,
        posestudy=posestudy.__version__,
        revision=schema.REVISION,
        home=str(home.root),
        studies=list(contents.studies),
        rows=rows,
        ledger=ledger_entry,
        with_files=files,
        files=copied.files,
        notes=copied.notes,
    )
    listing = sink.work / f"{manifest.FILE}.copy"
    listing.write_text(json.dumps(document.model_dump(), indent=1, sort_keys=True), encoding="utf-8")
    _put(sink, manifest.FILE, listing)
    listing.unlink()
    return document


def _put(sink: Sink, name: str, path: Path) -> LedgerEntry:
    """Raises FileNotFoundError where the file went away meanwhile."""
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        limited = Limited(stream, size, padded=True)
        sink.put(name, limited)
    return LedgerEntry(bytes=limited.size, sha256=limited.sha256)


def _copy(sink: Sink, home: Home, path: Path, copied: _Copied) -> FileEntry | None:
    name = path.relative_to(home.root).as_posix()
    try:
        entry = FileEntry(path=name, **_put(sink, name, path).model_dump())
    except FileNotFoundError:
        return None
    except PermissionError as error:
        copied.notes.append(f"{path} cannot be read ({error.strerror}) and is not in the backup")
        return None
    copied.files.append(entry)
    return entry


def _copy_checkpoints(sink: Sink, home: Home, contents: copying.Contents, copied: _Copied) -> None:
    """Those of open trials first: a worker that goes on removes them soon."""
    done: set[str] = set()
    for checkpoint in contents.checkpoints:
        path = Path(checkpoint.path)
        if checkpoint.path in done:
            continue
        done.add(checkpoint.path)
        entry = None
        if _is_inside(path, home) and _is_plain(path):
            entry = _copy(sink, home, path, copied)
        if checkpoint.is_open and (entry is None or entry.sha256 != checkpoint.sha):
            copied.notes.append(
                f"trial {checkpoint.number} of '{checkpoint.study}': its checkpoint after epoch {checkpoint.epoch}, "
                f"{path}, is not in the backup ({_why_not(path, home, entry)}); restored, the trial goes on from the "
                "checkpoint before or from the start"
            )


def _is_inside(path: Path, home: Home) -> bool:
    return path.is_relative_to(home.runs) and ".." not in path.parts


def _why_not(path: Path, home: Home, entry: FileEntry | None) -> str:
    if entry is not None:
        return "its checksum is wrong"
    return "it is gone" if _is_inside(path, home) else f"it lies outside of {home.runs}"


def _others(home: Home, contents: copying.Contents) -> Iterator[Path]:
    """Files of the trials of the ledger but for checkpoints, then reports and measurements."""
    for study, number in contents.trials:
        yield from _below(home.runs / safe_part(study) / str(number))
    for study in contents.studies:
        yield from _below(home.report(study))
    yield from (path for path in (home.measurements, home.profiles) if path.is_file())


def _below(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(parent) / name
            if not _is_passing(name) and _is_plain(path):
                yield path


def _is_passing(name: str) -> bool:
    """Whether a file is a checkpoint, which is copied only where the ledger names it, or is being written."""
    return name.endswith(".tmp") or (name.endswith(".pth") and name.startswith(("epoch_", "preempted")))


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _check_room(sink: Sink, home: Home, contents: copying.Contents) -> None:
    named = {Path(c.path) for c in contents.checkpoints if _is_inside(Path(c.path), home)}
    needed = 0
    for path in [*named, *_others(home, contents)]:
        try:
            needed += path.stat().st_size
        except OSError:
            continue
    free = shutil.disk_usage(sink.place.parent).free
    if needed > free:
        raise BackupError(
            f"no room for the backup {sink.place}: it takes {needed / 1e6:.0f} MB, its disk has {free / 1e6:.0f} MB "
            "free; --no-files keeps the ledger alone"
        )
