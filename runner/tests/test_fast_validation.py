"""BatchedValLoop against MMEngine's ValLoop on the same weights: the same keypoints, files, metrics and hooks."""

from __future__ import annotations

from posestudy_runner.plugin import fast  # isort: skip - before MMPose

import json
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner, ValLoop

from posestudy.errors import UnreadableImageError
from posestudy_runner.plugin.validation.loop import BatchedValLoop
from posestudy_studies.drawn_cats import draw
from posestudy_studies.mmpose_config import build
from posestudy_studies.spec import Study

SIZE = 64
CODECS: dict[str, dict[str, Any]] = {
    "msra": {"type": "msra"},
    "dark": {"type": "msra", "unbiased": True},
    "udp": {"type": "udp"},
    "megvii": {"type": "megvii", "kernel_size": 5},
    "simcc": {"type": "simcc"},
    "regression": {"type": "regression"},
}
WIDE_SIGMA = 1.0
"""Keypoints of a network that never trained count as found, some of them, so that AP is neither 0 nor 1."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawn") / "cats"
    draw(root, train=8, val=24, seed=5)
    return root


@pytest.fixture
def cats(drawn: Path, tmp_path: Path) -> Path:
    """A data set of the test's own, which it may change and take away."""
    return shutil.copytree(drawn, tmp_path / "cats")


def runner_of(root: Path, codec: str = "msra", *, metric: str = "coco/AP", boxes: str = "", workers: int = 0) -> Runner:
    """A runner whose network has weights that nobody trained; each codec's outputs are spread over the image."""
    study = Study.model_validate(
        {
            "study": "validation",
            "dataset": {
                "keypoints": "cats",
                "root": str(root),
                "train": {"annotations": "annotations/train.json", "images": "images"},
                "val": {"annotations": "annotations/val.json", "images": "images"},
            },
            "metric": metric,
            "evaluation": {"boxes": boxes or "ground_truth", "nme_keypoints": [0, 1]},
            "baseline": {
                "model": "resnet_tiny",
                "input_size": [SIZE, SIZE],
                "sigma": 1.0,
                "epochs": 1,
                "batch_size": 8,
                "codec": CODECS[codec],
                "optimizer": {"type": "Adam", "lr": 1e-3},
            },
            "data_path": "fast",
            "stages": [{"name": "one", "design": "variants", "variants": {"slow": {"optimizer.lr": 1.0e-4}}}],
        }
    )
    config = Config(build(study, study.baseline, 0), format_python_code=False)
    config.work_dir = str(root.parent / "work")
    config.visualizer["vis_backends"] = []
    config.log_level = "ERROR"
    config.default_hooks["checkpoint"] = None
    config.val_dataloader.update(batch_size=8, num_workers=workers, persistent_workers=workers > 0)
    described = config.val_dataloader.dataset.metainfo
    described["sigmas"] = [WIDE_SIGMA] * len(described["sigmas"])
    torch.manual_seed(3)
    runner = Runner.from_cfg(config)
    shake(runner, 3)
    return runner


def shake(runner: Runner, seed: int) -> None:
    """Other weights: by far more than initial ones, so that peaks are sharp."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in runner.model.named_parameters():
        if weight.dim() > 1:
            last = name.startswith("head") and ("final" in name or "fc" in name or "mlp" in name)
            weight.data += torch.randn(weight.shape, generator=generator) * (0.3 if last else 0.02)


def validated(runner: Runner, loop: ValLoop, file: Path | None = None) -> tuple[dict[str, float], bytes]:
    """Metrics and the file of results of one validation."""
    for metric in loop.evaluator.metrics:
        metric.outfile_prefix = str(file) if file else None
    runner._val_loop = loop
    metrics = loop.run()
    return metrics, Path(f"{file}.keypoints.json").read_bytes() if file else b""


def loops(runner: Runner, **options: Any) -> tuple[ValLoop, BatchedValLoop]:
    """A stock loop and ours over the same loader and evaluators."""
    ours = runner.val_loop
    loader, evaluator = ours.dataloader, ours.evaluator
    loader = getattr(loader, "_loader", loader)
    options.setdefault("channels_last", False)
    return ValLoop(runner, loader, evaluator), BatchedValLoop(runner, loader, evaluator, **options)


@pytest.mark.parametrize("codec", CODECS)
def test_predictions_and_metrics_are_those_of_the_stock_loop(codec: str, cats: Path, tmp_path: Path) -> None:
    runner = runner_of(cats, codec)
    stock, ours = loops(runner)
    for flip_test in (True, False):
        runner.model.test_cfg["flip_test"] = flip_test
        expected, written = validated(runner, stock, tmp_path / "stock")
        found, ours_written = validated(runner, ours, tmp_path / "ours")
        assert ours_written == written
        assert len({tuple(row["keypoints"]) for row in json.loads(written)}) > 5
        assert found == expected
        assert set(found) >= {"coco/AP", "coco/AR"}
    assert 0 < found["coco/AP"] < 1


def test_channels_innermost_change_no_more_than_rounding(cats: Path, tmp_path: Path) -> None:
    runner = runner_of(cats)
    stock, ours = loops(runner, channels_last=True)
    given: list[bool] = []
    runner.model.backbone.conv1.register_forward_pre_hook(
        lambda _, images: given.append(images[0].is_contiguous(memory_format=torch.channels_last))
    )
    expected, _ = validated(runner, stock)
    assert not any(given)
    given.clear()
    found, _ = validated(runner, ours)
    assert given
    assert all(given)
    assert found["coco/AP"] == pytest.approx(expected["coco/AP"], abs=1e-6)


@pytest.mark.parametrize("metric", ["nme", "pck"])
def test_metrics_of_distances_are_those_of_the_stock_loop(metric: str, cats: Path) -> None:
    runner = runner_of(cats, metric=metric)
    stock, ours = loops(runner)
    expected, _ = validated(runner, stock)
    found, _ = validated(runner, ours)
    assert found == expected
    assert len(found) == 4


def test_several_detections_of_an_image_are_rescored_and_suppressed_alike(cats: Path, tmp_path: Path) -> None:
    truth = json.loads((cats / "annotations/val.json").read_text())
    detections = [
        {
            "image_id": row["image_id"],
            "category_id": row["category_id"],
            "bbox": [row["bbox"][0] + move, row["bbox"][1], row["bbox"][2] - move, row["bbox"][3]],
            "score": score,
        }
        for row in truth["annotations"]
        for move, score in ((0, 0.9), (0.1, 0.5), (14, 0.7))
    ]
    (cats / "boxes.json").write_text(json.dumps(detections))
    runner = runner_of(cats, boxes="boxes.json")
    runner.val_evaluator.metrics[0].nms_thr = 0.995
    stock, ours = loops(runner)
    expected, written = validated(runner, stock, tmp_path / "stock")
    found, ours_written = validated(runner, ours, tmp_path / "ours")
    assert ours_written == written
    assert found == expected
    assert len(truth["annotations"]) < len(json.loads(written)) < len(detections)


def test_images_are_read_once_and_weights_every_time(cats: Path, tmp_path: Path) -> None:
    runner = runner_of(cats)
    stock, ours = loops(runner)
    first, _ = validated(runner, ours)
    shake(runner, 4)
    expected, written = validated(runner, stock, tmp_path / "stock")
    shutil.rmtree(cats / "images")
    found, ours_written = validated(runner, ours, tmp_path / "ours")
    assert ours_written == written
    assert found == expected != first


@pytest.mark.parametrize("options", [{"kept_mib": 0}, {}])
def test_images_are_read_again_where_none_may_be_kept(
    options: dict[str, Any], cats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not options:
        monkeypatch.setenv("POSESTUDY_WITHOUT", "validation")
    runner = runner_of(cats)
    _, ours = loops(runner, **options)
    validated(runner, ours)
    shutil.rmtree(cats / "images")
    with pytest.raises(UnreadableImageError):
        validated(runner, ours)


def test_loading_processes_end_with_the_first_validation(cats: Path, tmp_path: Path) -> None:
    runner = runner_of(cats, workers=1)
    stock, ours = loops(runner)
    before = set(psutil.Process().children())
    expected, written = validated(runner, stock, tmp_path / "stock")
    assert set(psutil.Process().children()) - before
    found, ours_written = validated(runner, ours, tmp_path / "ours")
    assert not set(psutil.Process().children()) - before
    again, written_again = validated(runner, ours, tmp_path / "again")
    assert ours_written == written == written_again
    assert found == expected == again


def test_random_numbers_drawn_later_do_not_depend_on_what_is_kept(cats: Path) -> None:
    runner = runner_of(cats)
    drawn = []
    for loop in loops(runner):
        torch.manual_seed(1)
        validated(runner, loop)
        validated(runner, loop)
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)


class _Diary(Hook):
    """What a hook sees of a validation, in order."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def before_val(self, runner: Any) -> None:
        self.seen.append("before_val")

    def before_val_epoch(self, runner: Any) -> None:
        self.seen.append("before_val_epoch")

    def before_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self.seen.append(("before_val_iter", batch_idx, len(data_batch["inputs"])))

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        points = [sample.pred_instances.keypoints.tolist() for sample in outputs]
        boxes = [sample.pred_instances.bboxes.tolist() for sample in outputs]
        self.seen.append(("after_val_iter", batch_idx, points, boxes, [sample.img_id for sample in outputs]))

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        self.seen.append(("after_val_epoch", metrics))

    def after_val(self, runner: Any) -> None:
        self.seen.append("after_val")


def test_hooks_see_what_they_see_of_the_stock_loop(cats: Path) -> None:
    runner = runner_of(cats)
    diaries = []
    for loop in (loops(runner)[0], loops(runner)[1]):
        diary = _Diary()
        runner._hooks = []
        runner.register_hook(diary, "LOWEST")
        validated(runner, loop)
        diaries.append(diary.seen)
    assert diaries[0] == diaries[1]
    assert [seen if isinstance(seen, str) else seen[0] for seen in diaries[1]][-3:] == [
        "after_val_iter",
        "after_val_epoch",
        "after_val",
    ]


def test_averaged_weights_are_evaluated_and_the_trained_ones_put_back(cats: Path, tmp_path: Path) -> None:
    runner = runner_of(cats)
    runner.register_hook({"type": "EMAHook"})
    stock, ours = loops(runner)
    plain, _ = validated_without_hooks(runner, stock)
    runner.call_hook("before_run")
    shake(runner, 9)
    trained = {name: tensor.clone() for name, tensor in runner.model.state_dict().items()}
    expected, written = validated(runner, stock, tmp_path / "stock")
    found, ours_written = validated(runner, ours, tmp_path / "ours")
    assert ours_written == written
    assert found == expected == plain
    assert all(torch.equal(tensor, trained[name]) for name, tensor in runner.model.state_dict().items())


def validated_without_hooks(runner: Runner, loop: ValLoop) -> tuple[dict[str, float], bytes]:
    hooks, runner._hooks = runner._hooks, []
    try:
        return validated(runner, loop)
    finally:
        runner._hooks = hooks


class _StopError(Exception):
    pass


class _Stopping(Hook):
    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        raise _StopError


@pytest.fixture
def stopped(cats: Path) -> tuple[Runner, ValLoop, BatchedValLoop]:
    runner = runner_of(cats)
    stock, ours = loops(runner)
    runner.register_hook(_Stopping())
    with pytest.raises(_StopError):
        validated(runner, ours)
    runner._hooks = []
    return runner, stock, ours


def test_a_validation_given_up_leaves_nothing_changed_behind(
    stopped: tuple[Runner, ValLoop, BatchedValLoop], tmp_path: Path
) -> None:
    runner, stock, ours = stopped
    assert type(runner.model.head.decoder).__name__ == "MSRAHeatmap"
    assert not runner.model.backbone._forward_pre_hooks
    runner.val_evaluator.metrics[0].results.clear()
    expected, written = validated(runner, stock, tmp_path / "stock")
    found, ours_written = validated(runner, ours, tmp_path / "ours")
    assert ours_written == written
    assert found == expected


def test_a_config_of_ours_validates_in_batches(cats: Path) -> None:
    runner = runner_of(cats)
    assert type(runner.val_loop) is BatchedValLoop
    assert isinstance(runner.val_evaluator, Evaluator)
    assert len(runner.val_dataloader.dataset) >= 24
    assert fast.BatchedValLoop is BatchedValLoop
