"""Multiply-adds and parameters: against counts made by hand, by other programs, and by those who published them."""

from __future__ import annotations

from typing import Any

import pytest

from posestudy_runner import plugin  # noqa: F401

import torch  # isort: skip
import yaml
from mmengine.registry import DefaultScope
from mmpose.registry import MODELS
from torch import nn

from posestudy_runner.counting import count
from posestudy_runner.named_models import NamedModel, named
from posestudy_runner.published import MMCV, PUBLISHED, SOURCES, published
from posestudy_runner.work import Work
from posestudy_studies import recipes

META = torch.device("meta")


class Estimator(nn.Module):
    """Called as MMPose's estimators are."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: torch.Tensor, data_samples: Any = None, mode: str = "tensor") -> Any:
        return self.layers(inputs)


class Attention(nn.Module):
    """Tokens of the image's places, with as many channels, that attend to one another."""

    def __init__(self, channels: int, heads: int, *, same: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=same)
        self.same = same

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).permute(0, 2, 1) if self.same else x.flatten(2).permute(2, 0, 1)
        query = tokens if self.same else tokens + 1.0
        return self.attention(query, query, tokens, need_weights=False)[0]


class Reading(nn.Module):
    """A layer that looks at a number, which nothing without memory can."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (2.0 if x.sum().item() > 0 else 1.0)


def work_of(name: str, **backbone: Any) -> Work:
    model = named(name)
    config = {**model.config, "backbone": {**model.config["backbone"], **backbone}}
    changed = NamedModel(model.name, model.family, model.input_size, model.keypoints, config)
    return count(changed.build(META), model.input_size)


def test_a_small_convolutional_network_by_hand() -> None:
    work = count(
        Estimator(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),  # 24 x 16 to 12 x 8
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False),
            nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1),  # to 24 x 16
            nn.Flatten(),
            nn.Linear(4 * 24 * 16, 5),
        ),
        (24, 16),
    )
    assert work.convolution == 12 * 8 * (3 * 8 * 9) + 12 * 8 * (8 * 2 * 9)
    assert work.transposed == 12 * 8 * (8 * 4 * 16)
    assert work.transposed_by_output == 4 * work.transposed
    assert work.linear == 4 * 24 * 16 * 5
    assert work.attention == 0
    assert work.macs == work.convolution + work.transposed + work.linear
    assert work.elements == {"batch_norm": 8 * 12 * 8, "relu": 8 * 12 * 8}
    parameters = (3 * 8 * 9 + 8) + 16 + 8 * 2 * 9 + (8 * 4 * 16 + 4) + (4 * 24 * 16 * 5 + 5)
    assert (work.parameters, work.trainable) == (parameters, parameters)


@pytest.mark.parametrize("same", [False, True], ids=["fused", "fast path"])
@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("reading", [False, True], ids=["on shapes", "on the CPU"])
def test_attention_by_hand(heads: int, *, same: bool, reading: bool) -> None:
    channels, tokens = 32, 12 * 16
    layers = [Reading()] if reading else []
    work = count(Estimator(*layers, nn.Conv2d(3, channels, 1), Attention(channels, heads, same=same)), (12, 16))
    assert work.attention == 2 * tokens * tokens * channels, "queries by keys, and weights by values"
    assert work.linear == 4 * tokens * channels * channels, "queries, keys, values and the way out"
    assert work.elements["softmax"] == heads * tokens * tokens


def test_counting_leaves_a_network_as_it_is() -> None:
    model = Estimator(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    model.layers[1].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    frozen = next(model.parameters()).requires_grad_(False)
    work = count(model, (16, 16))
    assert [module.training for module in model.layers] == [True, False, True]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert work.parameters - work.trainable == frozen.numel()


def test_torchs_other_counters_agree_on_a_real_network() -> None:
    """Forward hooks see modules, not operators: an independent way to the same number."""
    model = named("resnet50").build(META).eval()
    seen: list[int] = []

    def look(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        places = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        seen.append(module.weight.numel() * places.shape[-1] * places.shape[-2])

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.register_forward_hook(look)
    with torch.no_grad():
        model(torch.empty(1, 3, 256, 192, device=META), None, mode="tensor")
    by_modules = sum(seen)
    assert count(model, (192, 256)).macs == by_modules


@pytest.mark.parametrize(
    ("name", "layers", "channels", "feedforward", "tokens"),
    [
        ("transpose-r-a3", 3, 256, 1024, 768),
        ("transpose-r-a4", 4, 256, 1024, 768),
        ("transpose-h-s", 4, 64, 128, 3072),
        ("transpose-h-a4", 4, 96, 192, 3072),
        ("transpose-h-a6", 6, 96, 192, 3072),
    ],
)
def test_transposes_encoder_by_formula(name: str, layers: int, channels: int, feedforward: int, tokens: int) -> None:
    work = work_of(name)
    assert work.attention == layers * 2 * tokens * tokens * channels
    assert work.linear == layers * tokens * (4 * channels * channels + 2 * channels * feedforward)


PARAMETERS = {
    "transpose-r-a3": 5_195_345,
    "transpose-r-a4": 5_985_105,
    "transpose-h-s": 8_019_281,
    "transpose-h-a4": 17_306_129,
    "transpose-h-a6": 17_455_697,
}
"""Counted of the official code."""
GFLOPS = {
    "transpose-r-a3": 8.0,
    "transpose-r-a4": 8.9,
    "transpose-h-s": 10.2,
    "transpose-h-a4": 17.5,
    "transpose-h-a6": 21.8,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_five_transposes_are_the_published_ones(name: str) -> None:
    work = work_of(name)
    assert work.parameters == PARAMETERS[name]
    (figure,) = published(name)
    assert figure.gflops == GFLOPS[name]
    by_rule = SOURCES[figure.source].counting
    assert by_rule is not None
    assert by_rule.gflops(work) == pytest.approx(GFLOPS[name], rel=0.01)
    # All that the rule charges beyond multiply-adds is the head's deconvolution, three times too much, and elements.
    beyond = work.transposed_by_output - work.transposed
    assert (work.macs + beyond) / 1e9 == pytest.approx(GFLOPS[name], rel=0.03)
    assert beyond == (3 * 768 * 16 * 256 * 256 if "-r-" in name else 0)


COUNTED = [(name, figure) for name, figures in PUBLISHED.items() for figure in figures if figure.gflops is not None]
WIDE_STEM = ("resnest101", "resnest200", "resnest269")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "figure"), COUNTED, ids=[f"{name} {figure.source}" for name, figure in COUNTED])
def test_every_published_figure_is_explained_by_its_sources_rule(name: str, figure: Any) -> None:
    stem = {"stem_channels": 64} if name in WIDE_STEM else {}
    work = work_of(name, **stem)
    rule = SOURCES[figure.source].counting
    assert rule is not None
    assert rule.gflops(work) == pytest.approx(
        figure.gflops, rel=0.0012 if rule is MMCV and name != "alexnet" else 0.011
    )
    flow = 53_784 if name == "resnet50-rle" else 0
    printed = len(str(figure.parameters).partition(".")[2])
    assert round((work.parameters - flow) / 1e6, printed) == pytest.approx(figure.parameters)
    if stem:
        # What the list computes is of the wide stem, and says so.
        assert rule.gflops(work_of(name)) > 1.04 * figure.gflops
        assert "stem" in figure.note
    if flow:
        assert "53,784" in figure.note


def test_published_names_are_names_of_models() -> None:
    assert set(PUBLISHED) <= set(recipes.names())
    assert {figure.source for figures in PUBLISHED.values() for figure in figures} == set(SOURCES)


def test_what_is_said_to_be_mmposes_accuracy_stands_in_its_model_index() -> None:
    index = _model_index()
    shown = {name: figure.ap for name, figures in PUBLISHED.items() for figure in figures if figure.source == "mmpose"}
    assert len(shown) > 15
    for name, accuracy in shown.items():
        model, _, ending = name.partition("-")
        kind, tail = ("td-hm", "") if not ending else ("td-reg", "_rle" if ending == "rle" else "")
        wanted = f"{kind}_{model.replace('_w', '-w').replace('resnet', 'res')}{tail}"
        assert accuracy in index[wanted], wanted


def _model_index() -> dict[str, set[float]]:
    """AP by the first part of a config's name, for 256 x 192 px (as MMPose writes it) and no other training data."""
    from pathlib import Path

    import mmpose

    folder = Path(mmpose.__file__).parent / ".mim" / "configs" / "body_2d_keypoint"
    found: dict[str, set[float]] = {}
    for place in ("topdown_heatmap", "topdown_regression"):
        for file in (folder / place / "coco").glob("*.yml"):
            for model in yaml.safe_load(file.read_text(encoding="utf-8"))["Models"]:
                config = Path(model["Config"]).stem
                plain = not any(word in config for word in ("fp16", "dark", "udp", "aic", "pretrained"))
                if config.endswith("coco-256x192") and plain:
                    start = config.replace("-8xb", "_8xb").partition("_8xb")[0]
                    found.setdefault(start, set()).update(
                        result["Metrics"]["AP"] for result in model["Results"] if "AP" in result["Metrics"]
                    )
    return found


def test_a_rule_adds_what_it_says() -> None:
    work = Work(1, 1, convolution=10, transposed=4, linear=5, attention=6, transposed_by_output=16,
                elements={"batch_norm": 3, "relu": 2})  # fmt: skip
    assert MMCV.gflops(work) * 1e9 == 10 + 4 + 5 + 6 + 2 * 3 + 2
    hrnet, transpose = SOURCES["hrnet"].counting, SOURCES["transpose"].counting
    assert hrnet is not None
    assert transpose is not None
    assert hrnet.gflops(work) * 2**30 == 10 + 16 + 5
    assert transpose.gflops(work) * 1e9 == 10 + 16 + 5 + 6 + 4 * 3 + 2


def test_a_registered_network_counts_as_the_named_one() -> None:
    model = named("scnet50")
    with DefaultScope.overwrite_default_scope("mmpose"):
        built = MODELS.build(model.config)
    assert count(built, (192, 256)) == work_of("scnet50")


@pytest.mark.slow
def test_the_tables_of_the_documents_are_what_is_computed() -> None:
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in text.splitlines() if "| `" in line]
    checked = [row for row in rows if row[0] in PUBLISHED and len(row) in (4, 6)]
    assert len(checked) == 13
    for name, here, *others in checked:
        work = work_of(name)
        assert here == f"{work.macs / 1e9:.2f}"
        sources = ("transpose",) if len(others) == 2 else ("mmpose-speed", "hrnet")
        for source, by_rule, printed in zip(sources, others[::2], others[1::2], strict=True):
            figure = next((f for f in published(name) if f.source == source), None)
            rule = SOURCES[source].counting
            assert rule is not None
            assert by_rule == ("" if figure is None else f"{rule.gflops(work):.2f}")
            assert printed == ("" if figure is None else str(figure.gflops))
