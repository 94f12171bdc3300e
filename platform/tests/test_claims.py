"""Many workers on one ledger: real processes and threads, some of them killed, on both backends."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from posestudy.errors import LedgerUnavailableError
from posestudy.home import Home
from posestudy.ledger import Ledger, connection
from posestudy.ledger.records import AddCells, Checkpoint, Claim, CloseStage, OpenStage
from posestudy.testing import PostgresServer, new_cell, put_small_study
from posestudy.vocabulary import AttemptEnd, Direction, Outcome, TrialState

STUDY = "small"
EPOCHS = 3
SHA = "0" * 64


def train(ledger: Ledger, granted: Claim, epoch_s: float = 0.0) -> bool:
    """Do what a worker does, from the checkpoint to the end."""
    uid, fence = granted.trial.uid, granted.trial.fence
    for epoch in range(granted.trial.ckpt_epoch + 1, EPOCHS + 1):
        time.sleep(epoch_s)
        checkpoint = Checkpoint(f"/runs/{fence}/epoch_{epoch}.pth", SHA, epoch)
        if not ledger.record_epoch(uid, fence, {epoch: {"coco/AP": epoch / 10}}, checkpoint, 1.0):
            return False
    return finish(ledger, granted)


def finish(ledger: Ledger, granted: Claim) -> bool:
    uid, fence = granted.trial.uid, granted.trial.fence
    return ledger.finish(
        uid, fence, Outcome.COMPLETED, None, metric="coco/AP", direction=Direction.MORE, peak_memory_mb=None
    )


def work(url: str, owner: str, report: Path) -> None:
    ledger = Ledger.open(url)
    numbers = []
    while (granted := ledger.claim(STUDY, owner, 60.0)) is not None:
        assert finish(ledger, granted)
        numbers.append(str(granted.trial.number))
    ledger.close()
    report.write_text(" ".join(numbers))


def work_until_killed(url: str, owner: str, at_work: Connection) -> None:
    ledger = Ledger.open(url)
    while (granted := ledger.claim(STUDY, owner, 1.0)) is not None:
        at_work.send(owner)
        train(ledger, granted, epoch_s=0.02)


def test_eight_processes_claim_a_hundred_trials_each_exactly_once(ledger_url: str, tmp_path: Path) -> None:
    ledger = Ledger.open(ledger_url)
    put_small_study(ledger, cells=tuple(f"cell{index}" for index in range(20)), seeds=tuple(range(5)))
    ledger.close()
    context = multiprocessing.get_context("fork")
    reports = [tmp_path / f"w{index}" for index in range(8)]
    processes = [context.Process(target=work, args=(ledger_url, report.name, report)) for report in reports]
    for process in processes:
        process.start()
    for process in processes:
        process.join(400)
    assert [process.exitcode for process in processes] == [0] * 8
    claimed = Counter(int(number) for report in reports for number in report.read_text().split())
    assert claimed == Counter(range(1, 101))
    snapshot = ledger.snapshot(STUDY)
    ledger.close()
    assert {trial.outcome for trial in snapshot.trials} == {Outcome.COMPLETED}
    assert len(snapshot.attempts) == 100


@pytest.mark.slow
def test_workers_killed_anywhere_lose_no_trial_and_no_value(ledger_url: str) -> None:
    ledger = Ledger.open(ledger_url)
    put_small_study(ledger, cells=tuple(f"cell{index}" for index in range(40)))
    ledger.close()
    context = multiprocessing.get_context("fork")
    for generation in range(4):
        workers = []
        for index in range(3):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=work_until_killed, args=(ledger_url, f"{generation}.{index}", theirs))
            process.start()
            workers.append((process, ours))
        for index, (process, at_work) in enumerate(workers):
            assert at_work.poll(400)
            time.sleep(0.003 * (generation * 3 + index))
            process.kill()
            process.join(400)
    while any(trial.state is not TrialState.DONE for trial in ledger.snapshot(STUDY, values=False).trials):
        granted = ledger.claim(STUDY, "last", 1.0)
        if granted is None:
            time.sleep(0.1)
            continue
        assert train(ledger, granted)
    snapshot = ledger.snapshot(STUDY)
    ledger.close()
    curves = {trial.uid: [v.epoch for v in snapshot.values if v.trial_uid == trial.uid] for trial in snapshot.trials}
    assert all(curve == list(range(1, EPOCHS + 1)) for curve in curves.values())
    assert any(attempt.end is AttemptEnd.LOST for attempt in snapshot.attempts)
    assert {(trial.final_epoch, trial.best_epoch) for trial in snapshot.trials} == {(EPOCHS, EPOCHS)}
    for trial in snapshot.trials:
        ends = [attempt.end for attempt in snapshot.attempts if attempt.trial_uid == trial.uid]
        assert ends == [AttemptEnd.LOST] * (trial.fence - 1) + [AttemptEnd.FINISHED]


def test_of_two_that_advance_a_stage_at_once_one_wins(ledger: Ledger) -> None:
    study = put_small_study(ledger)
    other = put_small_study(ledger, name="other")
    for turn in range(5):
        stage = ledger.snapshot(STUDY).stages[0]
        start = threading.Barrier(2)

        def advance(
            name: str, start: threading.Barrier = start, stage_id: int = stage.id, version: int = stage.version
        ) -> bool:
            start.wait(400)
            return ledger.apply(study.id, [AddCells(stage_id, version, (new_cell(name),))])

        with ThreadPoolExecutor(2) as threads:
            assert sorted(threads.map(advance, (f"left{turn}", f"right{turn}"))) == [False, True]
    stage = ledger.snapshot(STUDY).stages[0]
    following = OpenStage(1, "second", "grid", None, {}, (new_cell("a"),))
    both = threading.Barrier(2)

    def close(_: int) -> bool:
        both.wait(400)
        return ledger.apply(study.id, [CloseStage(stage.id, stage.version, "baseline", ""), following])

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(close, range(2))) == [False, True]
    trials = ledger.snapshot(STUDY).trials
    assert [trial.number for trial in trials] == list(range(1, 9))
    assert [trial.number for trial in ledger.snapshot(other.name).trials] == [1, 2]


def test_threads_of_one_process_share_a_ledger(ledger: Ledger) -> None:
    put_small_study(ledger, cells=tuple(f"cell{index}" for index in range(16)))

    def drain(owner: int) -> list[int]:
        numbers = []
        while (granted := ledger.claim(STUDY, f"w{owner}", 60.0)) is not None:
            assert ledger.renew(granted.trial.uid, granted.trial.fence, 60.0)
            assert train(ledger, granted)
            numbers.append(granted.trial.number)
        return numbers

    with ThreadPoolExecutor(6) as threads:
        numbers = [number for part in threads.map(drain, range(6)) for number in part]
    assert sorted(numbers) == list(range(1, 17))


def test_two_launches_at_once_put_one_study(ledger: Ledger) -> None:
    with ThreadPoolExecutor(4) as threads:
        records = list(threads.map(lambda index: ledger.put_study("s", {"v": 1}, f"# {index}"), range(4)))
    assert len({record.id for record in records}) == 1


def test_a_busy_sqlite_file_is_waited_for_and_never_shown(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_BUSY_TIMEOUT_MS", 5)
    ledger = Ledger.open(f"sqlite:///{home.database}")
    put_small_study(ledger)
    blocker = sqlite3.connect(home.database, isolation_level=None, check_same_thread=False)
    blocker.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.5, lambda: blocker.execute("ROLLBACK"))
    release.start()
    granted = ledger.claim(STUDY, "worker", 60.0)
    release.join()
    blocker.close()
    ledger.close()
    assert granted is not None


def test_a_sqlite_file_that_stays_busy_is_reported_in_plain_words(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_BUSY_TIMEOUT_MS", 5)
    ledger = Ledger.open(f"sqlite:///{home.database}")
    monkeypatch.setattr(connection, "_PATIENCE_S", 0.1)
    blocker = sqlite3.connect(home.database, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnavailableError, match="another process has been writing"):
        ledger.put_study("s", {}, "")
    blocker.close()
    assert ledger.put_study("s", {}, "").name == "s"
    ledger.close()


@pytest.mark.postgres
def test_after_an_outage_running_trials_get_a_lease_of_time_to_renew(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    ledger = Ledger.open(postgres_url)
    put_small_study(ledger, cells=("a", "b", "c"))
    silent = ledger.claim(STUDY, "first", 0.01)
    assert silent is not None
    database = postgres_url.rsplit("/", 1)[1]
    postgres_server.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
    postgres_server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
    with pytest.raises(LedgerUnavailableError) as raised:
        ledger.claim(STUDY, "second", 60.0)
    assert postgres_server.password not in str(raised.value)
    postgres_server.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")

    waiting = [ledger.claim(STUDY, "second", 60.0) for _ in range(3)]
    assert [granted and granted.trial.number for granted in waiting] == [2, 3, None]
    assert ledger.renew(silent.trial.uid, 1, 0.01), "the worker that was cut off keeps its trial"
    time.sleep(0.3)
    taken = ledger.claim(STUDY, "second", 0.2)
    assert taken is not None, "one lease after the first contact its claim holds no longer"
    assert taken.trial.fence == 2
    ledger.close()


def test_of_trials_that_train_alike_one_runs_at_a_time(ledger_url: str) -> None:
    ledger = Ledger.open(ledger_url)
    record = put_small_study(ledger, cells=("other",))
    stage = ledger.snapshot(STUDY).stages[0]
    alike = [replace(new_cell(name, seeds=(0, 1)), training_key="a" * 64) for name in ("first", "second", "third")]
    none = [replace(new_cell(name), training_key=None) for name in ("given", "given_too")]
    assert ledger.apply(record.id, [AddCells(stage.id, stage.version, (*alike, *none))])
    granted = [ledger.claim(STUDY, f"w{i}", 60.0) for i in range(8)]
    # Of each seed the first; what has no training key waits for nobody.
    assert [claim and (claim.cell.name, claim.trial.seed) for claim in granted] == [
        *(("other", 0), ("first", 0), ("first", 1), ("given", 0), ("given_too", 0)),
        *(None, None, None),
    ]
    first = granted[1]
    assert first is not None
    assert ledger.trained_alike(first.trial.uid) == ()
    assert ledger.record_epoch(first.trial.uid, 1, {1: {"coco/AP": 0.1}}, Checkpoint("/runs/1.pth", SHA, 1), 1.0)
    assert finish(ledger, first)
    second = ledger.claim(STUDY, "next", 60.0)
    assert second is not None
    assert (second.cell.name, second.trial.seed) == ("second", 0)
    assert ledger.claim(STUDY, "none", 60.0) is None
    (source,) = ledger.trained_alike(second.trial.uid)
    assert (source.study, source.number, source.uid) == (STUDY, first.trial.number, first.trial.uid)
    assert source.checkpoint == Checkpoint("/runs/1.pth", SHA, 1)
    ledger.close()


def test_a_failed_trial_lends_no_weights(ledger_url: str) -> None:
    ledger = Ledger.open(ledger_url)
    record = put_small_study(ledger, cells=("other",))
    stage = ledger.snapshot(STUDY).stages[0]
    alike = tuple(replace(new_cell(name), training_key="a" * 64) for name in ("first", "second"))
    assert ledger.apply(record.id, [AddCells(stage.id, stage.version, alike)])
    ledger.claim(STUDY, "a", 60.0)
    first = ledger.claim(STUDY, "b", 60.0)
    assert first is not None
    options = {"metric": "coco/AP", "direction": Direction.MORE, "peak_memory_mb": None}
    assert ledger.record_epoch(first.trial.uid, 1, {1: {"coco/AP": 0.1}}, Checkpoint("/runs/1.pth", SHA, 1), 1.0)
    assert ledger.finish(first.trial.uid, 1, Outcome.DIVERGED, None, **options)
    second = ledger.claim(STUDY, "c", 60.0)
    assert second is not None
    assert ledger.trained_alike(second.trial.uid) == ()
    ledger.close()


def test_the_lowest_number_is_granted_whether_it_waits_or_its_lease_ran_out(ledger: Ledger) -> None:
    put_small_study(ledger, cells=("a", "b", "c", "d"))
    first = ledger.claim(STUDY, "worker", 60.0)
    assert first is not None
    assert ledger.claim(STUDY, "worker", 0.01) is not None
    assert ledger.release(first.trial.uid, 1, AttemptEnd.PREEMPTED, "stop")
    time.sleep(0.05)
    again = [ledger.claim(STUDY, "other", 60.0) for _ in range(5)]
    numbers = [granted and (granted.trial.number, granted.trial.fence) for granted in again]
    assert numbers == [(1, 2), (2, 2), (3, 1), (4, 1), None]


def terminate(server: PostgresServer, url: str) -> None:
    database = url.rsplit("/", 1)[1]
    server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")


@pytest.mark.postgres
def test_a_connection_that_broke_while_nobody_used_it_is_replaced_unseen(
    postgres_server: PostgresServer, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_SURELY_ALIVE_S", 0.0)
    ledger = Ledger.open(postgres_url)
    put_small_study(ledger)
    terminate(postgres_server, postgres_url)
    granted = ledger.claim(STUDY, "worker", 60.0)
    assert granted is not None
    ledger.close()


@pytest.mark.postgres
def test_a_connection_that_broke_under_its_user_is_an_outage_of_one_call(
    postgres_server: PostgresServer, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_SURELY_ALIVE_S", 60.0)
    ledger = Ledger.open(postgres_url)
    put_small_study(ledger)
    terminate(postgres_server, postgres_url)
    with pytest.raises(LedgerUnavailableError):
        ledger.claim(STUDY, "worker", 60.0)
    assert ledger.claim(STUDY, "worker", 60.0) is not None
    ledger.close()
