"""Finds image files that are missing or cannot be decoded."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

from posestudy import given_paths, strangers

MAX_DECODED = 5_000
MISSING = "no file"


def unreadable(paths: Sequence[Path], *, decode: int = MAX_DECODED) -> list[tuple[Path, str]]:
    """The images that cannot be used, each with what is wrong with it.

    Args:
        paths: image files; the header of each is read.
        decode: how many of them, from the first, are decoded to the last pixel too.
    """
    full = [i < decode for i in range(len(paths))]
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1), thread_name_prefix="images") as pool:
        complaints = pool.map(_complaint, paths, full, chunksize=1) if paths else repeat(None, 0)
        return [(path, text) for path, text in zip(paths, complaints, strict=True) if text]


def _complaint(path: Path, full: bool) -> str | None:
    from PIL import Image

    if not given_paths.is_file(path):
        return MISSING
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            if full:
                image.load()
            plain = image.format == "JPEG"
    except Image.DecompressionBombError:
        return "an image of more than 178 megapixels"
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, struct.error, zlib.error) as error:
        kind = strangers.kind(path)
        if kind and "image" not in kind:
            return kind
        cause = "truncated" if "truncated" in str(error) else "corrupt"
        return f"a {cause} image"
    # Pillow reads forms that OpenCV, which training reads with, does not.
    return "an image that OpenCV cannot decode" if full and not plain and not _is_decoded(path) else None


def _is_decoded(path: Path) -> bool:
    import cv2

    try:
        return cv2.imread(str(path)) is not None
    except cv2.error:
        return False
