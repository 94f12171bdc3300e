"""Logs of MMPose 0.x and 1.x are read for what they say, and what is odd about them is said."""

import json

import pytest

from posestudy.errors import InputError
from posestudy.vocabulary import Outcome
from posestudy_studies.imports import log_files

ENVIRONMENT = {
    "env_info": "sys.platform: linux\nPython: 3.7.13\nCUDA available: True\nGPU 0: Tesla T4\nPyTorch: 1.10.0+cu111\n"
    "TorchVision: 0.11.0+cu111\nOpenCV: 4.6.0\nMMCV: 1.5.0\nMMPose: 0.24.0+2b56aab",
    "seed": 0,
    "hook_msgs": {},
}
CONFIG = "train_cfg = dict(by_epoch=True, max_epochs={}, val_interval=2)\nrandomness = dict(seed=7)\n"


def old_train(epoch, iteration, **fields):
    numbers = {"lr": 1e-05, "memory": 6622, "data_time": 0.1, "heatmap_loss": 0.002, "acc_pose": 0.5, "loss": 0.002}
    return {"mode": "train", "epoch": epoch, "iter": iteration, **numbers, "time": 0.5, **fields}


def old_val(epoch, ap):
    scores = {"AP": ap, "AP .5": 0.92409, "AP .75": 0.78, "AP (M)": -1.0, "AP (L)": 0.65, "AR": 0.71, "AR .5": 0.9}
    return {"mode": "val", "epoch": epoch, "iter": 4, "lr": 1e-05, **scores}


def old_log(epochs=4, per_epoch=6, scores=None):
    scores = scores or {2: 0.1, 4: 0.3}
    lines = []
    for epoch in range(1, epochs + 1):
        lines += [old_train(epoch, iteration) for iteration in range(1, per_epoch + 1)]
        lines += [old_val(epoch, scores[epoch])] if epoch in scores else []
    return lines


def new_log(first, last, per_epoch=12, interval=5, every=2, start=0.1):
    """As MMEngine's LoggerHook and LocalVisBackend write it; the form was taken from a run of mmengine 0.10.7."""
    lines = []
    for epoch in range(first, last + 1):
        for inner in range(interval, per_epoch + 1, interval):
            step = (epoch - 1) * per_epoch + inner
            losses = {"lr": 0.01, "data_time": 0.1, "loss": 1 / epoch, "loss_kpt": 1 / epoch, "acc_pose": 0.5}
            lines.append({**losses, "time": 0.5, "epoch": epoch, "iter": step, "step": step})
        if epoch % every == 0:
            scores = {"coco/AP": start * epoch, "coco/AP .5": 0.2, "coco/AP (M)": -1.0}
            lines.append({**scores, "data_time": 0.001, "time": 0.01, "step": epoch})
    return lines


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def only(path):
    (source,) = log_files.runs(path)
    return source


def test_an_old_log_with_its_environment(tmp_path):
    source = only(write(tmp_path / "20221101_101010.log.json", [ENVIRONMENT, *old_log()]))
    run = source.run
    assert source.name == "20221101_101010"
    assert run.scores("coco/AP") == [(2, 0.1), (4, 0.3)]
    assert run.values[4]["coco/AP50"] == 0.92409
    assert "coco/AP_M" not in run.values[4]
    assert (run.values[3]["loss"], run.values[3]["lr"], run.values[3]["memory_mb"]) == (0.002, 1e-05, 6622)
    assert (run.duration_s, run.peak_memory_mb, run.seed) == (12.0, 6622, 0)
    assert run.provenance == {"device_name": "Tesla T4", "torch": "1.10.0+cu111", "mmpose": "0.24.0"}
    assert (run.outcome, run.remarks) == (Outcome.COMPLETED, ())


def test_an_old_log_whose_first_lines_are_lost(tmp_path):
    lines = old_log(per_epoch=20)
    run = only(write(tmp_path / "training.log.json", lines[12:])).run
    assert run.scores("coco/AP") == [(2, 0.1), (4, 0.3)]
    assert run.remarks == ("the log starts late: 12 iterations of epoch 1 before it are lost.",)
    assert run.duration_s == pytest.approx((80 - 12) * 0.5)
    assert run.seed is None


def test_a_log_of_the_shape_of_the_students(tmp_path):
    """`../shared/specs/cat.md` section 7: 210 epochs of 35 iterations, 42 validations, 12 lines and the first lost."""
    scores = {epoch: 0.6 + epoch / 10_000 for epoch in range(5, 211, 5)} | {180: 0.66565, 210: 0.65777}
    run = only(write(tmp_path / "training.log.json", old_log(210, 35, scores)[12:])).run
    found = run.scores("coco/AP")
    assert (len(found), found[-1], max(found, key=lambda pair: pair[1])) == (42, (210, 0.65777), (180, 0.66565))
    assert run.remarks == ("the log starts late: 12 iterations of epoch 1 before it are lost.",)
    assert run.duration_s == pytest.approx(7338 * 0.5)


def test_lines_lost_within_and_whole_epochs_lost_are_told_apart(tmp_path):
    lines = [line for line in old_log() if line["epoch"] > 1]
    del lines[8:10]
    assert only(write(tmp_path / "training.log.json", lines)).run.remarks == (
        "2 iterations of epoch 3 are not in the log.",
        "the log starts in epoch 2; what came before is lost.",
    )


def test_a_log_of_every_fifth_iteration_has_lost_nothing(tmp_path):
    lines = [line for line in old_log(per_epoch=12) if line["mode"] == "val" or line["iter"] % 5 == 0]
    run = only(write(tmp_path / "a.log.json", lines)).run
    assert run.remarks == ()
    assert run.duration_s == pytest.approx(4 * 10 * 0.5)


@pytest.mark.parametrize(("line", "which"), [(0, "first"), (-1, "last")])
def test_a_line_cut_off_at_either_end_is_said(tmp_path, line, which):
    path = write(tmp_path / "a.log.json", [ENVIRONMENT, *old_log(), ENVIRONMENT])
    texts = path.read_text().splitlines()
    texts[line] = texts[line][30:] if line == 0 else texts[line][:30]
    path.write_text("\n".join(texts))
    assert only(path).run.remarks == (f"the {which} line of a.log.json is cut off and was not read.",)


def test_a_damaged_line_within_is_an_error_with_its_line(tmp_path):
    path = write(tmp_path / "a.log.json", old_log())
    texts = path.read_text().splitlines()
    texts[4] = texts[4][:20]
    path.write_text("\n".join(texts))
    with pytest.raises(InputError, match=r"a\.log\.json:5:1"):
        log_files.runs(path)


def test_two_values_of_one_epoch_are_flagged(tmp_path):
    path = write(tmp_path / "a.log.json", [*old_log(), old_val(4, 0.35)])
    run = only(path).run
    assert run.scores("coco/AP")[-1] == (4, 0.35)
    assert run.remarks == ("epoch 4 has two values of coco/AP, 0.3 and 0.35; the later one stands.",)


def test_training_after_the_last_validation_is_flagged(tmp_path):
    run = only(write(tmp_path / "a.log.json", [*old_log(), old_train(5, 1)])).run
    assert run.remarks == ("training went on to epoch 5, the last validation is of epoch 4.",)


def test_a_loss_that_is_not_finite_at_the_end_is_divergence(tmp_path):
    lines = [*old_log(), old_train(5, 1, loss=float("nan"))]
    run = only(write(tmp_path / "a.log.json", lines)).run
    assert (run.outcome, run.message) == (Outcome.DIVERGED, "the loss was nan in epoch 5, iteration 1")
    overflow = [old_train(1, 1, loss=float("inf")), *old_log()[1:]]
    run = only(write(tmp_path / "b.log.json", overflow)).run
    assert run.outcome is Outcome.COMPLETED
    assert run.values[1]["loss"] == pytest.approx(0.002)


def test_new_scalars_in_a_work_dir_that_was_resumed(tmp_path):
    work = tmp_path / "resnet50"
    write(work / "20260101_000000/vis_data/scalars.json", new_log(1, 5))
    # The first start died in epoch 6; the second went on from the checkpoint of epoch 3.
    second = write(work / "20260102_000000/vis_data/scalars.json", new_log(4, 8, start=0.05))
    second.with_name("config.py").write_text(CONFIG.format(8))
    (work / "20260102_000000/20260102_000000.log").write_text("    GPU 0: Tesla V100\n    PyTorch: 2.1.0\n")
    source = only(work)
    run = source.run
    assert source.name == "resnet50"
    assert dict(run.scores("coco/AP")) == pytest.approx({2: 0.2, 4: 0.2, 6: 0.3, 8: 0.4})
    assert run.remarks == ("epoch 4 was trained again after a resume; the later values stand.",)
    assert (run.outcome, run.last_epoch) == (Outcome.COMPLETED, 8)
    assert run.provenance == {"device_name": "Tesla V100", "torch": "2.1.0"}
    assert run.duration_s == pytest.approx(8 * 10 * 0.5)


def test_a_run_that_ends_before_its_config_says_is_not_completed(tmp_path):
    scalars = write(tmp_path / "w/20260101_000000/vis_data/scalars.json", new_log(1, 5))
    scalars.with_name("config.py").write_text(CONFIG.format(210))
    source = only(scalars)
    assert source.name == "w"
    assert (source.run.outcome, source.run.message) == (Outcome.CANCELLED, "the log ends in epoch 5 of 210")
    assert source.run.seed == 7


def test_a_config_from_elsewhere_is_not_executed(tmp_path):
    scalars = write(tmp_path / "w/20260101_000000/vis_data/scalars.json", new_log(1, 4))
    touched = tmp_path / "touched"
    scalars.with_name("config.py").write_text(f"open({str(touched)!r}, 'w')\n" + CONFIG.format(4))
    assert only(tmp_path / "w").run.outcome is Outcome.COMPLETED
    assert not touched.exists()


def test_starts_of_one_work_dir_that_begin_anew_are_runs_of_their_own(tmp_path):
    for day, last in (("01", 4), ("02", 1), ("03", 2)):
        write(tmp_path / f"w/202601{day}_000000/vis_data/scalars.json", new_log(1, last))
    sources = log_files.runs(tmp_path)
    # The second one failed before its first validation.
    assert [source.run.last_epoch for source in sources] == [4, 2]
    assert log_files.distinct(source.name for source in sources) == ["w", "w-2"]


def test_a_folder_of_work_dirs_of_both_generations(tmp_path):
    write(tmp_path / "new/20260101_000000/vis_data/scalars.json", new_log(1, 4))
    write(tmp_path / "old/20221101_101010.log.json", [ENVIRONMENT, *old_log()])
    write(tmp_path / "old/20221102_101010.log.json", [ENVIRONMENT, *old_log(6, scores={6: 0.5})[24:]])
    sources = {source.name: source.run for source in log_files.runs(tmp_path)}
    assert set(sources) == {"new", "old"}
    assert sources["old"].scores("coco/AP") == [(2, 0.1), (4, 0.3), (6, 0.5)]


def test_a_run_counted_in_iterations_is_refused(tmp_path):
    lines = [{"loss": 1.0, "time": 0.1, "iter": 100, "step": 100}, {"coco/AP": 0.1, "step": 100}]
    with pytest.raises(InputError, match="counts in iterations"):
        log_files.runs(write(tmp_path / "scalars.json", lines))


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([{"a": 1}], "an object with 'a'"),
        (old_log(scores={1: 0.1})[:3], "no validation"),
        ([{**old_train(1, 1), "epoch": "one"}, old_val(2, 0.1)], "found 'one'"),
        ([], "no line"),
    ],
)
def test_what_is_no_log_is_an_error_for_the_user(tmp_path, lines, found):
    with pytest.raises(InputError, match=found):
        log_files.runs(write(tmp_path / "a.json", lines))


def test_a_folder_without_logs_is_an_error_for_the_user(tmp_path):
    with pytest.raises(InputError, match="no log with a validation"):
        log_files.runs(tmp_path)
