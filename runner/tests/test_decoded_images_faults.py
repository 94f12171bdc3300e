"""Decoded images where something goes wrong: kills, power cuts, damage and full disks never give other pixels."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from decoded_image_sets import as_mmpose_loads, only_from_store, photographs, settled

from posestudy.testing import Mount
from posestudy_runner import image_stores
from posestudy_runner.image_stores import TABLE_BYTES
from posestudy_runner.plugin.data_path import decoded_images, image_store, store_layout
from posestudy_runner.plugin.data_path.decoded_images import DecodedImages

__all__ = ["only_from_store", "settled"]

pytestmark = pytest.mark.usefixtures("settled")
PAGE = 4096
COUNT = 12


def read_all(images: DecodedImages, paths: Sequence[str]) -> None:
    for number, path in enumerate(paths):
        np.testing.assert_array_equal(images.read(number), as_mmpose_loads(path))


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    return photographs(tmp_path / "data", COUNT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def filled(paths: list[str], folder: Path) -> Path:
    """The file of a store that has all images; nobody uses it."""
    read_all(DecodedImages(paths, folder), paths)
    return the_store(folder)


def the_store(folder: Path) -> Path:
    (store,) = folder.iterdir()
    return store


def overwrite(store: Path, offset: int, data: bytes) -> None:
    with store.open("r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def read_for_ever(paths: Sequence[str], folder: Path) -> None:
    while True:
        images = DecodedImages(paths, folder)
        for number in random.sample(range(len(paths)), len(paths)):
            images.read(number)


def test_a_process_killed_while_it_fills_leaves_nothing_wrong(
    tmp_path: Path, folder: Path, only_from_store: Callable[[], None]
) -> None:
    paths = photographs(tmp_path / "data", 40)
    context = multiprocessing.get_context("fork")
    for round_ in range(5):
        fillers = [context.Process(target=read_for_ever, args=(paths, folder)) for _ in range(2)]
        for filler in fillers:
            filler.start()
        time.sleep(0.01 + 0.01 * round_)
        for filler in fillers:
            os.kill(filler.pid or 0, signal.SIGKILL)
            filler.join()
        if round_ == 2:
            shutil.rmtree(folder)
        else:
            read_all(DecodedImages(paths[: 10 * round_], folder), paths[: 10 * round_])
    read_all(DecodedImages(paths, folder), paths)
    only_from_store()
    read_all(DecodedImages(paths, folder), paths)


def first_pixels(store: Path) -> None:
    overwrite(store, TABLE_BYTES + 40, b"\xaa")


def a_lost_page(store: Path) -> None:
    overwrite(store, TABLE_BYTES + PAGE, bytes(PAGE))


def pages_changed_about(store: Path) -> None:
    data = store.read_bytes()
    overwrite(store, TABLE_BYTES, data[TABLE_BYTES + PAGE :][:PAGE] + data[TABLE_BYTES:][:PAGE])


def all_pixels(store: Path) -> None:
    overwrite(store, TABLE_BYTES, bytes(store.stat().st_size - TABLE_BYTES))


def the_table(store: Path) -> None:
    overwrite(store, PAGE, bytes(TABLE_BYTES - PAGE))


def noise_in_the_table(store: Path) -> None:
    table = bytearray(store.read_bytes()[PAGE:TABLE_BYTES])
    for start in range(0, len(table), 64):
        if any(table[start : start + 64]):
            table[start + 20 + start % 40] ^= 255
    overwrite(store, PAGE, bytes(table))


def the_header(store: Path) -> None:
    overwrite(store, 0, bytes(PAGE))


def noise_in_the_header(store: Path) -> None:
    overwrite(store, 36, b"\xff\xff")


def everything(store: Path) -> None:
    store.write_bytes(random.Random(0).randbytes(1 << 20))


def emptied(store: Path) -> None:
    os.truncate(store, 0)


def cut_in_the_table(store: Path) -> None:
    os.truncate(store, TABLE_BYTES // 2)


def cut_in_the_pixels(store: Path) -> None:
    os.truncate(store, TABLE_BYTES + 3 * PAGE)


def removed(store: Path) -> None:
    store.unlink()


def folder_removed(store: Path) -> None:
    shutil.rmtree(store.parent)


DAMAGES = [
    *(first_pixels, a_lost_page, pages_changed_about, all_pixels, the_table, noise_in_the_table, the_header),
    *(noise_in_the_header, everything, emptied, cut_in_the_table, cut_in_the_pixels, removed, folder_removed),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_seen_and_mended(
    paths: list[str], filled: Path, only_from_store: Callable[[], None], damage: Callable[[Path], None]
) -> None:
    damage(filled)
    read_all(DecodedImages(paths, filled.parent), paths)
    only_from_store()
    read_all(DecodedImages(paths, filled.parent), paths)


def test_a_damaged_entry_costs_its_own_image_alone(
    paths: list[str], filled: Path, only_from_store: Callable[[], None]
) -> None:
    store = image_store.ImageStore.open(filled)
    lost = store.find(store_layout.key_of(Path(paths[3]).name), store_layout.Stamp.of(os.stat(paths[3])))
    assert lost is not None
    overwrite(filled, lost.place + 38, b"\xff")  # it now points far behind the end of the file
    images = DecodedImages(paths, filled.parent)
    np.testing.assert_array_equal(images.read(3), as_mmpose_loads(paths[3]))
    only_from_store()
    read_all(images, paths)


@pytest.mark.parametrize("damage", [emptied, cut_in_the_table, cut_in_the_pixels, removed, folder_removed, the_header])
def test_a_store_that_is_taken_away_while_it_is_used_stops_nobody(
    paths: list[str], folder: Path, only_from_store: Callable[[], None], damage: Callable[[Path], None]
) -> None:
    images = DecodedImages(paths, folder)
    for number in range(COUNT // 2):
        images.read(number)
    read_all(images, paths[: COUNT // 2])
    damage(the_store(folder))
    # In a process of its own: what reads behind the end of a mapped file is killed.
    reader = multiprocessing.get_context("fork").Process(target=read_all, args=(images, paths))
    reader.start()
    reader.join(400)
    assert reader.exitcode == 0
    for _ in range(2):
        read_all(images, paths)
    only_from_store()
    fresh = DecodedImages(paths, folder)
    for number in range(COUNT // 2, COUNT):
        fresh.read(number)


@pytest.mark.parametrize("place", ["a file", "a folder", "a link", "a file for the folder"])
def test_something_else_in_the_place_of_a_store_is_left_alone(
    tmp_path: Path, paths: list[str], filled: Path, place: str
) -> None:
    other = tmp_path / "other"
    other.write_text("not ours")
    if place == "a file for the folder":
        shutil.rmtree(filled.parent)
        filled.parent.write_text("not ours")
    else:
        filled.unlink()
        {"a file": filled.touch, "a folder": filled.mkdir, "a link": lambda: filled.symlink_to(other)}[place]()
    read_all(DecodedImages(paths, filled.parent), paths)
    assert other.read_text() == "not ours"
    if place == "a file for the folder":
        assert filled.parent.read_text() == "not ours"


def test_after_a_power_cut_no_slot_is_given_out_twice(
    tmp_path: Path, paths: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The disk has the pixels and the table, but the first page as it was when the store was made.
    first = DecodedImages(paths, folder)
    first.read(0)
    begun = the_store(folder).read_bytes()[:PAGE]
    read_all(first, paths)
    del first
    overwrite(the_store(folder), 0, begun)
    monkeypatch.setattr(image_store, "_boot", lambda: b"the next one....")
    more = photographs(tmp_path / "data" / "more", COUNT)
    old = DecodedImages(paths, folder)
    read_all(old, paths)
    read_all(DecodedImages([*paths, *more], folder), [*paths, *more])
    assert len(list(folder.iterdir())) == 1
    read_all(old, paths)


def test_after_a_power_cut_that_lost_the_end_of_the_file_it_is_decoded_again(
    paths: list[str], filled: Path, monkeypatch: pytest.MonkeyPatch, only_from_store: Callable[[], None]
) -> None:
    os.truncate(filled, TABLE_BYTES + 5 * PAGE)
    monkeypatch.setattr(image_store, "_boot", lambda: b"the next one....")
    read_all(DecodedImages(paths, filled.parent), paths)
    only_from_store()
    read_all(DecodedImages(paths, filled.parent), paths)


def test_a_frozen_process_that_holds_the_lock_holds_nobody_up(
    paths: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = DecodedImages(paths, folder)
    images.read(0)
    monkeypatch.setattr(image_store, "WAIT_S", 0.01)
    with image_stores.locked(folder, 0):
        read_all(images, paths)
    assert images.read(COUNT - 1).flags.writeable, "it was kept without the lock"
    assert not images.read(COUNT - 1).flags.writeable


def room_for(disk: Path, pages: int) -> Path:
    """A file that leaves so many pages of `disk` free."""
    filler = disk / "filler"
    with filler.open("wb") as stream:
        for _ in range(os.statvfs(disk).f_bavail - pages):
            stream.write(bytes(PAGE))
    return filler


@pytest.mark.parametrize("pages", [0, 1, 2, 9, 30])
def test_a_full_disk_is_no_error(
    tmp_path: Path, paths: list[str], mount: Mount, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    # Room is asked for, and lent to something else before it is used.
    monkeypatch.setattr(decoded_images, "RETRY_S", 0.0)
    folder = mount(tmp_path / "disk", "size=8m") / "cache"
    images = DecodedImages(paths, folder)
    images.read(0)
    filler = room_for(tmp_path / "disk", pages)
    read_all(images, paths)
    read_all(images, paths)
    read_all(DecodedImages(paths, folder), paths)
    filler.unlink()
    read_all(images, paths)
    assert not any(images.read(number).flags.writeable for number in range(COUNT)), "not kept where there is room again"


def test_a_disk_that_was_full_from_the_beginning_is_no_error(
    tmp_path: Path, paths: list[str], mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = mount(tmp_path / "disk", "size=1m")
    room_for(disk, 0)
    read_all(DecodedImages(paths, disk / "cache"), paths)
    assert [path.name for path in disk.rglob("*") if path.is_file()] == ["filler"]


def test_a_store_on_a_read_only_disk_is_read(
    tmp_path: Path, paths: list[str], mount: Mount, only_from_store: Callable[[], None]
) -> None:
    disk = mount(tmp_path / "disk", "size=8m")
    read_all(DecodedImages(paths[:6], disk / "cache"), paths[:6])
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    read_all(DecodedImages(paths, disk / "cache"), paths)
    read_all(DecodedImages(paths, disk / "another"), paths)
    only_from_store()
    read_all(DecodedImages(paths[:6], disk / "cache"), paths[:6])


def test_a_store_that_was_cut_short_is_not_made_whole_again_with_zeros(paths: list[str], folder: Path) -> None:
    first, second = DecodedImages(paths, folder), DecodedImages(paths, folder)
    read_all(first, paths[:6])
    read_all(first, paths[:6])
    read_all(second, paths[:1])
    # Another process was about to fill the last slot of the file.
    store = image_store.ImageStore.open(the_store(folder))
    stamp = store_layout.Stamp.of(os.stat(paths[-1]))
    store.reserve(store_layout.key_of(Path(paths[-1]).name), stamp, as_mmpose_loads(paths[-1]).shape, 10**9)
    os.truncate(store.path, TABLE_BYTES + PAGE)
    np.testing.assert_array_equal(second.read(COUNT - 1), as_mmpose_loads(paths[-1]))
    read_all(first, paths)
