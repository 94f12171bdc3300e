"""Decoded images: the pixels that MMPose loads, decoded once, read by many processes, seen anew when a file changes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from decoded_image_sets import as_mmpose_loads, only_from_store, photographs, settled
from mmpose.datasets.transforms import LoadImage
from PIL import Image
from torch.utils.data import DataLoader

from posestudy_runner import image_stores
from posestudy_runner.components import VARIABLE
from posestudy_runner.plugin.data_path import decoded_images
from posestudy_runner.plugin.data_path.decoded_images import DecodedImages

__all__ = ["only_from_store", "settled"]

pytestmark = pytest.mark.usefixtures("settled")
OnlyFromStore = Callable[[], None]


def noise(height: int, width: int, channels: int, dtype: type = np.uint8) -> np.ndarray:
    depth = np.iinfo(dtype).max + 1
    drawn = np.random.default_rng(height + channels).integers(0, depth, (height, width, channels), dtype=dtype)
    return drawn[:, :, 0] if channels == 1 else drawn


def turned(path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise(40, 30, 3)).save(path, exif=exif)


FORMATS: dict[str, Callable[[Path], object]] = {
    **{f"turned_{n}.jpg": lambda path, n=n: turned(path, n) for n in range(1, 9)},  # type: ignore[misc]
    "grey.jpg": lambda path: cv2.imwrite(str(path), noise(31, 17, 1)),
    "cmyk.jpg": lambda path: Image.fromarray(noise(31, 17, 3)).convert("CMYK").save(path),
    "grey.png": lambda path: cv2.imwrite(str(path), noise(31, 17, 1)),
    "grey_alpha.png": lambda path: Image.fromarray(noise(31, 17, 4)).convert("LA").save(path),
    "alpha.png": lambda path: cv2.imwrite(str(path), noise(31, 17, 4)),
    "deep.png": lambda path: cv2.imwrite(str(path), noise(31, 17, 3, np.uint16)),
    "deep_grey.png": lambda path: cv2.imwrite(str(path), noise(31, 17, 1, np.uint16)),
    "palette.png": lambda path: Image.fromarray(noise(31, 17, 3)).convert("P").save(path),
    "one.png": lambda path: cv2.imwrite(str(path), noise(1, 1, 3)),
    "wide.bmp": lambda path: cv2.imwrite(str(path), noise(3, 2000, 3)),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_kind_of_file_has_the_pixels_that_mmpose_loads(
    tmp_path: Path, only_from_store: OnlyFromStore, name: str
) -> None:
    path = tmp_path / name
    FORMATS[name](path)
    stock = LoadImage()({"img_path": str(path)})["img"]
    images = DecodedImages([str(path)], tmp_path / "cache")
    np.testing.assert_array_equal(images.read(0), stock)
    only_from_store()
    for kept in (images.read(0), DecodedImages([str(path)], tmp_path / "cache").read(0)):
        assert kept.dtype == np.uint8
        np.testing.assert_array_equal(kept, stock)


def test_real_photographs_are_what_mmpose_loads(tmp_path: Path, only_from_store: OnlyFromStore) -> None:
    place = (
        Path(os.environ.get("POSESTUDY_LSPET") or Path(__file__).parents[3] / "shared" / "data" / "lspet") / "images"
    )
    if not place.is_dir():
        pytest.skip("the photographs are not there; POSESTUDY_LSPET names them")
    paths = [str(path) for path in sorted(place.iterdir())[:40]]
    images = DecodedImages(paths, tmp_path)
    before = [images.read(number).copy() for number in range(len(paths))]
    only_from_store()
    for number, path in enumerate(paths):
        stock = LoadImage()({"img_path": path})["img"]
        np.testing.assert_array_equal(before[number], stock)
        np.testing.assert_array_equal(images.read(number), stock)


def test_without_a_folder_each_image_is_decoded_each_time(tmp_path: Path) -> None:
    paths = photographs(tmp_path, 1)
    images = DecodedImages(paths, None)
    first = images.read(0)
    first[:] = 0  # the caller's own
    np.testing.assert_array_equal(images.read(0), as_mmpose_loads(paths[0]))
    assert [path.name for path in tmp_path.iterdir()] == ["0.jpg"]


def test_a_study_without_the_component_keeps_no_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "image_cache")
    paths = photographs(tmp_path / "data", 1)
    np.testing.assert_array_equal(DecodedImages(paths, tmp_path / "cache").read(0), as_mmpose_loads(paths[0]))
    assert not (tmp_path / "cache").exists()


def test_what_is_kept_cannot_be_changed_by_its_reader_but_warped(tmp_path: Path) -> None:
    paths = photographs(tmp_path / "data", 1)
    images = DecodedImages(paths, tmp_path / "cache")
    images.read(0)
    kept = images.read(0)
    with pytest.raises(ValueError, match="read-only"):
        kept[0, 0, 0] = 1
    turn = np.array([[0.8, 0.2, 3], [-0.2, 0.8, 5]])
    size = (32, 48)
    np.testing.assert_array_equal(
        cv2.warpAffine(kept, turn, size), cv2.warpAffine(as_mmpose_loads(paths[0]), turn, size)
    )


def test_several_instances_of_an_image_share_its_pixels(tmp_path: Path, only_from_store: OnlyFromStore) -> None:
    first, second = photographs(tmp_path / "data", 2)
    images = DecodedImages([first, second, first, first], tmp_path / "cache")
    images.read(0)
    images.read(1)
    only_from_store()
    for number in (0, 2, 3):
        np.testing.assert_array_equal(images.read(number), as_mmpose_loads(first))


def test_splits_of_a_data_set_share_its_images(tmp_path: Path, only_from_store: OnlyFromStore) -> None:
    paths = photographs(tmp_path / "data", 4)
    whole = DecodedImages(paths, tmp_path / "cache")
    for number in range(4):
        whole.read(number)
    only_from_store()
    subset = DecodedImages(paths[1:3], tmp_path / "cache")
    np.testing.assert_array_equal(subset.read(1), as_mmpose_loads(paths[2]))


def test_a_changed_image_is_seen_at_once_by_all(tmp_path: Path, only_from_store: OnlyFromStore) -> None:
    path, other = photographs(tmp_path / "data", 2)
    for one in (path, other):  # as long as each other; what follows a JPEG's end counts for nothing
        Path(one).write_bytes(Path(one).read_bytes().ljust(20_000, b"\0"))
    images, later = (DecodedImages([path], tmp_path / "cache") for _ in range(2))
    old = images.read(0).copy()
    later.read(0)
    times = os.stat(path)
    Path(path).write_bytes(Path(other).read_bytes())
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a copy that keeps the time of its source
    new = as_mmpose_loads(path)
    assert not np.array_equal(new, old)
    for one in (images, later, DecodedImages([path], tmp_path / "cache")):
        np.testing.assert_array_equal(one.read(0), new)
    only_from_store()
    np.testing.assert_array_equal(images.read(0), new)


def test_an_image_that_may_still_be_written_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posestudy_runner.plugin.data_path.decoded_images.UNSETTLED_S", 3600.0)
    (path,) = photographs(tmp_path / "data", 1)
    images = DecodedImages([path], tmp_path / "cache")
    images.read(0)
    assert images.read(0).flags.writeable, "it came out of the store"


def test_what_cannot_be_decoded_is_an_error_each_time(tmp_path: Path) -> None:
    good, bad, empty, gone = photographs(tmp_path / "data", 4)
    Path(bad).write_text("no image")
    Path(empty).write_bytes(b"")
    images = DecodedImages([good, bad, empty, gone], tmp_path / "cache")
    images.read(3)
    Path(gone).unlink()
    for _ in range(2):
        with pytest.raises(ValueError, match="failed to load image"):
            images.read(1)
        with pytest.raises(cv2.error):
            images.read(2)
        with pytest.raises(FileNotFoundError, match="data"):
            images.read(3)
        np.testing.assert_array_equal(images.read(0), as_mmpose_loads(good))


def fill(images: DecodedImages, order: Sequence[int]) -> None:
    for number in order:
        np.testing.assert_array_equal(images.read(number), as_mmpose_loads(images._paths[number]))


def test_processes_that_fill_a_store_together_all_see_the_right_pixels(
    tmp_path: Path, only_from_store: OnlyFromStore
) -> None:
    count, processes = 60, 5
    paths = photographs(tmp_path / "data", count)
    in_processes(
        (fill, DecodedImages(paths, tmp_path / "cache"), np.random.default_rng(n // 2).permutation(count).tolist())
        for n in range(processes)
    )
    only_from_store()
    fill(DecodedImages(paths, tmp_path / "cache"), range(count))


def test_trials_in_step_keep_each_image_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 20
    paths = photographs(tmp_path / "data", count)
    both = multiprocessing.get_context("fork").Barrier(2)
    decode = decoded_images.decoded

    def at_the_same_time(path: str) -> decoded_images.Decoded:
        fresh = decode(path)
        both.wait(400)
        return fresh

    monkeypatch.setattr(decoded_images, "decoded", at_the_same_time)
    in_processes((fill, DecodedImages(paths, tmp_path / "cache"), range(count)) for _ in range(2))
    (store,) = image_stores.stores(tmp_path / "cache")
    pages = 5 * count + count + 2  # of pixels, at most one each of the table, and what a file system adds
    assert store.size <= 4096 * pages


def in_processes(calls: Iterable[tuple[Any, ...]]) -> None:
    """Each call, a function and its arguments, in a process of its own, all at the same time."""
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=function, args=arguments) for function, *arguments in calls]
    for process in started:
        process.start()
    for process in started:
        process.join(400)
    assert [process.exitcode for process in started] == [0] * len(started)


def sums_in(images: DecodedImages, context: str, processes: int) -> list[int]:
    loader = DataLoader(
        range(len(images)),  # type: ignore[arg-type]
        batch_size=None,
        num_workers=processes,
        multiprocessing_context=context,
        collate_fn=Summing(images),
    )
    return [int(total) for total in loader]


class Summing:
    """The sum of an image's pixels, computed in the loader process."""

    def __init__(self, images: DecodedImages) -> None:
        self._images = images

    def __call__(self, number: int) -> int:
        return int(self._images.read(number).sum())


@pytest.mark.parametrize(("context", "processes"), [("fork", 3), pytest.param("spawn", 1, marks=pytest.mark.slow)])
def test_data_loaders_read_what_their_parent_would(tmp_path: Path, context: str, processes: int) -> None:
    paths = photographs(tmp_path / "data", 12)
    images = DecodedImages(paths, tmp_path / "cache")
    for number in range(6):
        images.read(number)
    expected = [int(as_mmpose_loads(path).sum()) for path in paths]
    assert sums_in(images, context, processes) == expected
    assert [int(images.read(number).sum()) for number in range(12)] == expected


def test_a_pickled_one_has_the_same_images(tmp_path: Path, only_from_store: OnlyFromStore) -> None:
    paths = photographs(tmp_path / "data", 3)
    images = DecodedImages(paths, tmp_path / "cache")
    for number in range(3):
        images.read(number)
    only_from_store()
    copy = pickle.loads(pickle.dumps(images))
    np.testing.assert_array_equal(copy.read(2), as_mmpose_loads(paths[2]))
