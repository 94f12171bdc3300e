"""`posestudy export`: a study's configs and job scripts train under MMPose where posestudy cannot be imported."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
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
        timeout=400,
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


def test_what_results_decide_is_in_the_next_export(
    study: Path, tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POSESTUDY_DATABASE_URL", raising=False)
    study.write_text(study.read_text().replace("carry: baseline, ", ""))
    assert export(home, study, tmp_path / "first") == 0
    assert "stage 'from_start': 2 cells not exported" in capsys.readouterr().out
    scores = {"baseline": 0.1, "wide": 0.3, "twin": 0.3}
    rows = [f"width,{cell},{seed},1: {score}" for cell, score in scores.items() for seed in (0, 7)]
    (tmp_path / "results.csv").write_text("\n".join(["stage,cell,seed,final", *rows]) + "\n")
    assert main(["--home", str(home.root), "import", str(tmp_path / "results.csv"), "--study", str(study)]) == 0
    assert export(home, study, tmp_path / "second") == 0
    readme = (tmp_path / "second" / "README.md").read_text()
    assert "| `trials/width/wide/seed_0` | width | wide | sigma 1.5 | 0 | 1 | 3, done |" in readme
    (row,) = (line for line in readme.splitlines() if line.startswith("| `trials/from_start/slow/seed_0`"))
    assert not row.endswith("done |")
    config = (tmp_path / "second" / "trials" / "from_start" / "slow" / "seed_0" / "config.py").read_text()
    assert "sigma=1.5" in config


@pytest.mark.parametrize(
    ("cluster", "lines"),
    [
        (
            {"template": "job.sh.in", "submit": "bsub < {job}", "partition": "gpu", "time": 2, "setup": ["ml cuda"]},
            ["#!/bin/bash", "#BSUB -J shared-1 -q gpu -W 120 -o {trial}/job.log", "ml cuda", "bash {trial}/train.sh"],
        ),
        (
            {"partition": "gpu", "gres": "gpu:1", "mem_gb": 1.5, "options": ["--exclude=n7"],
             "container": {"image": "a b.sif", "mounts": ["/data:/data"], "python": "python3.11"}},
            [
                "#!/bin/bash", "#SBATCH --job-name=shared-1", "#SBATCH --output={trial}/job.log",
                "#SBATCH --open-mode=append", "#SBATCH --partition=gpu", "#SBATCH --gres=gpu:1", "#SBATCH --mem=1536M",
                "#SBATCH --exclude=n7",
                "apptainer exec --nv --bind /data:/data 'a b.sif' env PYTHON=python3.11 bash {trial}/train.sh",
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


def test_keys_of_the_cluster_that_no_job_says_are_named(
    study: Path, tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "job.sh.in").write_text("#!/bin/bash\n#BSUB -W {minutes}\n{command}\n")
    (tmp_path / "profile.yaml").write_text("template: job.sh.in\ntime: 2\npartition: gpu\ncpus: 4\n")
    assert export(home, study, tmp_path / "out", "--profile", tmp_path / "profile.yaml") == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "not handed on" in line]
    assert told == [
        f"cluster.{key} is not handed on: neither the template nor cluster.submit has {{{key}}}"
        for key in ("partition", "cpus")
    ]


def test_words_that_slurm_takes_otherwise_are_not_said(study: Path, tmp_path: Path, home: Home) -> None:
    (tmp_path / "profile.yaml").write_text("mem_gb: 0.0001\n")
    assert export(home, study, tmp_path / "100%j", "--profile", tmp_path / "profile.yaml") == 0
    trial = tmp_path / "100%j" / "trials" / "width" / "baseline" / "seed_0"
    lines = (trial / "job.sh").read_text().splitlines()
    assert f"#SBATCH --output={tmp_path}/100%%j/trials/width/baseline/seed_0/job.log" in lines
    assert lines[-1] == f"bash {trial}/train.sh"
    # Nor is 0 little memory: it would be all of the node's.
    assert "#SBATCH --mem=1M" in lines


def test_several_processes_and_evaluations_are_started_as_such(study: Path, tmp_path: Path, home: Home) -> None:
    (tmp_path / "given.pth").write_bytes(b"PK\x03\x04 weights")
    text = study.read_text().replace("wide: {sigma: 1.5}", "wide: {epochs: 0, init: given.pth}")
    study.write_text(text.replace("batch_size: 4", "batch_size: 4\n  gpus: 2"))
    assert export(home, study, tmp_path / "out") == 0
    trials = tmp_path / "out" / "trials" / "width"
    *_, called = (trials / "baseline" / "seed_0" / "train.sh").read_text().splitlines()
    launcher = " -m torch.distributed.run --standalone --nproc_per_node 2 tools/train.py "
    assert f"{launcher}trials/width/baseline/seed_0/config.py" in called
    assert called.endswith(' --launcher pytorch --work-dir trials/width/baseline/seed_0/work_dirs --resume "$@"')
    *_, called = (trials / "wide" / "seed_0" / "train.sh").read_text().splitlines()
    assert called.startswith(
        'exec "${PYTHON:-python}" tools/test.py trials/width/wide/seed_0/config.py checkpoints/given.pth '
    )
    assert "--resume" not in called
    assert (tmp_path / "out" / "checkpoints" / "given.pth").read_bytes() == b"PK\x03\x04 weights"
    assert "Trials with 0 epochs do not go back" in (tmp_path / "out" / "README.md").read_text()


def test_files_of_weights_that_are_called_alike_stay_two(study: Path, tmp_path: Path, home: Home) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "best.pth").write_bytes(b"PK\x03\x04 weights " + folder.encode())
    cells = "from_a: {init: a/best.pth}, from_b: {init: b/best.pth}, slow: {init: b/best.pth, optimizer.lr: 1.0e-4}"
    study.write_text(study.read_text().replace("{wide: {sigma: 1.5}, twin: {sigma: 1.5}}", f"{{{cells}}}"))
    assert export(home, study, tmp_path / "out") == 0
    found = {}
    for cell in ("from_a", "from_b", "slow"):
        config = (tmp_path / "out" / "trials" / "width" / cell / "seed_0" / "config.py").read_text()
        (found[cell],) = re.findall(r"checkpoint='(checkpoints/.*)'", config)
    assert found == {
        "from_a": "checkpoints/best.pth",
        "from_b": "checkpoints/best-2.pth",
        "slow": "checkpoints/best-2.pth",
    }
    for cell, name in found.items():
        assert (tmp_path / "out" / name).read_bytes().endswith(b"a" if cell == "from_a" else b"b")
    readme = (tmp_path / "out" / "README.md").read_text()
    assert f"`checkpoints/best-2.pth`: a link to `{tmp_path / 'b' / 'best.pth'}`" in readme


def test_modules_of_the_users_are_named(study: Path, tmp_path: Path, home: Home) -> None:
    model = "{backbone: {type: MyNet}, channels: 8, stride: 4, imports: [my_nets.first]}"
    study.write_text(study.read_text().replace("resnet_tiny", model))
    assert export(home, study, tmp_path / "out") == 0
    assert "imported by the configs: `my_nets.first`" in (tmp_path / "out" / "README.md").read_text()


def test_jobs_with_fewer_gpus_than_a_trial_are_refused(
    study: Path, tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    study.write_text(study.read_text().replace("wide: {sigma: 1.5}", "wide: {gpus: 2}"))
    (tmp_path / "profile.yaml").write_text("gres: gpu:1\n")
    assert export(home, study, tmp_path / "out", "--profile", tmp_path / "profile.yaml") == 2
    assert "cluster.gres: found gpu:1, expected 2 GPUs or more" in capsys.readouterr().err
    (tmp_path / "profile.yaml").write_text("gres: gpu:2\n")
    assert export(home, study, tmp_path / "out", "--profile", tmp_path / "profile.yaml") == 0


def test_two_trials_of_several_processes_may_train_on_one_machine(study: Path, tmp_path: Path, home: Home) -> None:
    study.write_text(study.read_text().replace("batch_size: 4", "batch_size: 4\n  gpus: 2"))
    assert export(home, study, tmp_path / "out") == 0
    (tmp_path / "out" / "tools" / "train.py").write_text(
        "import os, torch.distributed as d\nd.init_process_group('gloo')\nd.barrier()\n"
        # In one piece, not among what the other process writes.
        "os.write(1, f'met {d.get_rank()}\\n'.encode())\n"
    )
    with socket.socket() as other:
        # The port that torch takes where it is told nothing; here somebody has it already.
        with contextlib.suppress(OSError):
            other.bind(("", 29500))
            other.listen()
        script = tmp_path / "out" / "trials" / "width" / "baseline" / "seed_0" / "train.sh"
        done = subprocess.run(
            ["bash", str(script)],
            env={**os.environ, "PYTHON": sys.executable, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=400,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-3000:]
    assert {"met 0", "met 1"} <= set(done.stdout.splitlines())


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
