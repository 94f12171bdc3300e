"""Tells what a file is that is not what its name says, so that an error can name it."""

from __future__ import annotations

import os
from pathlib import Path

_HEAD = 512
_LFS, _PAGE = "a Git LFS pointer", "a web page"
_REMEDIES = {
    _LFS: "`git lfs pull` fetches the file itself",
    _PAGE: "was an error page saved in its place?",
    "a gzip archive": "unpack it",
    "a bzip2 archive": "unpack it",
    "an xz archive": "unpack it",
}
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs.github.com/", _LFS),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format 3", "an SQLite database"),
)
_PAGES = (b"<!doctype html", b"<html", b"<?xml", b"<head")


def kind(path: str | os.PathLike[str]) -> str:
    """What the file at `path` seems to be by its first bytes, as `an HTML page`; empty where it cannot be told.

    Text that is nothing else is `a text file`; one of no bytes is `an empty file`; what cannot be read is named by why.
    """
    try:
        with Path(path).open("rb") as file:
            return kind_of(file.read(_HEAD))
    except IsADirectoryError:
        return "a folder"
    except OSError as error:
        return (error.strerror or "unreadable").lower()
    except ValueError:  # a zero byte in the name
        return "no file name"


def remedy(kind: str) -> str:
    """What to do about a file of such a kind; may be empty."""
    return _REMEDIES.get(kind, "")


def kind_of(head: bytes) -> str:
    """The same of the first bytes of a file."""
    if not head:
        return "an empty file"
    for start, name in _STARTS:
        if head.startswith(start):
            return name
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:40].lower().startswith(_PAGES):
        return _PAGE
    if not head.strip(b"\0"):
        return "nothing but zero bytes"
    try:
        head[:-4].decode("utf-8")  # the last character may be cut
    except UnicodeDecodeError:
        return ""
    return "" if any(byte < 9 or 13 < byte < 32 for byte in head) else "a text file"
