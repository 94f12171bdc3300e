"""`posestudy export`: a study's configs and job scripts train under MMPose where posestudy cannot be imported."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import posestudy_reports
from posestudy.commands.app import main
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy_studies.advance import advance
from posestudy_studies.dataset import sealed
from posestudy_studies.drawn_cats import draw
from posestudy_studies.file import load

STUDY = """
study: shared
dataset:
  keypoints: cats
  root: {root}
  train: {{annotations: annotations/train.json, images: images}}
  val: {{annotations: annotations/val.json, images: images}}
baseline:
  model: resnet_tiny
  input_size: [64, 64]
  epochs: 1
  batch_size: 4
  amp: true
  optimizer: {{type: Adam, lr: 1.0e-3}}
  augmentation: {{flip: {{}}}}
stages:
  - {{name: width, design: variants, variants: {{wide: {{sigma: 1.5}}, twin: {{sigma: 1.5}}}}}}
  - {{name: from_start, design: variants, carry: baseline, variants: {{slow: {{optimizer.lr: 1.0e-4}}}}}}
  - name: rates
    design: search
    space: {{optimizer.lr: {{log: [1.0e-5, 1.0e-3]}}}}
    sampler: tpe
    cells: 5
replicates: {{seeds: [0, 7]}}
"""
TEMPLATE = """#!/bin/bash
#BSUB -J {name} -q {partition} -W {minutes} -o {log}
{setup}
{command}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    draw(tmp_path / "cats", train=4, val=2, seed=1, size_px=64)
    file = tmp_path / "shared.yaml"
    file.write_text(STUDY.format(root=tmp_path / "cats"))
    return file


def export(home: Home, *arguments: object) -> int:
    return main(["--home", str(home.root), "export", *map(str, arguments)])


def run_alone(script: Path, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Call a training script with a Python that cannot import posestudy."""
    probe = Path(posestudy_reports.__file__).with_name("bundle_probe.py")
    python = tmp_path / "python_alone"
    python.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -I "{Path(__file__).with_name("without_posestudy.py")}" "{probe}" "$@"\n'
    )
    python.chmod(0o755)
    # From elsewhere, as a batch system does.
    return subprocess.run(
        ["bash", str(script), *arguments],
        cwd="/",
        env={**os.environ, "PYTHON": str(python), "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


def test_every_trial_that_is_certain_is_there_once_and_what_is_not_is_said(
    study: Path, tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(home, study, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "6 trials of study 'shared' exported" in said
    assert "stage 'rates': 6 cells not exported, because earlier results decide" in said
    configs = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("config.py"))
    cells = ("from_start/slow", "width/baseline", "width/wide")
    assert configs == [f"trials/{cell}/seed_{seed}/config.py" for cell in cells for seed in (0, 7)]
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "stage 'width', cell 'twin', seed 7" in readme.replace("\\", "")
    assert "stage 'from\\_start', cell 'baseline', seed 0" in readme
    assert "## Not here" in readme
    # Nothing of this machine but the link, which the reader is told of.
    assert not [name for name in configs if str(tmp_path) in (tmp_path / "out" / name).read_text()]
    assert (tmp_path / "out" / "data" / "cats").resolve() == (tmp_path / "cats").resolve()
    assert f"`data/cats`: a link to `{tmp_path / 'cats'}`" in readme
    assert "posestudy_runner" not in "".join((tmp_path / "out" / name).read_text() for name in configs)
    assert not list((tmp_path / "out").rglob("job.sh"))


def test_a_launched_study_is_exported_by_its_name_with_its_numbers(
    study: Path, tmp_path: Path, home: Home, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POSESTUDY_DATABASE_URL", raising=False)
    ledger = Ledger.open(f"sqlite:///{home.database}")
    record = ledger.put_study("shared", sealed(load(study)).model_dump(mode="json"), study.read_text())
    ledger.apply(record.id, advance(ledger.snapshot("shared")))
    numbers = {(t.cell_id, t.seed): t.number for t in ledger.snapshot("shared").trials}
    ledger.close()
    assert export(home, "shared", tmp_path / "out") == 0
    readme = (tmp_path / "out" / "README.md").read_text()
    assert f"| `trials/width/wide/seed_7` | width | wide | sigma 1.5 | 7 | 1 | {numbers[2, 7]} |" in readme
    assert "| `trials/from_start/slow/seed_0` | from\\_start | slow | optimizer.lr 0.0001 | 0 | 1 |  |" in readme


@pytest.mark.parametrize(
    ("cluster", "lines"),
    [
        (
            {"template": "job.sh.in", "submit": "bsub < {job}", "partition": "gpu", "time": 2, "setup": ["ml cuda"]},
            ["#!/bin/bash", "#BSUB -J shared-1 -q gpu -W 120 -o {trial}/job.log", "ml cuda", "bash {trial}/train.sh"],
        ),
        (
            {"partition": "gpu", "gres": "gpu:1", "mem_gb": 1.5, "options": ["--exclude=n7"],
             "container": {"image": "a b.sif", "mounts": ["/data:/data"]}},
            [
                "#!/bin/bash", "#SBATCH --job-name=shared-1", "#SBATCH --output={trial}/job.log",
                "#SBATCH --open-mode=append", "#SBATCH --partition=gpu", "#SBATCH --gres=gpu:1", "#SBATCH --mem=1536M",
                "#SBATCH --exclude=n7",
                "apptainer exec --nv --bind /data:/data 'a b.sif' bash {trial}/train.sh",
            ],
        ),
    ],
    ids=["template", "slurm"],
)  # fmt: skip
def test_job_scripts_are_made_of_the_clusters_keys(
    cluster: dict[str, Any], lines: list[str], study: Path, tmp_path: Path, home: Home
) -> None:
    (tmp_path / "job.sh.in").write_text(TEMPLATE)
    (tmp_path / "profile.yaml").write_text(json.dumps(cluster))
    assert export(home, study, tmp_path / "out", "--profile", tmp_path / "profile.yaml") == 0
    trial = tmp_path / "out" / "trials" / "width" / "baseline" / "seed_0"
    script = trial / "job.sh"
    assert script.read_text().splitlines() == [line.format(trial=trial) for line in lines]
    assert script.stat().st_mode & stat.S_IXUSR
    first = "bsub < " if "submit" in cluster else "sbatch "
    assert f"    {first}trials/width/baseline/seed_0/job.sh" in (tmp_path / "out" / "README.md").read_text()


def test_several_processes_and_evaluations_are_started_as_such(study: Path, tmp_path: Path, home: Home) -> None:
    (tmp_path / "given.pth").write_bytes(b"PK\x03\x04 weights")
    text = study.read_text().replace("wide: {sigma: 1.5}", "wide: {epochs: 0, init: given.pth}")
    study.write_text(text.replace("batch_size: 4", "batch_size: 4\n  gpus: 2"))
    assert export(home, study, tmp_path / "out") == 0
    trials = tmp_path / "out" / "trials" / "width"
    *_, called = (trials / "baseline" / "seed_0" / "train.sh").read_text().splitlines()
    assert (
        " -m torch.distributed.run --nproc_per_node 2 tools/train.py trials/width/baseline/seed_0/config.py" in called
    )
    assert called.endswith(' --launcher pytorch --work-dir trials/width/baseline/seed_0/work_dirs --resume "$@"')
    *_, called = (trials / "wide" / "seed_0" / "train.sh").read_text().splitlines()
    assert called.startswith(
        'exec "${PYTHON:-python}" tools/test.py trials/width/wide/seed_0/config.py checkpoints/given.pth '
    )
    assert "--resume" not in called
    assert (tmp_path / "out" / "checkpoints" / "given.pth").read_bytes() == b"PK\x03\x04 weights"


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(
    study: Path, tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("kept")
    assert export(home, study, full) == 2
    assert "expected a new folder or an empty one" in capsys.readouterr().err
    assert [path.name for path in full.iterdir()] == ["mine.txt"]
    (tmp_path / "job.sh.in").write_text("echo {nothing}\n{command}\n")
    (tmp_path / "profile.yaml").write_text("template: job.sh.in\n")
    assert export(home, study, tmp_path / "out", "--profile", tmp_path / "profile.yaml") == 2
    assert "job.sh.in:1:6: found {nothing}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert export(home, tmp_path / "gone.yaml", tmp_path / "out") == 2
    assert export(home, "sharde", tmp_path / "out") == 2
    assert export(home, "shared", tmp_path / "out", "--set", "study=other") == 2


@pytest.mark.slow
def test_an_exported_trial_trains_and_goes_on_where_posestudy_cannot_be_imported(
    study: Path, tmp_path: Path, home: Home
) -> None:
    assert export(home, study, tmp_path / "first") == 0
    # It may be put anywhere.
    moved = (tmp_path / "first").rename(tmp_path / "moved here")
    trial = moved / "trials" / "width" / "wide" / "seed_7"
    done = run_alone(trial / "train.sh", tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "Epoch(val) [1]" in done.stdout
    assert (trial / "work_dirs" / "epoch_1.pth").is_file()
    scalars = list((trial / "work_dirs").rglob("scalars.json"))
    assert "coco/AP" in scalars[0].read_text()
    again = run_alone(trial / "train.sh", tmp_path, "--cfg-options", "train_cfg.max_epochs=2")
    assert again.returncode == 0, again.stdout[-3000:]
    assert "resumed epoch: 1" in again.stdout
    assert (trial / "work_dirs" / "epoch_2.pth").is_file()
