"""What a study and a profile file may ask of a cluster, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posestudy.errors import InputError
from posestudy_studies.cluster import Container, contained, seconds
from posestudy_studies.file import load

STUDY = """
study: clustered
dataset:
  keypoints: cats
  root: cats
  train: {annotations: train.json, images: images}
  val: {annotations: val.json, images: images}
baseline: {model: resnet18, input_size: [64, 64], epochs: 1, batch_size: 2, optimizer: {type: Adam, lr: 1.0e-3}}
stages:
  - {name: only, design: variants, variants: {more: {sigma: 2.0}}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def cluster(file: Path, *overrides: str, profile: Path | None = None) -> dict[str, Any]:
    found = load(file, overrides, profile).cluster
    assert found is not None
    return found.model_dump(exclude_defaults=True)


def test_a_profile_lies_below_the_study_file_and_that_below_set(file: Path, tmp_path: Path) -> None:
    file.write_text(STUDY + "cluster: {partition: ours, time: '12:00:00', container: {image: a.sif}}\n")
    container = "container: {image: b.sif, mounts: ['/d:/d']}"
    text = f"partition: all\ntime: 2\ngres: gpu:1\n{container}\nsetup: [module load cuda]\n"
    profile = written(tmp_path / "profile.yaml", text)
    assert cluster(file, "cluster.partition=mine", profile=profile) == {
        "partition": "mine",
        "time": "12:00:00",
        "gres": "gpu:1",
        "setup": ["module load cuda"],
        "container": {"image": "a.sif", "mounts": ["/d:/d"]},
    }
    assert cluster(file) == {"partition": "ours", "time": "12:00:00", "container": {"image": "a.sif"}}


def test_a_profile_is_enough_and_none_is_none(file: Path, tmp_path: Path) -> None:
    profile = written(tmp_path / "profile.yaml", "cpus: 4\nmem_gb: 8\n")
    assert cluster(file, profile=profile) == {"cpus": 4, "mem_gb": 8.0}
    assert load(file).cluster is None


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("partiton: gpu", "1:1: partiton: found unknown key 'partiton', expected one of partition, "),
        ("time: 10 hours", "1:7: time: found '10 hours', expected hours as a number, or text as 12:00:00"),
        ("time: 0", "1:7: time: found 0, expected hours as a number"),
        ("cpus: 1.5", "1:7: cpus: found 1.5, expected a whole number"),
        ("partition: a b", "1:12: partition: found 'a b', expected one word of the batch system"),
        ("gres: --wrap=date", "1:7: gres: found '--wrap=date', expected one word"),
        ('setup: ["a\\n#SBATCH --uid=0"]', "1:9: setup.0: found 'a\\n#SBATCH --uid=0', expected one line of text"),
        ("options: [exclude=n1]", "1:10: options: found 'exclude=n1', expected an option with its dashes"),
        ("container: {image: a, mounts: [data]}", "1:31: container.mounts: found 'data', expected SOURCE:TARGET"),
        ("container: {image: a, runtime: docker}", "1:32: container.runtime: found 'docker', expected apptainer, "),
        ("{time: '00:01:00', signal_s: 90}", "1:1: found signal_s: 90 with a time limit of 60 s, expected a sig"),
        ("local_cache: tmp/poses", "1:14: local_cache: found 'tmp/poses', expected an absolute folder or one of a $V"),
        ("template: job.sh", "1:11: template: found 'job.sh', expected a file that exists (relative to the file"),
        ("[a]", '1:1: found ["a"], expected a mapping with the keys partition'),
    ],
)
def test_mistakes_of_a_profile_name_its_line(file: Path, tmp_path: Path, line: str, wrong: str) -> None:
    profile = written(tmp_path / "profile.yaml", line + "\n")
    with pytest.raises(InputError) as told:
        load(file, (), profile)
    (problem,) = told.value.problems
    assert str(problem).startswith(f"{profile}:{wrong}")


def test_mistakes_of_the_study_file_name_its_line_and_the_nearest_key(file: Path) -> None:
    file.write_text(STUDY + "cluster:\n  partition: gpu\n  accounts: me\n")
    with pytest.raises(InputError) as told:
        load(file)
    (problem,) = told.value.problems
    assert str(problem).startswith(f"{file}:13:3: cluster.accounts: found unknown key 'accounts', expected one of ")
    assert problem.hint == "did you mean 'account'?"
    with pytest.raises(InputError, match=r"--set cluster.time=x: cluster.time: found 'x'"):
        load(written(file, STUDY), ["cluster.time=x"])


def test_a_template_lies_beside_the_file_that_names_it(file: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "site"
    elsewhere.mkdir()
    job = written(elsewhere / "job.sh", "#!/bin/sh\n")
    profile = written(elsewhere / "profile.yaml", "template: job.sh\nsubmit: qsub\n")
    assert cluster(file, profile=profile) == {"template": str(job), "submit": "qsub"}


@pytest.mark.parametrize(
    ("time", "expected"), [(1.5, 5400), (2, 7200), ("00:01:30", 90), ("36:00:00", 129600), ("1-12:00:00", 129600)]
)
def test_a_time_is_hours_or_a_clock(time: float | str, expected: float) -> None:
    assert seconds(time) == expected


def test_a_command_in_a_container() -> None:
    image = Container(image="p.sif", mounts=["/d:/d"])
    assert contained(["python3", "-m", "x"], image, gpus=True) == [
        "apptainer", "exec", "--nv", "--bind", "/d:/d", "p.sif", "python3", "-m", "x",
    ]  # fmt: skip
    assert contained(["x"], image.model_copy(update={"runtime": "pyxis"}), gpus=True) == ["x"]
    assert contained(["x"], None, gpus=False) == ["x"]
