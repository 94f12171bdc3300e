"""The journal of a trial process: JSON objects, each framed and checksummed, that outlive a kill at any byte.

A frame is a little-endian length (4 bytes), a CRC-32 of length and payload (4 bytes), and the payload in UTF-8. The
length is part of the checksum so that a tail of zeros, which some file systems leave after a power cut, is no frame.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from posestudy.durable import make_folder, sync_folder

_HEADER = struct.Struct("<II")


def _checksum(length: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(length.to_bytes(4, "little")))


def _frame(entry: Mapping[str, Any]) -> bytes:
    payload = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    return _HEADER.pack(len(payload), _checksum(len(payload), payload)) + payload


def _parse(data: bytes) -> tuple[list[dict[str, Any]], int]:
    """The whole entries at the start of `data`, and the number of bytes they take."""
    entries: list[dict[str, Any]] = []
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, checksum = _HEADER.unpack_from(data, offset)
        start = offset + _HEADER.size
        payload = data[start : start + length]
        if len(payload) < length or _checksum(length, payload) != checksum:
            break
        entries.append(json.loads(payload))
        offset = start + length
    return entries, offset


def read(path: Path) -> list[dict[str, Any]]:
    """Every whole entry of the journal at `path`, oldest first; a torn tail is ignored, no file is no entries.

    The file is left as it is, since its writer may be in the middle of a frame; the next `JournalWriter` cuts the tail.
    """
    try:
        return _parse(path.read_bytes())[0]
    except FileNotFoundError:
        return []


class JournalWriter:
    """Appends to the journal at `path`, cutting a torn tail off first. One writer at a time, from one thread."""

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(os.dup(self._descriptor), "rb") as stream:
                _, self._size = _parse(stream.read())
            os.ftruncate(self._descriptor, self._size)
            os.fsync(self._descriptor)
            sync_folder(path.parent)
        except OSError:
            os.close(self._descriptor)
            raise

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write one JSON object and return once it is on the disk.

        Raises:
            OSError: the disk is full or failing; the journal then ends where it ended before.
        """
        frame = _frame(entry)
        try:
            written = 0
            while written < len(frame):
                written += os.pwrite(self._descriptor, frame[written:], self._size + written)
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(frame)

    def close(self) -> None:
        """Give the file back; further appends are an error."""
        os.close(self._descriptor)

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
