"""Restores a backup into an empty ledger: every checksum is compared, nothing that is there is overwritten."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from posestudy.backups import containers, manifest
from posestudy.backups.containers import Limited, Source
from posestudy.backups.manifest import BackupError, FileEntry, LedgerEntry, Manifest
from posestudy.durable import commit_file, sha256_file, temporary_beside
from posestudy.errors import LedgerError, LedgerUnavailableError
from posestudy.home import Home
from posestudy.ledger import Ledger, copying


def restore(home: Home, database_url: str, place: Path, *, partial: bool = False) -> tuple[Manifest, list[str]]:
    """Fill the empty ledger at `database_url`, and `home` with the files of the backup at `place`.

    The ledger comes last and in one transaction: one that was not filled may be restored into again.

    Args:
        partial: leave out damaged files instead of stopping at the first; the ledger's copy must be sound anyway.

    Returns:
        The manifest without the files that were left out, and what was, as sentences.

    Raises:
        BackupError: there is no such backup, it is damaged, or a file of the home is in its way.
        NotEmptyError: there are studies in the ledger.
        LedgerError: the backup is newer than this posestudy, or the ledger cannot be used.
    """
    place = place.expanduser().absolute()
    try:
        with containers.source(place) as source:
            return _restore(home, database_url, source, partial)
    except (OSError, tarfile.TarError, EOFError) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise BackupError(f"the backup {place} could not be restored, the ledger is empty as before: {said}") from error


def _restore(home: Home, database_url: str, source: Source, partial: bool) -> tuple[Manifest, list[str]]:
    document = source.manifest()
    made = not home.root.exists()
    home.root.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".restore-", dir=home.root) as folder:
            copy = Path(folder) / manifest.LEDGER
            _pour(source, manifest.LEDGER, document.ledger, copy)
            copying.check(copy)
            ledger = _open(database_url)
            try:
                if ledger.studies():
                    raise copying.NotEmptyError(
                        "the ledger holds studies already; expected an empty home (--home DIR) or database to restore "
                        "into"
                    )
                notes, left_out = _restore_files(home, source, document, partial)
                why = f"restored from a backup of {document.made}"
                rows = ledger.fill_from(copy, _moved(Path(document.home), home), why)
            finally:
                ledger.close()
    except BaseException:
        if made:
            with suppress(OSError):
                home.root.rmdir()
        raise
    differs = [table for table, count in document.rows.items() if rows.get(table) != count]
    notes += [f"the table {table} has {rows.get(table)} rows, the list {document.rows[table]}" for table in differs]
    files = [entry for entry in document.files if entry.path not in left_out]
    return document.model_copy(update={"files": files}), notes


def _open(database_url: str) -> Ledger:
    try:
        return Ledger.open(database_url)
    except LedgerUnavailableError:
        raise
    except LedgerError as error:
        raise LedgerError(
            f"{error}. To restore into its place, first move it aside (of SQLite: the file and those beside it that "
            "end in -wal and -shm)"
        ) from error


def _moved(before: Path, home: Home) -> Callable[[str], str]:
    """Where a checkpoint lies now: in this home; but where the old one still has it and this one has not, there."""

    def moved(text: str) -> str:
        path = Path(text)
        if not path.is_relative_to(before):
            return text
        here = home.root / path.relative_to(before)
        return text if path.is_file() and not here.is_file() else str(here)

    return moved


def _pour(source: Source, name: str, entry: LedgerEntry, target: Path) -> None:
    """Copy one file of the backup to a new one; raises BackupError, the new one gone, where it is not what it was."""
    try:
        with source.open(name) as stream:
            # One byte more than it should have, so that a longer file is noticed.
            limited = Limited(stream, entry.bytes + 1)
            containers.pour(limited, target)
    except (FileNotFoundError, tarfile.TarError, EOFError) as error:
        target.unlink(missing_ok=True)
        raise BackupError(f"the backup {source.place} is damaged: {name} is not there or cannot be read") from error
    except OSError:
        target.unlink(missing_ok=True)
        raise
    if (limited.size, limited.sha256) != (entry.bytes, entry.sha256):
        target.unlink(missing_ok=True)
        raise BackupError(
            f"the backup {source.place} is damaged: {name} has the SHA-256 {limited.sha256[:12]}, expected "
            f"{entry.sha256[:12]}"
        )


def _restore_files(home: Home, source: Source, document: Manifest, partial: bool) -> tuple[list[str], set[str]]:
    """What was left out: a sentence for each, and their paths."""
    missing = [entry for entry in document.files if not _is_there(home, entry)]
    needed, free = sum(entry.bytes for entry in missing), shutil.disk_usage(home.root).free
    if needed > free:
        raise BackupError(
            f"no room in {home.root}: the backup takes {needed / 1e6:.0f} MB, the disk has {free / 1e6:.0f} MB free"
        )
    notes: list[str] = []
    left_out: set[str] = set()
    for entry in missing:
        try:
            _restore_file(home, source, entry)
        except BackupError as error:
            if not partial:
                raise BackupError(f"{error}; --partial restores all but such files") from error
            notes.append(f"left out: {error}")
            left_out.add(entry.path)
    return notes, left_out


def _is_there(home: Home, entry: FileEntry) -> bool:
    """Whether the home has that very file already; raises BackupError where it has another one of that name."""
    target = home.root / entry.path
    if not target.exists():
        return False
    if target.is_file() and target.stat().st_size == entry.bytes and sha256_file(target) == entry.sha256:
        return True
    raise BackupError(f"{target} is there already and is another file than the backup's; expected an empty home")


def _restore_file(home: Home, source: Source, entry: FileEntry) -> None:
    target = home.root / entry.path
    temporary = temporary_beside(target)
    _pour(source, entry.path, entry, temporary)
    commit_file(temporary, target)
