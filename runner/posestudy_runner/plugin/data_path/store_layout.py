"""The layout of a file of decoded images, little endian.

| from byte | what |
|---|---|
| 0 | header: magic, identity, boot, end of the slots given out, stale bytes; its CRC-32 |
| 4096 | hash table: entries of 64 bytes, found by the image's key, then by the next ones (linear probing) |
| `TABLE_BYTES` | slots, each the pixels of one image, from a page boundary on |
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from posestudy_runner.image_stores import TABLE_BYTES

CHANNELS: Final = 3
PAGE: Final = 4096
ENTRY_BYTES: Final = 64
PROBES: Final = 32
"""Entries among which that of a key is, from its own place on."""
NO_KEY: Final = b"\0" * 16
"""What an entry has that belongs to no image."""

_MAGIC: Final = b"PSIMG\0\0\1"  # the last byte is the version of the layout
_HEADER: Final = struct.Struct("<8sQ16sQQ")
_ENTRY: Final = struct.Struct("<16sQQQIIII")
_CRC: Final = struct.Struct("<I")
_ENTRIES: Final = TABLE_BYTES // ENTRY_BYTES - PAGE // ENTRY_BYTES - PROBES
_WORDS: Final = PAGE // 8
_EXTENTS: Final = np.dtype(
    {
        "names": ["offset", "height", "width"],
        "formats": ["<u8", "<u4", "<u4"],
        "offsets": [32, 40, 44],
        "itemsize": ENTRY_BYTES,
    }
)


class Stamp(NamedTuple):
    """What tells that an image file changed: its size in bytes and its change time in ns, which nobody can set back."""

    size: int
    changed_ns: int

    @classmethod
    def of(cls, state: os.stat_result) -> Stamp:
        return cls(state.st_size, state.st_ctime_ns)


class Slot(NamedTuple):
    """Where the pixels of one image lie.

    Attributes:
        place: of its entry in the file, bytes.
        key: the image's, 16 bytes.
        stamp: of the image file that was decoded.
        offset: of the first pixel in the file, bytes; a multiple of the page.
        height, width: of the image, px.
        checksum: `checksum` of its pixels; meaningless unless `filled`.
        filled: whether the pixels were written.
    """

    place: int
    key: bytes
    stamp: Stamp
    offset: int
    height: int
    width: int
    checksum: int
    filled: bool

    @property
    def size(self) -> int:
        """Bytes of its pixels."""
        return self.height * self.width * CHANNELS

    @property
    def end(self) -> int:
        """The byte after its last pixel."""
        return self.offset + self.size

    def packed(self) -> bytes:
        """Its entry in the table."""
        body = _ENTRY.pack(
            self.key, *self.stamp, self.offset, self.height, self.width, self.checksum, int(self.filled)
        )  # fmt: skip
        return (body + _CRC.pack(zlib.crc32(body))).ljust(ENTRY_BYTES, b"\0")

    @classmethod
    def unpacked(cls, place: int, entry: bytes) -> Slot | None:
        """The slot of the entry at `place`; None for one that is torn."""
        body = entry[: _ENTRY.size]
        if zlib.crc32(body) != _CRC.unpack_from(entry, _ENTRY.size)[0]:
            return None
        key, size, changed, offset, height, width, checksum, filled = _ENTRY.unpack(body)
        return cls(place, key, Stamp(size, changed), offset, height, width, checksum, bool(filled))


class Header(NamedTuple):
    """What is known of the store as a whole.

    Attributes:
        identity: a random number that no other store has.
        boot: of the machine, in which the store was last opened.
        end: of the slots given out, bytes.
        stale: bytes of slots whose images have changed since.
    """

    identity: int
    boot: bytes
    end: int
    stale: int

    def packed(self) -> bytes:
        body = _HEADER.pack(_MAGIC, *self)
        return body + _CRC.pack(zlib.crc32(body))

    @classmethod
    def unpacked(cls, data: bytes) -> Header | None:
        if len(data) < _HEADER.size + _CRC.size or data[: len(_MAGIC)] != _MAGIC:
            return None
        body = data[: _HEADER.size]
        if zlib.crc32(body) != _CRC.unpack_from(data, _HEADER.size)[0]:
            return None
        return cls(*_HEADER.unpack(body)[1:])


def checksum(pixels: NDArray[np.uint8]) -> int:
    """CRC-32 over the sums, modulo 2^64, of the pages of `pixels`, and over what is left behind the last whole page.

    It finds pages that are missing, from elsewhere or damaged, in a quarter of the time of a CRC-32 of all bytes.
    """
    flat = pixels.reshape(-1)
    whole = flat.size // PAGE * PAGE
    sums = flat[:whole].view(np.uint64).reshape(-1, _WORDS).sum(axis=1, dtype=np.uint64)
    return zlib.crc32(flat[whole:].data, zlib.crc32(sums.data))


def key_of(name: str) -> bytes:
    """The key of the image with `name` among those of its store, 16 bytes, never all zero."""
    return hashlib.blake2b(os.fsencode(name), digest_size=15).digest() + b"\1"


def place_of(key: bytes) -> int:
    """The byte at which the entries begin among which that of `key` is."""
    return PAGE + int.from_bytes(key[:8], "little") % _ENTRIES * ENTRY_BYTES


def end_of_slots(table: bytes, known: int) -> int:
    """The end of the last slot in `table`, the bytes from the second page on, where it is behind `known`; else 0."""
    extents = np.frombuffer(table, _EXTENTS)
    # As floats, since torn entries hold any numbers; the few that reach further are then looked at closely.
    ends = extents["offset"].astype(float) + extents["height"].astype(float) * extents["width"] * CHANNELS
    furthest = 0
    for number in np.flatnonzero(ends > known - 1):
        start = int(number) * ENTRY_BYTES
        slot = Slot.unpacked(PAGE + start, table[start : start + ENTRY_BYTES])
        furthest = max(furthest, slot.end if slot else 0)
    return furthest
