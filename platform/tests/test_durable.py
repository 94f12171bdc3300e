"""Files are there and whole, or as they were."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from posestudy.durable import commit_file, sha256_file, temporary_beside, write_bytes, write_text


def test_written_text_and_bytes_are_read_back_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "made" / "file"
    write_text(path, "größer")
    assert path.read_text(encoding="utf-8") == "größer"
    write_bytes(path, b"\x00\x01")
    assert path.read_bytes() == b"\x00\x01"
    assert os.listdir(path.parent) == ["file"]


def test_a_committed_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    final = tmp_path / "epoch_1.pth"
    final.write_bytes(b"old")
    temporary = temporary_beside(final)
    temporary.write_bytes(b"new")
    commit_file(temporary, final)
    assert final.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["epoch_1.pth"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_checksum_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    data = bytes(range(256)) * 9000
    path.write_bytes(data)
    assert sha256_file(path) == hashlib.sha256(data).hexdigest()


def test_a_new_folder_is_made_to_last_with_every_folder_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name is on the disk once the folder that holds it was synced."""
    synced: set[str] = set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.add(os.readlink(f"/proc/self/fd/{descriptor}")))
    write_text(tmp_path / "study" / "7" / "1" / "order.json", "{}")
    assert {str(tmp_path), str(tmp_path / "study"), str(tmp_path / "study" / "7")} <= synced
    assert str(tmp_path / "study" / "7" / "1") in synced
