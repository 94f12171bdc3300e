"""`posestudy import` as a user runs it, on the ledger that `launch` then goes on with."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from posestudy.commands.app import main
from posestudy.ledger import Ledger
from posestudy.vocabulary import Direction, Outcome, TrialState
from posestudy_studies import dataset, file
from posestudy_studies.advance import advance
from posestudy_studies.drawn_cats import draw
from posestudy_studies.imports import matching, staged, standalone

STUDY = """\
study: small
dataset:
  keypoints: cats
  root: cats
  train: {annotations: annotations/train.json, images: images}
  val: {annotations: annotations/val.json, images: images}
baseline:
  model: resnet_tiny
  input_size: [64, 64]
  epochs: 20
  validate_every: 5
  batch_size: 8
  optimizer: {type: Adam, lr: 1e-3}
stages:
  - name: target
    design: variants
    baseline_label: "0"
    variants:
      narrow: {sigma: 1.0, label: "1"}
      wide: {sigma: 3.0, label: "2"}
  - name: length
    design: bisect
    factor: epochs
    between: [20, 40]
    tolerance: 5
  - name: batch
    design: variants
    variants:
      small: {batch_size: 4, label: "8"}
replicates: {seeds: [0]}
"""
TARGET = (
    "stage,label,from,final,best\ntarget,0,,20: 0.1,20: 0.1\ntarget,1,0,20: 0.2,15: 0.3\ntarget,2,0,20: 0.15,20: 0.15\n"
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSESTUDY_HOME", str(tmp_path / "home"))
    Path("study.yaml").write_text(STUDY)
    return tmp_path


def table(text, name="results.csv"):
    Path(name).write_text(text)
    return name


def open_ledger(place):
    return Ledger.open(f"sqlite:///{place / 'home' / 'posestudy.db'}", create=False)


def snapshot(place, name="small"):
    ledger = open_ledger(place)
    try:
        return ledger.snapshot(name)
    finally:
        ledger.close()


def rows(snap):
    """(stage, cell, outcome, final, best, line) of every trial."""
    stages = {s.id: s.name for s in snap.stages}
    cells = {c.id: c for c in snap.cells}
    return [
        (stages[cells[t.cell_id].stage_id], cells[t.cell_id].name, t.outcome, t.final_value, t.best_value,
         (t.source or {}).get("line"))
        for t in snap.trials
    ]  # fmt: skip


def test_known_cells_are_done_and_the_others_wait_for_launch(place, capsys):
    assert main(["import", table(TARGET), "--study", "study.yaml"]) == 0
    said = capsys.readouterr().out
    snap = snapshot(place)
    assert [stage.carried for stage in snap.stages] == ["narrow", None]
    assert rows(snap)[:3] == [
        ("target", "baseline", "completed", 0.1, 0.1, 2),
        ("target", "narrow", "completed", 0.2, 0.3, 3),
        ("target", "wide", "completed", 0.15, 0.15, 4),
    ]
    # The second stage starts from what the numbers say; its baseline is the row that was just imported.
    assert rows(snap)[3][:4] == ("length", "baseline", "completed", 0.2)
    assert snap.trials[3].source["kind"] == "reused"
    waiting = [t for t in snap.trials if t.state is TrialState.WAITING]
    cells = {c.id: c for c in snap.cells}
    assert [cells[t.cell_id].config["epochs"] for t in waiting] == [40, 30]
    assert cells[waiting[0].cell_id].config["sigma"] == 1.0
    assert said.count("waits to be trained: stage 'length'") == 2
    assert "posestudy launch study.yaml" in said


def train(ledger, name, value):
    """What a worker writes of the next waiting trial."""
    trial = ledger.claim(name, "worker", 60.0).trial
    assert ledger.record_epoch(trial.uid, trial.fence, {20: {"coco/AP": value}}, None, 1.0)
    assert ledger.finish(
        trial.uid, trial.fence, Outcome.COMPLETED, None,
        metric="coco/AP", direction=Direction.MORE, peak_memory_mb=None,
    )  # fmt: skip


def test_what_is_trained_later_goes_on_from_what_was_imported(place):
    main(["import", table(TARGET), "--study", "study.yaml"])
    ledger = open_ledger(place)
    for value in (0.9, 0.5):
        train(ledger, "small", value)
    while changes := advance(ledger.snapshot("small")):
        assert ledger.apply(ledger.study("small").id, changes)
    snap = ledger.snapshot("small")
    ledger.close()
    # 40 epochs are better than 30 and 20, and the imported stage had carried a sigma of 1.
    newest = {c.id: c for c in snap.cells}[snap.trials[-1].cell_id]
    assert snap.stages[-1].name == "batch"
    assert (newest.config["batch_size"], newest.config["epochs"], newest.config["sigma"]) == (4, 40, 1.0)


def test_both_databases_hold_what_was_imported(place, ledger):
    study = file.load(Path("study.yaml"))
    rows = matching.entries([Path(table(TARGET))])
    done = staged.import_table(ledger, study, STUDY, rows)
    assert (done.results, done.left_out) == (3, [])
    assert ledger.snapshot("small").stages[0].carried == "narrow"
    assert standalone.import_closed(ledger, "alone", "coco/AP", standalone.tabled_stages(rows, "coco/AP"))
    assert ledger.study("alone").state == "closed"
    assert [t.final_value for t in ledger.snapshot("alone").trials] == [0.1, 0.2, 0.15]


def test_a_changed_number_makes_another_cell_win(place):
    main(["import", table(TARGET.replace("20: 0.15,20: 0.15", "20: 0.25,20: 0.25")), "--study", "study.yaml"])
    snap = snapshot(place)
    assert snap.stages[0].carried == "wide"
    assert "0.250" in snap.stages[0].carry_reason


def test_importing_again_changes_nothing_and_a_longer_table_goes_further(place, capsys):
    name = table(TARGET)
    main(["import", name, "--study", "study.yaml"])
    before = snapshot(place)
    assert main(["import", name, "--study", "study.yaml"]) == 0
    assert snapshot(place).trials == before.trials
    waiting = "waits to be trained: stage 'length', cell '"
    label = capsys.readouterr().out.partition(waiting)[2].partition("'")[0]
    more = TARGET + f"length,{label},1,40: 0.3,40: 0.3\n"
    assert main(["import", table(more, "more.csv"), "--study", "study.yaml"]) == 0
    done = {row[3] for row in rows(snapshot(place)) if row[0] == "length" and row[2] is Outcome.COMPLETED}
    assert done == {0.2, 0.3}
    assert [row[1] for row in rows(snapshot(place)) if row[2] is None] == ["epochs_30"]


def test_contradictions_are_kept_as_they_stand_and_said(place, capsys):
    text = TARGET.replace("20: 0.2,15: 0.3", "20: 0.2,20: 0.3").replace("20: 0.15,20: 0.15", "25: 0.15,12: 0.1")
    main(["import", table(text), "--study", "study.yaml"])
    said = capsys.readouterr().out
    trials = snapshot(place).trials
    assert (trials[1].final_value, trials[1].best_value, trials[1].best_epoch) == (0.2, 0.3, 20)
    assert trials[1].source["remarks"] == ["best 0.3 and final 0.2 are both said to be of epoch 20."]
    assert trials[2].source["remarks"] == [
        "final 0.15 (epoch 25) is better than best 0.1 (epoch 12).",
        "final is of epoch 25, the cell trains 20.",
        "best is of epoch 12, which is not evaluated (every 5).",
    ]
    assert "results.csv:3: best 0.3 and final 0.2" in said


def test_where_the_source_went_another_way_is_said_and_marked(place, capsys):
    text = TARGET + "length,epochs 40,0,40: 0.3,40: 0.3\n"
    main(["import", table(text), "--study", "study.yaml"])
    said = capsys.readouterr().out
    assert (
        "deviation: stage 'target': by the numbers '1' is best (coco/AP 0.200); "
        "results.csv:5 went on from '0' (0.100)." in said
    )
    (trial,) = [t for t in snapshot(place).trials if t.final_value == 0.3]
    assert trial.source["remarks"] == ["it was built on '0'; the staged logic builds this row on '1'."]


def test_a_result_of_another_configuration_is_not_taken_over_by_another_study(place):
    draw(Path("cats"), train=4, val=2, seed=1)
    main(["import", table(TARGET + "length,epochs 40,0,40: 0.3,40: 0.3\n"), "--study", "study.yaml"])
    other = STUDY.replace("study: small", "study: other")
    Path("other.yaml").write_text(other)
    # Of the same cells: those that stood on what their table says are reused, the one that did not is trained.
    main(["import", table("stage,label,final\ntarget,0,20: 0.1\n", "one.csv"), "--study", "other.yaml"])
    snap = snapshot(place, "other")
    assert [row[2] for row in rows(snap)[:4]] == [Outcome.COMPLETED] * 4
    longer = [c.id for c in snap.cells if c.config["epochs"] == 40]
    assert [t.state for t in snap.trials if t.cell_id in longer] == [TrialState.WAITING]


def test_rows_without_a_cell_are_said_and_left_out(place, capsys):
    text = TARGET.replace("target,2,", "target,3,") + "length,7,0,33: 0.3,33: 0.3\n"
    assert main(["import", table(text), "--study", "study.yaml"]) == 1
    said = capsys.readouterr().out
    assert "left out: results.csv:4: the staged logic has no cell '3' in stage 'target'" in said
    assert "left out: results.csv:5: stage 'length' has not opened yet" in said
    # Mended, the table goes in.
    assert main(["import", table(TARGET), "--study", "study.yaml"]) == 0
    assert snapshot(place).stages[0].carried == "narrow"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("targets,1,,20: 0.2,", "results.csv:2:1: stage: found 'targets', expected a stage of study 'small'"),
        ("target,1,,20: 48.5,", "write 0.485 for 48.5 percent"),
    ],
)
def test_a_row_that_can_be_of_no_cell_is_a_mistake_and_nothing_goes_in(place, capsys, row, said):
    assert main(["import", table(f"stage,label,from,final,best\n{row}\n"), "--study", "study.yaml"]) == 2
    assert said in capsys.readouterr().err
    assert main(["status"]) in (0, 2)
    assert "small" not in capsys.readouterr().out


def test_what_was_trained_stands_against_a_table(place, capsys):
    draw(Path("cats"), train=4, val=2, seed=1)
    main(["import", table("stage,label,final\ntarget,1,20: 0.2\n"), "--study", "study.yaml"])
    ledger = open_ledger(place)
    train(ledger, "small", 0.9)
    ledger.close()
    main(["import", table(TARGET, "all.csv"), "--study", "study.yaml"])
    said = capsys.readouterr().out
    assert "left out: all.csv:2: '0' was trained here; that result stands." in said
    assert [row[3] for row in rows(snapshot(place))[:3]].count(0.9) == 1


def test_a_closed_study_is_not_changed_by_another_table(place, capsys):
    Path("short.yaml").write_text(STUDY.partition("  - name: length")[0])
    assert main(["import", table(TARGET), "--study", "short.yaml"]) == 0
    assert snapshot(place).study.state == "closed"
    changed = table(TARGET.replace("0.15", "0.3"), "changed.csv")
    assert main(["import", changed, "--study", "short.yaml"]) == 2
    assert "--set study=NAME" in capsys.readouterr().err
    assert main(["import", changed, "--study", "short.yaml", "--set", "study=again"]) == 0
    assert snapshot(place, "again").stages[0].carried == "wide"


def test_a_study_launched_with_its_data_keeps_it_where_the_data_is_not(place):
    draw(Path("cats"), train=4, val=2, seed=1)
    main(["import", table("stage,label,final\ntarget,0,20: 0.1\n"), "--study", "study.yaml"])
    sealed = snapshot(place).study.document["dataset"]["fingerprint"]
    Path("cats").rename("elsewhere")
    assert main(["import", table(TARGET), "--study", "study.yaml"]) == 0
    assert sealed
    assert snapshot(place).study.document["dataset"]["fingerprint"] == sealed


def test_a_search_takes_no_rows_because_it_draws_its_levels(place, capsys):
    search = "  - name: find\n    design: search\n    space: {batch_size: [8, 16]}\n    cells: 3\n"
    Path("study.yaml").write_text(STUDY.replace("  - name: batch\n", search + "  - name: batch\n"))
    assert main(["import", table("stage,cell,final\nfind,cell_1,20: 0.2\n"), "--study", "study.yaml"]) == 2
    assert "a stage of variants" in capsys.readouterr().err


def test_logs_and_tables_become_a_closed_study_of_their_own(place, capsys):
    lines = [{"mode": "train", "epoch": 1, "iter": 1, "lr": 0.1, "loss": 0.5, "time": 1.0, "memory": 100}]
    lines += [{"mode": "val", "epoch": 1, "iter": 2, "lr": 0.1, "AP": 0.65777}]
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Path(folder, "training.log.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    files = ["a/training.log.json", "b/training.log.json", table(TARGET)]
    assert main(["import", *files, "--name", "earlier"]) == 0
    assert "the seed is not stated" in capsys.readouterr().out
    snap = snapshot(place, "earlier")
    assert snap.study.state == "closed"
    assert [(s.name, s.state) for s in snap.stages] == [("target", "closed"), ("imported", "closed")]
    assert [c.name for c in snap.cells][3:] == ["training", "training-2"]
    assert snap.trials[3].final_value == 0.65777
    assert main(["import", *files, "--name", "earlier"]) == 0
    assert "holds just these results already" in capsys.readouterr().out
    assert len(snapshot(place, "earlier").trials) == 5
    assert main(["import", files[0], "--name", "earlier"]) == 2
    assert "choose another --name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "say either --study"),
        (["--study", "study.yaml", "--name", "x"], "say either --study"),
        (["--name", "a b"], "'a b'"),
        (["--name", "x", "--metric", "coco/APP"], "did you mean 'coco/AP'?"),
        (["--name", "x", "--set", "a=b"], "--study"),
    ],
)
def test_wrong_options_are_told(place, capsys, options, said):
    assert main(["import", table(TARGET), *options]) == 2
    assert said in capsys.readouterr().err


def test_a_file_that_is_missing_and_a_log_for_a_study_file_are_told(place, capsys):
    assert main(["import", "nothing.csv", "--name", "x"]) == 2
    train = {"mode": "train", "epoch": 1, "iter": 1, "lr": 0.1, "time": 0.5, "loss": 0.1}
    val = {"mode": "val", "epoch": 1, "iter": 1, "lr": 0.1, "AP": 0.1}
    Path("a.log.json").write_text(f"{json.dumps(train)}\n{json.dumps(val)}\n")
    assert main(["import", "a.log.json", "--study", "study.yaml"]) == 2
    said = capsys.readouterr().err
    assert "nothing.csv: found no such file" in said
    assert "--name NAME makes a study of other logs" in said


def exported_run(cell, scores, *, seed=0, stage="target", epochs=20, start="20260101_000000", stated=None):
    """The log of a trial of an exported study, as MMPose leaves it in its work dir; `scores` by epoch."""
    folder = Path("cluster/trials", stage, cell, f"seed_{seed}", "work_dirs", start, "vis_data")
    folder.mkdir(parents=True)
    lines = []
    for epoch in range(1, max(scores) + 1):
        lines.append({"lr": 0.01, "loss": 1 / epoch, "time": 0.5, "epoch": epoch, "iter": epoch, "step": epoch})
        if epoch in scores:
            lines.append({"coco/AP": scores[epoch], "time": 0.01, "step": epoch})
    (folder / "scalars.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    stated = seed if stated is None else stated
    (folder / "config.py").write_text(f"train_cfg = dict(max_epochs={epochs})\nrandomness = dict(seed={stated})\n")
    return folder / "scalars.json"


def test_runs_of_an_exported_study_come_back_as_its_trials(place, capsys):
    exported_run("baseline", {5: 0.1, 20: 0.1})
    exported_run("narrow", {5: 0.3, 20: 0.2})
    assert main(["import", "cluster/trials", "--study", "study.yaml"]) == 0
    assert "waits to be trained: stage 'target', cell '2', seed 0" in capsys.readouterr().out
    exported_run("wide", {5: 0.15, 20: 0.15})
    assert main(["import", "cluster/trials", "--study", "study.yaml"]) == 0
    said = capsys.readouterr().out
    assert "imported results of 3 rows" in said
    snap = snapshot(place)
    found = {row[1]: row[2:5] for row in rows(snap) if row[0] == "target"}
    assert found["narrow"] == (Outcome.COMPLETED, 0.2, 0.3)
    # The whole curve, not its best and last value alone.
    trial = next(trial for trial in snap.trials if trial.final_value == 0.2)
    assert len([value for value in snap.values if value.trial_uid == trial.uid]) == 20
    # What comes next starts from the winner, and may be exported in turn.
    assert [stage.name for stage in snap.stages] == ["target", "length"]
    assert snap.stages[1].start["sigma"] == 1.0
    assert main(["import", "cluster/trials", "--study", "study.yaml"]) == 0
    assert [trial.uid for trial in snapshot(place).trials] == [trial.uid for trial in snap.trials]
    assert "keeps what an earlier import" not in capsys.readouterr().out


def test_what_is_no_whole_run_of_the_exported_study_is_left_out(place, capsys):
    exported_run("baseline", {5: 0.1})
    exported_run("narrow", {5: 0.3, 20: 0.2}, stated=3)
    earlier = exported_run("wide", {5: 0.2, 20: 0.2})
    exported_run("wide", {5: 0.15, 20: 0.15}, start="20260102_000000")
    assert main(["import", "cluster/trials", "--study", "study.yaml"]) == 1
    said = capsys.readouterr().out
    assert "the log ends in epoch 5 of 20; its train.sh goes on" in said
    assert "it was trained with seed 3, its folder says 0" in said
    assert f"left out: {earlier}: a later run of the same replicate stands" in said
    assert [row[1:4] for row in rows(snapshot(place)) if row[2]] == [("wide", Outcome.COMPLETED, 0.15)]
    other = Path("cluster/other")
    earlier.parent.parent.rename(other)
    assert main(["import", str(other), "--study", "study.yaml"]) == 2
    assert "expected a run of an exported study" in capsys.readouterr().err


def test_runs_of_an_exported_study_are_replicates_of_its_cells_in_a_study_of_their_own(place):
    for seed, score in ((0, 0.2), (4, 0.24)):
        exported_run("narrow", {20: score}, seed=seed)
    exported_run("wide", {20: 0.15})
    exported_run("small", {20: 0.25}, stage="batch")
    assert main(["import", "cluster/trials", "--name", "back"]) == 0
    found = [row[:4] for row in rows(snapshot(place, "back"))]
    completed = Outcome.COMPLETED
    assert sorted(found) == [
        ("batch", "small", completed, 0.25),
        ("target", "narrow", completed, 0.2),
        ("target", "narrow", completed, 0.24),
        ("target", "wide", completed, 0.15),
    ]


def old_log(name, scores, seed=None):
    """A log of MMPose 0.x; `scores` by epoch."""
    lines = [] if seed is None else [{"env_info": "", "seed": seed, "exp_name": "a.py"}]
    for epoch in range(1, max(scores) + 1):
        lines.append({"mode": "train", "epoch": epoch, "iter": 1, "lr": 0.1, "loss": 1 / epoch, "time": 1.0})
        if epoch in scores:
            lines.append({"mode": "val", "epoch": epoch, "iter": 2, "lr": 0.1, "AP": scores[epoch]})
    Path("old").mkdir(exist_ok=True)
    Path("old", name).write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_table_names_the_cells_of_logs(place, capsys):
    old_log("one.log.json", {5: 0.1, 20: 0.1})
    old_log("two.log.json", {5: 0.3, 20: 0.2}, seed=7)
    rows_of_logs = "target,0,,old/one.log.json,\ntarget,1,0,old/two.log.json,\ntarget,2,0,,20: 0.15\n"
    logs = table(f"stage,label,seed,log,final\n{rows_of_logs}")
    assert main(["import", logs, "--study", "study.yaml"]) == 0
    said = capsys.readouterr().out
    assert "it was trained with seed 7" in said
    snap = snapshot(place)
    found = {row[1]: row[2:5] for row in rows(snap) if row[0] == "target"}
    assert found == {
        "baseline": (Outcome.COMPLETED, 0.1, 0.1),
        "narrow": (Outcome.COMPLETED, 0.2, 0.3),
        "wide": (Outcome.COMPLETED, 0.15, None),
    }
    trial = next(trial for trial in snap.trials if trial.final_value == 0.2)
    assert len([value for value in snap.values if value.trial_uid == trial.uid]) == 20
    assert trial.source["file"].endswith("old/two.log.json")
    assert main(["import", logs, "--study", "study.yaml"]) == 0
    assert [trial.uid for trial in snapshot(place).trials] == [trial.uid for trial in snap.trials]
    assert main(["import", logs, "--name", "alone"]) == 0
    assert {row[1]: row[3] for row in rows(snapshot(place, "alone"))} == {"0": 0.1, "1": 0.2, "2": 0.15}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("old/none.log.json,", "'old/none.log.json', which is not there"),
        ("old/one.log.json,20: 0.1", "expected nothing beside a log, which says it"),
        ("old/one.log.json,\ntarget,1,old/one.log.json,", "again (first in results.csv:2)"),
        ("old,", "'old' with 2 runs, expected the log of one run"),
    ],
)
def test_a_log_of_a_table_that_is_none_is_told_with_its_line(place, capsys, row, said):
    old_log("one.log.json", {20: 0.1})
    old_log("two.log.json", {20: 0.1})
    assert main(["import", table(f"stage,label,log,final\ntarget,0,{row}\n"), "--study", "study.yaml"]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "results.csv:" in told


def test_a_log_that_breaks_off_leaves_its_cell_to_be_trained(place, capsys):
    old_log("one.log.json", {20: 0.1})
    exported_run("narrow", {5: 0.1})
    of_run = "cluster/trials/target/narrow/seed_0/work_dirs"
    logs = table(f"stage,label,log\ntarget,0,old/one.log.json\ntarget,1,{of_run}\n")
    assert main(["import", logs, "--study", "study.yaml"]) == 1
    assert "left out: results.csv:3: the log ends in epoch 5 of 20" in capsys.readouterr().out
    assert [row[1] for row in rows(snapshot(place)) if row[2]] == ["baseline"]


def test_a_search_begins_with_what_imported_logs_say(place):
    """Logs that a table gives a cell have a configuration, which a search may have asked for."""
    draw(place / "cats", train=4, val=2, seed=1)
    old_log("one.log.json", {20: 0.1})
    old_log("two.log.json", {20: 0.2})
    logs = table("stage,label,log\ntarget,1,old/one.log.json\ntarget,2,old/two.log.json\n")
    assert main(["import", logs, "--study", "study.yaml"]) == 0
    search = "  - name: find\n    design: search\n    space: {sigma: {uniform: [0.5, 4]}}\n    cells: 3\n"
    search += "    warm_start: [small]\n    include_baseline: false\n"
    head, rest = STUDY.split("stages:\n")
    Path("next.yaml").write_text(f"{head.replace('small', 'next')}stages:\n{search}{rest[rest.index('replicates') :]}")
    ledger = open_ledger(place)
    try:
        study = dataset.sealed(file.load(Path("next.yaml")))
        record = ledger.put_study("next", study.model_dump(mode="json"), "")
        for _ in range(2):
            elsewhere = (ledger.snapshot("small"),)
            ledger.apply(record.id, advance(replace(ledger.snapshot("next"), elsewhere=elsewhere)))
        asked = [trial.optuna for trial in ledger.snapshot("next").trials if trial.optuna]
    finally:
        ledger.close()
    known = asked[0]["warm_start"]["known"]
    assert [(row["params"], row["value"]) for row in known] == [({"sigma": 1.0}, 0.1), ({"sigma": 3.0}, 0.2)]


def test_a_log_that_says_less_than_its_cell_trains_leaves_the_cell_to_be_trained(place, capsys):
    """A log of 0.x, or scalars alone, does not know how many epochs it was to have."""
    old_log("one.log.json", {20: 0.1})
    old_log("two.log.json", {5: 0.9})
    exported_run("wide", {5: 0.8}).with_name("config.py").unlink()
    logs = table("stage,label,log\ntarget,0,old/one.log.json\ntarget,1,old/two.log.json\n")
    for _ in range(2):
        assert main(["import", logs, "cluster/trials", "--study", "study.yaml"]) == 1
        said = capsys.readouterr().out
        assert "left out: results.csv:3: the log ends in epoch 5, the cell trains 20." in said
        assert "scalars.json: the log ends in epoch 5, the cell trains 20." in said
        assert "waits to be trained: stage 'target', cell '1', seed 0" in said
        assert [row[1] for row in rows(snapshot(place)) if row[2]] == ["baseline"]


def test_a_log_that_goes_on_after_its_cells_epochs_is_taken_by_no_other_study(place, capsys):
    draw(place / "cats", train=4, val=2, seed=1)
    old_log("one.log.json", {20: 0.1})
    old_log("two.log.json", {20: 0.2, 25: 0.3})
    logs = table("stage,label,log\ntarget,0,old/one.log.json\ntarget,1,old/two.log.json\n")
    assert main(["import", logs, "--study", "study.yaml"]) == 0
    assert "final is of epoch 25, the cell trains 20." in capsys.readouterr().out
    assert [trial.source.get("elsewhere") for trial in snapshot(place).trials if trial.source] == [None, True]
    Path("other.yaml").write_text(STUDY.replace("study: small", "study: other"))
    main(["import", table("stage,label,final\ntarget,2,20: 0.1\n", "one.csv"), "--study", "other.yaml"])
    taken = {row[1]: row[2] for row in rows(snapshot(place, "other"))}
    assert taken == {"baseline": Outcome.COMPLETED, "narrow": None, "wide": Outcome.COMPLETED}


def test_runs_that_the_study_has_no_place_for_now_do_not_stop_the_others(place, capsys):
    search = "  - name: find\n    design: search\n    space: {batch_size: [8, 16]}\n    cells: 3\n"
    Path("study.yaml").write_text(STUDY.replace("  - name: batch\n", search + "  - name: batch\n"))
    exported_run("baseline", {20: 0.1})
    exported_run("baseline", {20: 0.1}, seed=3)
    exported_run("sample_001", {20: 0.2}, stage="find")
    exported_run("baseline", {20: 0.2}, stage="gone")
    assert main(["import", "cluster/trials", "--study", "study.yaml"]) == 1
    said = capsys.readouterr().out
    assert "scalars.json: stage 'target' has no seed 3 any more." in said
    assert "scalars.json: stage 'find' is a search, which draws 'sample_001' itself" in said
    assert "scalars.json: study 'small' has no stage 'gone' any more." in said
    assert [row[1:4] for row in rows(snapshot(place)) if row[2]] == [("baseline", Outcome.COMPLETED, 0.1)]


def test_a_log_of_another_seed_makes_another_study(place, capsys):
    old_log("one.log.json", {20: 0.1})
    old_log("two.log.json", {20: 0.2})
    logs = table("stage,label,seed,log\ntarget,0,0,old/one.log.json\ntarget,0,1,old/two.log.json\n")
    assert main(["import", logs, "--name", "alone"]) == 0
    assert main(["import", logs, "--name", "alone"]) == 0
    assert "holds just these results already" in capsys.readouterr().out
    old_log("two.log.json", {20: 0.3})
    assert main(["import", logs, "--name", "alone"]) == 2
    assert "choose another --name" in capsys.readouterr().err


def test_a_table_whose_logs_all_break_off_takes_no_name(place, capsys):
    run = exported_run("narrow", {5: 0.1})
    logs = table(f"stage,label,log\ntarget,1,{run}\n")
    assert main(["import", logs, "--name", "alone"]) == 1
    assert "left out: results.csv:2: the log ends in epoch 5 of 20" in capsys.readouterr().out
    run.with_name("config.py").unlink()
    assert main(["import", logs, "--name", "alone"]) == 0
    assert [row[3] for row in rows(snapshot(place, "alone"))] == [0.1]


def test_the_seed_of_a_row_is_that_of_its_log_where_it_says_none(place, capsys):
    Path("study.yaml").write_text(STUDY.replace("seeds: [0]", "seeds: [0, 7]"))
    for name, seed in (("one", 0), ("two", 7), ("three", 5), ("four", None)):
        old_log(f"{name}.log.json", {20: 0.1}, seed=seed)
    rows_of_logs = "target,0,,old/two.log.json\ntarget,0,,old/one.log.json\ntarget,1,,old/three.log.json\n"
    logs = table(f"stage,label,seed,log\n{rows_of_logs}target,1,7,old/four.log.json\n")
    for options, odd in ((["--study", "study.yaml"], 0), (["--name", "alone"], 5)):
        assert main(["import", logs, *options]) == 0
        said = capsys.readouterr().out
        assert said.count("it was trained with seed 5.") == (not odd)
        assert "the seed is not stated" not in said
        snap = snapshot(place, options[1].removesuffix(".yaml").replace("study", "small"))
        seeds = {Path(trial.source["file"]).name.partition(".")[0]: trial.seed for trial in snap.trials if trial.source}
        assert seeds == {"one": 0, "two": 7, "three": odd, "four": 7}


@pytest.mark.parametrize(
    ("rows_of_logs", "said"),
    [
        ("target,0,,old/one.log.json\ntarget,0,,old/two.log.json\n", "'0' of stage 'target' with seed 0 again"),
        ("target,0,,old/one.log.json\ntarget,0,0,old/two.log.json\n", "'0' of stage 'target' with seed 0 again"),
        ("target,1,0,old/one.log.json\ntarget,0,3,old/two.log.json\n", "found 3, expected a seed of stage 'target'"),
        ("target,1,0,old/one.log.json\ntarget,0,0,old/" + "a" * 300 + "\n", "which is not there"),
    ],
)
def test_a_mistake_in_a_row_with_a_log_is_told_with_the_line_of_the_row(place, capsys, rows_of_logs, said):
    old_log("one.log.json", {20: 0.1})
    old_log("two.log.json", {20: 0.2})
    assert main(["import", table(f"stage,label,seed,log\n{rows_of_logs}"), "--study", "study.yaml"]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "results.csv:3:1: " in told


def test_a_plan_supposes_what_logs_say(place, capsys):
    for name, scores in (("one", {20: 0.1}), ("two", {20: 0.2}), ("three", {5: 0.9})):
        old_log(f"{name}.log.json", scores)
    logs = "stage,label,log,final\ntarget,0,old/one.log.json,\ntarget,1,old/two.log.json,\ntarget,2,,20: 0.15\n"
    assert main(["plan", "study.yaml", "--results", table(logs)]) == 0
    assert "carried narrow: coco/AP 0.200 is the best of 3 cells" in capsys.readouterr().out
    assert main(["plan", "study.yaml", "--results", table(logs.replace("two", "three"))]) == 0
    said = capsys.readouterr()
    assert "carried" not in said.out
    assert "results.csv:3: not used; the log ends in epoch 5, the cell trains 20" in said.err
