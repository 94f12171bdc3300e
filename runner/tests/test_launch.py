"""`posestudy launch` and `worker` before a trial starts: bad input costs no training time."""

from __future__ import annotations

from pathlib import Path

import pytest
from standin_pool import STUDY, Standin, advance

from posestudy.commands.app import main
from posestudy.errors import PoseStudyError
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Change, Snapshot, WithdrawStages
from posestudy.vocabulary import AttemptEnd, Direction, Outcome, TrialState
from posestudy_runner.commands import parse_outcomes, parse_per_gpu
from posestudy_runner.context import owner_name
from posestudy_runner.engines import engine
from posestudy_runner.launching import changes, exit_code, free_dead_leases, put_study, summary
from posestudy_studies.advance import advance as study_advance
from posestudy_studies.file import load
from posestudy_studies.spec import Study

YAML = """
study: nothing_there
dataset:
  keypoints: cats
  root: {root}
  train: {{annotations: annotations/train.json, images: images}}
  val: {{annotations: annotations/val.json, images: images}}
baseline: {{model: resnet_tiny, input_size: [64, 64], epochs: 1, batch_size: 4, optimizer: {{lr: 1.0e-3}}}}
stages:
  - {{name: only, design: variants, variants: {{wide: {{sigma: 1.5}}}}}}
"""


def test_trials_per_gpu_are_a_number_or_left_to_the_measurements() -> None:
    assert [parse_per_gpu(text) for text in (None, "auto", "3")] == [None, "auto", 3]


def test_a_missing_data_set_ends_the_launch_with_nothing_done(
    tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(YAML.format(root=tmp_path / "nowhere"))
    assert main(["--home", str(home.root), "launch", str(file)]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert not home.runs.exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--start", "thread"], "forkserver, spawn"),
        (["--retry", "faild"], "did you mean 'failed'?"),
        (["--workers", "0"], "workers"),
        (["--per-gpu", "0"], "auto or a number from 1"),
        (["--per-gpu", "many"], "found 'many'"),
    ],
)
def test_wrong_options_are_named(
    options: list[str], named: str, tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--home", str(home.root), "launch", str(tmp_path / "s.yaml"), *options]) == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("POSESTUDY_WITHOUT", "image_cahce", "did you mean 'image_cache'?"),
        ("POSESTUDY_IMAGE_CACHE_GB", "much", "expected a number of gigabytes"),
    ],
)
def test_wrong_variables_are_named_before_anything_is_done(
    variable: str,
    value: str,
    named: str,
    tmp_path: Path,
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, value)
    file = tmp_path / "s.yaml"
    file.write_text(YAML.format(root=tmp_path))
    assert main(["--home", str(home.root), "launch", str(file)]) == 2
    assert named in capsys.readouterr().err
    assert not home.database.exists()


def test_an_unknown_engine_names_the_known_ones() -> None:
    with pytest.raises(PoseStudyError, match=r"'slrm', expected one of: local.*did you mean 'slurm'"):
        engine("slrm")


def test_a_worker_for_an_unknown_study_is_refused(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    Ledger.open(f"sqlite:///{home.database}").close()
    assert main(["--home", str(home.root), "worker", "nothing"]) == 2
    assert "nothing" in capsys.readouterr().err


def test_outcomes_to_retry_are_words() -> None:
    assert parse_outcomes("failed, timed_out") == [Outcome.FAILED, Outcome.TIMED_OUT]
    assert parse_outcomes("") == []


def test_leases_of_dead_workers_come_back_and_of_others_stay(home: Home, sqlite_ledger: Ledger) -> None:
    Standin(home, sqlite_ledger, {"a": {}, "b": {}, "c": {}})
    sqlite_ledger.apply(sqlite_ledger.study(STUDY).id, advance(sqlite_ledger.snapshot(STUDY)))
    host, boot, pid, ticks, slot = owner_name(0).split("/")
    sqlite_ledger.claim(STUDY, "/".join((host, boot, pid, ticks + "0", slot)), 600.0)
    sqlite_ledger.claim(STUDY, owner_name(1), 600.0)
    sqlite_ledger.claim(STUDY, "another machine", 600.0)
    assert free_dead_leases(sqlite_ledger, STUDY) == 1
    states = [trial.state for trial in sqlite_ledger.snapshot(STUDY).trials]
    assert states == [TrialState.WAITING, TrialState.RUNNING, TrialState.RUNNING]
    (lost,) = [a for a in sqlite_ledger.snapshot(STUDY).attempts if a.end]
    assert lost.end is AttemptEnd.LOST


def test_an_edited_study_says_what_changes() -> None:
    before = {"a": 1, "stages": [{"name": "x", "sigma": 1.0}], "gone": True}
    assert list(changes(before, {"a": 1, "stages": [{"name": "x", "sigma": 1.5}]})) == [
        "changed since the last launch: gone: true -> nothing",
        "changed since the last launch: stages.0.sigma: 1.0 -> 1.5",
    ]
    assert list(changes(before, before)) == []
    assert len(list(changes(before, {str(i): i for i in range(50)}))) == 11


def test_a_stage_that_came_or_went_is_one_line() -> None:
    one, two = {"name": "rate", "design": "variants", "note": None}, {"name": "size", "factors": {"sigma": [1.0, 2.0]}}
    three = {"name": "early", "design": "grid", "include_baseline": True}
    tell = "changed since the last launch: "
    assert list(changes({"stages": [one]}, {"stages": [one, two]})) == [f"{tell}stage 'size' is new"]
    wider = two | {"factors": {"sigma": [1.0, 3.0]}}
    assert list(changes({"stages": [one, two]}, {"stages": [three, wider]})) == [
        f"{tell}stages.1.factors.sigma: [1.0, 2.0] -> [1.0, 3.0]",
        f"{tell}stage 'rate' is gone",
        f"{tell}stage 'early' is new",
    ]
    assert list(changes({"stages": [one, two]}, {"stages": [two, one]})) == [
        f"{tell}the stages come in another order: size, rate"
    ]


def test_the_summary_counts_outcomes_and_names_failures(home: Home, sqlite_ledger: Ledger) -> None:
    Standin(home, sqlite_ledger, {"a": {}, "b": {}})
    assert exit_code(sqlite_ledger.snapshot(STUDY)) == 1
    sqlite_ledger.apply(sqlite_ledger.study(STUDY).id, advance(sqlite_ledger.snapshot(STUDY)))
    for outcome, message in ((Outcome.COMPLETED, None), (Outcome.FAILED, "no weights\nfurther lines")):
        claim = sqlite_ledger.claim(STUDY, "w", 600.0)
        assert claim is not None
        ending = {"metric": "coco/AP", "direction": Direction.MORE, "peak_memory_mb": None}
        sqlite_ledger.finish(claim.trial.uid, 1, outcome, message, **ending)
    lines = "\n".join(summary(sqlite_ledger.snapshot(STUDY)))
    assert "only: 2 trials (1 completed, 1 failed)" in lines
    assert "trial 2 failed: no weights (posestudy logs standin 2)" in lines
    assert "--retry failed" in lines
    for _ in range(2):
        sqlite_ledger.apply(sqlite_ledger.study(STUDY).id, advance(sqlite_ledger.snapshot(STUDY)))
    assert sqlite_ledger.study(STUDY).state == "closed"
    assert exit_code(sqlite_ledger.snapshot(STUDY)) == 1


@pytest.mark.parametrize(
    ("metric", "values", "told"),
    [
        ("coco/AP", [0.0, 0.0003], True),
        ("coco/AP", [0.0, 0.02], False),
        ("coco/AP", [0.0], False),
        ("epe", [0.0, 0.0], False),
    ],
)
def test_a_stage_of_zeros_says_where_to_look(
    sqlite_ledger: Ledger, metric: str, values: list[float], told: bool
) -> None:
    cells = {str(number): {} for number in range(len(values))}
    sqlite_ledger.put_study(STUDY, {"cells": cells, "metric": metric}, "")
    sqlite_ledger.apply(sqlite_ledger.study(STUDY).id, advance(sqlite_ledger.snapshot(STUDY)))
    for value in values:
        claim = sqlite_ledger.claim(STUDY, "w", 600.0)
        assert claim is not None
        sqlite_ledger.record_epoch(claim.trial.uid, 1, {1: {metric: value}}, None, 1.0)
        ending = {"metric": metric, "direction": Direction.MORE, "peak_memory_mb": None}
        sqlite_ledger.finish(claim.trial.uid, 1, Outcome.COMPLETED, None, **ending)
    assert any("docs/your_data.md" in line for line in summary(sqlite_ledger.snapshot(STUDY))) is told


SMALL = """
study: edited
dataset: {keypoints: cats, root: data, train: {annotations: t.json, images: i}, val: {annotations: v.json, images: i}}
baseline: {model: resnet_tiny, input_size: [64, 64], epochs: 2, batch_size: 4, optimizer: {lr: 1.0e-3}}
stages:
  - {name: lr, design: variants, variants: {high: {optimizer.lr: 0.01}}}
  - {name: target, design: grid, factors: {sigma: [1.0, 1.5]}}
"""


def loaded(tmp_path: Path, text: str) -> Study:
    file = tmp_path / "edited.yaml"
    file.write_text(text)
    return load(file)


def train_all(ledger: Ledger, name: str) -> None:
    while ledger.study(name).state != "closed":
        ledger.apply(ledger.study(name).id, study_advance(ledger.snapshot(name)))
        while claim := ledger.claim(name, "w", 600.0):
            uid, fence = claim.trial.uid, claim.trial.fence
            score = float(claim.cell.config["optimizer"]["lr"])
            assert ledger.record_epoch(uid, fence, {2: {"coco/AP": score}}, None, 1.0)
            ending = {"metric": "coco/AP", "direction": Direction.MORE, "peak_memory_mb": None}
            assert ledger.finish(uid, fence, Outcome.COMPLETED, None, **ending)


def test_an_edited_study_keeps_what_matches_and_says_how_much(tmp_path: Path, sqlite_ledger: Ledger) -> None:
    ledger = sqlite_ledger
    assert list(put_study(ledger, loaded(tmp_path, SMALL), SMALL)) == []
    train_all(ledger, "edited")
    before = {trial.uid for trial in ledger.snapshot("edited").trials}
    assert list(put_study(ledger, loaded(tmp_path, SMALL), SMALL)) == []
    assert ledger.study("edited").state == "closed"

    text = SMALL.replace("sigma: [1.0, 1.5]", "sigma: [1.5, 3.0]")
    lines = list(put_study(ledger, loaded(tmp_path, text), text))
    assert "changed since the last launch: stages.1.factors.sigma: [1.0, 1.5] -> [1.5, 3.0]" in lines
    kept = {trial.uid for trial in ledger.snapshot("edited").trials} & before
    assert lines[-1].startswith(
        f"planned anew: stage target; {len(kept)} of the {len(before)} trials are kept; the others"
    )
    assert 0 < len(kept) < len(before)
    waiting = [t for t in ledger.snapshot("edited").trials if t.state is TrialState.WAITING]
    cells = {cell.id: cell.levels for cell in ledger.snapshot("edited").cells}
    assert [cells[t.cell_id] for t in waiting] == [{"sigma": 3.0}]
    train_all(ledger, "edited")
    assert ledger.study("edited").state == "closed"


def test_what_is_kept_may_be_edited_and_an_older_study_did_not_know_it(tmp_path: Path, sqlite_ledger: Ledger) -> None:
    ledger, study = sqlite_ledger, loaded(tmp_path, SMALL)
    older = study.model_dump(mode="json", exclude={"retention", "checkpoint"})
    ledger.put_study("edited", older, SMALL)
    train_all(ledger, "edited")
    before = ledger.snapshot("edited").trials
    assert list(put_study(ledger, study, SMALL)) == []
    text = SMALL + "retention: best\ncheckpoint: {min_interval_s: 60}\n"
    assert list(put_study(ledger, loaded(tmp_path, text), text)) == [
        "changed since the last launch: checkpoint.min_interval_s: 0.0 -> 60.0",
        "changed since the last launch: retention: 'best_and_last' -> 'best'",
    ]
    assert ledger.snapshot("edited").trials == before
    assert ledger.study("edited").document["retention"] == "best"


def test_two_launches_of_edited_files_at_once_plan_by_the_one_that_stays(
    tmp_path: Path, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = sqlite_ledger
    list(put_study(ledger, loaded(tmp_path, SMALL), SMALL))
    train_all(ledger, "edited")
    mine = SMALL.replace("sigma: [1.0, 1.5]", "sigma: [1.5, 3.0]")
    theirs = loaded(tmp_path, SMALL.replace("sigma: [1.0, 1.5]", "sigma: [1.5, 2.5]"))
    edits = [theirs.model_dump(mode="json")]

    def slow(snapshot: Snapshot) -> list[Change]:
        wanted = study_advance(snapshot)
        if edits:
            ledger.put_study("edited", edits.pop(), "", withdraw=WithdrawStages(1))
        return wanted

    monkeypatch.setattr("posestudy_runner.launching.advance", slow)
    list(put_study(ledger, loaded(tmp_path, mine), mine))
    levels = [cell.levels for cell in ledger.snapshot("edited").cells if "sigma" in cell.levels]
    assert {"sigma": 2.5} in levels
    assert {"sigma": 3.0} not in levels


def test_a_study_made_of_logs_is_not_launched_over(tmp_path: Path, sqlite_ledger: Ledger) -> None:
    sqlite_ledger.put_study("edited", {"study": "edited", "metric": "coco/AP"}, "")
    with pytest.raises(PoseStudyError, match=r"imported without a study file.*--set study=NAME"):
        list(put_study(sqlite_ledger, loaded(tmp_path, SMALL), SMALL))
