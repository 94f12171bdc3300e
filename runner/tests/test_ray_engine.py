"""`launch --engine ray` on a real cluster of several nodes, all on this machine: nodes die, results do not."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import standin_cluster
import standin_launch
import torch
from same_tensors import assert_equal_tensors
from standin_cluster import Nodes
from standin_pool import until

from posestudy.errors import MissingPieceError, PoseStudyError
from posestudy.home import AttemptPaths, Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Snapshot
from posestudy.vocabulary import AttemptEnd, Outcome, TrialState
from posestudy_runner.context import PoolOptions, owner_is_dead
from posestudy_runner.display import SlotView
from posestudy_runner.engines import ray_crew
from posestudy_runner.engines.ray_cluster import _cluster, _ray, _sign, run
from posestudy_runner.engines.ray_refusals import Refusals
from posestudy_runner.engines.ray_slots import Node, SlotSize, room, slot_size
from posestudy_runner.engines.ray_worker import Errand, Place, RayWorker, check_data, check_node, machine
from posestudy_runner.engines.relayed_display import RelayedDisplay, Shown
from posestudy_runner.pool import Goal
from posestudy_runner.stop import Stop
from posestudy_studies.drawn_cats import draw
from posestudy_studies.file import load

KILLS, SEED, EPOCHS = 5, 11, 4
STANDIN = ("standin_launch:train", "standin_preload")
REAL = ("real_trial:main", "posestudy_runner.preload")
YAML = """
study: {name}
dataset:
  keypoints: cats
  root: cats
  train: {{annotations: annotations/train.json, images: images}}
  val: {{annotations: annotations/val.json, images: images}}
baseline:
  model: resnet_tiny
  input_size: [64, 64]
  sigma: 1.0
  epochs: {epochs}
  batch_size: 4
  optimizer: {{type: Adam, lr: 1.0e-3}}
  schedule: {{warmup_iters: 3, milestones: [2]}}
  augmentation: {{flip: {{}}, scale_rotation: {{}}}}
  amp: true
stages:
  - {stage}
"""
GRID = "{name: only, design: grid, factors: {sigma: [1.0, 1.5, 2.0], batch_size: [2, 3, 4, 5]}}"
ONE = "{name: only, design: variants, include_baseline: false, variants: {only: {sigma: 1.5}}}"

SIGNED = """
import os, signal, sys
from posestudy.home import Home
from posestudy_runner.engines import ray_crew
from posestudy_runner.engines.ray_cluster import _sign
with _sign(Home.resolve(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


class Launched:
    """A study in a folder of its own, and the process that launches it."""

    def __init__(self, folder: Path, name: str, stage: str, *, epochs: int = EPOCHS, images: int = 4) -> None:
        self.folder = folder
        self.name = name
        self.home = Home(folder / "home")
        draw(folder / "cats", train=images, val=4, seed=1, size_px=64)
        (folder / f"{name}.yaml").write_text(YAML.format(name=name, stage=stage, epochs=epochs))
        self.log = folder / "log"
        # Ray's sockets lie here, and the path of a socket is short.
        self.ray = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
        self.process: subprocess.Popen[bytes]

    def start(self, target: tuple[str, str], *options: str) -> None:
        command = [sys.executable, standin_launch.__file__, *target]
        command += ["--home", str(self.home.root), "launch", f"{self.name}.yaml", *options]
        environment = {**os.environ, **standin_cluster.TOKEN, "PGPASSWORD": "not for trials"}
        if "--address" not in options:
            for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
                environment.pop(name)
            environment["RAY_TMPDIR"] = str(self.ray)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def seen(self) -> Snapshot | None:
        """The study's ledger; None before there is one."""
        if not self.home.database.exists():
            return None
        with contextlib.suppress(PoseStudyError):
            ledger = Ledger.open(f"sqlite:///{self.home.database}", create=False)
            try:
                return ledger.snapshot(self.name)
            finally:
                ledger.close()
        return None

    def snapshot(self) -> Snapshot:
        seen = self.seen()
        assert seen is not None, self.said
        return seen

    def epochs(self) -> int:
        """How many epochs the ledger has; raises where the launch is over."""
        assert self.process.poll() is None, self.said
        seen = self.seen()
        return 0 if seen is None else len(seen.values)

    def attempt(self, number: int, fence: int) -> AttemptPaths:
        return self.home.attempt(self.name, number, fence)

    @property
    def said(self) -> str:
        return self.log.read_text()

    def end(self) -> None:
        """Whatever it has started goes with it."""
        standin_cluster.end(self.process.pid)
        self.process.wait()
        shutil.rmtree(self.ray, ignore_errors=True)


@contextlib.contextmanager
def launched(folder: Path, name: str, stage: str, **size: int) -> Iterator[Launched]:
    folder.mkdir(exist_ok=True)
    study = Launched(folder, name, stage, **size)
    try:
        yield study
    finally:
        if hasattr(study, "process"):
            study.end()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with standin_cluster.started(tmp_path_factory.mktemp("cluster") / "log") as nodes:
        yield nodes


@pytest.fixture
def nodes(cluster: Nodes) -> Iterator[Nodes]:
    """The cluster, without a node at the beginning and at the end."""
    yield cluster
    for node in list(cluster.alive):
        cluster.kill(node)


def no_violations(study: Launched) -> None:
    """Every cell has one result, every epoch the value of an undisturbed trial, and no older attempt wrote later."""
    snapshot = study.snapshot()
    assert snapshot.study.state == "closed"
    cells = [(trial.cell_id, trial.seed) for trial in snapshot.trials]
    assert len(set(cells)) == len(cells) == len(snapshot.cells)
    for trial in snapshot.trials:
        assert trial.outcome is Outcome.COMPLETED, trial.message
        values = sorted((v for v in snapshot.values if v.trial_uid == trial.uid), key=lambda v: v.epoch)
        right = {epoch: round(trial.seed + epoch / 100, 4) for epoch in range(1, EPOCHS + 1)}
        assert {v.epoch: v.metrics["coco/AP"] for v in values} == right
        fences = [v.fence for v in values]
        assert fences == sorted(fences)
        attempts = sorted((a for a in snapshot.attempts if a.trial_uid == trial.uid), key=lambda a: a.fence)
        assert [a.fence for a in attempts] == list(range(1, trial.fence + 1))
        assert [a.end for a in attempts[:-1]] == [AttemptEnd.LOST] * (trial.fence - 1)
        reached = 0
        for attempt in attempts:
            told = [v.epoch for v in values if v.fence == attempt.fence]
            file = study.attempt(trial.number, attempt.fence).folder / "from_epoch"
            if file.exists():
                begun = int(file.read_text())
                assert begun >= reached
                # What the one before had saved and did not come to tell is told by this one.
                assert set(range(reached + 1, begun + 1)) <= set(told)
            reached = max([reached, *told])


@pytest.mark.slow
def test_every_cell_is_finished_although_nodes_die(nodes: Nodes, tmp_path: Path) -> None:
    schedule = random.Random(SEED)
    for _ in range(3):
        nodes.add()
    with launched(tmp_path, "nodes", GRID) as study:
        study.start(STANDIN, "--engine", "ray", "--address", nodes.address)
        total = 12 * EPOCHS
        hold = study.home.root / standin_launch.HOLD
        for reached in sorted(schedule.sample(range(2, total - 12), KILLS)):
            until(lambda reached=reached: study.epochs() >= reached)
            hold.touch()
            nodes.kill(schedule.choice(nodes.alive), whole=schedule.random() < 0.5)
            nodes.add()
            hold.unlink()
        assert study.process.wait(400) == 0, study.said
        no_violations(study)
        snapshot = study.snapshot()
        ends: dict[Any, list[str]] = defaultdict(list)
        for attempt in snapshot.attempts:
            ends[attempt.end].append(attempt.why or "")
        assert ends[AttemptEnd.LOST], "no kill met a trial"
        assert "the worker is lost" in study.said
        assert "Traceback" not in study.said
        assert "raylet" not in study.said.lower()
        for file in study.home.runs.rglob("seen.json"):
            seen = json.loads(file.read_text())
            assert not seen["ray"]
            assert seen["folder"] == str(study.folder)
            assert not {"RAY_AUTH_TOKEN", "PGPASSWORD"} & seen["environment"].keys()
        assert not list(study.home.root.glob(".launched.*"))
        # As it would with a password in it.
        url = f"sqlite:///{study.home.database}"
        logs = [path for path in nodes.folder.glob("ray/session_2*/logs/**/*") if path.is_file()]
        assert any("worker" in path.name for path in logs)
        assert not [path for path in logs if url in path.read_text(errors="replace")]


@pytest.mark.slow
def test_a_real_trial_whose_node_is_killed_ends_as_an_undisturbed_one(nodes: Nodes, tmp_path: Path) -> None:
    first = nodes.add()
    size = {"epochs": 3, "images": 96}
    with (
        launched(tmp_path / "killed", "killed", ONE, **size) as killed,
        launched(tmp_path / "undisturbed", "undisturbed", ONE, **size) as undisturbed,
    ):
        killed.start(REAL, "--engine", "ray", "--address", nodes.address, "--workers", "1")
        undisturbed.start(REAL, "--workers", str(os.cpu_count()))
        until(lambda: killed.epochs() >= 1)
        nodes.kill(first)
        nodes.add()
        assert undisturbed.process.wait(400) == 0, undisturbed.said
        assert killed.process.wait(400) == 0, killed.said
        (trial,), (right,) = killed.snapshot().trials, undisturbed.snapshot().trials
        assert [str(a.end) for a in killed.snapshot().attempts] == ["lost", "finished"], killed.said
        assert {value.fence for value in killed.snapshot().values} == {1, 2}
        assert trial.provenance["threads"] == right.provenance["threads"] == 1
        final, expected = (
            torch.load(study.attempt(one.number, one.fence).checkpoint(3), weights_only=False)
            for study, one in ((killed, trial), (undisturbed, right))
        )
        assert_equal_tensors(final["state_dict"], expected["state_dict"])
        assert_equal_tensors(final["optimizer"], expected["optimizer"])
        assert (trial.final_value, trial.best_value) == (right.final_value, right.best_value)


@pytest.mark.slow
def test_a_trial_on_several_gpus_has_a_node_that_has_room_for_all_of_it(nodes: Nodes, tmp_path: Path) -> None:
    nodes.add(cpus=1)
    with launched(tmp_path, "ranks", ONE) as study:
        study.start(STANDIN, "--engine", "ray", "--address", nodes.address, "--set", "baseline.gpus=2")
        waits = "1 of 1 workers wait for a node with 2 cores free; none of the cluster's nodes has as much"
        until(lambda: waits in study.said)
        large = nodes.add(cpus=2)
        until(lambda: study.epochs() >= 1)
        nodes.kill(large)
        nodes.add(cpus=2)
        assert study.process.wait(400) == 0, study.said
        no_violations(study)
        (trial,) = study.snapshot().trials
        assert trial.fence == 2
        for fence in (1, 2):
            order = json.loads(study.attempt(1, fence).order.read_text())
            assert (order["devices"], order["threads"]) == (["cpu", "cpu"], 1)
            assert (study.attempt(1, fence).folder / "rank1").exists()


@pytest.mark.slow
def test_a_node_that_lacks_something_does_not_end_the_launch(nodes: Nodes, tmp_path: Path) -> None:
    there, go = tmp_path / "there", tmp_path / "go"
    there.mkdir()
    waits = f"while not pathlib.Path({str(go)!r}).exists():\n    time.sleep(0.1)\n"
    (there / "on_some_nodes.py").write_text(f"import pathlib, time\n{waits}LOADED = True\n")
    good = nodes.add(has=there)
    for _ in range(2):
        nodes.add()
    with launched(tmp_path / "study", "lacks", "{name: only, design: grid, factors: {sigma: [1.0, 1.5]}}") as study:
        target = ("standin_launch:train", "on_some_nodes")
        study.start(target, "--engine", "ray", "--address", nodes.address)
        until(lambda: study.said.count("tried again elsewhere, or there later") == 2)
        # The one that can is still loading what it needs.
        with contextlib.suppress(subprocess.TimeoutExpired):
            study.process.wait(10)
        assert study.process.poll() is None, study.said
        go.touch()
        assert study.process.wait(400) == 0, study.said
        no_violations(study)
        # One worker alone, wherever it is placed first.
        study.start(target, "--engine", "ray", "--address", nodes.address, "--workers", "1", "--retry", "completed")
        assert study.process.wait(400) == 0, study.said
        assert "No module named 'on_some_nodes'" in study.said
        assert {trial.fence for trial in study.snapshot().trials} == {2}, study.said
        nodes.kill(good)
        study.start(target, "--engine", "ray", "--address", nodes.address, "--retry", "completed")
        assert study.process.wait(400) == 2, study.said
        assert "Traceback" not in study.said


@pytest.mark.slow
def test_trials_are_saved_where_the_head_is_gone(tmp_path: Path) -> None:
    with standin_cluster.started(tmp_path / "cluster") as nodes, launched(tmp_path, "head", GRID, epochs=400) as study:
        nodes.add()
        study.start(STANDIN, "--engine", "ray", "--address", nodes.address)
        until(lambda: study.epochs() >= 2)
        nodes.behead()
        assert study.process.wait(400) == 1, study.said
        snapshot = study.snapshot()
        assert {trial.state for trial in snapshot.trials} == {TrialState.WAITING}
        assert [(str(a.end), a.why) for a in snapshot.attempts] == [
            ("preempted", "the head of the Ray cluster is gone")
        ]
        assert f"the head of the Ray cluster at {nodes.address} is gone" in study.said
        assert "resume with: posestudy" in study.said
        assert "Traceback" not in study.said


@pytest.mark.slow
def test_a_worker_ends_with_its_node(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.add()
    with launched(tmp_path, "orphan", GRID, epochs=400) as study:
        study.start(STANDIN, "--engine", "ray", "--address", nodes.address)
        until(lambda: study.epochs() >= 2)
        owner = next(trial.owner for trial in study.snapshot().trials if trial.owner)
        assert not owner_is_dead(owner)
        nodes.kill(node, whole=False)
        until(lambda: owner_is_dead(owner))
        nodes.add()
        until(lambda: {trial.fence for trial in study.snapshot().trials} == {0, 2})


@pytest.mark.slow
def test_a_launch_whose_own_node_dies_ends(tmp_path: Path) -> None:
    with launched(tmp_path, "alone", GRID, epochs=400) as study:
        study.start(STANDIN, "--engine", "ray", "--workers", "2")
        until(lambda: study.epochs() >= 2)
        family = psutil.Process(study.process.pid).children(recursive=True)
        for process in family:
            if process.name() == "raylet":
                process.kill()
        assert study.process.wait(400) == 1, study.said
        assert "this machine is no node of the Ray cluster any more" in study.said
        assert "resume with: posestudy" in study.said
        assert "Traceback" not in study.said
        _, left = psutil.wait_procs(family, timeout=400)
        assert left == []


@pytest.mark.slow
def test_who_waits_for_a_node_is_not_asked_when_nothing_is_left(nodes: Nodes, tmp_path: Path) -> None:
    nodes.add()
    with launched(tmp_path, "late", ONE) as study:
        late = ("--workers", "4", "--set", "budget.deadline=2020-01-01T00:00:00+00:00")
        study.start(STANDIN, "--engine", "ray", "--address", nodes.address, *late)
        assert study.process.wait(400) == 1, study.said
        assert study.said.count("no further trial starts; move budget.deadline to go on") == 1, study.said


@pytest.mark.slow
def test_a_worker_with_a_gpu_does_not_train_on_the_cpu(nodes: Nodes, tmp_path: Path) -> None:
    nodes.add(gpus=1)
    with launched(tmp_path, "gpu", ONE) as study:
        study.start(STANDIN, "--engine", "ray", "--address", nodes.address)
        assert study.process.wait(400) == 2, study.said
        assert "this torch can use no GPU" in study.said
        assert study.snapshot().attempts == ()
        assert "Traceback" not in study.said


@pytest.mark.slow
def test_a_cluster_of_its_own_listens_here_alone_and_is_gone_at_the_end(tmp_path: Path) -> None:
    with launched(tmp_path, "own", GRID, epochs=40) as study:
        study.start(STANDIN, "--engine", "ray", "--workers", "2")
        until(lambda: study.epochs() >= 3)
        launcher = psutil.Process(study.process.pid)
        family = launcher.children(recursive=True)
        assert any("raylet" in process.name() for process in family)
        listening = {
            connection.laddr.ip.removeprefix("::ffff:")
            for process in [launcher, *family]
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        study.process.send_signal(signal.SIGTERM)
        assert study.process.wait(400) == 1, study.said
        _, left = psutil.wait_procs(family, timeout=400)
        assert left == []
        snapshot = study.snapshot()
        assert {trial.state for trial in snapshot.trials} == {TrialState.WAITING}
        ended = [attempt for attempt in snapshot.attempts if attempt.end]
        assert {str(attempt.end) for attempt in ended} == {"preempted"}
        assert {attempt.why for attempt in ended} == {"the launcher got SIGTERM"}
        assert len(ended) == len(snapshot.attempts)
        assert "resume with: posestudy" in study.said
        assert "Traceback" not in study.said


def test_a_cluster_that_is_not_there_is_named(tmp_path: Path) -> None:
    with launched(tmp_path, "nowhere", ONE) as study:
        study.start(STANDIN, "--engine", "ray", "--address", "127.0.0.1:1")
        assert study.process.wait(400) == 2
        assert "the Ray cluster at 127.0.0.1:1 cannot be reached" in study.said
        assert "Traceback" not in study.said


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "head:first", ":6379", ""])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(PoseStudyError, match="expected HOST:PORT"), _cluster(address, print):
        pass


def test_a_cluster_that_is_found_but_gone_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with (
        pytest.raises(PoseStudyError, match=r"the Ray cluster at auto, which is .*:1, cannot be reached"),
        _cluster("auto", print),
    ):
        pass


def test_a_variable_that_names_no_cluster_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")
    with pytest.raises(PoseStudyError, match="RAY_ADDRESS=local names no Ray cluster"), _cluster("auto", print):
        pass


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPieceError, match=r"pip install 'posestudy\[ray\]'"):
        _ray()


def errand(here: Path, **changed: Any) -> Errand:
    (here / "posestudy.db").touch()
    known = Errand(
        home=here,
        database_url=f"sqlite:///{here}/posestudy.db",
        folder=here,
        goal=Goal("nodes", "coco/AP", "more"),
        options=PoolOptions(),
        environment={},
        machine=machine(),
        sign=here / "sign",
    )
    return replace(known, **changed)


def test_what_a_node_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    check_node(errand(tmp_path))
    assert Path.cwd() == tmp_path
    with pytest.raises(MissingPieceError, match="expected POSESTUDY_DATABASE_URL=postgresql://"):
        check_node(errand(tmp_path, machine="another"))
    check_node(errand(tmp_path, machine="another", database_url="postgresql+psycopg://me:secret77@db/poses"))
    with pytest.raises(MissingPieceError, match="cannot be seen there"):
        check_node(errand(tmp_path, database_url=f"sqlite:///{tmp_path}/not_here.db"))
    with pytest.raises(MissingPieceError, match="where launch was called, cannot be entered there"):
        check_node(errand(tmp_path, folder=tmp_path / "nowhere"))
    assert "secret77" not in repr(errand(tmp_path, database_url="postgresql://me:secret77@db/poses"))


def test_an_empty_folder_where_the_data_should_be_is_named(tmp_path: Path) -> None:
    draw(tmp_path / "cats", train=2, val=2, seed=1, size_px=48)
    file = tmp_path / "mounted.yaml"
    file.write_text(YAML.format(name="mounted", stage=ONE, epochs=1).replace("root: cats", f"root: {tmp_path}/cats"))
    study = load(file)
    check_data(study)
    (tmp_path / "cats" / "annotations" / "val.json").unlink()
    with pytest.raises(MissingPieceError, match=r"annotations/val\.json cannot be seen there"):
        check_data(study)
    shutil.rmtree(tmp_path / "cats")
    (tmp_path / "cats").mkdir()
    with pytest.raises(MissingPieceError, match=r"annotations/train\.json cannot be seen there"):
        check_data(study)


def test_the_sign_of_a_launch_that_was_killed_goes(home: Home) -> None:
    assert not home.root.exists()  # a server has the ledger
    killed = subprocess.run([sys.executable, "-c", SIGNED, str(home.root)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = home.root.glob(".launched.*")
    with _sign(home) as mine, _sign(home) as another:
        assert not left.exists()
        assert mine.exists()
        assert another.exists()
    assert not list(home.root.glob(".launched.*"))


def test_a_launch_goes_on_where_the_disk_takes_no_sign(home: Home) -> None:
    home.root.mkdir(parents=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # as on a full disk, files can be made and stay empty
    try:
        with _sign(home) as mine:
            assert mine.stat().st_size == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(home.root.glob(".launched.*"))


def test_of_a_node_that_refuses_only_who_came_before_gives_hope() -> None:
    refusals = Refusals()
    assert refusals.leave_hope("a", time.monotonic())
    before = time.monotonic()
    refusals.add("a")
    time.sleep(0.01)
    after = time.monotonic()
    time.sleep(0.01)
    refusals.add("a")
    assert refusals.leave_hope("a", before)
    assert not refusals.leave_hope("a", after)
    assert refusals.leave_hope("b", after)
    refusals.forget("a")
    assert refusals.leave_hope("a", after)


def test_a_worker_whose_node_is_gone_is_killed_by_the_second_word_of_the_launcher_alone() -> None:
    worker = RayWorker()
    worker._pool = SimpleNamespace(stop=Stop())  # type: ignore[assignment]
    worker._raylet = -1
    worker._watch()
    assert worker._pool.stop.requested
    worker.stop("the launcher got SIGTERM")
    assert not worker._pool.stop.demanded
    worker.stop("the launcher got SIGTERM")
    assert worker._pool.stop.demanded


def test_a_worker_that_saves_is_not_killed_as_its_node_goes() -> None:
    worker = RayWorker()
    worker._pool = SimpleNamespace(stop=Stop())  # type: ignore[assignment]
    worker.stop("the launcher got SIGTERM")
    worker._raylet = -1
    worker._watch()
    assert worker._orphaned
    assert not worker._pool.stop.demanded
    assert worker._pool.stop.why == "the launcher got SIGTERM"


def test_a_worker_that_is_placed_after_all_were_told_to_stop_begins_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[object] = []
    monkeypatch.setattr(ray_crew.ray, "kill", lambda actor, no_restart: ended.append(actor))
    crew = object.__new__(ray_crew.Crew)
    crew._stops_told, crew._refs = 1, {}
    actor = SimpleNamespace()
    post = ray_crew._Post(0, actor=actor)
    crew._placed(post, Place("host", "node", "owner"))
    assert ended == [actor]
    assert not post.working
    assert crew._refs == {}


def test_a_launch_ends_where_every_node_has_refused() -> None:
    refusals = Refusals()
    assert not refusals.elsewhere()
    for node in ("b", "a", "a"):
        refusals.add(node)
    assert refusals.elsewhere() == {"ray.io/node-id": "!in(a,b)"}
    assert not refusals.everywhere({"a", "b", "c"}, 1)
    assert refusals.everywhere({"a", "b"}, 5)
    refusals.forget("b")
    assert not refusals.everywhere({"a", "b"}, 2)
    for _ in range(2):
        assert not refusals.everywhere({"a", "b"}, 2)
        refusals.add(None)
    assert refusals.everywhere({"a", "b"}, 2)


def test_ray_places_by_numbers() -> None:
    with pytest.raises(PoseStudyError, match="--per-gpu auto"):
        run(SimpleNamespace(options=PoolOptions(per_gpu="auto")))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("nodes", "workers", "per_gpu", "size", "fit"),
    [
        ([Node(8, 0)], None, 1, SlotSize(8, 0.0), 1),
        ([Node(8, 0)], 3, 1, SlotSize(2, 0.0), 4),
        ([Node(8, 0), Node(4, 0)], None, 1, SlotSize(4, 0.0), 3),
        ([Node(1, 0), Node(1, 0)], 5, 1, SlotSize(1, 0.0), 2),
        ([Node(0, 0)], None, 1, SlotSize(1, 0.0), 1),
        ([Node(16, 4), Node(64, 8), Node(4, 0)], None, 1, SlotSize(4, 1.0), 12),
        ([Node(16, 4)], None, 2, SlotSize(2, 0.5), 8),
        ([Node(16, 2)], None, 3, SlotSize(2, 1 / 3), 6),
        ([Node(2, 4)], None, 1, SlotSize(0, 1.0), 4),
    ],
)
def test_places_suit_the_smallest_node(
    nodes: list[Node], workers: int | None, per_gpu: int, size: SlotSize, fit: int
) -> None:
    assert slot_size(nodes, workers, per_gpu, 1) == size
    assert room(nodes, size) == fit


def test_of_what_a_slot_does_only_the_last_is_relayed() -> None:
    display = RelayedDisplay()
    for epoch in (1, 2, 3):
        display.show(0, SlotView("cpu", epoch=epoch), news=epoch == 2)
    events, last = display.fetch(0)
    assert [event.view.epoch for event in events if isinstance(event, Shown)] == [2, 3]
    assert not last
    display.close()
    assert display.fetch(60) == ([], True)
