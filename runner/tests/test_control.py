"""The trial's end of the pipe: a full disk pauses, orders end the trial, journal before word."""

from __future__ import annotations

import errno
import json
import multiprocessing
import threading
from pathlib import Path

import pytest

from posestudy import journal
from posestudy.journal import JournalWriter
from posestudy_runner.control import Control
from posestudy_runner.outcomes import Ending, Preempted, Pruned, TimeLimit


def pair(tmp_path: Path, **options):
    ours, theirs = multiprocessing.Pipe()
    return ours, Control(theirs, JournalWriter(tmp_path / "journal"), **options)


def told(connection) -> list[dict]:
    frames = []
    while connection.poll(0):
        frames.append(json.loads(connection.recv_bytes()))
    return frames


def test_a_full_disk_pauses_until_there_is_room(tmp_path: Path) -> None:
    worker, control = pair(tmp_path, disk_retry_s=0.01)
    temporary = tmp_path / "epoch_1.tmp"
    left = [errno.ENOSPC, errno.EDQUOT]

    def write() -> str:
        temporary.write_text("half")
        if left:
            raise OSError(left.pop(0), "No space left on device")
        return "written"

    assert control.written(write, temporary) == "written"
    assert [frame["type"] for frame in told(worker)] == ["paused", "paused"]


def test_a_half_written_file_does_not_stay_on_a_full_disk(tmp_path: Path) -> None:
    _, control = pair(tmp_path, disk_retry_s=30.0)
    temporary = tmp_path / "epoch_1.tmp"

    def write() -> None:
        temporary.write_text("half")
        control.stop("the user has no patience")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(Preempted):
        control.written(write, temporary)
    assert not temporary.exists()


def test_another_error_of_the_disk_is_not_waited_for(tmp_path: Path) -> None:
    _, control = pair(tmp_path)

    def write() -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with pytest.raises(OSError, match="Read-only"):
        control.written(write)


def test_what_is_told_is_in_the_journal_first(tmp_path: Path) -> None:
    worker, control = pair(tmp_path)
    control.record({"type": "epoch", "epoch": 1})
    control.end(Ending(None, "SIGTERM"))
    assert told(worker) == journal.read(tmp_path / "journal")
    assert len(journal.read(tmp_path / "journal")) == 2


def test_frames_are_kept_when_the_worker_is_gone(tmp_path: Path) -> None:
    worker, control = pair(tmp_path)
    worker.close()
    control.record({"type": "epoch", "epoch": 1})
    assert journal.read(tmp_path / "journal") == [{"type": "epoch", "epoch": 1}]


def test_answers_are_waited_for_by_epoch(tmp_path: Path) -> None:
    worker, control = pair(tmp_path)
    gone = threading.Event()
    control.listen(gone.set)
    for message in ({"type": "go", "epoch": 1}, {"type": "go", "epoch": 2}, {"type": "prune", "epoch": 3}):
        worker.send_bytes(json.dumps(message).encode())
    control.ask(2)
    with pytest.raises(Pruned):
        control.ask(3)
    worker.close()
    assert gone.wait(30)


def test_a_request_to_stop_and_the_time_limit_end_the_next_step(tmp_path: Path) -> None:
    _, control = pair(tmp_path)
    control.check()
    control.stop("signal SIGTERM")
    with pytest.raises(Preempted, match="SIGTERM"):
        control.check()
    _, late = pair(tmp_path / "late", limit_s=-1.0)
    with pytest.raises(TimeLimit):
        late.check()


def test_time_on_a_full_disk_is_not_the_trials_time(tmp_path: Path) -> None:
    _, control = pair(tmp_path, limit_s=0.3, disk_retry_s=0.5)
    left = [errno.ENOSPC]

    def write() -> None:
        if left:
            raise OSError(left.pop(), "No space left on device")

    control.written(write)
    control.check()
    assert control.waited_s >= 0.5
