"""`init`, `check` and `plan` as a user runs them."""

import json

import pytest

from posestudy.commands.app import main
from posestudy.next_command import next_command

STUDY = """\
study: small
dataset:
  keypoints: coco
  root: nowhere
  train: {annotations: train.json, images: images}
  val: {annotations: val.json, images: images}
baseline:
  model: resnet_tiny
  input_size: [64, 64]
  epochs: 2
  batch_size: 8
  optimizer: {type: Adam, lr: 1e-3}
stages:
  - name: target
    design: variants
    variants:
      narrow: {sigma: 1.0}
      both: {sigma: 1.0, optimizer.lr: 1e-4, label: two}
  - name: size
    design: grid
    factors: {input_size: [[64, 64], [96, 96]]}
  - name: again
    design: variants
    carry: baseline
    variants: {flip: {augmentation.flip: {}}}
  - name: find
    design: search
    space: {batch_size: [8, 16]}
    cells: 3
replicates: {seeds: [0, 1]}
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


def test_init_writes_a_study_that_loads_and_its_schema(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    text = (tmp_path / "study.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=study.schema.json\n")
    assert json.loads((tmp_path / "study.schema.json").read_text())["title"] == "posestudy study"
    assert main(["plan", "study.yaml"]) == 0
    assert main(["init"]) == 2
    assert "--force replaces it" in capsys.readouterr().err
    assert main(["init", "--force"]) == 0


def test_check_tells_every_mistake_and_exits_with_2(file, capsys):
    file.write_text(STUDY.replace("1e-3", "-1e-3").replace("resnet_tiny", "resnet_tny"))
    assert main(["check", "study.yaml"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("study.yaml:8:10: baseline.model: found 'resnet_tny'")
    assert lines[1] == "study.yaml:12:31: baseline.optimizer.lr: found -0.001, expected a number above 0"
    assert main(["check", "study.yaml", "--json"]) == 2
    errors = json.loads(capsys.readouterr().out)["errors"]
    assert set(errors[0]) == {"file", "line", "column", "path", "found", "expected", "hint"}
    assert [e["line"] for e in errors] == [8, 12]


def test_check_looks_at_the_data(file, capsys):
    assert main(["check", "study.yaml"]) == 2
    assert "found no such folder" in capsys.readouterr().err


def test_check_of_a_sound_study_counts(file, tmp_path, capsys):
    from posestudy_studies.drawn_cats import draw

    draw(tmp_path / "cats", train=3, val=2, seed=0)
    file.write_text(STUDY.replace("keypoints: coco", "keypoints: cats").replace("train.json", "annotations/train.json"))
    sets = ["--set", "dataset.root=cats", "--set", "dataset.val.annotations=annotations/val.json"]
    assert main(["check", "study.yaml", *sets]) == 0
    out = capsys.readouterr().out
    assert "OK: study 'small', 4 stages: target (variants), size (grid)" in out
    assert "train 3 images" in out
    told = "dataset.root=cats --set dataset.val.annotations=annotations/val.json"
    assert out.endswith(f"\nplan with: posestudy plan study.yaml --set {told}\n")
    assert main(["check", "study.yaml", "--json", *sets]) == 0
    assert json.loads(capsys.readouterr().out)["dataset"]["val"]["images"] == 2


def test_plan_shows_labels_as_they_are_written_and_the_command_that_comes_next(file, capsys):
    file.write_text(STUDY.replace("label: two", 'label: "[/b] [red]\\e[31m"'))
    assert main(["--home", "a home", "plan", "study.yaml", "--workers", "2", "--set", "baseline.epochs=3"]) == 0
    out = capsys.readouterr().out
    assert "[/b] [red]\\x1b[31m" in out
    said = "posestudy --home 'a home' launch study.yaml --workers 2 --set baseline.epochs=3"
    assert out.endswith(f"\nlaunch with: {said}\n")
    assert next_command("status") == "posestudy status"


def test_plan_shows_whole_names_of_cells_in_a_narrow_terminal(file, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    name = "a_cell_with_a_name_that_is_longer_than_its_column"
    text = file.read_text()
    assert "narrow:" in text
    file.write_text(text.replace("narrow:", f"{name}:"))
    assert main(["plan", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "\u2026" not in shown
    column = "".join(line.split("\u2502")[1].strip() for line in shown.splitlines() if line.startswith("\u2502"))
    assert name in column


def test_plan_shows_cells_as_programs_expect_them(file, capsys):
    assert main(["plan", "study.yaml", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert set(plan) == {"study", "stages", "estimate", "leaks", "joint", "combinations", "noise_floor", "stop"}
    estimate = plan["estimate"]
    assert [estimate[key] for key in ("trials", "gpu_hours", "wall_hours", "disk_gb")] == [22, None, None, None]
    first, size, again, find = plan["stages"]
    assert [(c["name"], c["label"], c["decided"]) for c in first["cells"]] == [
        ("baseline", "baseline", True),
        ("narrow", "sigma 1", True),
        ("both", "two", True),
    ]
    assert first["cells"][1]["levels"] == {"sigma": 1.0}
    assert first["cells"][1]["config"]["sigma"] == 1.0
    assert first["cells"][0]["config"]["optimizer.lr"] == 1e-3
    assert [c["name"] for c in size["cells"]] == ["baseline", "input_size_96x96"]
    assert not any(c["decided"] for c in size["cells"])
    assert [c["name"] for c in find["cells"]] == ["baseline", "sample_001", "sample_002", "sample_003"]
    assert again["baseline"] == "baseline"
    at_once = {"stage": "target", "cell": "both", "label": "two", "factors": ["optimizer.lr", "sigma"]}
    assert plan["joint"] == [at_once]


def test_plan_for_people(file, capsys):
    assert main(["plan", "study.yaml"]) == 0
    out = capsys.readouterr().out
    assert "joint change in stage 'target': two changes optimizer.lr, sigma at once" in out
    assert "22 trials" in out


def test_check_tells_joint_changes(file, tmp_path, capsys):
    from posestudy_studies.drawn_cats import draw

    draw(tmp_path / "cats", train=2, val=2, seed=0)
    text = STUDY.replace("keypoints: coco", "keypoints: cats").replace("root: nowhere", "root: cats")
    file.write_text(text.replace("train.json", "annotations/train.json").replace("val.json", "annotations/val.json"))
    assert main(["check", "study.yaml"]) == 0
    assert "note: joint change in stage 'target': two changes optimizer.lr, sigma at once" in capsys.readouterr().out
    assert main(["check", "study.yaml", "--json"]) == 0
    assert [joint["cell"] for joint in json.loads(capsys.readouterr().out)["joint"]] == ["both"]


def test_plan_supposes_results_and_says_which_have_no_place(file, tmp_path, capsys):
    results = tmp_path / "results.csv"
    rows = ["target,baseline,0,2: 0.1", "target,baseline,1,2: 0.1", "target,narrow,0,2: 0.3", "target,narrow,1,2: 0.4"]
    rows += ["target,both,0,OOM", "target,both,1,OOM", "again,flop,0,2: 0.5"]
    results.write_text("\n".join(["stage,cell,seed,final", *rows]) + "\n")
    assert main(["plan", "study.yaml", "--json", "--results", str(results)]) == 0
    said = capsys.readouterr()
    plan = json.loads(said.out)
    assert plan["stages"][0]["carried"] == "narrow"
    assert [c["decided"] for c in plan["stages"][1]["cells"]] == [True, True]
    assert plan["stages"][1]["cells"][1]["config"]["sigma"] == 1.0
    assert "results.csv:8: not used; as things stand stage 'again' has no 'flop'" in said.err
    assert main(["plan", "study.yaml"]) == 0
    assert "carried narrow" not in capsys.readouterr().out
    assert main(["plan", "study.yaml", "--results", str(results)]) == 0
    assert "carried narrow: coco/AP 0.350" in capsys.readouterr().out


def test_results_for_no_stage_of_the_study_are_a_mistake(file, tmp_path, capsys):
    results = tmp_path / "results.csv"
    results.write_text("stage,cell,final\ntargit,narrow,2: 0.3\n")
    assert main(["plan", "study.yaml", "--results", str(results)]) == 2
    assert "results.csv:2" in (said := capsys.readouterr().err)
    assert "did you mean 'target'?" in said
