"""Every network by name: stock training at another size and keypoint count, saved, reloaded and exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from posestudy_runner import exporting, models_files, plugin  # noqa: F401
from posestudy_studies import factors, mmpose_config, presets, recipes
from posestudy_studies.spec import Study

KEYPOINTS = 5
SIZE = (160, 128)
"""(width, height), px."""
REGRESSION = tuple(
    f"{name}-{head}" for name in ("alexnet", "resnet50", "scnet50") for head in ("regression", "soft-wing", "rle")
)
"""Their other backbones are deeper, and stand here with a heatmap head."""
DEEP = (
    *("resnet101", "resnet152", "resnest101", "resnest200", "resnest269", "scnet101"),
    *("hrnet_w48", "transpose-h-a4", "transpose-h-a6"),
)
"""What differs from a smaller one only in depth or width is trained for one epoch and not exported: minutes."""


def written_data(folder: Path) -> None:
    """Four images with two annotated objects each, five keypoints an object."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for i in range(4):
        picture = random.integers(0, 255, (150, 180, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "images" / f"{i}.png"), picture)
        images.append({"id": i, "file_name": f"{i}.png", "width": 180, "height": 150})
        points = random.uniform(20, 120, (KEYPOINTS, 2))
        flat = [float(v) for x, y in points for v in (x, y, 2)]
        box = {"bbox": [10, 10, 130, 130], "area": 16900, "iscrowd": 0, "category_id": 1}
        annotations.append({"id": i, "image_id": i, "keypoints": flat, "num_keypoints": KEYPOINTS, **box})
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    (folder / "all.json").write_text(json.dumps(document))
    rows = "\n".join(
        f"  {i}: {{name: p{i}, id: {i}, color: [0, 0, 0], type: upper, swap: ''}}" for i in range(KEYPOINTS)
    )
    layout = f"dataset_name: five\nkeypoint_info:\n{rows}\nskeleton_info: {{}}\nsigmas: {[0.05] * KEYPOINTS}\n"
    (folder / "points.yaml").write_text(layout)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("every") / "data"
    written_data(folder)
    return folder


def study_of(name: str, data: Path, **levels: Any) -> Study:
    """One cell of a recipe, small: two epochs, batches of two."""
    chosen = recipes.recipe(name)
    short = {
        "epochs": 2,
        "validate_every": 1,
        "batch_size": 2,
        "init": None,
        "input_size": list(SIZE),
        "schedule.warmup_iters": 0,
        **levels,
    }
    training = factors.apply(chosen.training, short)
    split = {"annotations": "all.json", "images": "images"}
    return Study.model_validate(
        {
            "study": "every",
            "dataset": {"keypoints": str(data / "points.yaml"), "root": str(data), "train": split, "val": split},
            "evaluation": {"score_mode": chosen.score_mode},
            "baseline": training.model_dump(mode="json"),
            "stages": [{"name": "one", "design": "variants", "variants": {"x": {"epochs": 2}}}],
        }
    )


def test_no_recipe_is_left_out() -> None:
    assert {recipes.recipe(name).training.model for name in recipes.names()} == set(presets.names())


@pytest.mark.slow
@pytest.mark.parametrize("name", [*presets.names(), *REGRESSION])
def test_a_named_network_trains_reloads_and_is_exported(
    name: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mmengine.config import Config
    from mmengine.runner import Runner
    from mmpose.apis import init_model

    epochs = 1 if name in DEEP else 2
    made = study_of(name, data, epochs=epochs)
    file = tmp_path / "config.py"
    file.write_text(mmpose_config.config_text(made, made.baseline, seed=0))
    # Without its formatting, which takes longer than the training.
    config = Config(Config.fromfile(file).to_dict(), filename=str(file), format_python_code=False)
    config.work_dir = str(tmp_path / "work")
    config.train_dataloader.num_workers = config.val_dataloader.num_workers = 0
    config.default_hooks.checkpoint = {"type": "CheckpointHook", "interval": epochs, "save_optimizer": False}
    config.visualizer.vis_backends = []
    runner = Runner.from_cfg(config)
    before = {name: part.clone() for name, part in runner.model.named_parameters() if part.requires_grad}
    runner.train()
    assert runner.epoch == epochs
    moved = [
        name for name, part in runner.model.named_parameters() if name in before and not torch.equal(part, before[name])
    ]
    assert len(moved) > 0.9 * len(before), "parts of the network were not trained"
    saved = tmp_path / "work" / f"epoch_{epochs}.pth"
    model = init_model(str(file), str(saved), device="cpu")
    image = torch.randn(3, 3, SIZE[1], SIZE[0], generator=torch.Generator().manual_seed(0))
    trained = runner.model.eval()
    with torch.no_grad():
        expected, reloaded = (flat(m(image, None, mode="tensor")) for m in (trained, model))
    assert torch.equal(expected, reloaded)
    assert torch.isfinite(expected).all()
    assert expected.shape[:2] == (3, KEYPOINTS)
    if name in DEEP:
        return
    models_files.export(file, saved, tmp_path / "net.pt2")
    assert f"images [batch, 3, {SIZE[1]}, {SIZE[0]}] in" in capsys.readouterr().out
    assert (tmp_path / "net.pt2").stat().st_size > 4 * sum(part.numel() for part in trained.parameters())
    program = torch.export.load(tmp_path / "net.pt2").module()
    with torch.no_grad():
        assert torch.allclose(flat(program(image)), expected, atol=1e-5)


def flat(output: Any) -> torch.Tensor:
    """One tensor of what a head gives: SimCC gives two."""
    return output if isinstance(output, torch.Tensor) else torch.cat(list(output), dim=-1)


def test_weights_of_another_network_are_not_exported(data: Path, tmp_path: Path) -> None:
    made = study_of("resnet_tiny", data)
    (tmp_path / "config.py").write_text(mmpose_config.config_text(made, made.baseline, seed=0))
    torch.save({"backbone.conv1.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(Exception, match=r"missing: head\.final_layer\.bias \[5\][\s\S]*wrong shape: backbone\.conv1"):
        models_files.export(tmp_path / "config.py", tmp_path / "other.pth", tmp_path / "net.pt2")
    with pytest.raises(Exception, match="does not exist; expected an MMPose"):
        models_files.export(tmp_path / "none.py", tmp_path / "other.pth", tmp_path / "net.pt2")
