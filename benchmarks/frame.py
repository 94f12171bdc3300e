"""How long `posestudy_reports.open(STUDY).frame` takes, and what it needs, against Optuna on the same study.

    python -m benchmarks.frame [--trials 10000] [--epochs 200] [--validate-every 10] [--folder DIR]

Fills a ledger with a made-up study of this size, as the ledger's own tables have it, and opens it in a process of its
own: seconds, and the peak of that process's memory. Then it gives Optuna's storage a study of `--rival-trials` trials
with the same values of the metric and times `Study.trials_dataframe()`, and posestudy's frame at that size beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

STUDY = "synthetic"
SEEDS = 2
TRAINING = ("loss", "acc_pose", "lr", "data_time_s", "epoch_time_s", "iteration_time_s", "cpu_percent", "memory_mb")
VALIDATION = ("coco/AP", "coco/AP50", "coco/AP75", "coco/AP_M", "coco/AP_L", "coco/AR", "coco/AR50", "coco/AR75")
_BATCH = 20_000
_CREATED = 1_780_000_000.0
_CONFIG = {
    "model": "resnet50", "input_size": [256, 192], "sigma": 2.0, "batch_size": 64, "amp": True,
    "optimizer": {"type": "Adam", "lr": 1e-3}, "schedule": {"type": "step", "milestones": [170, 200], "gamma": 0.1},
    "augmentation": {"flip": {"prob": 0.5}, "scale_rotation": {"rotation": 40, "scale": 0.5}, "half_body": None},
}  # fmt: skip
_PROFILE = {
    "parameters": 33_997_649, "gmacs": 5.46, "gflops": 10.92, "latency_p50_ms": 9.5, "latency_p95_ms": 11.0,
    "fps": 105.0, "device": "cpu", "device_name": "A processor", "threads": 2, "batch": 1, "input": [256, 192],
}  # fmt: skip


def value_at(number: int, epoch: int, place: int) -> float:
    """The number that trial `number` has at `epoch` under the name at `place`; all different, with 16 digits."""
    return math.fabs(math.sin(number * 12.9898 + epoch * 78.233 + place * 37.719))


def fill(url: str, trials: int, epochs: int, validate_every: int) -> None:
    """Put a study of one stage into an empty ledger: `SEEDS` trials a cell, every one completed, `epochs` values each.

    Every value has the metrics of `TRAINING`, and those of `VALIDATION` at every `validate_every`th and the last epoch.
    """
    from posestudy.ledger import Ledger, schema

    Ledger.open(url).close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        document = {"metric": "coco/AP", "stages": [{"name": "search"}]}
        study = {"id": 1, "name": STUDY, "document": document, "source": "", "state": "closed", "created": _CREATED}
        connection.execute(sa.insert(schema.study), [study])
        stage = {"id": 1, "study_id": 1, "ordinal": 0, "name": "search", "design": "grid", "state": "closed"}
        connection.execute(sa.insert(schema.stage), [stage | {"version": 1, "baseline": "cell_0", "start": _CONFIG}])
        count = math.ceil(trials / SEEDS)
        connection.execute(sa.insert(schema.cell), [_cell(n) for n in range(count)])
        connection.execute(sa.insert(schema.trial), [_trial(n, epochs) for n in range(1, trials + 1)])
        connection.execute(sa.insert(schema.attempt), [_attempt(n) for n in range(1, trials + 1)])
        rows = _values(trials, epochs, validate_every)
        for batch in _batches(rows):
            connection.execute(sa.insert(schema.value), batch)
    engine.dispose()


def _cell(n: int) -> dict[str, Any]:
    rate = 1e-5 * 1.001**n
    levels = {"optimizer.lr": rate} if n else {}
    config = _CONFIG | {"optimizer": {"type": "Adam", "lr": rate if n else 1e-3}}
    named = {"id": n + 1, "stage_id": 1, "ordinal": n, "name": f"cell_{n}", "label": "", "note": "", "key": f"{n:064x}"}
    return named | {"levels": levels, "config": config}


def _trial(n: int, epochs: int) -> dict[str, Any]:
    final = value_at(n, epochs, len(TRAINING))
    return {
        "uid": f"{n:032x}", "study_id": 1, "cell_id": (n - 1) // SEEDS + 1, "number": n, "seed": (n - 1) % SEEDS,
        "state": "DONE", "outcome": "completed", "fence": 1, "ckpt_epoch": epochs, "ckpt_fence": 1, "prev_epoch": 0,
        "optuna": {}, "final_value": final, "final_epoch": epochs, "best_value": final, "best_epoch": epochs,
        "started": _CREATED, "ended": _CREATED + 60, "duration_s": 60.0, "peak_memory_mb": 512.0,
        "provenance": {"torch": "2.13.0", "device": "cpu", "threads": 2, "host": "one"}, "profile": _PROFILE,
    }  # fmt: skip


def _attempt(n: int) -> dict[str, Any]:
    return {"trial_uid": f"{n:032x}", "fence": 1, "owner": "one/1", "started": _CREATED, "end": "finished"}


def _values(trials: int, epochs: int, validate_every: int) -> Iterator[dict[str, Any]]:
    for number in range(1, trials + 1):
        for epoch in range(1, epochs + 1):
            validated = epoch % validate_every == 0 or epoch == epochs
            names = (*TRAINING, *VALIDATION) if validated else TRAINING
            metrics = {name: value_at(number, epoch, place) for place, name in enumerate(names)}
            yield {
                "trial_uid": f"{number:032x}",
                "epoch": epoch,
                "metrics": metrics,
                "ts": _CREATED + epoch,
                "fence": 1,
            }


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


_OURS = """
import json, os, resource, time
began = time.perf_counter()
import posestudy_reports
report = posestudy_reports.open({study!r})
rows = len(report.frame)
frame_s = time.perf_counter() - began
values = len(report.values) if {values} else 0
values_s = time.perf_counter() - began
spent = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps(dict(rows=rows, frame_s=frame_s, values=values, values_s=values_s, peak_mb=spent.ru_maxrss / 1024,
                      cpu_s=spent.ru_utime + spent.ru_stime)))
"""

_OPTUNA = """
import json, resource, time
began = time.perf_counter()
import optuna
study = optuna.load_study(study_name={study!r}, storage={url!r})
rows = len(study.trials_dataframe())
spent = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps(dict(rows=rows, frame_s=time.perf_counter() - began, values=0, values_s=0.0,
                      peak_mb=spent.ru_maxrss / 1024, cpu_s=spent.ru_utime + spent.ru_stime)))
"""


def measured(program: str, home: Path) -> dict[str, float]:
    """What a program says of itself, run in a process of its own."""
    import os

    environment = {**os.environ, "POSESTUDY_HOME": str(home)}
    environment.pop("POSESTUDY_DATABASE_URL", None)
    done = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def ours(home: Path, trials: int, epochs: int, validate_every: int, *, values: bool) -> dict[str, float]:
    """Fill a home with a study and open it; seconds from before the import of posestudy."""
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "posestudy.db").exists():
        began = time.perf_counter()
        fill(f"sqlite:///{home / 'posestudy.db'}", trials, epochs, validate_every)
        print(f"filled a ledger of {trials} x {epochs} in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return measured(_OURS.format(study=STUDY, values=values), home)


def rival(folder: Path, trials: int, epochs: int) -> dict[str, float]:
    """The same trials, with the metric of every epoch as intermediate values, in Optuna's tables."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = f"sqlite:///{folder / f'optuna_{trials}.db'}"
    study = optuna.create_study(study_name=STUDY, storage=url)
    place = len(TRAINING)
    lr = optuna.distributions.FloatDistribution(1e-9, 1.0)
    for first in range(0, trials, 100):
        made = [
            optuna.trial.create_trial(
                value=value_at(number, epochs, place),
                params={"lr": 1e-5 * 1.001**number},
                distributions={"lr": lr},
                intermediate_values={epoch: value_at(number, epoch, place) for epoch in range(1, epochs + 1)},
            )
            for number in range(first + 1, min(first + 100, trials) + 1)
        ]
        study.add_trials(made)
    return measured(_OPTUNA.format(study=STUDY, url=url), folder)


def line(name: str, size: str, found: dict[str, float]) -> str:
    seconds = (found["frame_s"], found["values_s"]) if found["values"] else (found["frame_s"],)
    texts = [f"{s:.1f}" for s in seconds] + ["–"] * (2 - len(seconds))
    return f"| {name} | {size} | {' | '.join(texts)} | {found['cpu_s']:.1f} | {found['peak_mb']:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--validate-every", type=int, default=10)
    parser.add_argument("--rival-trials", type=int, default=300)
    parser.add_argument("--folder", type=Path, help="where the ledgers are kept for another run; default: nowhere")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        print("| | trials x epochs | frame [s] | and values [s] | CPU [s] | peak [MiB] |")
        print("|---|---|---|---|---|---|")
        size = (chosen.trials, chosen.epochs)
        big = ours(folder / f"home_{size[0]}_{size[1]}", *size, chosen.validate_every, values=False)
        print(line("posestudy, frame", f"{size[0]} x {size[1]}", big), flush=True)
        whole = ours(folder / f"home_{size[0]}_{size[1]}", *size, chosen.validate_every, values=True)
        print(line(f"posestudy, frame and {whole['values']:.0f} values", f"{size[0]} x {size[1]}", whole), flush=True)
        small = (chosen.rival_trials, chosen.epochs)
        mine = ours(folder / f"home_{small[0]}_{small[1]}", *small, chosen.validate_every, values=True)
        print(line("posestudy", f"{small[0]} x {small[1]}", mine), flush=True)
        with tempfile.TemporaryDirectory() as place:
            theirs = rival(Path(place), *small)
        print(line("Optuna", f"{small[0]} x {small[1]}", theirs))


if __name__ == "__main__":
    main()
