"""From a trial's claim to its first iteration, and from its last validation to the next trial, against stock MMPose."""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.start.clocked_trial import MARKS
from benchmarks.study.rivals import THREADS, environment, finals
from benchmarks.study.the_study import CELLS, TheStudy
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.vocabulary import Outcome
from posestudy_runner.attempt import Attempt
from posestudy_runner.components import VARIABLE, Component
from posestudy_runner.context import PoolOptions
from posestudy_runner.display import LineDisplay
from posestudy_runner.pool import Goal, Pool
from posestudy_runner.steering import study_steering
from posestudy_studies.dataset import sealed
from posestudy_studies.drawn_cats import draw
from posestudy_studies.file import load

CELL = "sigma_1.5"
EPOCHS = 30
PICTURES = {"train": 64, "val": 16}
TRIALS = 3
"""Of a pool; its first is not counted, as its forkserver has just come to life."""


@dataclass(frozen=True)
class Span:
    """Of one training, in seconds.

    Attributes:
        start: from its process being asked for to its first iteration, less model and data sets.
        start_cpu: CPU time in the same span.
        built: model and data sets.
        tail: from its last validation to the end of its process.
        between: from there to the next process being asked for; None for the last.
        ap: coco/AP at the last epoch.
    """

    start: float
    start_cpu: float
    built: float
    tail: float
    between: float | None
    ap: float

    @classmethod
    def of(cls, marks: Any, began: float, ended: float, then: float | None, ap: float) -> Span:
        """From the clock's marks, and when the process was asked for, had ended, and the next was asked for."""
        (first, cpu), (trained, _), (built, built_cpu) = marks["first"], marks["trained"], marks["built"]
        between = None if then is None else then - ended
        return cls(first - began - built, cpu - built_cpu, built, ended - trained, between, ap)


def stock(study: TheStudy, work: Path) -> list[Span]:
    """One training by MMPose's tools/train.py."""
    configs = [file for file in study.write_stock_configs(work / "configs") if file.stem == f"{CELL}-0"]
    marks = work / "clock.json"
    command = [sys.executable, "-m", "benchmarks.start.trained_stock", str(marks), str(configs[0])]
    began = time.monotonic()
    with (work / "log").open("w") as log:
        subprocess.run(
            [*command, "--work-dir", str(work / configs[0].stem)],
            check=True, stdout=log, stderr=subprocess.STDOUT, env=environment(),
        )  # fmt: skip
    ended = time.monotonic()
    ap = finals(configs, work)[configs[0].stem]
    return [Span.of(json.loads(marks.read_text()), began, ended, None, ap)]


def ours(study: TheStudy, work: Path, without: str, start: str) -> list[Span]:
    """Trials of a pool with one slot, but for its first."""
    document = study.document()
    document["replicates"] = {"seeds": list(range(TRIALS))}
    document["stages"][0] |= {"include_baseline": False, "variants": {CELL: CELLS[CELL]}}
    file = work / "study.yaml"
    file.write_text(json.dumps(document), encoding="utf-8")
    home = Home.resolve(work / "home")
    ledger = Ledger.open(f"sqlite:///{home.database}")
    try:
        ledger.put_study(study_name := str(document["study"]), sealed(load(file)).model_dump(mode="json"), "")
        display = LineDisplay(Console(file=io.StringIO()), "coco/AP")
        options = PoolOptions(target="benchmarks.start.clocked_trial:main", start=start, projects=False)
        with _environment({**THREADS, "PYTHONPATH": os.getcwd(), VARIABLE: without}), _attempts() as attempts:
            Pool(ledger, home, Goal(study_name, "coco/AP", "more"), study_steering(), display, options).run(1)
        trials = ledger.snapshot(study_name).trials
    finally:
        ledger.close()
    spans = []
    for place, trial in enumerate(sorted(trials, key=lambda trial: trial.number)):
        if trial.outcome is not Outcome.COMPLETED or trial.final_value is None:
            raise SystemExit(f"trial {trial.number}: {trial.outcome}, {trial.message}")
        began, ended = attempts[place]
        then = attempts[place + 1][0] if place + 1 < len(attempts) else None
        marks = json.loads((home.attempt(study_name, trial.number, trial.fence).folder / MARKS).read_text())
        spans.append(Span.of(marks, began, ended, then, trial.final_value))
    return spans[1:]


@contextmanager
def _environment(more: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _attempts() -> Iterator[list[tuple[float, float]]]:
    """When each attempt of this process began and ended, in their order."""
    seen: list[tuple[float, float]] = []
    run = Attempt.run

    def timed(attempt: Attempt) -> None:
        began = time.monotonic()
        run(attempt)
        seen.append((began, time.monotonic()))

    Attempt.run = timed  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        Attempt.run = run  # type: ignore[method-assign]


def main() -> None:
    """Measure and print a table."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--folder", type=Path, default=Path("out/benchmark_start"))
    asked = words.parse_args()
    cats = (asked.folder / "cats").resolve()
    if not (cats / "annotations" / "val.json").exists():
        draw(cats, **PICTURES, seed=0)
    study = TheStudy(cats, EPOCHS)
    # One core for whoever is measured: a pool with one slot would give its trial all threads of the machine.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rivals = {
        "posestudy": lambda work: ours(study, work, "", "forkserver"),
        "stock MMPose, tools/train.py": lambda work: stock(study, work),
        f"without {Component.LIGHT_START}": lambda work: ours(study, work, Component.LIGHT_START, "forkserver"),
        "without forkserver (`--start spawn`)": lambda work: ours(study, work, "", "spawn"),
    }
    spans: dict[str, list[Span]] = {name: [] for name in rivals}
    for turn in range(asked.rounds):
        for place, (name, run) in enumerate(rivals.items()):
            work = asked.folder / f"{place}-{turn}"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            spans[name] += run(work.resolve())
            print(f"round {turn + 1}: {name}", file=sys.stderr, flush=True)
    ours_s, ours_cpu = _median(spans["posestudy"], "start"), _median(spans["posestudy"], "start_cpu")
    print("| | start [s] | ratio | start, CPU [s] | ratio | model and data [s] | tail [s] | to the next [s] | AP |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, found in spans.items():
        wall, cpu = _median(found, "start"), _median(found, "start_cpu")
        between = [span.between for span in found if span.between is not None]
        print(
            f"| {name} | {wall:.2f} ({min(s.start for s in found):.2f}–{max(s.start for s in found):.2f}) "
            f"| {wall / ours_s:.1f} | {cpu:.2f} | {cpu / ours_cpu:.1f} | {_median(found, 'built'):.2f} "
            f"| {_median(found, 'tail'):.2f} | {f'{statistics.median(between):.2f}' if between else '–'} "
            f"| {statistics.mean(span.ap for span in found):.3f} |"
        )


def _median(spans: list[Span], what: str) -> float:
    return statistics.median(getattr(span, what) for span in spans)
