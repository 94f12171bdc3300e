"""The traps of the process tree: what the kernel, CPython's forkserver and torch do, and that a pool copes with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from standin_pool import STUDY, Standin, alive, importable_standins, in_background, until
from standin_trials import train

from posestudy.errors import MissingPieceError
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.vocabulary import Outcome, TrialState
from posestudy_runner.child import resolve
from posestudy_runner.context import owner_is_dead, owner_name
from posestudy_runner.forkserver import CHILD_ENVIRONMENT, Starter, StartMethod
from posestudy_runner.order import TrialOrder
from posestudy_runner.probe import probe
from posestudy_runner.slots import TrialProcess

__all__ = ["importable_standins"]


@pytest.fixture
def starter() -> Iterator[Starter]:
    with Starter(StartMethod.FORKSERVER, "standin_preload") as made:
        yield made


def order(folder: Path, **training: Any) -> TrialOrder:
    return TrialOrder(
        target="standin_trials:train",
        study_name=STUDY,
        study={},
        training=training,
        stage="only",
        cell="a",
        uid="0" * 32,
        number=1,
        fence=1,
        seed=0,
        metric="coco/AP",
        direction="more",
        epochs=4,
        folder=str(folder),
        device="cpu",
        threads=1,
    )


def close_all_and_leave() -> None:
    os.closerange(3, 1024)
    time.sleep(0.3)
    os._exit(3)


def messages_until_end(process: TrialProcess) -> list[str]:
    kinds = []
    while (message := process.receive()) is not None:
        kinds.append(message["type"])
        if message["type"] == "end":
            break
    return kinds


def test_a_preload_that_fails_is_noticed(starter: Starter) -> None:
    with Starter(StartMethod.FORKSERVER, "broken_preload") as broken, pytest.raises(MissingPieceError) as error:
        probe(broken)
    assert "a_package_that_does_not_exist" in str(error.value)
    assert "posestudy doctor" in str(error.value)


def test_a_forkserver_that_comes_back_without_its_preload_is_noticed(tmp_path: Path) -> None:
    with Starter(StartMethod.FORKSERVER, "broken_preload") as broken:
        process = TrialProcess(broken, order(tmp_path).write(), "trial")
        message = process.receive()
        process.close()
    assert message["type"] == "unusable"
    assert "a_package_that_does_not_exist" in message["why"]


def test_children_get_their_environment_and_the_parent_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with Starter(StartMethod.FORKSERVER, "standin_preload") as starter:
        ours, theirs = starter.pipe()
        process = starter.start(send_environment, (theirs,), "environment")
        theirs.close()
        assert dict(pair.split("=", 1) for pair in ours.recv_bytes().decode().splitlines()) == CHILD_ENVIRONMENT
        starter.exit_code(process)
    assert os.environ["OMP_NUM_THREADS"] == "5"
    assert "MKL_NUM_THREADS" not in os.environ


def send_environment(connection: Connection) -> None:
    connection.send_bytes("\n".join(f"{name}={os.environ[name]}" for name in CHILD_ENVIRONMENT).encode())


def test_a_trial_runs_in_a_session_of_its_own_and_the_slot_is_free_after(starter: Starter, tmp_path: Path) -> None:
    process = TrialProcess(starter, order(tmp_path, steps=50, step_s=0.02).write(), "trial")
    until((tmp_path / "pid").exists)
    assert os.getsid(process.pid) == process.pid == int((tmp_path / "pid").read_text())
    assert process.alive
    assert messages_until_end(process) == ["started", "epoch", "epoch", "epoch", "epoch", "end"]
    assert process.wait_dead(30)
    assert process.close() == 0
    assert not process.alive


def test_death_of_the_forkserver_is_not_taken_for_death_of_the_trial(starter: Starter, tmp_path: Path) -> None:
    process = TrialProcess(starter, order(tmp_path, steps=60, step_s=0.02).write(), "trial")
    until((tmp_path / "pid").exists)
    os.kill(starter.server_pid(), signal.SIGKILL)
    # multiprocessing takes the trial for dead now.
    assert process._process.join(30) is None
    assert process._process.exitcode == 255
    assert process.alive
    assert messages_until_end(process)[-1] == "end"
    assert process.wait_dead(30)
    assert process.close() is None
    # The next one starts a new forkserver.
    second = TrialProcess(starter, order(tmp_path / "second").write(), "trial")
    assert messages_until_end(second)[-1] == "end"
    second.close()


def test_a_pool_outlives_its_forkserver(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"a": {"steps": 20, "step_s": 0.02}, "b": {}})
    thread = in_background(study.pool())
    until((study.folder(1, 1) / "pid").exists)
    (server,) = children_named("forkserver")
    os.kill(server, signal.SIGKILL)
    thread.join(400)
    assert [t.outcome for t in study.trials()] == [Outcome.COMPLETED, Outcome.COMPLETED]
    assert study.attempts(study.trials()[0]) == ["finished"]


def children_named(word: str) -> list[int]:
    import psutil

    # What other tests started and nobody has waited for has no command line any more.
    living = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child.pid for child in living if any(word in part for part in child.cmdline())]


def test_killing_a_trial_kills_its_data_loaders(starter: Starter, tmp_path: Path) -> None:
    process = TrialProcess(starter, order(tmp_path, behaviour="loader").write(), "trial")
    loader = int(until(lambda: read_if_there(tmp_path / "loader_pid")))
    assert alive(loader)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait_dead(30)
    assert process.close() == -signal.SIGKILL
    until(lambda: not alive(loader))


def read_if_there(path: Path) -> str:
    return path.read_text() if path.exists() else ""


POOL = """
import sys
from standin_pool import Standin
from posestudy.home import Home
from posestudy.ledger import Ledger

if __name__ == "__main__":
    home = Home.resolve(sys.argv[1])
    study = Standin(home, Ledger.open(f"sqlite:///{home.database}"), {"a": {"behaviour": "loader"}})
    study.pool().run(1)
"""


def test_a_trial_and_its_data_loaders_die_with_their_worker(home: Home, sqlite_ledger: Ledger, tmp_path: Path) -> None:
    script = tmp_path / "pool.py"
    script.write_text(textwrap.dedent(POOL))
    pool = subprocess.Popen([sys.executable, str(script), str(home.root)])
    folder = home.attempt(STUDY, 1, 1).folder
    loader = int(until(lambda: read_if_there(folder / "loader_pid")))
    trial = int((folder / "pid").read_text())
    assert alive(trial)
    pool.kill()
    pool.wait()
    until(lambda: not alive(trial) and not alive(loader))
    # The lease runs on; but this machine knows that its holder is gone, and the next launch need not wait for it.
    (record,) = sqlite_ledger.snapshot(STUDY).trials
    assert record.state is TrialState.RUNNING
    assert owner_is_dead(record.owner)


def test_a_trial_that_hears_no_beginning_does_nothing(starter: Starter, tmp_path: Path) -> None:
    from posestudy_runner.child import entry

    path = order(tmp_path).write()
    ours, theirs = starter.pipe()
    process = starter.start(entry, (theirs, str(path), starter.preload), "trial")
    theirs.close()
    ours.close()
    assert starter.exit_code(process, 30) == 0
    assert not (tmp_path / "pid").exists()


@pytest.mark.parametrize("method", list(StartMethod))
def test_a_process_that_closed_its_files_before_it_ended_has_its_exit_code(method: StartMethod) -> None:
    """As every dying process does: the sentinel of `spawn` closes before the process can be reaped."""
    with Starter(method, None) as starter:
        process = starter.start(close_all_and_leave, (), "child")
        assert starter.exit_code(process, 60) == 3


def test_only_owners_of_this_machine_that_are_gone_count_as_dead() -> None:
    here = owner_name(0)
    host, boot, pid, ticks, slot = here.split("/")
    assert not owner_is_dead(here)
    assert owner_is_dead("/".join((host, boot, pid, str(int(ticks) + 1), slot)))
    assert not owner_is_dead("/".join(("elsewhere", boot, "999999999", ticks, slot)))
    assert not owner_is_dead("/".join((host, "00000000", "999999999", ticks, slot)))
    assert not owner_is_dead("somebody")
    assert not owner_is_dead(None)


def test_an_order_survives_its_file(tmp_path: Path) -> None:
    given = order(tmp_path / "new folder", steps=3)
    assert TrialOrder.read(given.write()) == given
    assert resolve(given.target) is train


SPAWNED = """
import sys
from posestudy_runner.forkserver import Starter, StartMethod
from posestudy_runner.order import TrialOrder
from posestudy_runner.slots import TrialProcess
from pathlib import Path

if __name__ == "__main__":
    with Starter(StartMethod.SPAWN, None) as starter:
        process = TrialProcess(starter, Path(sys.argv[1]), "trial")
        while (message := process.receive()) is not None and message["type"] != "end":
            pass
        process.wait_dead(60)
        print(message, process.close())
"""


def test_spawn_starts_trials_too(tmp_path: Path) -> None:
    script = tmp_path / "spawned.py"
    script.write_text(SPAWNED)
    path = order(tmp_path / "attempt").write()
    done = subprocess.run([sys.executable, str(script), str(path)], capture_output=True, text=True, timeout=400)
    assert "'outcome': 'completed'" in done.stdout, done.stderr
    assert done.stdout.rstrip().endswith(" 0")


def test_a_worker_that_is_dead_and_not_yet_reaped_is_dead() -> None:
    """In a container whose first process reaps nobody it stays so."""
    child = subprocess.Popen(["sleep", "600"])
    ticks = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]
    host, boot, *_ = owner_name(0).split("/")
    owner = f"{host}/{boot}/{child.pid}/{ticks}/0"
    assert not owner_is_dead(owner)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert owner_is_dead(owner)
    child.wait()
