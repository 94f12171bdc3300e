"""What a network starts from: weights that fit it, never a random start without a word, never code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import posestudy_runner.plugin  # noqa: F401  (before mmpose, which does not import without it)
from posestudy.errors import PoseStudyError


def _resnet(depth: int, **init: object) -> torch.nn.Module:
    import mmpose.models  # noqa: F401
    from mmpose.registry import MODELS

    built: torch.nn.Module = MODELS.build(
        {"type": "mmpose.ResNet", "depth": depth, "base_channels": 4, "stem_channels": 4, **init}
    )
    return built


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_a_backbone_starts_from_weights_of_a_backbone_or_of_a_whole_estimator(tmp_path: Path, prefix: str) -> None:
    source = _resnet(18).state_dict()
    saved = {f"{prefix}{name}": part + 1 for name, part in source.items()}
    torch.save({"state_dict": {**saved, "head.weight": torch.zeros(3)}, "meta": {}}, tmp_path / "net.pth")
    started = _resnet(18, init_cfg={"type": "Pretrained", "checkpoint": str(tmp_path / "net.pth")})
    started.init_weights()  # type: ignore[operator]
    assert all(torch.equal(part, source[name] + 1) for name, part in started.state_dict().items() if part.ndim)


@pytest.mark.slow
def test_weights_that_do_not_fit_are_an_error_not_a_random_start(tmp_path: Path) -> None:
    torch.save(_resnet(50).state_dict(), tmp_path / "net.pth")
    other = _resnet(18, init_cfg={"type": "Pretrained", "checkpoint": str(tmp_path / "net.pth")})
    with pytest.raises(PoseStudyError, match=r"fit [\d,]+ of the [\d,]+ numbers of ResNet"):
        other.init_weights()  # type: ignore[operator]


def test_weights_from_a_server_may_hold_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmengine.runner import checkpoint

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save({"weight": torch.ones(2)}, folder / "good.pth")
    torch.save({"weight": Path("/")}, folder / "code.pth")
    assert torch.equal(checkpoint.load_from_http("https://localhost/good.pth")["weight"], torch.ones(2))
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        checkpoint.load_from_http("https://localhost/code.pth")
