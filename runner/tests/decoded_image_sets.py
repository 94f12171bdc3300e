"""Image files for the tests of decoded images, and what proves that an image came out of the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmpose.datasets.transforms import LoadImage

from posestudy_runner.plugin.data_path import decoded_images


def photographs(folder: Path, count: int, height: int = 90, width: int = 70) -> list[str]:
    """JPEG files with smooth contents, no two alike, as large as each other within a few pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        coarse = np.random.default_rng(number).integers(0, 256, (6, 5, 3), dtype=np.uint8)
        path = folder / f"{number}.jpg"
        cv2.imwrite(str(path), cv2.resize(coarse, (width + number % 3, height), interpolation=cv2.INTER_CUBIC))
        paths.append(str(path))
    return paths


def as_mmpose_loads(path: str) -> np.ndarray:
    """uint8 [H, W, 3] in BGR."""
    loaded: np.ndarray = LoadImage()({"img_path": path})["img"]
    return loaded


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of the test are old enough to be kept from their first moment on."""
    monkeypatch.setattr(decoded_images, "UNSETTLED_S", -3600.0)


@pytest.fixture
def only_from_store(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """To be called: from then on no image is decoded, so that those that are read came out of the store."""

    def refuse(path: str) -> decoded_images.Decoded:
        raise AssertionError(f"{path} was decoded again")

    return lambda: monkeypatch.setattr(decoded_images, "decoded", refuse)
