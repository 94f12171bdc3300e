"""The TransPose components against an independent computation from the same official weights."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from official_transpose import heatmaps

from posestudy.errors import PoseStudyError
from posestudy_runner import models_files, plugin, transpose_weights  # noqa: F401
from posestudy_studies import network_config, presets
from posestudy_studies.spec import Evaluation
from posestudy_studies.training import Training

PUBLISHED = {
    "transpose-r-a3": (5_195_345, 190),
    "transpose-r-a4": (5_985_105, 202),
    "transpose-h-s": (8_019_281, 982),
    "transpose-h-a4": (17_306_129, 982),
    "transpose-h-a6": (17_455_697, 1006),
}
"""Parameters, the position table among them, and entries of the state dict."""
FIVE = [pytest.param(name, marks=[pytest.mark.slow] if "-h-a" in name else []) for name in PUBLISHED]


def build(name: str, size: tuple[int, int] = (192, 256), keypoints: int = 17, **changes: Any) -> Any:
    """The network of a preset, in evaluation mode; `size` is (width, height)."""
    from mmengine.registry import init_default_scope
    from mmpose.registry import MODELS

    init_default_scope("mmpose")
    given = {"model": name, "input_size": list(size), "codec": "udp", "epochs": 1, "batch_size": 1}
    training = Training.model_validate({**given, "optimizer": {"lr": 1e-4}, **changes})
    return MODELS.build(network_config.network(Evaluation(), training, keypoints).model).eval()


def official_weights(name: str, size: tuple[int, int] = (192, 256), keypoints: int = 17) -> dict[str, torch.Tensor]:
    """Weights under the official names, filled at random so that no layer's output vanishes or explodes."""
    random, filled = torch.Generator().manual_seed(1), {}
    for full, tensor in build(name, size, keypoints).state_dict().items():
        part = full.split(".", 1)[1]
        if tensor.ndim == 0 or part == "pos_embedding":
            filled[part] = tensor.clone()
        elif part.endswith("running_var"):
            filled[part] = torch.rand(tensor.shape, generator=random) + 0.5
        elif tensor.ndim == 1:
            start = 1.0 if part.endswith("weight") else 0.0
            filled[part] = start + 0.1 * torch.randn(tensor.shape, generator=random)
        else:
            filled[part] = torch.randn(tensor.shape, generator=random) * math.sqrt(2 / tensor[0].numel())
    return filled


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference over the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_every_variant_has_the_published_number_of_parameters(name: str) -> None:
    model = build(name)
    assert (sum(p.numel() for p in model.parameters()), len(model.state_dict())) == PUBLISHED[name]


@pytest.mark.parametrize("name", FIVE)
def test_official_weights_give_the_official_heatmaps_through_convert_and_mmposes_own_door(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mmpose.apis import init_model

    weights = official_weights(name)
    torch.save(weights, tmp_path / "official.pth")
    models_files.convert(tmp_path / "official.pth", tmp_path / "out.pth")
    models_files.config(name, tmp_path / "cfg.py")
    assert f"is {name}, 17 keypoints, {PUBLISHED[name][0]:,} parameters" in capsys.readouterr().out
    model = init_model(str(tmp_path / "cfg.py"), str(tmp_path / "out.pth"), device="cpu")
    model.load_state_dict(torch.load(tmp_path / "out.pth", weights_only=True)["state_dict"], strict=True)
    assert len(model.dataset_meta["flip_indices"]) == 17
    image = torch.randn(1, 3, 256, 192, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected, ours = heatmaps(weights, image), model(image, None, mode="tensor")
    assert expected.abs().max() > 0.1
    assert expected.std(dim=(2, 3)).min() > 1e-3, "the heatmaps are flat: the test would prove nothing"
    assert relative(ours, expected) < 1e-5


@pytest.mark.parametrize("form", ["bare", "module", "training", "best"])
def test_every_form_of_official_file_is_taken(form: str, tmp_path: Path) -> None:
    weights = official_weights("transpose-r-a3")
    behind = {f"module.{name}": part for name, part in weights.items()}
    files = {
        "bare": weights,
        "module": behind,
        "training": {"epoch": 3, "model": "transpose_r", "state_dict": behind, "optimizer": {"state": {}}},
        "best": {"epoch": 3, "state_dict": behind, "best_state_dict": weights, "perf": 0.7, "optimizer": {}},
    }
    torch.save(files[form], tmp_path / "in.pth")
    models_files.convert(tmp_path / "in.pth", tmp_path / "out.pth")
    written = torch.load(tmp_path / "out.pth", weights_only=True)
    assert written["meta"]["model"] == "transpose-r-a3"
    assert torch.equal(written["state_dict"]["neck.reduce.weight"], weights["reduce.weight"])
    assert len(written["state_dict"]) == len(weights)


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_what_is_missing_left_over_or_misshapen_is_listed_by_its_official_name(name: str, tmp_path: Path) -> None:
    weights = official_weights(name)
    norm = next(part for part in weights if part.endswith("running_mean"))
    del weights[norm]
    del weights["global_encoder.layers.1.norm1.weight"]
    weights["layer9.weight"] = torch.zeros(2)
    weights["final_layer.bias"] = torch.zeros(16)
    torch.save(weights, tmp_path / "in.pth")
    with pytest.raises(PoseStudyError) as refused:
        models_files.convert(tmp_path / "in.pth", tmp_path / "out.pth")
    message = str(refused.value)
    assert f"does not fit {name}" in message
    assert f"missing: {norm} [" in message
    assert "missing: global_encoder.layers.1.norm1.weight [" in message
    assert "left over: layer9.weight [2]" in message
    assert "wrong shape: final_layer.bias is [16], expected [17]" in message
    assert not (tmp_path / "out.pth").exists()


@pytest.mark.parametrize("missing", ["reduce.weight", "pos_embedding", "final_layer.weight", "deconv_layers.0.weight"])
def test_a_file_without_one_telling_tensor_is_still_recognised_and_refused(missing: str, tmp_path: Path) -> None:
    weights = official_weights("transpose-r-a4")
    del weights[missing]
    torch.save(weights, tmp_path / "in.pth")
    with pytest.raises(PoseStudyError, match=rf"does not fit transpose-r-a4[\s\S]*missing: {missing} "):
        models_files.convert(tmp_path / "in.pth", tmp_path / "out.pth")


def test_other_files_are_refused_for_what_they_are(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(PoseStudyError, match=r"no official TransPose checkpoint: it holds conv1\.weight; expected"):
        models_files.convert(tmp_path / "other.pth", tmp_path / "out.pth")
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(PoseStudyError, match="is not a file of weights"):
        models_files.convert(tmp_path / "text.pth", tmp_path / "out.pth")
    with pytest.raises(PoseStudyError, match="cannot be read"):
        models_files.convert(tmp_path / "none.pth", tmp_path / "out.pth")
    weights = {"reduce.weight": torch.zeros(64, 40, 1, 1), "global_encoder.layers.0.norm1.bias": torch.zeros(64)}
    torch.save(weights, tmp_path / "odd.pth")
    with pytest.raises(PoseStudyError, match=r"no known variant \(1 encoder layers over features of unknown channels"):
        models_files.convert(tmp_path / "odd.pth", tmp_path / "out.pth")


def test_another_input_size_and_keypoint_count_convert_where_they_are_told(tmp_path: Path) -> None:
    torch.save(official_weights("transpose-r-a3", (288, 384), 14), tmp_path / "in.pth")
    with pytest.raises(PoseStudyError, match=r"say --input:\s+wrong shape: pos_embedding is \[1728, 1, 256\]"):
        models_files.convert(tmp_path / "in.pth", tmp_path / "out.pth")
    models_files.convert(tmp_path / "in.pth", tmp_path / "out.pth", size="288x384")
    weights = torch.load(tmp_path / "out.pth", weights_only=True)["state_dict"]
    build("transpose-r-a3", (288, 384), 14).load_state_dict(weights, strict=True)


def test_an_official_file_initialises_the_whole_network_also_at_another_size(tmp_path: Path) -> None:
    weights = official_weights("transpose-r-a3")
    torch.save(weights, tmp_path / "official.pth")
    model = build("transpose-r-a3", (128, 160), init=str(tmp_path / "official.pth"))
    own = model.neck.pos_embedding.clone()
    model.init_weights()
    assert torch.equal(model.backbone.conv1.weight, weights["conv1.weight"])
    assert torch.equal(
        model.neck.global_encoder.layers[2].linear2.weight, weights["global_encoder.layers.2.linear2.weight"]
    )
    assert torch.equal(model.head.final_layer.weight, weights["final_layer.weight"])
    assert torch.equal(model.neck.pos_embedding, own), "positions of another grid were taken over"


def test_weights_of_the_backbone_alone_leave_the_rest_at_its_start(tmp_path: Path) -> None:
    weights = official_weights("transpose-r-a3")
    alone = {name: part for name, part in weights.items() if name.startswith(("conv1", "bn1", "layer"))}
    torch.save(alone, tmp_path / "backbone.pth")
    model = build("transpose-r-a3", init=str(tmp_path / "backbone.pth"))
    torch.manual_seed(0)
    model.init_weights()
    assert torch.equal(model.backbone.layer2[3].conv3.weight, weights["layer2.3.conv3.weight"])
    assert 0.0008 < float(model.head.final_layer.weight.std()) < 0.0012
    assert float(model.head.deconv_layers[0].weight.std()) > 0.005, "torch's own start is wider than 0.001"
    assert float(model.neck.reduce.weight.std()) > 0.01


def test_without_weights_every_convolution_starts_narrow_and_the_encoder_as_xavier_says() -> None:
    for name in ("transpose-r-a3", "transpose-h-s"):
        torch.manual_seed(0)
        model = build(name)
        model.init_weights()
        for weight in (model.backbone.conv1.weight, model.neck.reduce.weight, model.head.final_layer.weight):
            assert 0.0008 < float(weight.std()) < 0.0012
        first, second = model.neck.global_encoder.layers[:2]
        limit = math.sqrt(6 / sum(first.linear1.weight.shape))
        assert 0.9 * limit < float(first.linear1.weight.abs().max()) <= limit
        assert not torch.equal(first.linear1.weight, second.linear1.weight)
        assert torch.equal(first.linear1.bias, second.linear1.bias), "layers are copies of one"
        assert not first.self_attn.in_proj_bias.any()
        assert not first.self_attn.out_proj.bias.any()


def test_the_sine_table_is_the_one_of_the_paper() -> None:
    from posestudy_runner.plugin.transpose import sine_positions

    table = sine_positions(32, 24, 256)
    assert table.shape == (768, 1, 256)
    assert table.dtype is torch.float32
    row, column = 5, 7
    vector = table[row * 24 + column, 0]
    for channel in (0, 1, 6, 127):
        length = 10000 ** (2 * (channel // 2) / 128)
        wave = math.sin if channel % 2 == 0 else math.cos
        assert vector[channel] == pytest.approx(wave(2 * math.pi * (row + 1) / 32 / length), abs=1e-6)
        assert vector[128 + channel] == pytest.approx(wave(2 * math.pi * (column + 1) / 24 / length), abs=1e-6)


def test_taking_attention_leaves_the_heatmaps_and_gives_the_softmax_of_the_logits() -> None:
    torch.manual_seed(0)
    model = build("transpose-r-thin", (64, 96))
    model.init_weights()
    image = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        before = model(image, None, mode="tensor")
        with model.neck.recording() as passes:
            during = model(image, None, mode="tensor")
        after = model(image, None, mode="tensor")
        layer, features = model.neck.global_encoder.layers[0], model.neck.reduce(model.backbone(image)[-1])
        tokens = features.flatten(2).permute(2, 0, 1)
        query = tokens + model.neck.pos_embedding
        _, weights = layer.self_attn(query, query, tokens, need_weights=True)
    assert torch.equal(before, during)
    assert torch.equal(before, after)
    assert len(passes) == 1, "recording went on after its block"
    assert [tuple(one.shape) for one in passes[0]] == [(2, 96, 96)] * 2
    assert (model.neck.grid, model.neck.stride_of(96)) == ((12, 8), 8)
    assert torch.allclose(passes[0][0], weights, atol=1e-6)
    assert torch.allclose(passes[0][1].sum(-1), torch.ones(2, 96), atol=1e-5)


def test_a_network_takes_images_of_another_size_than_it_was_built_for() -> None:
    model = build("transpose-r-thin", (64, 96))
    assert model(torch.randn(1, 3, 64, 64), None, mode="tensor").shape == (1, 17, 16, 16)


def test_a_learned_table_is_resized_and_a_wrong_one_refused() -> None:
    from posestudy_runner.plugin.transpose import TransPoseEncoder

    def encoder(width: int, height: int) -> Any:
        return TransPoseEncoder(8, 8, 16, 1, 2, (width, height), position="learnable")

    small, large = encoder(3, 4), encoder(6, 8)
    large.load_state_dict(small.state_dict(), strict=True)
    corner = large.pos_embedding.detach().reshape(8, 6, 8)[-1, -1]
    assert torch.allclose(corner, small.pos_embedding.detach().reshape(4, 3, 8)[-1, -1], atol=1e-6)
    assert large((torch.randn(1, 8, 4, 3),))[0].shape == (1, 8, 4, 3)
    with pytest.raises(RuntimeError, match="pos_embedding"):
        encoder(5, 7).load_state_dict(encoder(1, 7).state_dict(), strict=True)
    with pytest.raises(ValueError, match="d_model is 6"):
        TransPoseEncoder(8, 6, 16, 1, 2, (3, 4))
    with pytest.raises(ValueError, match="sine, learnable or none"):
        TransPoseEncoder(8, 8, 16, 1, 2, (3, 4), position="sines")


def test_attention_without_maps_is_fused() -> None:
    model = build("transpose-r-thin", (64, 64))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile, torch.no_grad():
        model(torch.randn(1, 3, 64, 64), None, mode="tensor")
    called = {event.key for event in profile.key_averages()}
    assert "aten::scaled_dot_product_attention" in called
    assert "aten::softmax" not in called


def test_the_wrong_codec_and_size_are_refused_with_what_fits() -> None:
    with pytest.raises(ValueError, match="its encoder keeps the places apart"):
        build("transpose-r-a3", codec="regression")
    with pytest.raises(ValueError, match="multiples of 16 px for transpose-h-s"):
        build("transpose-h-s", (200, 256))
    with pytest.raises(ValueError, match=r"hrnet_w32-36af842e\.pth, a file, or none"):
        build("transpose-h-s", init="torchvision://resnet50")
    with pytest.raises(ValueError, match="torchvision://resnet50, a file, or none"):
        build("transpose-r-a3", init=str(presets.preset("transpose-r-a4").official))


def test_stages_can_be_frozen_as_far_as_there_are_any() -> None:
    frozen = build("transpose-h-s", (64, 64), backbone={"frozen_stages": 3}).train()
    assert not any(p.requires_grad for p in frozen.backbone.stage3.parameters())
    with pytest.raises(ValueError, match="-1 to 2 for transpose-r-a3"):
        build("transpose-r-a3", backbone={"frozen_stages": 3})


@pytest.mark.parametrize(
    ("name", "amp"),
    [
        ("transpose-r-thin", False),
        ("transpose-r-thin", True),
        ("transpose-r-a3", False),
        ("transpose-h-s", False),
        # bfloat16 is slow on a CPU.
        pytest.param("transpose-r-a3", True, marks=pytest.mark.slow),
        pytest.param("transpose-h-s", True, marks=pytest.mark.slow),
    ],
)
def test_training_lowers_the_loss_also_in_bfloat16(name: str, amp: bool) -> None:
    torch.manual_seed(0)
    model = build(name, (64, 64), 5).train()
    model.init_weights()
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=1e-3)
    image, target = torch.randn(2, 3, 64, 64), torch.zeros(2, 5, 16, 16)
    target[:, :, 4:9, 6:11] = 1.0
    losses = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(12):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp):
                loss = ((model(image, None, mode="tensor") - target) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert model.neck.pos_embedding.grad is None
