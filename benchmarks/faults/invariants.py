"""What must hold after a campaign, read from checkpoints, journals, the witness and MLflow's own database."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.faults import ladder
from benchmarks.faults.host import LEASE_S
from benchmarks.faults.witness import Said
from posestudy import journal

MARGIN_S = LEASE_S / 3 + 0.5
"""How much later than the start of its successor a stale attempt's word may come before it counts as after it: a worker
that froze in a long call has promised its trial a third of a lease from then."""


def trials_of(said: Iterable[Said]) -> dict[int, list[Said]]:
    """What was witnessed, by trial number."""
    found: dict[int, list[Said]] = defaultdict(list)
    for one in said:
        found[one.number].append(one)
    return found


def attempts(study: str, said: list[Said], pauses: Sequence[tuple[float, float]] = ()) -> Iterator[str]:
    """Violations of fencing and of the durability interval, from what the trials of one study witnessed.

    Args:
        pauses: from when to when a host was frozen. What its trials recorded then after half a lease may be too late
            for whoever took them over.
    """

    def in_time(one: Said) -> bool:
        return not any(since + LEASE_S / 2 < one.at < until + 1 for since, until in pauses)

    for number, lines in sorted(trials_of(said).items()):
        name = f"{study} trial {number}"
        if len({(one.cell, one.seed) for one in lines}) != 1:
            yield f"{name}: two replicates under one number"
        began = {one.fence: one for one in lines if one.what == "began"}
        if sum(one.what == "began" for one in lines) != len(began):
            yield f"{name}: two attempts under one fence"
        for fence, begin in sorted(began.items()):
            earlier = [
                one
                for one in lines
                if one.fence < fence and one.what == "recorded" and one.at < begin.at and in_time(one)
            ]
            starts = [one.epoch for number, one in began.items() if number < fence]
            reached = max([0, *starts, *(one.epoch for one in earlier)])
            if begin.epoch < reached - 1:
                yield f"{name}: attempt {fence} began after epoch {begin.epoch}, though epoch {reached} was on the disk"
            # One that was killed between the journal's frame and its own word leaves an epoch without a witness.
            late = [one.epoch for one in lines if one.fence < fence and one.what == "recorded" and not in_time(one)]
            if begin.epoch > max([reached, *late]) + 1:
                yield f"{name}: attempt {fence} began after epoch {begin.epoch}, which nobody had trained"
            stale = [
                one for one in lines if one.fence < fence and one.what == "recorded" and one.at > begin.at + MARGIN_S
            ]
            for old in {one.fence for one in stale}:
                mine = sorted(one.epoch for one in stale if one.fence == old)
                if len(mine) > 1:
                    yield f"{name}: attempt {old} trained epochs {mine} after attempt {fence} had begun"


def results(study: str, folder: Path, said: list[Said], wanted: list[ladder.Replicate]) -> Iterator[str]:
    """Violations in what the trials of a stand-in study left in their folders."""
    by_replicate: dict[tuple[str, int], set[int]] = defaultdict(set)
    for one in said:
        by_replicate[one.cell, one.seed].add(one.number)
    expected = {(one.cell, one.seed): one for one in wanted}
    for replicate, numbers in sorted(by_replicate.items()):
        if replicate not in expected:
            yield f"{study}: {replicate} was trained, which no stage asks for"
        if len(numbers) != 1:
            yield f"{study}: {replicate} was trained as trials {sorted(numbers)}"
    there = {int(part.name) for part in folder.iterdir() if part.name.isdigit()} if folder.is_dir() else set()
    if len(there) > len(wanted):
        yield f"{study}: {len(there)} trial folders for {len(wanted)} replicates"
    for replicate, replicated in expected.items():
        numbers = by_replicate.get(replicate, set())
        if not numbers:
            yield f"{study}: {replicate} was never trained"
            continue
        yield from _trial(f"{study} trial {min(numbers)}", folder / str(min(numbers)), replicated)


def _trial(name: str, folder: Path, wanted: ladder.Replicate) -> Iterator[str]:
    """Its last checkpoint holds the weights of an undisturbed run, and its journals no wrong number.

    A power cut may take a frame that was written, not yet synced, and taken over by the next attempt meanwhile: that no
    epoch is missing is seen in MLflow.
    """
    held = [_weights(path) for path in folder.glob(f"*/epoch_{wanted.epochs}.pth")]
    right = ladder.state(wanted.cell, wanted.seed, wanted.epochs)
    if right not in held:
        yield f"{name}: no checkpoint of epoch {wanted.epochs} with the weights of an undisturbed run"
    if any(weights is not None and weights != right for weights in held):
        yield f"{name}: a checkpoint of epoch {wanted.epochs} with other weights than an undisturbed run's"
    seen: dict[int, set[float]] = defaultdict(set)
    for path in folder.glob("*/journal"):
        for frame in journal.read(path):
            if frame["type"] == "epoch":
                seen[frame["epoch"]].add(frame["metrics"][ladder.METRIC])
    for epoch in range(1, wanted.epochs + 1):
        if not seen[epoch] <= {ladder.value(wanted.cell, wanted.seed, epoch)}:
            yield f"{name}: the journals say {sorted(seen[epoch])} of epoch {epoch}"


def _weights(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["weights"])
    except (OSError, ValueError, KeyError):
        return None


def mlflow(
    database: Path, study: str, wanted: Mapping[tuple[str, int], Mapping[int, float]], metric: str
) -> Iterator[str]:
    """Violations in MLflow's own tables.

    Args:
        wanted: by cell and seed, the metric's right value at each epoch that has one.
    """
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        runs = _runs(connection, study)
        for replicate, curve in sorted(wanted.items()):
            mine = runs.pop(replicate, [])
            name = f"{study} {replicate}"
            if len(mine) != 1:
                yield f"{name}: {len(mine)} runs in MLflow"
                continue
            yield from _points(connection, name, mine[0], curve, metric)
    for replicate in sorted(runs):
        yield f"{study}: MLflow has a run of {replicate}, which no stage asks for"


def _runs(connection: sqlite3.Connection, study: str) -> dict[tuple[str, int], list[str]]:
    query = """
        SELECT r.run_uuid, r.name, r.status FROM runs r JOIN experiments e USING (experiment_id)
        JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'posestudy.trial'
        WHERE e.name = ? AND r.lifecycle_stage = 'active'"""
    found: dict[tuple[str, int], list[str]] = defaultdict(list)
    for run, name, status in connection.execute(query, (study,)):
        # The name of a run is `#NUMBER CELL seed SEED`, with a star before it where it is the best.
        words = name.split()
        replicate = (words[-3], int(words[-1]))
        found[replicate].append(run)
        if status != "FINISHED":
            found[replicate].append(f"{run} is {status}")
    return found


def _points(
    connection: sqlite3.Connection, name: str, run: str, curve: Mapping[int, float], metric: str
) -> Iterator[str]:
    rows: dict[str, dict[int, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for key, step, value in connection.execute("SELECT key, step, value FROM metrics WHERE run_uuid = ?", (run,)):
        rows[key][step].append(value)
    for key, steps in rows.items():
        doubled = sorted(step for step, values in steps.items() if len(values) > 1)
        if doubled:
            yield f"{name}: MLflow has more than one value of {key} at epochs {doubled}"
    got = {step: values[0] for step, values in rows[metric].items()}
    if got != dict(curve):
        wrong = sorted(step for step in got.keys() | curve.keys() if got.get(step) != curve.get(step))
        yield f"{name}: MLflow's {metric} is not that of an undisturbed run at epochs {wrong}"
    fences = [rows["fence"][step][0] for step in sorted(rows["fence"])]
    if fences != sorted(fences):
        yield f"{name}: an older attempt wrote over a newer one: fences {fences} by epoch"
