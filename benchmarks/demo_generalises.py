"""Does the demo learn, or memorise? Its baseline and best cell, three seeds each, judged on cats of another seed.

    python -m benchmarks.demo_generalises [--home DIR] [--seeds 0 1 2] [--unseen 1007]

Run after `posestudy demo`. It trains both cells anew on the demo's training pictures and validates them on pictures
drawn from another seed, which no choice of the demo ever saw, and prints the table kept beside this file.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from ruamel.yaml import YAML

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import CellRecord, Snapshot, StageRecord
from posestudy.settings import Settings
from posestudy_reports import demo
from posestudy_runner.launching import run_study
from posestudy_studies.drawn_cats import draw
from posestudy_studies.file import load

DEMO, STUDY = "drawn_cats", "demo_generalises"


def _cell(snapshot: Snapshot, stage: StageRecord, name: str | None) -> CellRecord:
    return next(c for c in snapshot.cells if c.stage_id == stage.id and c.name == name)


def _study(snapshot: Snapshot, root: Path, seeds: list[int], unseen: int) -> Path:
    """Write a study of two cells: the first stage's baseline, and what the last stage carries."""
    first, last = snapshot.stages[0], snapshot.stages[-1]
    baseline, best = _cell(snapshot, first, first.baseline), _cell(snapshot, last, last.carried)
    draw(root / "seen", train=demo.TRAIN, val=demo.VAL, seed=demo.SEED)
    draw(root / "unseen", train=1, val=3 * demo.VAL, seed=unseen)
    document = {
        "study": STUDY,
        "dataset": {
            "keypoints": "cats",
            "root": str(root),
            "train": {"annotations": "seen/annotations/train.json", "images": "seen/images"},
            "val": {"annotations": "unseen/annotations/val.json", "images": "unseen/images"},
        },
        "metric": snapshot.study.document["metric"],
        "evaluation": snapshot.study.document["evaluation"],
        "baseline": baseline.config,
        "stages": [
            {
                "name": "unseen",
                "design": "variants",
                "replicates": {"seeds": seeds},
                "variants": {
                    "best": {key: best.config[key] for key in best.config if best.config[key] != baseline.config[key]}
                },
            }
        ],
    }
    path = root / f"{STUDY}.yaml"
    with path.open("w", encoding="utf-8") as stream:
        YAML(typ="safe").dump(document, stream)
    return path


def main() -> int:
    """Train, then print the figures; exit 1 where the best cell does not beat the baseline by more than the range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--unseen", type=int, default=1007)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    settings = Settings.resolve(arguments.home)
    ledger = Ledger.open(settings.database_url)
    root = Home.resolve(arguments.home).root / STUDY
    study = _study(ledger.snapshot(DEMO, values=False), root, arguments.seeds, arguments.unseen)
    source = study.read_text(encoding="utf-8")
    code = run_study(load(study), source, settings, workers=arguments.workers)
    snapshot = ledger.snapshot(STUDY)
    ledger.close()
    finals: dict[str, list[float]] = {}
    for cell in snapshot.cells:
        finals[cell.name] = [t.final_value or 0.0 for t in snapshot.trials if t.cell_id == cell.id]
    print(f"| cell | {' | '.join(f'seed {s}' for s in arguments.seeds)} | mean | range |")
    print("|---" * (len(arguments.seeds) + 3) + "|")
    for name, values in finals.items():
        numbers = " | ".join(f"{v:.3f}" for v in values)
        print(f"| {name} | {numbers} | {statistics.mean(values):.3f} | {max(values) - min(values):.3f} |")
    gain = statistics.mean(finals["best"]) - statistics.mean(finals["baseline"])
    widest = max(max(v) - min(v) for v in finals.values())
    print(f"\ngain {gain:.3f}, widest range of {len(arguments.seeds)} seeds {widest:.3f}: {gain / widest:.1f} times")
    return code or int(gain <= widest)


if __name__ == "__main__":
    raise SystemExit(main())
