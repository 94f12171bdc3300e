"""The fault campaign in short: nothing is lost, and it finds the mistakes that are planted for it."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from standin_pool import until

from posestudy.journal import JournalWriter

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    # The benchmarks are no part of the installation.
    sys.path.append(str(ROOT))

from benchmarks.faults import invariants, ladder, power_cut  # noqa: E402
from benchmarks.faults.trap import Instant, Trap, stopped  # noqa: E402
from benchmarks.faults.witness import Said  # noqa: E402
from posestudy.ledger import Ledger  # noqa: E402
from posestudy.testing import put_small_study  # noqa: E402

needs_compiler = pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler: apt-get install gcc")


def campaign(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.faults", "--mmpose-kills", "0", "--quiet", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--database", "postgresql://me:secret77@127.0.0.1:1/x"], "--database: the ledger postgresql"),
        (["--kills", "-1"], "expected a number of at least 0"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(options: list[str], said: str) -> None:
    done = campaign(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "secret77" not in done.stderr


@pytest.mark.postgres
def test_a_database_with_studies_is_refused(postgres_url: str) -> None:
    ledger = Ledger.open(postgres_url)
    put_small_study(ledger)
    ledger.close()
    done = campaign("--database", postgres_url)
    assert done.returncode == 2
    assert "expected an empty database" in done.stderr


@needs_compiler
@pytest.mark.slow
def test_nothing_is_lost_on_sqlite() -> None:
    done = campaign("--kills", "10", "--seed", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "violations: 0" in done.stdout


@needs_compiler
@pytest.mark.slow
@pytest.mark.postgres
def test_nothing_is_lost_on_postgresql(postgres_url: str) -> None:
    done = campaign("--kills", "8", "--seed", "4", "--database", postgres_url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "violations: 0" in done.stdout


@needs_compiler
@pytest.mark.slow
@pytest.mark.timeout(2100)
@pytest.mark.parametrize(
    ("mistake", "victims", "words"),
    [
        ("no_fence", "pause", "had begun"),
        ("no_fsync_order", "power", "was on the disk|weights of an undisturbed run"),
        ("double_advance", "worker", "was trained as trials|which no stage asks for"),
    ],
)
def test_a_planted_mistake_is_found(mistake: str, victims: str, words: str) -> None:
    told = []
    # A round may have no two workers that advance a study at one instant.
    for seed in (5, 6, 7, 8):
        done = campaign("--kills", "5", "--seed", str(seed), "--plant", mistake, "--only", victims)
        told.append(done.stdout + done.stderr)
        if done.returncode == 0:
            break
    assert done.returncode == 0, told
    assert re.search(words, told[-1]), told


@needs_compiler
def test_a_process_stops_at_the_instant_that_was_armed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    trap = Trap(tmp_path, home)
    trap.arm(Instant("rename", "final", after=False, countdown=2))
    program = """
import os, sys
for n in range(3):
    open("part", "w").write("x" * (n + 1))
    os.replace(os.path.abspath("part"), os.path.abspath("final"))
"""
    process = subprocess.Popen([sys.executable, "-c", program], cwd=home, env={**os.environ, **trap.environment})
    assert trap.wait(400) == process.pid
    until(lambda: stopped(process.pid))
    assert (home / "final").read_text() == "x"
    assert (home / "part").read_text() == "xx"
    process.kill()
    process.wait()


@needs_compiler
def test_a_power_cut_takes_what_was_not_synced(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    trap = Trap(tmp_path, home)
    program = """
import os
from pathlib import Path
from posestudy.durable import write_text
here = Path.cwd()
write_text(here / "safe", "kept")
(here / "lost").write_text("never synced")
with open(here / "half", "w") as file:
    file.write("first")
    file.flush()
    os.fsync(file.fileno())
    file.write("second")
for n in range(12):
    (here / f"part{n}").write_text("renamed")
    os.replace(here / f"part{n}", here / f"name{n}")
"""
    subprocess.run([sys.executable, "-c", program], cwd=home, env={**os.environ, **trap.environment}, check=True)
    power_cut.cut(home, trap.events, trap.stash, random.Random(0))
    assert (home / "safe").read_text() == "kept"
    assert len((home / "lost").read_text()) < len("never synced")
    assert (home / "half").read_text().startswith("first")
    assert (home / "half").read_text() != "firstsecond"
    kept = {path.name for path in home.glob("name*")}
    assert 0 < len(kept) < 12
    assert all(path.read_text() != "renamed" for path in home.glob("name*"))


def said(what: str, fence: int, epoch: int, at: float) -> Said:
    return Said(at, 1, "s", 1, fence, "c", 0, what, epoch)


def test_the_judge_sees_lost_epochs_and_stale_attempts() -> None:
    fine = [
        said("began", 1, 0, 0.0),
        *(said("recorded", 1, epoch, float(epoch)) for epoch in (1, 2, 3)),
        said("began", 2, 2, 4.0),
        said("recorded", 1, 4, 6.0),
    ]
    assert list(invariants.attempts("s", fine)) == []
    (stale,) = invariants.attempts("s", [*fine, said("recorded", 1, 5, 7.0)])
    assert "attempt 1 trained epochs [4, 5] after attempt 2 had begun" in stale
    assert list(invariants.attempts("s", [*fine[:4], said("began", 2, 1, 4.0)], [(0.0, 3.5)])) == []
    (lost,) = invariants.attempts("s", [*fine[:4], said("began", 2, 1, 4.0)])
    assert "began after epoch 1, though epoch 3 was on the disk" in lost
    (ahead,) = invariants.attempts("s", [*fine[:4], said("began", 2, 5, 4.0)])
    assert "which nobody had trained" in ahead


def test_the_judge_sees_doubled_trials_and_wrong_weights(tmp_path: Path) -> None:
    wanted = ladder.Replicate(0, "c", 0, 2)
    folder = tmp_path / "1" / "1"
    folder.mkdir(parents=True)
    (folder / "epoch_2.pth").write_text(json.dumps({"weights": "others"}))
    lines = [said("began", 1, 0, 0.0), Said(1.0, 1, "s", 2, 1, "c", 0, "began", 0)]
    found = " ".join(invariants.results("s", tmp_path, lines, [wanted]))
    assert "was trained as trials [1, 2]" in found
    assert "other weights than an undisturbed run's" in found
    with JournalWriter(folder / "journal") as writer:
        writer.append({"type": "epoch", "epoch": 1, "metrics": {ladder.METRIC: 2.0}})
    found = " ".join(invariants.results("s", tmp_path, lines, [wanted]))
    assert "the journals say [2.0] of epoch 1" in found


def test_the_ladder_is_known_before_it_runs() -> None:
    replicates = ladder.replicates("r")
    assert len(replicates) == ladder.STAGES * (ladder.CELLS + 1)
    assert len({(one.cell, one.seed) for one in replicates}) == len(replicates)
