"""The journal outlives a kill at any byte."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posestudy.journal import JournalWriter, read

ENTRIES: list[dict[str, Any]] = [{"epoch": 1, "metrics": {"coco/AP": 0.25}}, {}, {"text": "größer\n\x00"}, {"epoch": 2}]


def write(path: Path, entries: list[dict[str, Any]]) -> list[int]:
    """The size of the file after each entry."""
    sizes = []
    with JournalWriter(path) as journal:
        for entry in entries:
            journal.append(entry)
            sizes.append(path.stat().st_size)
    return sizes


def test_what_was_appended_is_read_in_order_by_any_later_writer(tmp_path: Path) -> None:
    path = tmp_path / "made" / "journal"
    assert read(path) == []
    write(path, ENTRIES[:2])
    write(path, ENTRIES[2:])
    assert read(path) == ENTRIES


def test_torn_at_every_byte_the_whole_entries_before_survive_and_writing_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    sizes = write(path, ENTRIES)
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        kept = ENTRIES[: sum(size <= length for size in sizes)]
        assert read(path) == kept
        write(path, [{"after": length}])
        assert read(path) == [*kept, {"after": length}]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_damaged_byte_is_never_read_as_an_entry(tmp_path: Path, position: int, flip: int) -> None:
    path = tmp_path / "journal"
    path.unlink(missing_ok=True)
    sizes = write(path, ENTRIES)
    damaged = bytearray(path.read_bytes())
    position %= len(damaged)
    damaged[position] ^= flip
    path.write_bytes(damaged)
    assert read(path) == ENTRIES[: sum(size <= position for size in sizes)]


def test_a_tail_of_zeros_or_a_huge_length_is_no_entry(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    for tail in (bytes(4096), b"\xff" * 64):
        path.unlink(missing_ok=True)
        write(path, ENTRIES)
        path.write_bytes(path.read_bytes() + tail)
        assert read(path) == ENTRIES


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    really_write = os.pwrite

    def half(descriptor: int, data: bytes, offset: int) -> int:
        if len(data) > 20:
            return really_write(descriptor, data[:10], offset)
        raise OSError(28, "No space left on device")

    with JournalWriter(path) as journal:
        journal.append(ENTRIES[0])
        monkeypatch.setattr(os, "pwrite", half)
        with pytest.raises(OSError, match="No space left"):
            journal.append({"epoch": 2, "lost": True})
        assert read(path) == ENTRIES[:1]
        monkeypatch.undo()
        journal.append(ENTRIES[3])
    assert read(path) == [ENTRIES[0], ENTRIES[3]]
