"""A config file that gives no network is a mistake of the study, told with its place before anything is trained."""

from collections.abc import Callable
from pathlib import Path

import pytest

from posestudy.commands.app import main
from posestudy.errors import InputError
from posestudy_studies import file

pytest.importorskip("mmengine.config")

HEATMAPS = """\
model = dict(
    type="TopdownPoseEstimator",
    backbone=dict(type="ResNet", depth=18),
    head=dict(
        type="HeatmapHead", in_channels=512, out_channels=17,
        decoder=dict(type="MSRAHeatmap", input_size=(192, 256), heatmap_size=(48, 64), sigma=2),
    ),
)
"""

Saying = Callable[..., str]


@pytest.fixture
def said(tmp_path: Path) -> Saying:
    """What the study file's reader says of a baseline and a variant with these two models; nothing is refused: ''."""

    def say(text: str, *, more: str = "", where: str = "baseline") -> str:
        (tmp_path / "net.py").write_text(text)
        model = "{config: net.py}"
        (tmp_path / "study.yaml").write_text(
            "study: small\n"
            "dataset:\n  keypoints: cats\n  root: cats\n"
            "  train: {annotations: annotations/train.json, images: images}\n"
            "  val: {annotations: annotations/val.json, images: images}\n"
            "baseline:\n"
            f"  model: {model if where == 'baseline' else 'resnet18'}\n"
            f"  input_size: [64, 64]\n{more}"
            "  epochs: 1\n  batch_size: 2\n  optimizer: {type: Adam, lr: 1e-3}\n"
            "stages:\n  - name: first\n    design: variants\n    variants: {wide: {batch_size: 4}}\n"
            "  - name: second\n    design: variants\n    variants:\n"
            f"      mine: {{{'epochs: 2' if where == 'baseline' else f'model: {model}'}}}\n"
        )
        try:
            file.load(tmp_path / "study.yaml")
        except InputError as error:
            return "\n".join(str(problem) for problem in error.problems).replace(f"{tmp_path}/", "")
        return ""

    return say


def test_a_config_file_that_fits_is_taken(said: Saying) -> None:
    assert said(HEATMAPS) == ""


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("model = dict(", "does not load (SyntaxError"),
        ("raise SystemExit(0)", "does not load (SystemExit: 0)"),
        ("model = 1 / 0", "does not load (ZeroDivisionError"),
        ("_base_ = ['../nowhere.py']", "as `mmpose::_base_/default_runtime.py`"),
        ("model = dict(type='TopdownPoseEstimator')", "without `model.head.decoder`"),
    ],
)
def test_a_config_file_without_a_network_is_named_with_its_line_in_every_stage(
    said: Saying, text: str, what: str
) -> None:
    first = said(text)
    assert first.startswith("study.yaml:8:19: baseline.model.config: found model config net.py")
    assert what in first
    later = said(text, where="later")
    assert later.startswith("study.yaml:20:30: stages.1.variants.mine.model.config: found model config net.py")
    assert what in later


@pytest.mark.parametrize(
    ("changed", "more", "what"),
    [
        ("heatmap_size=(48, 64), ", "", "has no input_size and heatmap_size"),
        ("(192, 256)", "  heatmap_size: [32, 32]\n", "heatmap_size [32, 32], which does not fit"),
    ],
)
def test_cells_that_a_config_file_does_not_fit_are_named_once(said: Saying, changed: str, more: str, what: str) -> None:
    text = HEATMAPS if more else HEATMAPS.replace(changed, "")
    told = said(text, more=more)
    assert "stages.0: found cell " in told
    assert "'baseline'" in told
    assert "'wide'" in told
    assert what in told
    assert told.count("\n") == 0


def test_launch_refuses_it_before_the_home_is_made(
    said: Saying, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said("model = dict(")
    assert main(["--home", str(tmp_path / "home"), "launch", str(tmp_path / "study.yaml")]) == 2
    assert "baseline.model.config: found" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()
