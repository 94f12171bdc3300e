"""The images of a data set as arrays: decoded once on a machine, then read out of a store that all its trials share."""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from posestudy import durable
from posestudy.home import safe_part
from posestudy_runner import image_cache, image_stores
from posestudy_runner.components import Component, in_use
from posestudy_runner.plugin.data_path.image_store import GoneError, ImageStore, NoPlaceError
from posestudy_runner.plugin.data_path.store_layout import Slot, Stamp, checksum, key_of

RETRY_S = 60.0
"""After a failure of the disk, or where there was no more room, nothing is tried for so long."""
UNSETTLED_S = 2.0
"""An image that changed so recently may change again without another change time: clocks of file systems are coarse."""


class Decoded(NamedTuple):
    """An image fresh from its file.

    Attributes:
        pixels: uint8 [H, W, 3], BGR.
        stamp: of the file that they were read from.
        settled: whether the file cannot have changed while it was read.
    """

    pixels: NDArray[np.uint8]
    stamp: Stamp
    settled: bool


class DecodedImages:
    """The images at `paths`, by their number.

    Whatever is wrong with the store, images are then decoded as if there were none. It may be used from forked and
    spawned processes: each opens the store when it first reads.

    Args:
        paths: image files; one that is there several times is kept once.
        folder: where the stores are, see `posestudy_runner.image_cache`; made where it is missing. None: decode always.
        limit_bytes: what all stores in `folder` may take, bytes; None for what `POSESTUDY_IMAGE_CACHE_GB` says.

    Raises:
        PoseStudyError: `POSESTUDY_IMAGE_CACHE_GB` or `POSESTUDY_WITHOUT` cannot be understood.
    """

    def __init__(
        self, paths: Sequence[str], folder: str | os.PathLike[str] | None, limit_bytes: int | None = None
    ) -> None:
        unique: dict[str, int] = {}
        self._image = [unique.setdefault(path, len(unique)) for path in paths]
        self._paths = list(unique)
        self._limit = image_cache.limit_bytes() if limit_bytes is None else limit_bytes
        wanted = folder is not None and bool(unique) and self._limit > 0 and in_use(Component.IMAGE_CACHE)
        self._folder = Path(folder) if wanted and folder is not None else None
        self._root = _common_folder(self._paths)
        self._forget()

    def _forget(self) -> None:
        """As a process begins that has not read an image."""
        self._store: ImageStore | None = None
        self._slots: dict[int, Slot] = {}
        self._open_after = self._keep_after = 0.0
        self._told: set[str] = set()
        # By image, the mark of the slot whose checksum was right. Shared with the processes forked from this one, so
        # that several data loaders do not all check what one of them has checked.
        self._checked = memoryview(mmap.mmap(-1, max(1, len(self._paths)) * 8)).cast("Q")

    def __len__(self) -> int:
        return len(self._image)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("_image", "_paths", "_limit", "_folder", "_root")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def read(self, number: int) -> NDArray[np.uint8]:
        """The image at `paths[number]`, uint8 [H, W, 3] in BGR, the same pixels as MMPose's `LoadImage` gives.

        It may be a view into the store, and then cannot be written to.

        Raises:
            OSError: there is no such file, or it cannot be read.
            ValueError: it is not an image.
            cv2.error: it has more pixels than OpenCV takes, or none.
        """
        image = self._image[number]
        path = self._paths[image]
        if self._folder is None:
            return decoded(path).pixels
        kept = self._kept(image, path)
        if kept is not None:
            return kept
        fresh = decoded(path)
        if fresh.settled:
            self._keep(image, path, fresh)
        return fresh.pixels

    def _kept(self, image: int, path: str) -> NDArray[np.uint8] | None:
        """The image out of the store; None where it is not there as the file now is, or is damaged."""
        store = self._store or self._open()
        if store is None:
            return None
        try:
            stamp = Stamp.of(os.stat(path))
            slot = self._slots.get(image)
            if slot is not None and slot.stamp == stamp:
                return store.view(slot)
            slot = store.find(self._key(path), stamp)
            if slot is None:
                return None
            view = store.view(slot)
            if not store.can_be_read(slot):
                return None
        except GoneError:
            self._close()
            return None
        except (OSError, ValueError):
            return None  # if it is the image file that cannot be had, decoding tells so
        mark = store.identity ^ slot.offset
        if self._checked[image] != mark:
            if checksum(view) != slot.checksum:
                return None
            self._checked[image] = mark
        self._slots[image] = slot
        return view

    def _keep(self, image: int, path: str, fresh: Decoded) -> None:
        """Put the image into the store, if there is room and the disk takes it."""
        store = self._store or self._open()
        if store is None or time.monotonic() < self._keep_after:
            return
        try:
            slot = store.reserve(self._key(path), fresh.stamp, fresh.pixels.shape, self._limit)
            store.fill(slot, fresh.pixels)
        except (image_stores.BusyError, NoPlaceError):
            return  # it is decoded again, no more
        except GoneError:
            self._close()
        except OSError as error:
            self._keep_after = time.monotonic() + RETRY_S
            self._tell(error)
        else:
            self._checked[image] = store.identity ^ slot.offset

    def _open(self) -> ImageStore | None:
        if self._folder is None or time.monotonic() < self._open_after:
            return None
        try:
            durable.make_folder(self._folder)
            self._store = ImageStore.open(self._folder / _store_name(self._root))
        except OSError as error:
            self._open_after = time.monotonic() + RETRY_S
            self._tell(error)
        return self._store

    def _close(self) -> None:
        self._store = None
        self._slots.clear()

    def _key(self, path: str) -> bytes:
        return key_of(path[len(self._root) :])

    def _tell(self, error: OSError) -> None:
        """Say once a process why images are decoded again in each epoch."""
        reason = error.strerror or str(error)
        if reason not in self._told:
            self._told.add(reason)
            print_log(
                f"decoded images are not kept in {self._folder}: {reason}; they are decoded anew each time",
                logger="current",
                level=logging.WARNING,
            )


def decoded(path: str) -> Decoded:
    """The image at `path` as MMPose's `LoadImage` decodes it: 8 bits, in colour, turned as its EXIF entry says.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is not an image.
        cv2.error: it has more pixels than OpenCV takes, or no bytes.
    """
    began_ns = time.time_ns()
    with open(path, "rb", buffering=0) as stream:
        content = stream.read()
        stamp = Stamp.of(os.fstat(stream.fileno()))
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(f"failed to load image: {path}")
    return Decoded(np.asarray(pixels, np.uint8), stamp, began_ns - stamp.changed_ns > UNSETTLED_S * 1e9)


def _common_folder(paths: Sequence[str]) -> str:
    """What the names of all `paths` begin with, up to the last slash; all files of a data set then share a store."""
    if not paths:
        return ""
    first, last = min(paths), max(paths)
    equal = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[: first.rfind("/", 0, equal) + 1]


def _store_name(root: str) -> str:
    """The file of the store for images under `root` and the decoder in use."""
    folder = os.path.realpath(root or ".")
    digest = hashlib.blake2b(os.fsencode(folder) + b"\0" + _decoder(), digest_size=8).hexdigest()
    return f"{safe_part(os.path.basename(folder))[:40]}-{digest}{image_stores.SUFFIX}"


@cache
def _decoder() -> bytes:
    """What another build of OpenCV, which may give other pixels, has otherwise; and the order of bytes."""
    return f"{cv2.getBuildInformation()} {sys.byteorder}".encode()
