"""Files that are either there and whole or not there at all, whatever is killed or loses power when."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path

_CHUNK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: BaseException) -> bool:
    """Whether `error`, or what caused it, says that a disk or a quota is full."""
    seen: set[int] = set()
    step: BaseException | None = error
    while step is not None and id(step) not in seen:
        if isinstance(step, OSError) and step.errno in _FULL:
            return True
        seen.add(id(step))
        step = step.__cause__ or step.__context__
    return False


def temporary_beside(final: Path) -> Path:
    """A fresh hidden name in `final`'s folder, so that the later rename stays within one file system."""
    return final.with_name(f".{final.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")


def sync_folder(folder: Path) -> None:
    """Make renames and new names in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make `folder` and what is missing above it; all of it survives a power cut."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        sync_folder(made.parent)


def commit_file(temporary: Path, final: Path) -> None:
    """Give the closed file `temporary` the name `final`, replacing it: fsync, rename, fsync of the folder.

    Raises:
        OSError: the disk is full or failing; `temporary` is then removed and `final` is as it was.
    """
    try:
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, final)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(final.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` whole or not at all; missing folders are made.

    Raises:
        OSError: the disk is full or failing; nothing is left behind and an earlier `path` is as it was.
    """
    make_folder(path.parent)
    temporary = temporary_beside(path)
    try:
        temporary.write_bytes(data)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    commit_file(temporary, path)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of `text` in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def sha256_file(path: Path) -> str:
    """The SHA-256 of the file's bytes, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
