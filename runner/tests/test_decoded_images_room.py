"""How much of a disk decoded images take, what goes when more room is needed, and what `posestudy gc` removes."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest
from decoded_image_sets import as_mmpose_loads, only_from_store, photographs, settled

from posestudy.commands.app import main
from posestudy.errors import PoseStudyError
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.settings import Settings
from posestudy.testing import Mount
from posestudy_runner import doctor, image_cache, image_stores
from posestudy_runner.image_cache import ImageCache
from posestudy_runner.plugin.data_path import image_store
from posestudy_runner.plugin.data_path.decoded_images import DecodedImages

__all__ = ["only_from_store", "settled"]

pytestmark = pytest.mark.usefixtures("settled")
TWO_SETS = 2 * 8 * 6 * 4096 + 16 * 4096
"""An image of 90 x 70 px takes five pages, and its entry in the table at most one more."""
DAY_S = 24 * 3600


def data_set(tmp_path: Path, name: str, count: int = 8) -> list[str]:
    made = tmp_path / name
    return [str(made / f"{n}.jpg") for n in range(count)] if made.exists() else photographs(made, count)


def read_all(paths: list[str], folder: Path, limit: int | None = None) -> DecodedImages:
    images = DecodedImages(paths, folder, limit)
    for number, path in enumerate(paths):
        np.testing.assert_array_equal(images.read(number), as_mmpose_loads(path))
    return images


def aged(folder: Path, name: str, seconds: float) -> Path:
    (store,) = folder.glob(f"{name}-*.images")
    os.utime(store, (time.time() - seconds, time.time() - seconds))
    return store


def names(folder: Path) -> set[str]:
    return {path.name.partition("-")[0] for path in folder.iterdir()}


def hold(paths: list[str], folder: Path, ready: Event, end: Event) -> None:
    images = read_all(paths, folder)
    ready.set()
    end.wait(400)
    assert len(images)


@contextmanager
def used_elsewhere(paths: list[str], folder: Path) -> Iterator[None]:
    """Another process uses the store of `paths`."""
    context = multiprocessing.get_context("fork")
    ready, end = context.Event(), context.Event()
    process = context.Process(target=hold, args=(paths, folder, ready, end))
    process.start()
    assert ready.wait(400)
    yield
    end.set()
    process.join(400)
    assert process.exitcode == 0


def test_the_least_recently_used_store_makes_room(tmp_path: Path, only_from_store: Callable[[], None]) -> None:
    folder = tmp_path / "cache"
    for name in ("a", "b"):
        read_all(data_set(tmp_path, name), folder, TWO_SETS)
    aged(folder, "b", 20)
    aged(folder, "a", 30)
    read_all(data_set(tmp_path, "a"), folder, TWO_SETS)  # used again
    read_all(data_set(tmp_path, "c"), folder, TWO_SETS)
    assert names(folder) == {"a", "c"}
    only_from_store()
    kept = DecodedImages(data_set(tmp_path, "c"), folder, TWO_SETS)
    assert [kept.read(number).shape for number in range(8)]


def test_a_store_in_use_stays_and_others_go_without(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    with used_elsewhere(data_set(tmp_path, "a"), folder):
        aged(folder, "a", 30)
        mine = read_all(data_set(tmp_path, "b"), folder, TWO_SETS)
        aged(folder, "b", 20)
        read_all(data_set(tmp_path, "c"), folder, TWO_SETS)
        assert {"a", "b"} <= names(folder)
        np.testing.assert_array_equal(mine.read(3), as_mmpose_loads(data_set(tmp_path, "b")[3]))
        del mine
        read_all(data_set(tmp_path, "d"), folder, TWO_SETS)
        assert "a" in names(folder)
        assert "b" not in names(folder)


def test_of_a_data_set_larger_than_the_limit_those_that_fit_are_kept(tmp_path: Path) -> None:
    folder, paths = tmp_path / "cache", data_set(tmp_path, "a", 20)
    images = read_all(paths, folder, TWO_SETS)
    kept = [not images.read(number).flags.writeable for number in range(20)]
    assert sum(kept) >= 16
    assert kept == sorted(kept, reverse=True)
    assert not all(kept)
    (store,) = image_stores.stores(folder)
    assert store.promised <= TWO_SETS


def test_no_more_than_half_of_a_disk_is_taken(tmp_path: Path, mount: Mount) -> None:
    disk = mount(tmp_path / "disk", "size=1m")
    paths = data_set(tmp_path, "a", 50)
    read_all(paths, disk / "cache")
    state = os.statvfs(disk)
    assert 0.4 <= state.f_bavail / state.f_blocks <= 0.6


def test_a_data_set_that_is_made_anew_again_and_again_takes_no_more_room_each_time(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    taken = []
    for _ in range(6):
        read_all(photographs(tmp_path / "a", 8), folder)
        (store,) = image_stores.stores(folder)
        taken.append(store.size)
    assert max(taken) <= 3 * taken[0]


def resident(store: Path) -> int:
    """Bytes of `store` that count as memory of this process."""
    lines = Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines()
    starts = [number for number, line in enumerate(lines) if line.endswith(str(store))]
    sizes = [next(line for line in lines[start:] if line.startswith("Rss:")) for start in starts]
    return sum(int(line.split()[1]) * 1024 for line in sizes)


def test_a_large_store_does_not_count_as_the_memory_of_its_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_store, "RESIDENT_BYTES", 2 << 20)
    paths = photographs(tmp_path / "a", 20, 480, 320)
    images = read_all(paths, tmp_path / "cache")
    first = images.read(0)
    for number in range(20):
        images.read(number).sum()
    (store,) = image_stores.stores(tmp_path / "cache")
    assert store.size > 8 << 20
    # What a page fault brings in beside its own page counts too.
    assert 0 < resident(store.path) < 5 << 20
    np.testing.assert_array_equal(first, as_mmpose_loads(paths[0]))


def test_a_limit_of_nothing_keeps_nothing(tmp_path: Path) -> None:
    read_all(data_set(tmp_path, "a"), tmp_path / "cache", 0)
    assert not (tmp_path / "cache").exists()


def test_the_environment_says_where_and_how_much(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ImageCache.resolve(home) == ImageCache(home.decoded_images, 20 * 10**9)
    monkeypatch.setenv(image_cache.FOLDER_VARIABLE, str(tmp_path / "elsewhere"))
    monkeypatch.setenv(image_cache.LIMIT_VARIABLE, "0.5")
    assert ImageCache.resolve(home) == ImageCache(tmp_path / "elsewhere", 500_000_000)
    monkeypatch.setenv(image_cache.LIMIT_VARIABLE, "0")
    assert ImageCache.resolve(home).folder is None
    monkeypatch.delenv(image_cache.LIMIT_VARIABLE)
    monkeypatch.setenv(image_cache.FOLDER_VARIABLE, "off")
    assert ImageCache.resolve(home).folder is None


@pytest.mark.parametrize("text", ["much", "-1", "nan", "inf", "1e400"])
def test_a_limit_that_is_no_number_is_told(home: Home, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(image_cache.LIMIT_VARIABLE, text)
    with pytest.raises(PoseStudyError, match=f"POSESTUDY_IMAGE_CACHE_GB: found '{text}', expected a number"):
        ImageCache.resolve(home)


def test_a_network_file_system_is_told_by_its_innermost_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "rootfs / ext4 rw 0 0\nserver:/h /home nfs4 rw 0 0\n/dev/b /home/me/local\\040disk xfs rw 0 0\n"
        "x /fuse fuse.sshfs rw 0 0\ny /over fuse.overlayfs rw 0 0\n"
        "z /over/twice lustre rw 0 0\nw /over/twice ext4 rw 0 0\n"
    )
    monkeypatch.setattr(image_cache, "_MOUNTS", mounts)
    expected = {
        "/srv": "", "/home": "nfs4", "/home/me/x": "nfs4", "/homes": "", "/home/me/local disk/x": "",
        "/fuse/x": "fuse.sshfs", "/over/x": "", "/over/twice/x": "",
    }  # fmt: skip
    assert {place: image_cache.network_file_system(Path(place)) for place in expected} == expected
    chosen = ImageCache.resolve(Home(Path("/home/me/.posestudy")))
    assert chosen.folder is None
    assert "POSESTUDY_IMAGE_CACHE may name a folder on a disk of this machine" in chosen.why_not


def test_doctor_says_where_images_are_kept_or_why_not(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.resolve(str(home.root))
    home.decoded_images.mkdir(parents=True)
    (home.decoded_images / "a-0.images").write_bytes(bytes(90_000_000))
    assert doctor._decoded_images(settings).detail == f"{home.decoded_images}: 0.1 GB of 20 GB at most"
    monkeypatch.setenv(image_cache.FOLDER_VARIABLE, "off")
    found = doctor._decoded_images(settings)
    assert (found.state, found.detail) == ("warn", "not kept: POSESTUDY_IMAGE_CACHE=off")


def gc(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["gc", *options]) == 0
    return capsys.readouterr().out


def test_gc_removes_what_no_trial_uses_when_it_is_asked_to_or_it_is_old(
    home: Home, sqlite_ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("POSESTUDY_HOME", str(home.root))
    folder = home.decoded_images
    for name in ("old", "new"):
        read_all(data_set(tmp_path, name), folder)
    aged(folder, "old", 31 * DAY_S)
    with used_elsewhere(data_set(tmp_path, "used"), folder):
        aged(folder, "used", 31 * DAY_S)
        assert "would remove 1 file" in gc(capsys, "--dry-run")
        assert names(folder) == {"old", "new", "used"}
        told = gc(capsys)
        assert names(folder) == {"new", "used"}
        assert "in 2 files, 1 in use; `posestudy gc --images` removes what is not" in told
        told = gc(capsys, "--images")
        assert names(folder) == {"used"}
        assert "decoded images that no trial uses" in told
        assert "in 1 file, 1 in use" in told
    gc(capsys, "--images")
    assert not folder.exists()


def test_gc_knows_a_folder_outside_the_home(
    home: Home, sqlite_ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("POSESTUDY_HOME", str(home.root))
    monkeypatch.setenv(image_cache.FOLDER_VARIABLE, str(elsewhere))
    read_all(data_set(tmp_path, "a"), elsewhere)
    assert f"{elsewhere}: a-" in gc(capsys, "--images")
    assert not list(elsewhere.iterdir())
