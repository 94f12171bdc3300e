"""The cat study that ships: its 32 rows, what decides them, and the path that its results take."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posestudy.commands.app import main
from posestudy_studies import factors, mmpose_config
from posestudy_studies.file import load
from posestudy_studies.plan import plan

STUDIES = Path(__file__).parents[1]
RESULTS = STUDIES.parent / "examples" / "cat_results.csv"
AT_ONCE = [*map(str, range(10, 19)), "23", "24", "25", "26", "27", "28", "29", "30"]

Rows = list[dict[str, str]]


def rows(planned: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Stage and cell of every numbered row."""
    return [(s["name"], c) for s in planned["stages"] for c in s["cells"] if c["label"].isdecimal()]


def told_as_joint(planned: dict[str, Any]) -> list[str]:
    return [row["label"] for row in planned["joint"]]


@pytest.fixture
def planned_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """`posestudy plan studies/cat_pose.yaml --results ...` with the report's results, changed by the test."""

    def planned(change: Callable[[Rows], object] = lambda rows: None, *options: str) -> dict[str, Any]:
        with RESULTS.open(encoding="utf-8", newline="") as file:
            table = list(csv.DictReader(file))
        change(table)
        supposed = tmp_path / "results.csv"
        with supposed.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
        study = str(STUDIES / "cat_pose.yaml")
        home = str(tmp_path / "home")
        assert main(["--home", home, "plan", study, "--json", "--results", str(supposed), *options]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return planned


def scored(label: str, stage: str, value: float) -> Callable[[Rows], None]:
    """Another final value for a row."""

    def change(table: Rows) -> None:
        row = next(r for r in table if (r["label"], r["stage"]) == (label, stage))
        row["final"] = row["best"] = f"{row['final'].split(':')[0]}: {value}"

    return change


@pytest.mark.parametrize("name", ["cat_pose", "cat_pose_fixed"])
def test_every_row_of_the_report_has_a_cell(name: str) -> None:
    found = rows(plan(load(STUDIES / f"{name}.yaml")))
    labels = [cell["label"] for _, cell in found]
    assert sorted(labels, key=int) == sorted([*map(str, range(32)), "26"], key=int)
    assert all(cell["note"] for _, cell in found)
    assert len({stage for stage, _ in found}) == 8


def test_both_forms_train_the_same_rows_in_the_same_order() -> None:
    free, fixed = (rows(plan(load(STUDIES / f"{name}.yaml"))) for name in ("cat_pose", "cat_pose_fixed"))
    what = [[(stage, c["label"], c["levels"], c["note"]) for stage, c in found] for found in (free, fixed)]
    assert what[0] == what[1]


def test_the_levels_are_those_of_the_report() -> None:
    found = {(stage, c["label"]): c["levels"] for stage, c in rows(plan(load(STUDIES / "cat_pose.yaml")))}
    rates = [
        (n, found["lr_batch", n]["optimizer.lr"], found["lr_batch", n]["batch_size"]) for n in map(str, range(9, 19))
    ]
    assert rates == [
        ("9", 1e-4, 16), ("10", 1e-4, 32), ("11", 1e-4, 24), ("12", 1e-4, 64), ("13", 1e-4, 48),
        ("14", 1e-3, 32), ("15", 5e-4, 32), ("16", 5e-4, 64), ("17", 5e-4, 48), ("18", 5e-4, 24),
    ]  # fmt: skip
    assert [found["epochs", n] for n in "678"] == [{"epochs": 100}, {"epochs": 200}, {"epochs": 150}]
    assert [found["network", n]["batch_size"] for n in ("26", "27", "28", "29", "30")] == [64, 32, 48, 40, 36]
    assert found["optimizer", "31"] == {"optimizer.type": "Adamax"}


def test_without_results_only_the_first_stage_is_decided() -> None:
    planned = plan(load(STUDIES / "cat_pose.yaml"))
    assert {s["name"]: {c["decided"] for c in s["cells"]} for s in planned["stages"][:3]} == {
        "augmentation": {True},
        "epochs": {False},
        "lr_batch": {False},
    }
    assert {s["carried"] for s in planned["stages"]} == {None}


def test_the_fixed_form_decides_every_configuration_by_its_file() -> None:
    planned = plan(load(STUDIES / "cat_pose_fixed.yaml"))
    assert all(c["decided"] for s in planned["stages"] for c in s["cells"])
    final = planned["stages"][-1]["cells"][-1]["config"]
    assert (final["model"], final["epochs"], final["batch_size"]) == ("hrnet_w32", 210, 32)
    assert (final["optimizer.type"], final["optimizer.lr"], final["input_size"]) == ("Adamax", 5e-4, [256, 256])
    assert final["augmentation.scale_rotation.rotation"] == 40


@pytest.mark.parametrize("name", ["cat_pose", "cat_pose_fixed"])
def test_the_rows_that_change_more_than_one_factor_are_told(name: str) -> None:
    planned = plan(load(STUDIES / f"{name}.yaml"))
    assert told_as_joint(planned) == AT_ONCE
    assert [(c["label"], c["of"]) for c in planned["combinations"]] == [("3", ["half_body", "translation"])]
    assert planned["leaks"] == []


def test_the_reports_results_decide_everything(planned_with: Callable[..., dict[str, Any]]) -> None:
    planned = planned_with()
    carried = {s["name"]: s["carried"] for s in planned["stages"]}
    assert carried == {
        "augmentation": "both",
        "epochs": "epochs_150",
        "lr_batch": "lr_5e-4_batch_32",
        "epochs_again": "baseline",
        "image_size": "size_256_batch_64_epochs_210",
        "augmentation_again": "settings",
        "network": "hrnet_batch_32",
        "optimizer": "adamax",
    }
    assert all(c["decided"] for s in planned["stages"] for c in s["cells"])
    assert planned["stages"][2]["carry_reason"].startswith("lr_5e-4_batch_32: coco/AP 0.485 is the best of 11 cells")
    assert told_as_joint(planned) == AT_ONCE
    assert planned["estimate"]["to_train"] == 0
    # 150 epochs are what the second search of epochs starts from: no row of its own.
    assert [c["name"] for c in planned["stages"][3]["cells"]] == ["baseline", "epochs_200", "epochs_175"]


def test_other_results_carry_other_winners(planned_with: Callable[..., dict[str, Any]]) -> None:
    def change(table: Rows) -> None:
        scored("5", "augmentation", 0.2)(table)
        scored("7", "epochs", 0.4)(table)
        scored("12", "lr_batch", 0.7)(table)

    planned = planned_with(change)
    carried = [s["carried"] for s in planned["stages"]]
    assert carried[:3] == ["photometric", "epochs_200", "lr_1e-4_batch_64"]
    larger = next(c["config"] for c in planned["stages"][4]["cells"] if c["label"] == "21")
    assert (larger["epochs"], larger["batch_size"], larger["optimizer.lr"]) == (200, 64, 1e-4)
    assert larger["augmentation.photometric.hue"] == 18
    assert larger["augmentation.half_body"] is None
    # Row 23 keeps the batch that its stage starts from now, so it changes the size alone.
    assert "23" not in told_as_joint(planned)
    assert "24" in told_as_joint(planned)


def test_a_row_whose_result_is_missing_leaves_the_rest_open(planned_with: Callable[..., dict[str, Any]]) -> None:
    planned = planned_with(lambda table: table.remove(next(r for r in table if r["label"] == "22")))
    stages = {s["name"]: s for s in planned["stages"]}
    assert stages["image_size"]["carried"] is None
    assert all(c["decided"] for c in stages["image_size"]["cells"])
    assert not any(c["decided"] for c in stages["network"]["cells"])
    assert planned["estimate"]["to_train"] == 1 + 1 + 5 + 1


def test_declared_as_one_rate_and_batch_are_no_joint_change(planned_with: Callable[..., dict[str, Any]]) -> None:
    planned = planned_with(lambda rows: None, "--set", "stages.2.as_one=[[optimizer.lr, batch_size]]")
    assert told_as_joint(planned) == [label for label in AT_ONCE if not 10 <= int(label) <= 18]


def test_one_line_changes_the_sigma_of_every_row(planned_with: Callable[..., dict[str, Any]]) -> None:
    planned = planned_with(lambda rows: None, "--set", "baseline.sigma=2.5")
    configs = [c["config"] for s in planned["stages"] for c in s["cells"]]
    assert {config["sigma"] for config in configs} == {2.5}
    study = load(STUDIES / "cat_pose.yaml", ["baseline.sigma=2.5"])
    for stage in study.stages:
        for probe in stage.probes():
            built = mmpose_config.build(study, factors.apply(study.baseline, probe.levels), 0)
            assert built["model"]["head"]["decoder"]["sigma"] == 2.5


def test_the_heatmap_follows_the_image_and_65_by_64_is_refused_with_what_is_possible(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = load(STUDIES / "cat_pose.yaml")
    heatmaps = {}
    for stage, cell in rows(plan(study)):
        if stage == "image_size":
            built = mmpose_config.build(study, factors.apply(study.baseline, cell["levels"]), 0)
            heatmaps[cell["label"]] = built["model"]["head"]["decoder"]["heatmap_size"]
    assert (heatmaps["21"], heatmaps["22"]) == ((64, 64), (48, 48))
    text = (STUDIES / "cat_pose.yaml").read_text(encoding="utf-8")
    there = "{input_size: [256, 256], label"
    assert there in text
    printed = tmp_path / "printed.yaml"
    printed.write_text(text.replace(there, "{input_size: [256, 256], heatmap_size: [65, 64], label"))
    assert main(["plan", str(printed)]) == 2
    said = capsys.readouterr().err
    assert f"printed.yaml:{1 + text[: text.index(there)].count(chr(10))}:" in said
    assert "[65, 64]" in said
    assert "[64, 64]" in said
