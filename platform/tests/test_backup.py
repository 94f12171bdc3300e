"""Backups of a home that is written to, and what comes back from them: into either database, checked, or refused."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import tarfile
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from posestudy.backups.containers import source
from posestudy.backups.making import make
from posestudy.backups.manifest import BackupError, Manifest
from posestudy.backups.restoring import restore
from posestudy.commands.app import main
from posestudy.errors import LedgerError
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.copying import NotEmptyError
from posestudy.ledger.records import Checkpoint, Claim, NewSplitUse, TrialRecord
from posestudy.testing import Mount, put_small_study
from posestudy.vocabulary import AttemptEnd, Direction, Outcome, Purpose, TrialState

STUDY = "small"


def write_epoch(home: Home, ledger: Ledger, granted: Claim, epoch: int) -> bool:
    """What a worker leaves after an epoch: files of the attempt, then the row; only two checkpoints are kept."""
    trial = granted.trial
    paths = home.attempt(STUDY, trial.number, trial.fence)
    paths.folder.mkdir(parents=True, exist_ok=True)
    path = paths.checkpoint(epoch)
    path.write_bytes(f"{trial.number}:{trial.fence}:{epoch}".encode() * 1000)
    paths.config.write_text(f"epochs = {epoch}\n")
    with paths.log.open("a") as log:
        log.write(f"epoch {epoch}\n")
    paths.best_weights.write_bytes(b"best" * epoch)
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    recorded = ledger.record_epoch(
        trial.uid, trial.fence, {epoch: {"coco/AP": epoch / 100, "loss": float("nan")}},
        Checkpoint(str(path), sha, epoch), 1.5,
    )  # fmt: skip
    paths.checkpoint(epoch - 2).unlink(missing_ok=True)
    return recorded


def finish(ledger: Ledger, granted: Claim) -> bool:
    return ledger.finish(
        granted.trial.uid, granted.trial.fence, Outcome.COMPLETED, None,
        metric="coco/AP", direction=Direction.MORE, peak_memory_mb=1.0,
    )  # fmt: skip


def claim(ledger: Ledger, owner: str = "worker") -> Claim:
    granted = ledger.claim(STUDY, owner, 60.0)
    assert granted is not None
    return granted


def fill(home: Home, ledger: Ledger) -> Claim:
    """A study with a trial that is done, one given back, one that runs and one that waits; the claim that runs."""
    put_small_study(ledger, cells=("baseline", "second", "third", "fourth"))
    done = claim(ledger)
    for epoch in (1, 2, 3):
        assert write_epoch(home, ledger, done, epoch)
    assert finish(ledger, done)
    ledger.record_test_use(done.trial.uid, NewSplitUse("u" * 32, next(iter(Purpose)), 3, 4, "0" * 64))
    back = claim(ledger)
    assert write_epoch(home, ledger, back, 1)
    assert ledger.release(back.trial.uid, 1, AttemptEnd.PREEMPTED, "SIGTERM")
    assert not ledger.record_epoch(back.trial.uid, 1, {2: {"coco/AP": 0.9}}, None, 1.0)
    assert claim(ledger).trial.number == 2
    running = claim(ledger)
    for epoch in (1, 2):
        assert write_epoch(home, ledger, running, epoch)
    return running


@pytest.fixture
def other(tmp_path: Path) -> Home:
    return Home.resolve(tmp_path / "elsewhere")


def sqlite_url(home: Home) -> str:
    return f"sqlite:///{home.database}"


def everything(ledger: Ledger) -> dict[str, Any]:
    """The study but for what a restore changes on purpose, as text: NaN is not equal to itself."""
    snapshot = ledger.snapshot(STUDY)
    settled = {"state": TrialState.WAITING, "fence": 0, "owner": None, "lease_until": None}
    trials = [replace(t, ckpt_path=None, prev_path=None, **settled) for t in snapshot.trials]  # type: ignore[arg-type]
    return {
        "shape": repr((snapshot.study, snapshot.stages, snapshot.cells, snapshot.test_uses)),
        "trials": repr(trials),
        "values": repr(list(snapshot.values)),
        "late": repr([ledger.late_values(trial.uid) for trial in snapshot.trials]),
        "attempts": repr([replace(a, ended=None, end=None, why=None) for a in snapshot.attempts]),
    }


def checkpoint_is_sound(row: TrialRecord) -> bool:
    return row.ckpt_path is not None and hashlib.sha256(Path(row.ckpt_path).read_bytes()).hexdigest() == row.ckpt_sha


@pytest.mark.postgres
@pytest.mark.parametrize("name", ["kept", "kept.tar"])
def test_a_home_comes_back_in_the_other_database_and_goes_on(
    ledger_url: str, postgres_url: str, home: Home, other: Home, tmp_path: Path, name: str
) -> None:
    target = sqlite_url(other) if ledger_url == postgres_url else postgres_url
    ledger = Ledger.open(ledger_url)
    running = fill(home, ledger)
    made = make(home, ledger, tmp_path / name)
    assert made.notes == []
    before = everything(ledger)
    ledger.close()

    _, notes = restore(other, target, tmp_path / name)
    assert notes == []
    restored = Ledger.open(target)
    assert everything(restored) == before
    rows = restored.snapshot(STUDY).trials
    assert [(row.state, row.fence) for row in rows] == [
        (TrialState.DONE, 1000), (TrialState.WAITING, 1000), (TrialState.WAITING, 1000), (TrialState.WAITING, 1000),
    ]  # fmt: skip
    assert [row.never_claimed for row in rows] == [False, False, False, True]
    assert {Path(row.ckpt_path).is_relative_to(other.root) for row in rows if row.ckpt_path} == {True}
    assert all(checkpoint_is_sound(row) for row in rows[:3])
    attempts = restored.snapshot(STUDY).attempts
    assert [a.end for a in attempts] == [
        AttemptEnd.FINISHED, AttemptEnd.PREEMPTED, AttemptEnd.PREEMPTED, AttemptEnd.PREEMPTED,
    ]  # fmt: skip
    kept = other.attempt(STUDY, 1, 1)
    assert kept.log.read_text() == "epoch 1\nepoch 2\nepoch 3\n"
    assert kept.best_weights.read_bytes() == b"best" * 3

    # A worker of the old ledger that finds itself on the new one is a stranger there, whatever fence it has by now.
    for fence in (running.trial.fence, running.trial.fence + 1):
        assert not restored.renew(running.trial.uid, fence, 60.0)
        assert not restored.record_epoch(running.trial.uid, fence, {3: {"coco/AP": 1.0}}, None, 1.0)
    while (granted := restored.claim(STUDY, "new", 60.0)) is not None:
        assert granted.trial.fence == 1001
        for epoch in range(granted.trial.ckpt_epoch + 1, 4):
            assert write_epoch(other, restored, granted, epoch)
        assert finish(restored, granted)
    assert {(t.outcome, t.final_epoch) for t in restored.snapshot(STUDY).trials} == {(Outcome.COMPLETED, 3)}
    # Numbers that the database gives itself go on, too.
    put_small_study(restored, name="next")
    restored.close()


def test_backups_of_a_home_that_is_written_to_hold_one_moment_each(ledger_url: str, home: Home, tmp_path: Path) -> None:
    ledger = Ledger.open(ledger_url)
    put_small_study(ledger, cells=("a", "b", "c"))
    stop = threading.Event()
    failed: list[BaseException] = []

    def train(owner: str) -> None:
        try:
            granted = claim(ledger, owner)
            epoch = 0
            while not stop.is_set():
                epoch += 1
                assert write_epoch(home, ledger, granted, epoch)
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            failed.append(error)

    workers = [threading.Thread(target=train, args=(f"w{index}",)) for index in range(3)]
    for worker in workers:
        worker.start()
    backups = [make(home, ledger, tmp_path / f"backup{index}") for index in range(3)]
    stop.set()
    for worker in workers:
        worker.join(400)
    ledger.close()
    assert failed == []
    seen = set()
    for index, made in enumerate(backups):
        target = Home.resolve(tmp_path / f"home{index}")
        restore(target, sqlite_url(target), tmp_path / f"backup{index}")
        restored = Ledger.open(sqlite_url(target))
        snapshot = restored.snapshot(STUDY)
        restored.close()
        for row in snapshot.trials:
            epochs = [value.epoch for value in snapshot.values if value.trial_uid == row.uid]
            assert epochs == list(range(1, row.ckpt_epoch + 1)), "values and checkpoint of one transaction"
            seen.add((row.number, row.ckpt_epoch))
            told = any(f"trial {row.number} of" in note for note in made.notes)
            assert row.ckpt_path is None or told or checkpoint_is_sound(row)
    assert len(seen) > 3, "the backups are of different moments"


def test_a_checkpoint_that_is_tidied_away_meanwhile_is_told_and_the_trial_has_its_fallback(
    sqlite_ledger: Ledger, home: Home, other: Home, tmp_path: Path
) -> None:
    running = fill(home, sqlite_ledger)
    home.attempt(STUDY, running.trial.number, 1).checkpoint(2).unlink()
    made = make(home, sqlite_ledger, tmp_path / "kept")
    (note,) = made.notes
    assert "trial 3 of 'small': its checkpoint after epoch 2" in note
    assert "it is gone" in note
    restore(other, sqlite_url(other), tmp_path / "kept")
    restored = Ledger.open(sqlite_url(other))
    row = restored.snapshot(STUDY).trials[2]
    restored.close()
    assert row.prev_path is not None
    assert Path(row.prev_path).read_bytes() == b"3:1:1" * 1000


def test_the_ledger_alone_moves_to_another_database_of_the_same_home(
    sqlite_ledger: Ledger, home: Home, tmp_path: Path
) -> None:
    running = fill(home, sqlite_ledger)
    made = make(home, sqlite_ledger, tmp_path / "kept", files=False)
    assert made.files == []
    moved = f"sqlite:///{tmp_path}/other.db"
    restore(home, moved, tmp_path / "kept")
    restored = Ledger.open(moved)
    row = restored.snapshot(STUDY).trials[2]
    restored.close()
    assert row.uid == running.trial.uid
    assert Path(str(row.ckpt_path)).is_relative_to(home.root)
    assert checkpoint_is_sound(row)


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made_once")
    home = Home.resolve(folder / "home")
    ledger = Ledger.open(sqlite_url(home))
    fill(home, ledger)
    make(home, ledger, folder / "kept")
    ledger.close()
    return folder / "kept"


@pytest.fixture
def kept(made_once: Path, tmp_path: Path) -> Path:
    """A backup in a folder."""
    return Path(shutil.copytree(made_once, tmp_path / "kept"))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def as_tar(folder: Path) -> Path:
    path = folder.with_suffix(".tar")
    with tarfile.open(path, "w") as tar:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                tar.add(file, str(file.relative_to(folder)))
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_file_stops_a_restore_unless_the_rest_is_asked_for(kept: Path, other: Home, packed: bool) -> None:
    log = "runs/small/1/1/training.log"
    flip(kept / log)
    place = as_tar(kept) if packed else kept
    with pytest.raises(BackupError, match=r"training\.log has the SHA-256 .*--partial"):
        restore(other, sqlite_url(other), place)
    empty = Ledger.open(sqlite_url(other))
    assert empty.studies() == []
    empty.close()
    brought, notes = restore(other, sqlite_url(other), place, partial=True)
    assert len(notes) == 1
    assert log not in [entry.path for entry in brought.files]
    assert not (other.root / log).exists()
    assert other.attempt(STUDY, 1, 1).best_weights.exists()
    restored = Ledger.open(sqlite_url(other))
    assert len(restored.snapshot(STUDY).trials) == 4
    restored.close()
    assert [path for path in other.root.rglob("*") if path.name.startswith(".")] == []


@pytest.mark.parametrize("how", ["byte", "half", "gone", "longer"])
def test_a_damaged_copy_of_the_ledger_is_not_restored(kept: Path, other: Home, how: str) -> None:
    copy = kept / "ledger.db"
    if how == "byte":
        flip(copy)
    elif how == "half":
        os.truncate(copy, copy.stat().st_size // 2)
    elif how == "longer":
        copy.write_bytes(copy.read_bytes() + b"x")
    else:
        copy.unlink()
    with pytest.raises(BackupError, match=r"is damaged: ledger\.db"):
        restore(other, sqlite_url(other), kept, partial=True)
    assert not other.root.exists()


@pytest.mark.parametrize(
    "path",
    ["../outside", "/tmp/outside", "runs/../../outside", "posestudy.db", "runs", "runs//a", "./runs/a", "runs\\..\\a",
     "elsewhere/a", "runs/a\0b", ""],
)  # fmt: skip
def test_a_list_that_names_a_place_outside_is_refused(kept: Path, other: Home, path: str) -> None:
    document = json.loads((kept / "manifest.json").read_text())
    document["files"].append({"path": path, "bytes": 1, "sha256": "0" * 64})
    (kept / "manifest.json").write_text(json.dumps(document))
    for place in (kept, as_tar(kept)):
        with pytest.raises(BackupError, match=r"its manifest\.json, at 'files\.\d+\.path'"):
            restore(other, sqlite_url(other), place)
    assert not other.root.exists()


def test_links_and_devices_in_a_backup_are_not_followed(kept: Path, other: Home, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    log = "runs/small/1/1/training.log"
    shutil.copy(kept / log, secret)
    (kept / log).unlink()
    (kept / log).symlink_to(secret)
    with pytest.raises(BackupError, match="is not there or cannot be read"):
        restore(other, sqlite_url(other), kept)
    (kept / log).unlink()
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        place = as_tar(kept)
        with tarfile.open(place, "a") as tar:
            member = tarfile.TarInfo(log)
            member.type, member.linkname = kind, str(secret)
            tar.addfile(member)
        with pytest.raises(BackupError, match="is not there or cannot be read"):
            restore(other, sqlite_url(other), place)
    # A linked folder inside the backup leads outside as well.
    shutil.rmtree(kept / "runs/small/1")
    (tmp_path / "1/1").mkdir(parents=True)
    shutil.copy(secret, tmp_path / "1/1/training.log")
    (kept / "runs/small/1").symlink_to(tmp_path / "1")
    with pytest.raises(BackupError, match="is not there or cannot be read"):
        restore(other, sqlite_url(other), kept)


def test_members_that_the_list_does_not_name_are_not_unpacked(kept: Path, other: Home, tmp_path: Path) -> None:
    place = as_tar(kept)
    with tarfile.open(place, "a") as tar:
        for name in ("../evil", f"{tmp_path}/evil", "runs/small/1/1/evil"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"evil"))
    restore(other, sqlite_url(other), place)
    assert list(tmp_path.rglob("evil")) == []


@pytest.mark.parametrize("how", ["half", "nothing", "text"])
def test_a_torn_tar_file_is_a_clear_error(kept: Path, other: Home, how: str) -> None:
    place = as_tar(kept)
    data = place.read_bytes()
    place.write_bytes({"half": data[: len(data) // 2], "nothing": b"", "text": b"hello " * 500}[how])
    with pytest.raises(BackupError):
        restore(other, sqlite_url(other), place)
    assert not other.root.exists()


def test_a_backup_is_never_written_over_something_else(
    kept: Path, sqlite_ledger: Ledger, home: Home, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    with pytest.raises(BackupError, match="is there already; --force"):
        make(home, sqlite_ledger, kept)
    assert {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()} == before
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter").write_text("x")
    for place in (precious, precious / "chapter"):
        with pytest.raises(BackupError, match="is not"):
            make(home, sqlite_ledger, place, force=True)
    assert (precious / "chapter").read_text() == "x"
    with pytest.raises(BackupError, match="lies among the files"):
        make(home, sqlite_ledger, home.runs / "kept")
    with pytest.raises(BackupError, match="there is no folder"):
        make(home, sqlite_ledger, tmp_path / "no" / "kept")
    put_small_study(sqlite_ledger)
    put_small_study(sqlite_ledger, name="second")
    made = make(home, sqlite_ledger, kept, force=True)
    assert made.studies == [STUDY, "second"]
    assert Manifest.model_validate_json((kept / "manifest.json").read_bytes()).studies == made.studies
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_restore_overwrites_nothing(kept: Path, sqlite_ledger: Ledger, home: Home, other: Home) -> None:
    put_small_study(sqlite_ledger)
    with pytest.raises(NotEmptyError, match="holds studies already"):
        restore(home, sqlite_url(home), kept)
    mine = other.attempt(STUDY, 1, 1).log
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(BackupError, match="is another file than the backup's"):
        restore(other, sqlite_url(other), kept)
    assert mine.read_text() == "mine"
    shutil.copy(kept / "runs/small/1/1/training.log", mine)
    restore(other, sqlite_url(other), kept)


def test_a_backup_of_a_newer_posestudy_is_refused(kept: Path, other: Home) -> None:
    copy = kept / "ledger.db"
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE posestudy_version SET version_num = '9999'")
    document = json.loads((kept / "manifest.json").read_text())
    document["ledger"] = {
        "bytes": copy.stat().st_size,
        "sha256": hashlib.sha256(copy.read_bytes()).hexdigest(),
    }
    (kept / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(LedgerError, match="newer posestudy: found schema 9999"):
        restore(other, sqlite_url(other), kept)
    (kept / "manifest.json").write_text(json.dumps({**document, "version": 2}))
    with pytest.raises(BackupError, match="at 'version'"):
        restore(other, sqlite_url(other), kept)


def test_where_the_old_ledger_is_damaged_the_way_out_is_named(kept: Path, other: Home) -> None:
    other.root.mkdir()
    other.database.write_text("these are not the bytes of a database " * 50)
    with pytest.raises(LedgerError, match="first move it aside"):
        restore(other, sqlite_url(other), kept)
    other.database.unlink()
    restore(other, sqlite_url(other), kept)


@pytest.fixture
def small_disk(tmp_path: Path, mount: Mount) -> Path:
    """A file system of 1 MB."""
    return mount(tmp_path / "disk", "size=1m")


@pytest.mark.parametrize("name", ["kept", "kept.tar"])
def test_a_full_disk_leaves_no_half_backup(
    sqlite_ledger: Ledger, home: Home, small_disk: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = fill(home, sqlite_ledger)
    big = home.attempt(STUDY, running.trial.number, 1).folder / "matches.npz"
    big.write_bytes(b"x" * 2_000_000)
    with pytest.raises(BackupError, match=r"no room for the backup.*--no-files"):
        make(home, sqlite_ledger, small_disk / name)
    assert list(small_disk.iterdir()) == []
    # Somebody else fills the disk after it was measured.
    monkeypatch.setattr("posestudy.backups.making._check_room", lambda *_: None)
    with pytest.raises(BackupError, match="No space left"):
        make(home, sqlite_ledger, small_disk / name)
    assert list(small_disk.iterdir()) == []


def test_the_commands(
    kept: Path, home: Home, other: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.delenv("POSESTUDY_DATABASE_URL", raising=False)
    restore(home, sqlite_url(home), kept)
    monkeypatch.setenv("POSESTUDY_HOME", str(home.root))
    assert main(["backup", str(tmp_path / "two.tar")]) == 0
    assert "1 study, 4 trials, 6 evaluated epochs" in capsys.readouterr().out
    assert main(["backup", str(tmp_path / "two.tar")]) == 2
    assert "--force" in capsys.readouterr().err
    for name in ("two.zip", "two.tar.gz"):
        assert main(["backup", str(tmp_path / name)]) == 2
        assert "one that ends in .tar" in capsys.readouterr().err
        assert not (tmp_path / name).exists()
    assert main(["restore", str(tmp_path / "two.tar")]) == 2
    assert "holds studies already" in capsys.readouterr().err
    monkeypatch.setenv("POSESTUDY_HOME", str(other.root))
    assert main(["backup", str(tmp_path / "three")]) == 2
    assert "no ledger at" in capsys.readouterr().err
    assert main(["restore", str(tmp_path / "nothing")]) == 2
    assert "there is no backup at" in capsys.readouterr().err
    assert main(["restore", str(tmp_path / "two.tar")]) == 0
    assert "every checksum is right" in capsys.readouterr().out
    with suppress(SystemExit):
        main(["status", STUDY])
    assert "1 completed, 3 waiting" in capsys.readouterr().out


def make_in_child(home: Home, place: Path) -> None:
    ledger = Ledger.open(sqlite_url(home))
    make(home, ledger, place, force=True)
    os._exit(0)


def restore_in_child(home: Home, place: Path) -> None:
    restore(home, sqlite_url(home), place)
    os._exit(0)


def killed_after(delay_s: float, target: Callable[..., None], *arguments: object) -> bool:
    """Run it in a process and kill that after `delay_s`; whether it was still at work."""
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    process.join(delay_s)
    process.kill()
    process.join(30)
    return process.exitcode == -signal.SIGKILL


MOST_TRIES = 40
"""A child may be done before its kill comes, on a machine that is faster than at the first try."""


@pytest.mark.slow
def test_a_kill_at_any_instant_leaves_no_half_backup_and_no_half_ledger(
    sqlite_ledger: Ledger, home: Home, tmp_path: Path
) -> None:
    running = fill(home, sqlite_ledger)
    for index in range(150):
        picture = home.attempt(STUDY, running.trial.number, 1).drawings / f"{index}.png"
        picture.parent.mkdir(exist_ok=True)
        picture.write_bytes(os.urandom(20_000))
    sqlite_ledger.close()
    place = tmp_path / "kept.tar"
    chance, kills = random.Random(5), 0
    began = time.monotonic()
    assert not killed_after(60.0, make_in_child, home, place)
    took = time.monotonic() - began
    for _ in range(MOST_TRIES):
        kills += killed_after(took * chance.random(), make_in_child, home, place)
        with source(place) as kept:
            files = kept.manifest().files
            assert len(files) > 150
        if kills == 3:
            break
    assert kills == 3

    kills = 0
    began = time.monotonic()
    target = Home.resolve(tmp_path / "first")
    assert not killed_after(60.0, restore_in_child, target, place)
    took = time.monotonic() - began
    for index in range(MOST_TRIES):
        target = Home.resolve(tmp_path / f"home{index}")
        kills += killed_after(took * chance.random(), restore_in_child, target, place)
        ledger = Ledger.open(sqlite_url(target))
        if ledger.studies():
            assert len(ledger.snapshot(STUDY).trials) == 4
            assert all((target.root / file.path).exists() for file in files)
        else:
            restore(target, sqlite_url(target), place)
            assert checkpoint_is_sound(ledger.snapshot(STUDY).trials[2])
        ledger.close()
        if kills == 2:
            break
    assert kills == 2
