"""The demonstration: draws its own cats, runs a study of two stages on them, and writes the report."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import sys
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

TRAIN: Final = 400
VAL: Final = 64
SEED: Final = 7
_MARKER: Final = "drawn.json"


def run_demo(out: Path, workers: int) -> int:
    """Draw, train with `workers` trials side by side, report into `out`; returns the exit code of the training.

    A second run finds its trials in the ledger, trains nothing and writes the same report.
    """
    import typer

    import posestudy_reports
    from posestudy.settings import Settings
    from posestudy_reports.published import publish
    from posestudy_reports.writers import FORMATS
    from posestudy_runner.launching import run_study
    from posestudy_studies.file import load

    settings = Settings.resolve()
    root = settings.home.root / "demo-data"
    if prepare(root):
        typer.echo(f"drew {TRAIN} training and {VAL} validation pictures of cats in {root}")
    with as_file(files("posestudy_reports").joinpath("demo.yaml")) as path:
        study, source = load(path, [f"dataset.root={root}"]), path.read_text(encoding="utf-8")
    code = run_study(study, source, settings, workers=workers, resume_with=shlex.join(["posestudy", *sys.argv[1:]]))
    report = posestudy_reports.open(study.study, settings)
    written = report.write(out, FORMATS)
    for sentence in (*report.summary, *report.still_open):
        typer.echo(sentence)
    typer.echo(f"report: {publish(study.study, out, written, settings)}")
    typer.echo(f"the report lies in {out / 'report.pdf'} and {out / 'report.html'}")
    return code


def prepare(root: Path) -> bool:
    """Draw the data set into `root` unless it is there, whole and drawn by this code; returns whether it drew.

    Raises:
        OSError: the disk is full or the folder cannot be written; what was there before is then still there.
    """
    from posestudy_studies.drawn_cats import draw

    wanted = _wanted()
    if _found(root) == wanted:
        return False
    fresh = root.with_name(f"{root.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    draw(fresh, train=TRAIN, val=VAL, seed=SEED)
    (fresh / _MARKER).write_text(wanted, encoding="utf-8")
    shutil.rmtree(root, ignore_errors=True)
    fresh.rename(root)
    return True


def _wanted() -> str:
    """What the marker of a data set says that was drawn with these numbers by this code."""
    package = files("posestudy_studies")
    code = b"".join(
        package.joinpath(name).read_bytes() for name in ("drawn_cats.py", "cat_figure.py", "cat_skeleton.py")
    )
    drawn = {"train": TRAIN, "val": VAL, "seed": SEED, "code": hashlib.sha256(code).hexdigest()}
    return json.dumps(drawn, indent=2, sort_keys=True) + "\n"


def _found(root: Path) -> str | None:
    """The marker of the data set in `root`; None where there is none or pictures are missing."""
    try:
        marker = (root / _MARKER).read_text(encoding="utf-8")
        pictures = sum(path.suffix == ".jpg" for path in (root / "images").iterdir())
        annotated = all((root / "annotations" / f"{split}.json").is_file() for split in ("train", "val"))
    except OSError:
        return None
    return marker if annotated and pictures == TRAIN + VAL else None
