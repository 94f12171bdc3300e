"""One file of decoded images that many processes fill and read at the same time.

Nothing is ever synchronised to the disk, so after a power cut any page may be as it was long before. That no read
gives wrong pixels even then rests on this:

- A slot belongs to one image, for as long as the file lives. Slots are given out under the lock of the folder, the
  header first and then the entry. The first process after a boot puts the header behind all entries that survived.
- What is written into a slot is the same whoever writes it, since decoding is deterministic.
- An entry is marked as filled after its pixels are written, and has the pixels' checksum and one of its own.
- Pixels are written with `pwrite`: written through a map, a full disk would be a SIGBUS.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import secrets
import uuid
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posestudy import durable
from posestudy_runner import image_stores
from posestudy_runner.image_stores import TABLE_BYTES
from posestudy_runner.plugin.data_path.store_layout import (
    CHANNELS,
    ENTRY_BYTES,
    NO_KEY,
    PAGE,
    PROBES,
    Header,
    Slot,
    Stamp,
    checksum,
    end_of_slots,
    place_of,
)

WAIT_S = 0.05
"""How long a process waits for a slot; longer and decoding again next time is cheaper."""
STEP_BYTES = 1 << 20
"""What a store grows by at least, where there is room for many: readers map it anew when it has grown."""
RESIDENT_BYTES = 1 << 29
"""How much of a store counts at most as memory of a process that reads it, though it is the system's page cache: the
peak memory of a trial on a CPU is the peak of what is resident."""

_POPULATE_READ: Final = 22  # MADV_POPULATE_READ of Linux 5.14; Python 3.11 has no name for it


class NoRoomError(OSError):
    """A store may not grow: the limit is reached, or the disk nearly full."""


class NoPlaceError(OSError):
    """The table has no entry left where an image's would be; there may be one for another image."""


class GoneError(OSError):
    """A store was removed, cut short or overwritten by somebody; it may be opened anew."""


class ImageStore:
    """An open store; `open` makes it where it is not there. Good in forked children as well, and in threads."""

    def __init__(self, path: Path, descriptor: int, identity: int, *, writable: bool) -> None:
        """For `open` alone: takes `descriptor` over."""
        self.path = path
        self.identity = identity
        self.writable = writable
        self._descriptor = descriptor
        self._map: mmap.mmap | None = None
        self._touched = 0
        weakref.finalize(self, os.close, descriptor)

    @classmethod
    def open(cls, path: Path) -> ImageStore:
        """The store at `path`, made anew where it is missing, cut short or something else; the folder must be there.

        Raises:
            image_stores.BusyError: others hold the lock of the folder.
            OSError: the disk is full, read-only or failing.
        """
        with image_stores.locked(path.parent, wait_s=1.0):
            for _ in range(2):
                store = cls._opened(path)
                if store is not None:
                    return store
                with suppress(FileNotFoundError):
                    path.unlink()
                _create(path)
        raise OSError(errno.EIO, "a store that was just made cannot be read", str(path))

    @classmethod
    def _opened(cls, path: Path) -> ImageStore | None:
        flags, writable = os.O_CLOEXEC | os.O_NOFOLLOW, True
        try:
            try:
                descriptor = os.open(path, os.O_RDWR | flags)
            except OSError as error:
                if error.errno not in (errno.EROFS, errno.EACCES):
                    raise
                descriptor, writable = os.open(path, os.O_RDONLY | flags), False
        except FileNotFoundError:
            return None
        store = None
        try:
            alone = True
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                alone = False
            header = _whole_header(descriptor, writable=writable)
            if header is not None and not (alone and writable and _is_mostly_stale(header)):
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                store = cls(path, descriptor, header.identity, writable=writable)
                with suppress(OSError):
                    os.utime(descriptor)  # used last is removed last
        finally:
            if store is None:
                os.close(descriptor)
        return store

    def find(self, key: bytes, stamp: Stamp) -> Slot | None:
        """The filled slot of the image with `key` as it was when it had `stamp`; None where there is none.

        Raises:
            OSError: the disk is failing.
        """
        _, slot = self._probe(key)
        return slot if slot is not None and slot.filled and slot.stamp == stamp else None

    def reserve(self, key: bytes, stamp: Stamp, shape: tuple[int, ...], limit: int) -> Slot:
        """The slot for the image with `key` and `stamp`, which may be another process's that fills it just now.

        Args:
            key: 16 bytes, not all zero.
            stamp: of the image file whose pixels the slot is for.
            shape: of the pixels, [H, W, 3].
            limit: what all stores of the folder may take, bytes.

        Raises:
            NoPlaceError: the table has no entry left for this image.
            NoRoomError: there is no room, nor any to be made by removing stores that are not in use.
            image_stores.BusyError: others hold the lock of the folder.
            GoneError: the file was removed or overwritten.
            OSError: the disk is full, read-only or failing.
        """
        height, width, _ = shape
        if not self.writable:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self.path))
        if not os.fstat(self._descriptor).st_nlink:
            raise GoneError("the store was removed")
        with image_stores.locked(self.path.parent, WAIT_S):
            size = os.fstat(self._descriptor).st_size
            header = Header.unpacked(os.pread(self._descriptor, PAGE, 0))
            # Where it was cut short, writing would make it whole again, with zeros that others take for pixels.
            if header is None or header.identity != self.identity or size < header.end:
                raise GoneError("the store was overwritten or cut short")
            place, slot = self._probe(key)
            if place is None:
                raise NoPlaceError("the table of decoded images is full")
            if slot is not None and (slot.stamp, slot.height, slot.width) == (stamp, height, width):
                return slot
            taken = Slot(place, key, stamp, -(-header.end // PAGE) * PAGE, height, width, 0, False)
            stale = slot.size if slot is not None else 0
            self._grow(size, taken.end, limit)
            self._write(header._replace(end=taken.end, stale=header.stale + stale).packed(), 0)
            self._write(taken.packed(), place)
            return taken

    def fill(self, slot: Slot, pixels: NDArray[np.uint8]) -> Slot:
        """Write `pixels` [H, W, 3] into `slot`, which `reserve` gave for them, and say so in the table.

        Raises:
            OSError: the disk is full, read-only or failing.
        """
        data = np.ascontiguousarray(pixels).reshape(-1)
        self._write(data.data, slot.offset)
        filled = slot._replace(checksum=checksum(data), filled=True)
        self._write(filled.packed(), slot.place)
        return filled

    def view(self, slot: Slot) -> NDArray[np.uint8]:
        """The pixels of a filled `slot` [H, W, 3], read-only, in the map; they outlive the store and its file.

        Raises:
            GoneError: the file ends before them.
            OSError: it cannot be mapped.
        """
        if os.fstat(self._descriptor).st_size < slot.end:
            raise GoneError("the store was cut short")
        pages = self._map
        if pages is None or len(pages) < slot.end:
            try:
                self._map = pages = mmap.mmap(self._descriptor, 0, prot=mmap.PROT_READ)
            except ValueError as error:  # cut short between the two calls
                raise GoneError("the store was cut short") from error
            self._touched = 0
        if len(pages) > RESIDENT_BYTES:
            self._touched += slot.size
            if self._touched > RESIDENT_BYTES:
                pages.madvise(mmap.MADV_DONTNEED)  # they stay in the page cache, and views stay good
                self._touched = slot.size
        return np.ndarray((slot.height, slot.width, CHANNELS), np.uint8, pages, slot.offset)

    def can_be_read(self, slot: Slot) -> bool:
        """Whether the disk gives all pages of `slot`, of which there is a `view`; they are in memory then.

        Reading a page through the map that the disk cannot give is a SIGBUS; asking for it first is an error.
        """
        if self._map is None or not slot.size:
            return False
        try:
            self._map.madvise(_POPULATE_READ, slot.offset, slot.size)
        except OSError as error:
            return error.errno == errno.EINVAL  # a kernel that cannot be asked
        return True

    def _probe(self, key: bytes) -> tuple[int | None, Slot | None]:
        """Where the entry of `key` is or may be put, None in a full neighbourhood; and its slot, None where none is."""
        first = place_of(key)
        block = os.pread(self._descriptor, PROBES * ENTRY_BYTES, first)
        for start in range(0, len(block), ENTRY_BYTES):
            found = block[start : start + len(key)]
            if found == key:
                return first + start, Slot.unpacked(first + start, block[start : start + ENTRY_BYTES])
            if found == NO_KEY:
                return first + start, None
        return None, None

    def _grow(self, size: int, end: int, limit: int) -> None:
        """Make the file longer where it does not reach to `end`; it stays a hole until pixels are written."""
        if end <= size:
            return
        room = image_stores.make_room(self.path.parent, end - size, limit)
        if room < end - size:
            raise NoRoomError("there is no more room for decoded images")
        step = min(max(STEP_BYTES, (size - TABLE_BYTES) // 8), limit // 16)
        os.ftruncate(self._descriptor, size + min(room, max(end - size, step)))

    def _write(self, data: Any, offset: int) -> None:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._descriptor, rest, offset)
            rest, offset = rest[written:], offset + written


def _create(path: Path) -> None:
    """Make an empty store under a temporary name, so that it is whole from the first moment on.

    Raises:
        OSError: the disk is full, read-only or failing; nothing is left behind.
    """
    header = Header(secrets.randbits(63) | 1, _boot(), TABLE_BYTES, 0)
    temporary = durable.temporary_beside(path)
    try:
        with temporary.open("xb") as stream:
            stream.truncate(TABLE_BYTES)
            stream.write(header.packed())
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def _whole_header(descriptor: int, *, writable: bool) -> Header | None:
    """The header of the store, after putting it right where the machine booted since; None for something else."""
    header, size = Header.unpacked(os.pread(descriptor, PAGE, 0)), os.fstat(descriptor).st_size
    if header is None or size < TABLE_BYTES:
        return None
    boot = _boot()
    if any(boot) and header.boot == boot:
        return header if header.end <= size else None
    if not writable:
        return header
    table = os.pread(descriptor, TABLE_BYTES - PAGE, PAGE)
    header = header._replace(boot=boot, end=max(header.end, end_of_slots(table, header.end)))
    if header.end > size:
        os.ftruncate(descriptor, header.end)  # what the disk forgot reads as zeros, which no checksum takes
    os.pwrite(descriptor, header.packed(), 0)
    return header


def _is_mostly_stale(header: Header) -> bool:
    """Whether images were replaced so often that a new store is better than this one."""
    return header.stale > (header.end - TABLE_BYTES) // 2


def _boot() -> bytes:
    """The 16 bytes that tell this boot of the machine from others; zeros, which no boot has, where it is not told."""
    try:
        return uuid.UUID(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()).bytes
    except (OSError, ValueError):
        return bytes(16)
