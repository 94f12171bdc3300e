"""What 32 worker processes wait for posestudy's ledger, against Optuna's storages on the same machine.

    python -m benchmarks.ledger [--trials 2000] [--processes 32] [--epochs 5] [--rounds 1] [--limit-s 180]
                                [--epoch-s 0] [--backends sqlite,postgresql] [--small]

Every process takes trials until none is left: it claims one, brings the values of each epoch (with a checkpoint's
columns, as a worker does) and finishes it; with nothing in between, which is the worst that can be asked, or with
epochs of `--epoch-s` seconds, as training has them. Optuna's rivals ask for a trial with one parameter from
`RandomSampler`, report as many values and tell the last. Latencies are those that the processes measured themselves;
that of a trial is the sum of its waits. Each process has done one trial of another study before, so that connecting and
the first use of every statement are not measured. Afterwards each store is read by somebody who wrote nothing, and must
hold every value of every finished trial.

A rival that has not done its trials after `--limit-s` is stopped between two trials and judged by what it did.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

STUDY, WARM_UP = "crowd", "warm_up"
METRIC = "coco/AP"
OPERATIONS = ("claim", "epoch", "finish", "trial")
_SEEDS = 2
_LEASE_S = 600.0
_PATIENCE_S = 120.0

Held = dict[int, dict[int, float]]
"""Values by number of the trial and epoch."""


def value_at(number: int, epoch: int) -> float:
    """The value of trial `number` at `epoch`: all different, with 16 digits."""
    return random.Random(number * 1000 + epoch).random()


class Worker(Protocol):
    """What one process does with a store."""

    def take(self, study: str) -> int | None:
        """Take a trial; its number, or None where none is left."""

    def epoch(self, epoch: int, value: float) -> None:
        """Bring the value of an epoch of the trial that was taken."""

    def finish(self, value: float) -> None:
        """End the trial that was taken."""

    def close(self) -> None:
        """Close connections."""


class Store(Protocol):
    """A place where trials are kept.

    Attributes:
        name: of the rival, as the table has it.
        durability: what a power cut can take after an operation answered.
    """

    name: str
    durability: str

    def prepare(self, trials: int, processes: int) -> None:
        """Make the study, and one to warm up with a trial for each process, with connections closed again."""

    def worker(self, index: int) -> Worker:
        """Connect the process `index`."""

    def held(self) -> Held:
        """Values of the finished trials, by somebody who wrote nothing."""


# ---- posestudy


@dataclass
class Posestudy:
    """The ledger at `url`, with a study of `trials` waiting trials, two seeds a cell."""

    url: str
    durability: str
    name: str = "posestudy"

    def prepare(self, trials: int, processes: int) -> None:
        from posestudy.ledger import Ledger
        from posestudy.ledger.records import NewCell, OpenStage

        with closing(Ledger.open(self.url)) as ledger:
            for name, count in ((STUDY, trials), (WARM_UP, processes)):
                cells = []
                for place in range(-(-count // _SEEDS)):
                    key = f"{name}{place}".encode().hex().rjust(64, "0")
                    levels = {"optimizer.lr": 1e-5 * 1.001**place} if place else {}
                    seeds = tuple(range(_SEEDS))
                    cells.append(NewCell(f"cell_{place}", "", "", key, levels, _CONFIG, seeds, training_key=key))
                study = ledger.put_study(name, {"metric": METRIC, "reuse": "none"}, "")
                ledger.apply(study.id, [OpenStage(0, "search", "grid", "cell_0", {}, tuple(cells))])

    def worker(self, index: int) -> Worker:
        return _PosestudyWorker(self.url, f"host:{index}")

    def held(self) -> Held:
        from posestudy.ledger import Ledger
        from posestudy.vocabulary import TrialState

        with closing(Ledger.open(self.url)) as ledger:
            snapshot = ledger.snapshot(STUDY)
        numbers = {trial.uid: trial.number for trial in snapshot.trials if trial.state is TrialState.DONE}
        held: defaultdict[int, dict[int, float]] = defaultdict(dict)
        for value in snapshot.values:
            if value.trial_uid in numbers:
                held[numbers[value.trial_uid]][value.epoch] = value.metrics[METRIC]
        return dict(held)


_CONFIG = {
    "model": "resnet50", "input_size": [192, 256], "sigma": 2.0, "batch_size": 64, "amp": True, "epochs": 210,
    "optimizer": {"type": "Adam", "lr": 1e-3}, "schedule": {"type": "step", "milestones": [170, 200], "gamma": 0.1},
    "augmentation": {"flip": {"prob": 0.5}, "scale_rotation": {"rotation": 40, "scale": 0.5}, "half_body": None},
}  # fmt: skip


class _PosestudyWorker:
    def __init__(self, url: str, owner: str) -> None:
        from posestudy.ledger import Ledger

        self._ledger, self._owner = Ledger.open(url), owner
        self._claim: Any = None

    def take(self, study: str) -> int | None:
        self._claim = self._ledger.claim(study, self._owner, _LEASE_S)
        return None if self._claim is None else self._claim.trial.number

    def epoch(self, epoch: int, value: float) -> None:
        from posestudy.ledger.records import Checkpoint

        trial = self._claim.trial
        checkpoint = Checkpoint(f"/runs/{STUDY}/{trial.number}/{trial.fence}/epoch_{epoch}.pth", "0" * 64, epoch)
        metrics = {METRIC: value, "loss": 1.0 - value}
        if not self._ledger.record_epoch(trial.uid, trial.fence, {epoch: metrics}, checkpoint, 1.0):
            raise RuntimeError("the fence was taken away")

    def finish(self, value: float) -> None:
        from posestudy.vocabulary import Direction, Outcome

        trial, more = self._claim.trial, Direction.MORE
        if not self._ledger.finish(
            trial.uid, trial.fence, Outcome.COMPLETED, None, metric=METRIC, direction=more, peak_memory_mb=100.0
        ):
            raise RuntimeError("the fence was taken away")

    def close(self) -> None:
        self._ledger.close()


# ---- Optuna


@dataclass
class Optuna:
    """A study in Optuna's storage, which `open_storage` opens anew in each process."""

    open_storage: Callable[[], Any]
    durability: str
    name: str
    _asked: Any = field(default=None, init=False)
    _wanted: int = field(default=0, init=False)

    def prepare(self, trials: int, processes: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        for name in (STUDY, WARM_UP):
            optuna.create_study(study_name=name, storage=self.open_storage(), direction="maximize")
        self._asked, self._wanted = multiprocessing.get_context("fork").Value("i", 0), trials

    def worker(self, index: int) -> Worker:
        return _OptunaWorker(self.open_storage(), index, self._asked, self._wanted)

    def held(self) -> Held:
        import optuna

        study = optuna.load_study(study_name=STUDY, storage=self.open_storage())
        done = [trial for trial in study.trials if trial.state is optuna.trial.TrialState.COMPLETE]
        return {trial.number: dict(trial.intermediate_values) for trial in done}


class _OptunaWorker:
    def __init__(self, storage: Any, index: int, asked: Any, wanted: int) -> None:
        import optuna

        sampler = optuna.samplers.RandomSampler(seed=index)
        self._studies = {
            name: optuna.load_study(study_name=name, storage=storage, sampler=sampler) for name in (STUDY, WARM_UP)
        }
        self._space = {"lr": optuna.distributions.FloatDistribution(1e-5, 1e-3, log=True)}
        self._asked, self._wanted = asked, wanted
        self._study: Any = None
        self._trial: Any = None

    def take(self, study: str) -> int | None:
        # How many are asked for altogether is no business of Optuna's: `optimize` counts for one process only.
        if study == STUDY:
            with self._asked.get_lock():
                if self._asked.value >= self._wanted:
                    return None
                self._asked.value += 1
        self._study = self._studies[study]
        self._trial = self._study.ask(self._space)
        return int(self._trial.number)

    def epoch(self, epoch: int, value: float) -> None:
        self._trial.report(value, epoch)

    def finish(self, value: float) -> None:
        self._study.tell(self._trial, value)

    def close(self) -> None:
        pass


def _rdb(url: str, engine: Mapping[str, Any]) -> Callable[[], Any]:
    def opened() -> Any:
        import optuna

        return optuna.storages.RDBStorage(url, engine_kwargs=dict(engine))

    return opened


def _journal(path: Path) -> Callable[[], Any]:
    def opened() -> Any:
        import optuna

        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))

    return opened


def _with_write_ahead_log(path: Path) -> None:
    import sqlite3

    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


# ---- measuring


@dataclass(frozen=True)
class Load:
    """What is asked of a store.

    Attributes:
        epochs: values of each trial.
        epoch_s: seconds a process does something else before each value, as training does; 0: nothing.
        limit_s: after so many seconds no process takes another trial.
    """

    trials: int
    processes: int
    epochs: int
    epoch_s: float
    limit_s: float


def _work(store: Store, index: int, load: Load, start: Any, file: Path) -> None:
    worker, chance = store.worker(index), random.Random(index)
    spans: dict[str, list[float]] = {operation: [] for operation in OPERATIONS}
    finished = []

    def timed(operation: str, call: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        answer = call()
        spans[operation].append(time.perf_counter() - began)
        return answer

    worker.take(WARM_UP)
    for epoch in range(1, load.epochs + 1):
        worker.epoch(epoch, 0.0)
    worker.finish(0.0)
    start.wait()
    ends, cpu_s = time.monotonic() + load.limit_s, time.process_time()
    # Trainings do not go in step.
    time.sleep(load.epoch_s * chance.random())
    while time.monotonic() < ends:
        number = timed("claim", partial(worker.take, STUDY))
        if number is None:
            spans["claim"].pop()
            break
        for epoch in range(1, load.epochs + 1):
            time.sleep(load.epoch_s * chance.uniform(0.5, 1.5))
            timed("epoch", partial(worker.epoch, epoch, value_at(number, epoch)))
        timed("finish", partial(worker.finish, value_at(number, load.epochs)))
        spans["trial"].append(spans["claim"][-1] + sum(spans["epoch"][-load.epochs :]) + spans["finish"][-1])
        finished.append(number)
    cpu_s = time.process_time() - cpu_s
    worker.close()
    file.write_text(json.dumps({"spans": spans, "finished": finished, "cpu_s": cpu_s}))


@dataclass
class Run:
    """One store under load.

    Attributes:
        spans: latencies in seconds, by operation.
        finished: trials.
        cpu_s: CPU time of all worker processes; a database server's is not in it.
        lost: values that a process had written and the store does not hold.
    """

    spans: dict[str, list[float]]
    finished: int
    wall_s: float
    cpu_s: float
    lost: int

    def percentile(self, operation: str, percent: int) -> float:
        spans = self.spans[operation]
        return statistics.quantiles(spans, n=100, method="inclusive")[percent - 1] if len(spans) > 1 else spans[0]


def run(store: Store, load: Load, folder: Path) -> Run:
    """Put all processes on a store until its trials are done or time is over; raises where one of them died."""
    store.prepare(load.trials, load.processes)
    context = multiprocessing.get_context("fork")
    start = context.Barrier(load.processes + 1)
    files = [folder / f"{store.name.replace(' ', '_')}_{index}.json" for index in range(load.processes)]
    crowd = [context.Process(target=_work, args=(store, i, load, start, file)) for i, file in enumerate(files)]
    for process in crowd:
        process.start()
    try:
        start.wait(_PATIENCE_S)
        began = time.perf_counter()
        for process in crowd:
            process.join()
        wall_s = time.perf_counter() - began
    finally:
        for process in crowd:
            process.kill()
    if any(process.exitcode for process in crowd):
        raise RuntimeError(f"{store.name}: a process ended with {sorted({str(p.exitcode) for p in crowd})}")
    spans: defaultdict[str, list[float]] = defaultdict(list)
    finished: list[int] = []
    cpu_s = 0.0
    for file in files:
        told = json.loads(file.read_text())
        finished += told["finished"]
        cpu_s += told["cpu_s"]
        for operation, seconds in told["spans"].items():
            spans[operation] += seconds
    if len(set(finished)) != len(finished):
        raise RuntimeError(f"{store.name}: a trial was given to two processes")
    held = store.held()
    lost = sum(
        held.get(number, {}).get(epoch) != value_at(number, epoch)
        for number in finished
        for epoch in range(1, load.epochs + 1)
    )
    return Run(dict(spans), len(finished), wall_s, cpu_s, lost)


# ---- rivals


def _sqlite_stores(folder: Path) -> Iterator[Store]:
    # As long a wait for the lock as posestudy's, whatever Optuna's default; else most processes end with an error.
    engine = {"connect_args": {"timeout": _PATIENCE_S}}
    full = "each commit on the disk (synchronous=FULL"
    yield Posestudy(f"sqlite:///{folder}/posestudy.db", f"{full}, WAL)")
    yield Optuna(_rdb(f"sqlite:///{folder}/optuna.db", engine), f"{full}, rollback journal)", "Optuna")
    _with_write_ahead_log(folder / "optuna_wal.db")
    yield Optuna(_rdb(f"sqlite:///{folder}/optuna_wal.db", engine), f"{full}, WAL)", "Optuna, file in WAL mode")
    journal = _journal(folder / "optuna.journal")
    yield Optuna(journal, "each record on the disk (fsync)", "Optuna, JournalStorage")


def _postgres_stores(new_database: Callable[[str], str]) -> Iterator[Store]:
    full = "each commit on the disk (fsync and synchronous_commit on)"
    yield Posestudy(new_database("posestudy"), full)
    # A process is one thread: one connection, kept, and checked before use as Optuna's documentation has it.
    engine = {"pool_size": 1, "max_overflow": 1, "pool_pre_ping": True}
    yield Optuna(_rdb(new_database("optuna"), engine), full, "Optuna")


def _print(backend: str, runs: Mapping[str, list[Run]], stores: Mapping[str, Store], epochs: int) -> None:
    print(f"\n**{backend}**; each cell: p50 / p95 / p99 in milliseconds\n")
    print(
        "| | trials | trials/s | CPU ms a trial | claim, ask | epoch, report | finish, tell "
        f"| whole trial of {epochs} epochs | lost |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, rounds in runs.items():
        whole = _together(rounds)
        cells = [" / ".join(f"{1000 * whole.percentile(o, p):.3g}" for p in (50, 95, 99)) for o in OPERATIONS]
        speed = whole.finished / whole.wall_s
        cpu_ms = 1000 * whole.cpu_s / whole.finished
        print(f"| {name} | {whole.finished} | {speed:.3g} | {cpu_ms:.3g} | {' | '.join(cells)} | {whole.lost} |")
    own = _together(runs["posestudy"])
    for name, rounds in runs.items():
        if name != "posestudy":
            rival = _together(rounds)
            ratios = [f"{own.percentile(o, 95) / rival.percentile(o, 95):.3g}" for o in OPERATIONS]
            speed = (own.finished / own.wall_s) / (rival.finished / rival.wall_s)
            cpu = (own.cpu_s / own.finished) / (rival.cpu_s / rival.finished)
            print(f"| p95, posestudy / {name} | | {speed:.3g} x | {cpu:.3g} | {' | '.join(ratios)} | |")
    print()
    for name, store in stores.items():
        print(f"- {name}: {store.durability}")


def _together(rounds: list[Run]) -> Run:
    spans = {operation: [s for one in rounds for s in one.spans[operation]] for operation in OPERATIONS}
    return Run(
        spans,
        sum(r.finished for r in rounds),
        sum(r.wall_s for r in rounds),
        sum(r.cpu_s for r in rounds),
        sum(r.lost for r in rounds),
    )


def compare(chosen: argparse.Namespace, backend: str) -> None:
    """Run posestudy and its rivals on one backend, in another order each round, and print the table."""
    runs: defaultdict[str, list[Run]] = defaultdict(list)
    stores: dict[str, Store] = {}
    load = Load(chosen.trials, chosen.processes, chosen.epochs, chosen.epoch_s, chosen.limit_s)
    chance = random.Random(0)
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = None
        if backend == "postgresql":
            from posestudy.testing import running_postgres

            server = stack.enter_context(running_postgres(durable=True))
        for turn in range(chosen.rounds):
            folder = place / str(turn)
            folder.mkdir()
            if server is None:
                fresh = list(_sqlite_stores(folder))
            else:
                fresh = list(_postgres_stores(lambda name, turn=turn: server.new_database(f"{name}_{turn}")))
            stores |= {store.name: store for store in fresh}
            chance.shuffle(fresh)
            for store in fresh:
                runs[store.name].append(run(store, load, folder))
    ordered = sorted(runs, key=lambda name: name != "posestudy")
    _print(backend, {name: runs[name] for name in ordered}, {name: stores[name] for name in ordered}, chosen.epochs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--epoch-s", type=float, default=0.0, help="what an epoch takes beside the ledger, on average")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--limit-s", type=float, default=180.0, help="after so many seconds a rival is stopped")
    parser.add_argument("--backends", default="sqlite,postgresql")
    parser.add_argument("--small", action="store_true", help="200 trials, at most 20 s each: to see that it works")
    chosen = parser.parse_args()
    if chosen.small:
        chosen.trials, chosen.limit_s = 200, 20.0
    import optuna  # noqa: F401 - once, before processes are forked

    import posestudy.ledger.book  # noqa: F401

    for backend in chosen.backends.split(","):
        compare(chosen, backend)


if __name__ == "__main__":
    main()
