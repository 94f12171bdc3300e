"""What the image files of a data set hold: sizes, colours, files that cannot be read, and images that occur twice."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import warnings
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Kind = Literal["file", "bytes", "pixels", "alike"]
KINDS: Final[tuple[Kind, ...]] = ("file", "bytes", "pixels", "alike")
"""How two images are the same, from the strictest on: one file, equal files, equal pixels, or alike to look at."""

MOST_DECODED: Final = 2000
"""Images of a split that are decoded, at most."""
BINS: Final = 32
"""Of the histogram of a colour channel."""
MOST_BITS: Final = 8
"""Of the 64 of a difference hash, in which two images that are alike may differ."""
LEAST_CORRELATION: Final = 0.95
"""Of the grey values of two images at 32 x 32 pixels, for them to be alike."""

_THUMBNAIL: Final = 32
_FLAT: Final = 2.0
"""Standard deviation of grey values (0..255) below which an image shows nothing that could be compared."""
_TAIL: Final = 4096
_EXAMPLES: Final = 12
_NAMED: Final = 5


@dataclass(frozen=True)
class Files:
    """The images of a split: their folder, their names, and the sizes that are stated of them, [N, 2] in px."""

    folder: Path
    names: tuple[str, ...]
    sizes: NDArray[np.float64]


@dataclass(frozen=True)
class Colours:
    """Red, green and blue of the decoded images of a split, 0..1: mean and standard deviation over all their pixels.

    Attributes:
        histogram: [3][BINS], pixels.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    histogram: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class SplitImages:
    """What was found of the image files of a split.

    Attributes:
        name: of the split. listed: images in its annotations. missing: without a file, of all that are listed.
        decoded: how many were chosen to be decoded. unreadable: how many of those could not be.
        other_size: how many of those have another size than the annotations say.
        colours: None where no image could be decoded.
        missing_names, unreadable_names, other_size_names: a few of each.
    """

    name: str
    listed: int
    missing: int
    decoded: int
    unreadable: int
    other_size: int
    colours: Colours | None
    missing_names: tuple[str, ...]
    unreadable_names: tuple[str, ...]
    other_size_names: tuple[str, ...]


@dataclass(frozen=True)
class Twins:
    """Two images that are the same. `correlation` is of their grey values, 1 for what is equal."""

    kind: Kind
    first: str
    second: str
    correlation: float


@dataclass(frozen=True)
class Shared:
    """The images of split `second` that are in split `first` too; of one split the images that came before already.

    Attributes:
        counts: images by kind, in the order of `KINDS`, each under the strictest that holds.
        examples: some, the strictest first.
    """

    first: str
    second: str
    counts: tuple[int, ...]
    examples: tuple[Twins, ...]

    @property
    def images(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True)
class ImageAnalysis:
    """What was found of all image files, by split and between them."""

    splits: tuple[SplitImages, ...]
    shared: tuple[Shared, ...]


@dataclass(frozen=True)
class _File:
    split: str
    name: str
    path: Path
    stated: tuple[float, float]
    inode: tuple[int, int] | None
    bytes: int


@dataclass(frozen=True)
class _Seen:
    """A decoded image: its size, a digest of its pixels, histograms [3, 256], what is compared of its look."""

    size: tuple[int, int]
    digest: bytes
    histogram: NDArray[np.int64]
    thumbnail: NDArray[np.uint8]
    hash: int


def analyse_images(splits: Mapping[str, Files], most: int = MOST_DECODED) -> ImageAnalysis:
    """Look at every file's size and at the pixels of at most `most` evenly chosen images of each split.

    A file is read whole for its bytes only where another one has its length and its last 4 KiB.
    """
    files = [file for name, of in splits.items() for file in _files(name, of)]
    chosen = [i for name in splits for i in _evenly([i for i, f in enumerate(files) if f.split == name], most)]
    present = [i for i in chosen if files[i].inode is not None]
    # Warnings are caught before the threads start, because the filters are the process's.
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1), "images") as pool:
        warnings.simplefilter("ignore")
        seen = dict(zip(present, pool.map(_seen, [files[i].path for i in present]), strict=True))
    found = {i: image for i, image in seen.items() if image is not None}
    return ImageAnalysis(
        tuple(_split(name, files, chosen, seen) for name in splits), tuple(_shared(files, found, tuple(splits)))
    )


def _files(split: str, of: Files) -> Iterator[_File]:
    for name, (width, height) in zip(of.names, of.sizes, strict=True):
        path = of.folder / name
        try:
            status = os.stat(path)
            # Reading from a pipe or a device may never end.
            regular = stat.S_ISREG(status.st_mode)
            inode: tuple[int, int] | None = (status.st_dev, status.st_ino) if regular else None
            length = status.st_size
        except (OSError, ValueError):  # a name may hold a zero byte
            inode, length = None, 0
        yield _File(split, name, path, (float(width), float(height)), inode, length)


def _evenly(items: Sequence[int], most: int) -> list[int]:
    count = min(len(items), most)
    return [items[i * len(items) // count] for i in range(count)]


def _seen(path: Path) -> _Seen | None:
    """None where the image cannot be decoded to the last pixel."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            # Training turns an image as its EXIF data say, too.
            image = ImageOps.exif_transpose(opened.convert("RGB") if opened.mode != "RGB" else opened)
            digest = hashlib.sha256(repr(image.size).encode() + image.tobytes()).digest()
            histogram = np.array(image.histogram(), dtype=np.int64).reshape(3, 256)
            return _Seen(image.size, digest, histogram, *_look(image))
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        Image.DecompressionBombError,
        MemoryError,
        struct.error,
        zlib.error,
    ):
        return None


def _look(image: Image) -> tuple[NDArray[np.uint8], int]:
    """Grey values at 32 x 32 pixels, and the difference hash: which of 9 x 8 grey values is less than its right one."""
    grey = image.convert("L")
    small = np.asarray(grey.resize((_THUMBNAIL, _THUMBNAIL), resample=4)).ravel()  # 4: the mean of what a pixel covers
    rows = np.asarray(grey.resize((9, 8), resample=4))
    bits = np.packbits((rows[:, 1:] > rows[:, :-1]).ravel())
    return small, int.from_bytes(bits.tobytes(), "big")


def _split(name: str, files: Sequence[_File], chosen: Sequence[int], seen: Mapping[int, _Seen | None]) -> SplitImages:
    listed = [f for f in files if f.split == name]
    missing = [f.name for f in listed if f.inode is None]
    mine = [i for i in chosen if i in seen and files[i].split == name]
    unreadable = [files[i].name for i in mine if seen[i] is None]
    decoded = [(files[i], image) for i in mine if (image := seen[i]) is not None]
    other = [file.name for file, image in decoded if image.size != file.stated]
    return SplitImages(
        name, len(listed), len(missing), len(mine), len(unreadable), len(other),
        _colours([image for _, image in decoded]),
        tuple(missing[:_NAMED]), tuple(unreadable[:_NAMED]), tuple(other[:_NAMED]),
    )  # fmt: skip


def _colours(images: Sequence[_Seen]) -> Colours | None:
    """Of whole numbers, so that no order of adding changes the last digit."""
    if not images:
        return None
    counts = sum((image.histogram for image in images), np.zeros((3, 256), dtype=np.int64))
    values = np.arange(256)
    total = [int(n) for n in counts.sum(axis=1)]
    means = [int((c * values).sum()) / n for c, n in zip(counts, total, strict=True)]
    squares = [int((c * values**2).sum()) / n for c, n in zip(counts, total, strict=True)]
    std = [max(0.0, square - mean**2) ** 0.5 for square, mean in zip(squares, means, strict=True)]
    bins = counts.reshape(3, BINS, -1).sum(axis=2)
    return Colours(
        tuple(m / 255 for m in means), tuple(s / 255 for s in std), tuple(tuple(int(n) for n in row) for row in bins)
    )


def _shared(files: Sequence[_File], seen: Mapping[int, _Seen], splits: Sequence[str]) -> Iterator[Shared]:
    best: dict[tuple[int, str], tuple[int, float, int]] = {}
    for rank, pairs in enumerate((_same_file(files), _same_bytes(files), _same_pixels(files, seen), _alike(seen))):
        for i, j, correlation in pairs:
            place = (j, files[i].split)
            best[place] = min(best.get(place, (len(KINDS), 0.0, 0)), (rank, -correlation, i))
    for b, second in enumerate(splits):
        for first in splits[: b + 1]:
            mine = sorted(
                (rank, less, i, j)
                for (j, split), (rank, less, i) in best.items()
                if split == first and files[j].split == second
            )
            counts = tuple(sum(rank == r for rank, *_ in mine) for r in range(len(KINDS)))
            examples = tuple(
                Twins(KINDS[rank], files[i].name, files[j].name, -less) for rank, less, i, j in mine[:_EXAMPLES]
            )
            if mine:
                yield Shared(first, second, counts, examples)


Pair = tuple[int, int, float]
"""Two images by their place, the earlier one first, and their correlation."""


def _same_file(files: Sequence[_File]) -> Iterator[Pair]:
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, file in enumerate(files):
        if file.inode is not None:
            groups[file.inode].append(i)
    yield from _pairs(files, groups.values())


def _same_bytes(files: Sequence[_File]) -> Iterator[Pair]:
    lengths: dict[int, list[int]] = defaultdict(list)
    for i, file in enumerate(files):
        if file.inode is not None and file.bytes:
            lengths[file.bytes].append(i)
    tails: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    for length, alike in lengths.items():
        if len({files[i].inode for i in alike}) > 1:
            for i in alike:
                tails[length, _tail(files[i].path)].append(i)
    wholes: dict[str, list[int]] = defaultdict(list)
    for alike in tails.values():
        if len(alike) > 1:
            for i in alike:
                wholes[_digest(files[i].path)].append(i)
    wholes.pop("", None)
    yield from _pairs(files, wholes.values())


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL))
            return stream.read()
    except OSError:
        return b""


def _digest(path: Path) -> str:
    from posestudy.durable import sha256_file

    try:
        return sha256_file(path)
    except OSError:
        return ""


def _same_pixels(files: Sequence[_File], seen: Mapping[int, _Seen]) -> Iterator[Pair]:
    groups: dict[bytes, list[int]] = defaultdict(list)
    for i, image in seen.items():
        groups[image.digest].append(i)
    yield from _pairs(files, groups.values())


def _pairs(files: Sequence[_File], groups: Iterable[Sequence[int]]) -> Iterator[Pair]:
    """Each member of a group with the first one of each split before it."""
    for group in groups:
        first: dict[str, int] = {}
        for j in group:
            yield from ((i, j, 1.0) for i in first.values())
            first.setdefault(files[j].split, j)


def _alike(seen: Mapping[int, _Seen]) -> Iterator[Pair]:
    """Images whose hashes differ in few bits and whose thumbnails correlate: the hash alone takes some photographs
    of one horizon or one dark hall for the same."""
    places = list(seen)
    if not places:
        return
    grey = np.stack([seen[i].thumbnail for i in places]).astype(np.float64)
    grey -= grey.mean(axis=1, keepdims=True)
    norm = np.sqrt((grey**2).sum(axis=1))
    showing = norm > _FLAT * _THUMBNAIL
    grey /= np.maximum(norm, 1e-9)[:, None]
    hashes = np.array([seen[i].hash for i in places], dtype=np.uint64)
    for b in range(1, len(places)):
        near = np.flatnonzero((np.bitwise_count(hashes[:b] ^ hashes[b]) <= MOST_BITS) & showing[:b] & showing[b])
        for a, correlation in zip(near, grey[near] @ grey[b], strict=True):
            rounded = round(float(correlation), 4)  # the last digits hang on how the machine adds up
            if rounded >= LEAST_CORRELATION:
                yield places[a], places[b], rounded
