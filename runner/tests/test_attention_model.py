"""Attention of a real MMPose model: what is taken is what its encoder does, and taking it changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attention_study import SIZE, write_config

from posestudy_runner import attending, attention_model
from posestudy_runner.attention import KINDS, RANDOM_POINTS, query_tokens
from posestudy_studies.drawn_cats import draw


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cats")
    draw(root, train=2, val=3, seed=1)
    return root


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A thin TransPose whose attention differs from place to place, tested with the mirror image."""
    torch.manual_seed(0)
    made = attending.build(write_config(tmp_path_factory.mktemp("model") / "config.py", data))
    made.init_weights()
    with torch.no_grad():
        for layer in made.neck.global_encoder.layers:
            layer.self_attn.in_proj_weight.mul_(6)
        made.head.final_layer.weight.mul_(100)
    return made


@pytest.fixture
def sample(model: Any, data: Path) -> dict[str, Any]:
    return attending.annotated_samples(model, data / "images" / "val_00001.jpg")[0]


def heatmaps(model: Any, sample: dict[str, Any]) -> torch.Tensor:
    from mmengine.dataset import pseudo_collate

    with torch.no_grad():
        found: torch.Tensor = model.test_step(pseudo_collate([sample]))[0].pred_fields.heatmaps
    return found


@pytest.mark.parametrize("flip_test", [True, False])
def test_taking_attention_leaves_the_predicted_heatmaps_bit_for_bit(
    model: Any, sample: dict[str, Any], flip_test: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(model.test_cfg, "output_heatmaps", True)
    monkeypatch.setitem(model.test_cfg, "flip_test", flip_test)
    before = heatmaps(model, sample)
    with model.neck.recording() as recorded:
        during = heatmaps(model, sample)
    assert len(recorded) == 1 + flip_test
    attention_model.attend(model, sample, model.dataset_meta)
    assert torch.equal(before, during)
    assert torch.equal(before, heatmaps(model, sample))


def test_areas_are_lines_of_the_whole_matrices_at_the_predicted_keypoints(model: Any, sample: dict[str, Any]) -> None:
    found = attention_model.attend(model, sample, model.dataset_meta)
    inputs = model.data_preprocessor({"inputs": [sample["inputs"]], "data_samples": [sample["data_samples"]]})["inputs"]
    with torch.no_grad(), model.neck.recording() as recorded:
        model.extract_feat(inputs)
    tokens = query_tokens(found.queries, 8, (12, 8))
    assert (found.stride, found.grid) == (8, (12, 8))
    assert len(set(tokens)) > 3
    for layer, matrix in enumerate(recorded[0]):
        rows = found.areas["dependency"][layer].reshape(len(tokens), -1)
        columns = found.areas["affect"][layer].reshape(len(tokens), -1)
        np.testing.assert_array_equal(rows, matrix[0, tokens].numpy())
        np.testing.assert_array_equal(columns, matrix[0][:, tokens].T.numpy())
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)
        assert np.abs(rows - columns).max() > 0.01


def test_queries_are_the_keypoints_as_mmpose_decodes_them_on_the_input(
    model: Any, sample: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(model.test_cfg, "flip_test", False)
    found = attention_model.attend(model, sample, model.dataset_meta)
    inputs = model.data_preprocessor({"inputs": [sample["inputs"]], "data_samples": [sample["data_samples"]]})["inputs"]
    with torch.no_grad():
        decoded = model.head.decode(model.head(model.extract_feat(inputs)))[0].keypoints[0]
    queries = np.array([[query.x, query.y] for query in found.keypoints])
    np.testing.assert_allclose(queries, decoded, atol=1e-3)
    assert [query.name for query in found.keypoints][:3] == ["L_Eye", "R_Eye", "Nose"]
    assert found.image.shape == (SIZE[1], SIZE[0], 3)
    assert found.links[0] == (0, 1)


def test_the_maps_are_those_of_the_image_and_not_of_its_mirror(
    model: Any, sample: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    flipped = attention_model.attend(model, sample, model.dataset_meta)
    monkeypatch.setitem(model.test_cfg, "flip_test", False)
    plain = attention_model.attend(model, sample, model.dataset_meta)
    mirrored = attention_model.attend(model, {**sample, "inputs": sample["inputs"].flip(-1)}, model.dataset_meta)
    for kind in KINDS:
        # The random points are the same whatever is predicted.
        at_random = [found.areas[kind][:, -RANDOM_POINTS:] for found in (flipped, plain, mirrored)]
        np.testing.assert_array_equal(at_random[0], at_random[1])
        assert np.abs(at_random[0] - at_random[2]).max() > 1e-4


def test_only_what_is_asked_for_is_kept_of_a_map(model: Any) -> None:
    with torch.no_grad(), model.neck.recording(lambda matrix: matrix[:, :2].clone()) as recorded:
        model(torch.zeros(1, 3, SIZE[1], SIZE[0]), None, mode="tensor")
    assert [tuple(kept.shape) for kept in recorded[0]] == [(1, 2, 96)] * 2
    with model.neck.recording() as whole:
        model(torch.zeros(1, 3, SIZE[1], SIZE[0]), None, mode="tensor")
    assert [tuple(kept.shape) for kept in whole[0]] == [(1, 96, 96)] * 2


def test_a_network_without_encoder_has_no_attention(model: Any, data: Path, tmp_path: Path) -> None:
    assert attention_model.has_attention(model)
    plain = attending.build(write_config(tmp_path / "plain.py", data, "resnet_tiny"))
    assert not attention_model.has_attention(plain)
