"""What of a home nothing needs any more: neither the ledger, MLflow, a report, nor a trial that still runs."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Snapshot, TrialRecord
from posestudy.vocabulary import TrialState
from posestudy_runner import image_stores
from posestudy_runner.image_cache import ImageCache
from posestudy_runner.tidying import disposable, is_torn

HOUR_S = 3600.0
"""A temporary file that was not touched for so long is nobody's: on another machine its writer cannot be looked up."""
CACHE_S = 30 * 24 * HOUR_S
"""A cached file that was not written anew for so long is old; of decoded images, a store that no trial opened."""
LOCK_S = 5.0
"""How long to wait for the lock of the folder of decoded images; trials hold it for a moment each."""

_TEMPORARY = re.compile(r"\..+\.(\d+)\.[0-9a-f]{8}\.tmp")
_SET_ASIDE = re.compile(r"\d+\.before\.[0-9a-f]{8}")
"""The folder of an attempt that the ledger forgot when it was put back to an older state."""
_MEASURED = re.compile(r"measure-(\d+)")
_SHOWN = "training.log"
"""What `posestudy logs` prints of every attempt."""


@dataclass(frozen=True)
class Garbage:
    """A file nothing needs, its size in bytes, and why it is not needed."""

    path: Path
    size: int
    why: str


def find(home: Home, ledger: Ledger, study: str | None = None, *, images: bool = False) -> list[Garbage]:
    """Everything that may go, by path; trials that run are left alone.

    Args:
        home: its folders are looked through; what lies there of studies that `ledger` does not know stays.
        ledger: says what is finished, what is pointed at and what still waits for weights.
        study: only the trials of this one; None for all of them, and for temporary and cached files.
        images: also the decoded images that no trial uses now, however new they are.

    Raises:
        NotFoundError: no such study.
        LedgerUnavailableError: the ledger cannot be reached.
    """
    snapshots = [ledger.snapshot(known.name, values=False) for known in ledger.studies()]
    chosen = snapshots if study is None else [ledger.snapshot(study, values=False)]
    awaited = {
        Path(one.checkpoint.path)
        for snapshot in snapshots
        for trial in snapshot.trials
        if trial.state is not TrialState.DONE
        for one in ledger.trained_alike(trial.uid)
    }
    found: dict[Path, Garbage] = {}
    for snapshot in chosen:
        for trial in snapshot.trials:
            if trial.state is not TrialState.RUNNING:
                for path, why in _of_trial(home, snapshot, trial, awaited):
                    _add(found, path, why)
    if study is None:
        running = {
            home.attempt(s.study.name, t.number, 0).folder.parent
            for s in snapshots
            for t in s.trials
            if t.state is TrialState.RUNNING
        }
        for path, why in (*_temporary(home, running), *_cached(home)):
            _add(found, path, why)
    if images or study is None:
        for store, in_use in stores_of_images(home):
            if not in_use and (images or time.time() - store.used > CACHE_S):
                why = "decoded images that no trial uses; they are decoded again when they are needed"
                found[store.path] = Garbage(store.path, store.size, why)
    return [found[path] for path in sorted(found)]


def remove(home: Home, garbage: Iterable[Garbage]) -> list[tuple[Garbage, str]]:
    """Delete the files, and folders in `home` that are empty then; returns those that could not be, each with why."""
    failed = []
    for one in garbage:
        try:
            if image_stores.is_store(one.path):
                with image_stores.locked(one.path.parent, LOCK_S):
                    if not image_stores.remove(one.path):
                        failed.append((one, "a trial has begun to use it"))
            else:
                one.path.unlink(missing_ok=True)
            _remove_empty(home, one.path.parent)
        except OSError as error:
            failed.append((one, error.strerror or str(error)))
    return failed


def stores_of_images(home: Home) -> list[tuple[image_stores.StoreFile, bool]]:
    """The stores of decoded images, in `home` and in the folder chosen instead; each with whether a process uses it.

    Raises:
        PoseStudyError: see `ImageCache.resolve`.
    """
    chosen = ImageCache.resolve(home).folder or home.decoded_images
    found = []
    for folder in sorted({home.decoded_images, chosen}):
        try:
            with image_stores.locked(folder, LOCK_S):
                found += [(store, image_stores.in_use(store.path)) for store in image_stores.stores(folder)]
        except OSError:  # whoever holds the lock for so long uses them
            found += [(store, True) for store in image_stores.stores(folder)]
    return found


def _remove_empty(home: Home, folder: Path) -> None:
    try:
        while home.root in folder.parents and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent
    except OSError:
        return  # somebody has written into it meanwhile, or may not be removed: it is empty, no more


def _add(found: dict[Path, Garbage], path: Path, why: str) -> None:
    try:
        found.setdefault(path, Garbage(path, path.lstat().st_size, why))
    except OSError:
        return  # gone already


def _of_trial(home: Home, snapshot: Snapshot, trial: TrialRecord, awaited: set[Path]) -> Iterator[tuple[Path, str]]:
    folder = home.attempt(snapshot.study.name, trial.number, trial.fence).folder.parent
    if trial.state is not TrialState.DONE:
        # Any checkpoint may be the one it goes on from, any journal may hold epochs the ledger has not heard of.
        for path in folder.glob("*/*"):
            if _fence(path.parent) <= trial.fence and is_torn(path.name):
                yield path, "half-written by an attempt that is over"
        return
    pointed = {Path(path) for path in (trial.ckpt_path,) if path}
    for aside in folder.glob("*.before.*"):
        for path in aside.rglob("*") if _SET_ASIDE.fullmatch(aside.name) else ():
            if not path.is_dir() and path not in pointed | awaited:
                yield path, "of an attempt that the ledger forgot when it was restored"
    retention = str(snapshot.study.document.get("retention") or "")
    for path in disposable(folder, trial.fence, pointed, retention):
        if path not in awaited:
            yield path, "a checkpoint of a finished trial that its study does not keep"
    last = next(
        (a.folder for a in home.attempts(snapshot.study.name, trial.number) if _fence(a.folder) <= trial.fence), None
    )
    if last is None:
        return
    kept = {path.name for path in last.iterdir()}
    for path in folder.glob("*/**/*"):
        attempt, name = path.relative_to(folder).parts[:2]
        replaced = attempt != last.name and _fence(folder / attempt) <= _fence(last) and name in kept
        if replaced and not path.is_dir() and path not in pointed | awaited and name != _SHOWN:
            yield path, "of an attempt whose work a later one has taken over"


def _fence(folder: Path) -> float:
    """The fence of an attempt folder; of one set aside as a stranger's that it had."""
    number = folder.name.partition(".")[0]
    return int(number) if number.isdecimal() else float("inf")


def _temporary(home: Home, running: set[Path]) -> Iterator[tuple[Path, str]]:
    folders = [home.root.glob("*"), home.runs.rglob("*"), home.cache.rglob("*"), (home.root / "reports").rglob("*")]
    for path in (path for some in folders for path in some):
        match = _TEMPORARY.fullmatch(path.name)
        if match and _is_old(path, HOUR_S) and not _lives(int(match[1])) and not running & set(path.parents):
            yield path, "half-written by a process that is gone"
    for folder in home.root.glob("measure-*"):
        measured = _MEASURED.fullmatch(folder.name)
        if measured and _is_old(folder, HOUR_S) and not _lives(int(measured[1])):
            for path in folder.rglob("*"):
                if not path.is_dir():
                    yield path, "left by `posestudy plan --measure`"


def _cached(home: Home) -> Iterator[tuple[Path, str]]:
    for path in home.cache.rglob("*"):
        if path.is_file() and not image_stores.is_store(path) and _is_old(path, CACHE_S):
            yield path, "cached and old; it is made anew when it is needed"


def _is_old(path: Path, seconds: float) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > seconds
    except OSError:
        return False


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
