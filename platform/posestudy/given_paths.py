"""Asks after paths that a user wrote: a name that no file can have is a file that is not there, never an error."""

from __future__ import annotations

import os
from pathlib import Path


def expanded(path: str | os.PathLike[str]) -> Path:
    """`path` with a leading `~` replaced; as it is where there is no such user."""
    return Path(os.path.expanduser(path))


def exists(path: Path) -> bool:
    """Whether something is at `path`; False for a name that is too long, holds a zero byte or is half a character."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Whether a regular file is at `path`; False as `exists`."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder is at `path`; False as `exists`."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def absolute(path: Path) -> Path:
    """`path` resolved; links in a circle stay as they are."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return Path(os.path.abspath(path))
