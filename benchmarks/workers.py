"""How the ledger on PostgreSQL carries more and more workers.

    python -m benchmarks.workers [--workers 1,2,4,8,16,32,64] [--trials 10000] [--epochs 5] [--epoch-s 0.5]
                                 [--limit-s 60] [--out out/workers]

Every count of workers gets a database of its own with a study of `--trials` waiting trials. A worker is a process that
asks what a slot of a pool asks: it claims a trial, tells where it runs, brings the values of each epoch with a
checkpoint's columns, finishes it and looks at how far the study is. Twice: with nothing in between, which is as much
as can be asked, and with epochs of `--epoch-s` seconds on average, as training has them. After `--limit-s` seconds no
worker takes another trial; what was done until then is judged.

Beside the workers' own latencies it reads what the server did: transactions, CPU seconds of its processes, and in what
its connections were found waiting, ten times a second. Writes a table, `workers.json` and `workers.svg`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.ledger import STUDY, Load, Posestudy, Run, Worker, run

_LOOK_S = 0.1


@dataclass(frozen=True)
class Point:
    """One count of workers.

    Attributes:
        trials_s: finished trials a second.
        offered_s: trials a second if the ledger took no time; None where nothing is in between.
        claim_ms: the median and the 95th percentile.
        server_cpu: cores that the server's processes kept busy.
        worker_cpu: cores that the workers kept busy.
        transactions_s: commits and rollbacks of the server.
        waits: share of looks at busy connections by what they waited for, `CPU` where for nothing.
    """

    workers: int
    epoch_s: float
    trials: int
    trials_s: float
    offered_s: float | None
    claim_ms: tuple[float, float]
    trial_ms: tuple[float, float]
    server_cpu: float
    worker_cpu: float
    transactions_s: float
    waits: dict[str, float]


class _AsPool(Posestudy):
    """posestudy's ledger, asked as a slot of a pool asks it."""

    def worker(self, index: int) -> Worker:
        return _Slot(super().worker(index))


class _Slot:
    def __init__(self, worker: Any) -> None:
        self._worker = worker

    def take(self, study: str) -> int | None:
        number: int | None = self._worker.take(study)
        if number is not None:
            trial = self._worker._claim.trial
            self._worker._ledger.started(trial.uid, trial.fence, {"host": "host", "device": "cpu", "threads": 1})
        return number

    def epoch(self, epoch: int, value: float) -> None:
        self._worker.epoch(epoch, value)

    def finish(self, value: float) -> None:
        self._worker.finish(value)
        self._worker._ledger.counts(self._worker._claim.study.name)

    def close(self) -> None:
        self._worker.close()


@dataclass
class _Load:
    """What a server did between two moments."""

    cpu_s: float = 0.0
    transactions: int = 0
    waits: Counter[str] | None = None


@contextmanager
def _watched(url: str, load: _Load) -> Iterator[None]:
    import psutil
    import sqlalchemy as sa

    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    ended, seen = threading.Event(), Counter[str]()
    with engine.connect() as connection:
        backend = psutil.Process(int(connection.scalar(sa.text("SELECT pg_backend_pid()")) or 0))
    server = backend.parent()
    assert server is not None
    spent: dict[int, float] = {}
    transactions = sa.text("SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database")
    busy = sa.text(
        "SELECT coalesce(wait_event_type || ': ' || wait_event, 'CPU') FROM pg_stat_activity"
        " WHERE state = 'active' AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )

    def processes() -> None:
        # A backend that ends takes its seconds with it: what it had at the last look counts.
        for process in [server, *server.children(recursive=True)]:
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            spent[process.pid] = times.user + times.system

    def look() -> None:
        while not ended.wait(_LOOK_S):
            processes()
            with engine.connect() as connection:
                seen.update(connection.scalars(busy))

    processes()
    before = dict(spent)
    with engine.connect() as connection:
        first = int(connection.scalar(transactions) or 0)
    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    try:
        yield
    finally:
        ended.set()
        watch.join()
        processes()
        time.sleep(1.5)  # PostgreSQL keeps its counts a second behind
        with engine.connect() as connection:
            load.transactions = int(connection.scalar(transactions) or 0) - first
        load.cpu_s = sum(seconds - before.get(pid, 0.0) for pid, seconds in spent.items())
        load.waits = seen
        engine.dispose()


def measure(server: Any, workers: int, chosen: argparse.Namespace, epoch_s: float, folder: Path) -> Point:
    """One count of workers on a new database of `server`."""
    url = server.new_database(f"workers_{workers}_{'paced' if epoch_s else 'hammered'}")
    load, seen = Load(chosen.trials, workers, chosen.epochs, epoch_s, chosen.limit_s), _Load()
    store = _AsPool(url, "")
    store.prepare(chosen.trials, workers)
    store.prepare = lambda trials, processes: None  # type: ignore[method-assign] # not to be counted as load
    with _watched(url, seen):
        done: Run = run(store, load, folder)
    if done.lost:
        raise RuntimeError(f"{done.lost} values are not in the ledger")
    waits = seen.waits or Counter()
    looks = sum(waits.values()) or 1
    return Point(
        workers,
        epoch_s,
        done.finished,
        done.finished / done.wall_s,
        workers / (chosen.epochs * epoch_s) if epoch_s else None,
        (1000 * done.percentile("claim", 50), 1000 * done.percentile("claim", 95)),
        (1000 * done.percentile("trial", 50), 1000 * done.percentile("trial", 95)),
        seen.cpu_s / done.wall_s,
        done.cpu_s / done.wall_s,
        seen.transactions / done.wall_s,
        {what: count / looks for what, count in waits.most_common(4)},
    )


def table(points: Sequence[Point]) -> str:
    """A Markdown table of the points."""
    lines = [
        "| workers | epochs of | trials/s | offered | claim p50 / p95 ms | all waits of a trial p50 / p95 ms "
        "| cores: server, workers | transactions/s | server's connections wait for |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for point in points:
        offered = "" if point.offered_s is None else f"{point.offered_s:.3g}"
        waits = ", ".join(f"{what} {share:.0%}" for what, share in point.waits.items())
        lines.append(
            f"| {point.workers} | {point.epoch_s:g} s | {point.trials_s:.3g} | {offered} "
            f"| {point.claim_ms[0]:.3g} / {point.claim_ms[1]:.3g} | {point.trial_ms[0]:.3g} / {point.trial_ms[1]:.3g} "
            f"| {point.server_cpu:.2f}, {point.worker_cpu:.2f} | {point.transactions_s:.3g} | {waits} |"
        )
    return "\n".join(lines)


def plot(points: Sequence[Point], file: Path) -> None:
    """Throughput, claim latency and load against the number of workers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    throughput, latency, load = figure.subplots(1, 3)
    for epoch_s, style in zip(sorted({point.epoch_s for point in points}), ("o-", "s--"), strict=False):
        some = [point for point in points if point.epoch_s == epoch_s]
        label = f"epochs of {epoch_s:g} s" if epoch_s else "nothing in between"
        counts = [point.workers for point in some]
        throughput.plot(counts, [point.trials_s for point in some], style, label=label)
        latency.plot(counts, [point.claim_ms[1] for point in some], style, label=label)
        load.plot(counts, [point.server_cpu for point in some], style, label=f"server, {label}")
        load.plot(counts, [point.worker_cpu for point in some], style, alpha=0.4, label=f"workers, {label}")
        if epoch_s:
            offered = [point.offered_s or 0.0 for point in some]
            throughput.plot(counts, offered, ":", color="grey", label="offered")
    for axes, title in ((throughput, "trials a second"), (latency, "claim, p95, ms"), (load, "cores kept busy")):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel("workers")
        axes.set_title(title, fontsize=9)
        axes.legend(fontsize=7)
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", default="1,2,4,8,16,32,64")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--epoch-s", type=float, default=0.5)
    parser.add_argument("--limit-s", type=float, default=60.0)
    parser.add_argument("--out", type=Path, default=Path("out/workers"))
    chosen = parser.parse_args()
    import posestudy.ledger.book  # noqa: F401 - once, before processes are forked
    from posestudy.testing import running_postgres

    chosen.out.mkdir(parents=True, exist_ok=True)
    points = []
    with tempfile.TemporaryDirectory() as folder, running_postgres(durable=True) as server:
        for epoch_s in (0.0, chosen.epoch_s):
            for workers in map(int, chosen.workers.split(",")):
                points.append(measure(server, workers, chosen, epoch_s, Path(folder)))
                print(table(points[-1:]).splitlines()[-1], flush=True)
    (chosen.out / "workers.json").write_text(json.dumps([asdict(point) for point in points], indent=1))
    plot(points, chosen.out / "workers.svg")
    print(f"\n{STUDY}: {chosen.trials} trials of {chosen.epochs} epochs\n\n{table(points)}")


if __name__ == "__main__":
    main()
