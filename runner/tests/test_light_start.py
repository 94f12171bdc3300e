"""What a trial process leaves out at its start changes nothing that stock MMPose would read, write or draw."""

from __future__ import annotations

from pathlib import Path

import pytest

from posestudy_runner import trial  # isort: skip - the plugin first: it makes MMPose importable here

import numpy as np
from mmengine.config import Config
from mmpose.visualization import PoseLocalVisualizer

from posestudy_runner.components import VARIABLE
from posestudy_runner.light_runner import LazyPoseVisualizer, WrittenConfig
from posestudy_studies.spec import Study

STUDY = {
    "study": "light",
    "dataset": {
        "keypoints": "cats",
        "root": "/data/cats",
        "train": {"annotations": "train.json", "images": "images"},
        "val": {"annotations": "val.json", "images": "images"},
    },
    "baseline": {
        "model": "resnet_tiny",
        "input_size": [64, 64],
        "sigma": 1.5,
        "epochs": 3,
        "batch_size": 16,
        "optimizer": {"type": "Adam", "lr": 1.0e-3},
        "schedule": {"warmup_iters": 3, "milestones": [2]},
        "augmentation": {"flip": {}, "scale_rotation": {}, "half_body": {}},
    },
    "stages": [{"name": "only", "design": "variants", "variants": {"wide": {"sigma": 2.0}}}],
}


@pytest.mark.parametrize("model", ["resnet_tiny", "transpose-r-thin"])
@pytest.mark.parametrize("left_out", ["", "light_start"])
def test_the_config_at_hand_is_the_one_that_stock_reads(
    model: str, left_out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, left_out)
    study = Study.model_validate({**STUDY, "baseline": {**STUDY["baseline"], "model": model, "input_size": [64, 64]}})
    ours = trial.written_config(study, study.baseline, 3, tmp_path / "config.py")
    stock = Config(Config.fromfile(tmp_path / "config.py").to_dict(), format_python_code=False)
    assert ours.to_dict() == stock.to_dict()
    assert repr(ours.to_dict()) == repr(stock.to_dict()), "tuples stay tuples"
    assert ours.pretty_text == stock.pretty_text


def test_a_written_config_is_changed_as_any_other_before_its_text_is_asked_for() -> None:
    written = WrittenConfig({"a": 1, "b": {"c": 2}}, format_python_code=False)
    written.b.c, written.d = 5, [6]
    plain = Config({"a": 1, "b": {"c": 5}, "d": [6]}, format_python_code=False)
    assert written.pretty_text == written.pretty_text == plain.pretty_text
    assert set(written) == {"a", "b", "d"}, "the kept text is no key"


def test_a_visualizer_without_a_figure_draws_what_the_stock_one_draws() -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    drawn = []
    for kind, name in ((PoseLocalVisualizer, "stock"), (LazyPoseVisualizer, "lazy")):
        visualizer = kind.get_instance(name)
        assert ("fig_save" in vars(visualizer)) is (kind is PoseLocalVisualizer)
        visualizer.backend = "matplotlib"
        visualizer.set_image(image)
        visualizer.draw_circles(np.array([[20.0, 15.0]]), np.array([4.0]), face_colors="red")
        drawn.append(visualizer.get_image())
    assert np.array_equal(*drawn)
    assert not np.array_equal(drawn[0], image)
    with pytest.raises(AttributeError, match="fig_saved"):
        _ = LazyPoseVisualizer.get_instance("lazy").fig_saved
