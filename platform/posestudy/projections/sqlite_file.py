"""Which file a SQLite URL means at this moment: one that was deleted or replaced is written to in vain."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from posestudy.durable import sync_folder, temporary_beside

_SCHEME = "sqlite:///"


def is_file(url: str) -> bool:
    return url.startswith(_SCHEME)


def file_identity(url: str) -> tuple[int, int] | None:
    """Device and inode of the file that a SQLite URL names; None where it names none or the file is not there."""
    if not is_file(url):
        return None
    try:
        stat = os.stat(url.removeprefix(_SCHEME))
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def create_whole(url: str, create: Callable[[str], object]) -> None:
    """Have `create` make a database under another name and give it its own when it is done, where there is none yet.

    Libraries make their schema in many steps, which SQLite does not undo together: killed in the middle they leave a
    file that neither they nor a later version of them can use.

    Args:
        url: left alone where it is no `sqlite:///FILE` or the file is there; an empty one, as a power cut may leave, is
            not there.
        create: called with the URL of a file in the same folder that does not exist.
    """
    final = Path(url.removeprefix(_SCHEME))
    if not is_file(url) or (final.exists() and final.stat().st_size):
        return
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(final)
    try:
        create(f"{_SCHEME}{temporary}")
        if final.exists() and not final.stat().st_size:
            final.unlink()
        # Not a rename: another process may have been quicker, and may have written into its file since.
        with suppress(FileExistsError):
            os.link(temporary, final)
        sync_folder(final.parent)
    finally:
        for left in (temporary, *temporary.parent.glob(f"{temporary.name}-*")):
            left.unlink(missing_ok=True)
