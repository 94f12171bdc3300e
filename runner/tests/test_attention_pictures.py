"""Attention pictures from plain matrices: which row or column, which values, and where it is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from posestudy_runner import attention
from posestudy_runner.attention import KINDS, Attention, Query

GRID, STRIDE = (4, 3), 8
TOKENS = GRID[0] * GRID[1]
NAMES = ("nose", "left_eye", "right_eye")


def matrix(seed: int = 0) -> np.ndarray:
    """An asymmetric attention matrix: rows sum to 1, columns do not."""
    drawn = np.random.default_rng(seed).uniform(size=(TOKENS, TOKENS)).astype(np.float32) ** 4
    return drawn / drawn.sum(axis=1, keepdims=True)


def attended(layers: int = 2, points: tuple[tuple[float, float], ...] = ((9, 2), (12.5, 20), (23, 31))) -> Attention:
    size = (GRID[1] * STRIDE, GRID[0] * STRIDE)
    queries = attention.queries(np.asarray(points), NAMES, size)
    tokens = attention.query_tokens(queries, STRIDE, GRID)
    matrices = [matrix(seed) for seed in range(layers)]
    areas = {kind: np.stack([attention.lines(m, tokens, kind) for m in matrices]) for kind in KINDS}
    image = np.full((size[1], size[0], 3), 128, dtype=np.uint8)
    return Attention(
        image, queries, ((0, 1),), STRIDE, {k: a.reshape(layers, len(queries), *GRID) for k, a in areas.items()}
    )


@pytest.mark.parametrize(
    ("x", "y", "cell"),
    [
        (0, 0, (0, 0)),
        (7.999, 7.999, (0, 0)),
        (8, 7, (0, 1)),
        (7, 8, (1, 0)),
        (23.9, 31.9, (3, 2)),
        (-0.5, -40, (0, 0)),
        (24, 500, (3, 2)),
        (float("nan"), 9, (1, 0)),
    ],
)
def test_a_query_belongs_to_the_cell_its_pixel_lies_in(x: float, y: float, cell: tuple[int, int]) -> None:
    query = Query("nose", x, y)
    assert attention.query_cell(query, STRIDE, GRID) == cell
    assert attention.query_tokens([query], STRIDE, GRID) == [cell[0] * GRID[1] + cell[1]]


def test_dependency_is_the_row_and_affect_the_column() -> None:
    weights, found = matrix(), attended()
    # Pixel (12.5, 20) is in row 2, column 1 of the grid: token 2 * 3 + 1.
    np.testing.assert_array_equal(found.areas["dependency"][0, 1], weights[7].reshape(GRID))
    np.testing.assert_array_equal(found.areas["affect"][0, 1], weights[:, 7].reshape(GRID))
    assert found.areas["dependency"][0, 1].sum() == pytest.approx(1)
    assert found.areas["affect"][0, 1].sum() != pytest.approx(1, abs=0.01)


def test_a_tensor_gives_the_same_lines_as_an_array() -> None:
    weights = matrix()
    for kind in KINDS:
        lines = attention.lines(torch.from_numpy(weights), [7, 2], kind)
        np.testing.assert_array_equal(lines.numpy(), attention.lines(weights, [7, 2], kind))


def test_an_area_grows_bilinearly_as_torch_does_it_and_keeps_its_values() -> None:
    area = matrix()[5].reshape(GRID)
    expected = functional.interpolate(torch.from_numpy(area)[None, None], scale_factor=STRIDE, mode="bilinear")[0, 0]
    np.testing.assert_allclose(attention.shown(area, STRIDE, 0.0), expected.numpy(), atol=1e-6)


def test_values_up_to_the_threshold_show_nothing_and_others_stay() -> None:
    area = np.float32([[0.0, 0.01], [0.02, 0.04]])
    np.testing.assert_array_equal(attention.shown(area, 1, 0.02), np.float32([[0, 0], [0, 0.04]]))
    np.testing.assert_array_equal(attention.shown(area, 1, 0.0), area)


@pytest.mark.parametrize(
    ("stride", "tokens", "threshold"),
    [(8, 768, 0.01), (4, 3072, 0.00075), (8, 64, 0.12), (4, 768, 0.003), (16, 192, 0.04)],
)
def test_the_usual_threshold_follows_the_grid(stride: int, tokens: int, threshold: float) -> None:
    assert attention.usual_threshold(stride, tokens) == pytest.approx(threshold)


def test_colours_go_up_to_the_maximum_and_nothing_is_black_at_the_given_opacity() -> None:
    from matplotlib import colormaps

    image = np.full((1, 2, 3), 200, dtype=np.uint8)
    none, most = attention.overlay(image, np.float32([[0, 0.3]]))[0].astype(int)
    assert none.tolist() == [42, 42, 42]
    top = np.array(colormaps["nipy_spectral"](1.0)[2::-1]) * 255
    np.testing.assert_allclose(most, 0.21 * 200 + 0.79 * top, atol=1)
    blank = attention.overlay(image, np.zeros((1, 2), dtype=np.float32))
    assert (blank == 42).all()


def test_there_is_a_panel_for_each_layer_and_keypoint_two_random_points_and_the_image() -> None:
    found = attended(layers=3)
    assert [query.name for query in found.queries] == [*NAMES, "random", "random"]
    for kind in KINDS:
        rows = attention.panels(found, kind, 0.05)
        assert [len(row) for row in rows] == [len(NAMES) + 3] * 3
        assert {panel.picture.shape for row in rows for panel in row} == {(192, 144, 3)}


def test_random_points_are_the_same_every_time_and_on_the_input() -> None:
    points = np.zeros((0, 2))
    first, again = (attention.queries(points, (), (24, 32), seed=5) for _ in range(2))
    assert first == again
    assert first != attention.queries(points, (), (24, 32), seed=6)
    assert all(0 <= query.x < 24 and 0 <= query.y < 32 for query in first)


def test_the_star_stands_at_the_query() -> None:
    found = attended(points=((4, 8), (12, 16), (20, 24)))
    row = attention.panels(found, "dependency", 1.0)[0]
    for panel, (x, y) in zip(row[1:4], ((4, 8), (12, 16), (20, 24)), strict=True):
        # Nothing is above a threshold of 1, so the star alone is bright; a panel has 6 px for one of the input.
        ys, xs = np.nonzero((panel.picture == 255).all(axis=2))
        assert abs(xs.mean() - 6 * x) < 1.5
        assert abs(ys.mean() - 6 * y) < 1.5


def test_a_star_outside_the_input_stands_at_its_edge() -> None:
    found = attended(points=((-50, 16), (12, 900), (12, 16)))
    left, low = attention.panels(found, "dependency", 1.0)[0][1:3]
    assert np.nonzero((left.picture == 255).all(axis=2))[1].max() < 16
    assert np.nonzero((low.picture == 255).all(axis=2))[0].min() > 192 - 16


def test_below_a_panel_stands_the_maximum_also_where_it_is_all_black() -> None:
    found = attended()
    expected = f"{found.areas['affect'][1, 0].max():.2g}"
    assert attention.panels(found, "affect", 1.0)[1][1].note == expected


def test_a_figure_holds_its_panels_and_many_keypoints_go_on_below() -> None:
    found = attended(layers=2)
    picture = attention.figure(found, "dependency", 0.05)
    panel = attention.panels(found, "dependency", 0.05)[1][3].picture
    windows = np.lib.stride_tricks.sliding_window_view(picture[..., 1], panel.shape[:2])[::, ::4]
    assert any((window == panel[..., 1]).all() for row in windows for window in row)
    many = Attention(
        found.image,
        found.queries[:1] * 46 + found.queries[-2:],
        (),
        STRIDE,
        {"affect": np.repeat(found.areas["affect"][:, :1], 48, axis=1)},
    )
    wrapped = attention.figure(many, "affect", 0.05)
    assert wrapped.shape[1] < 24 * 150 + 100
    assert wrapped.shape[0] > 3 * 2 * 192
    assert wrapped.dtype == np.uint8


def test_an_input_that_the_grid_does_not_divide_keeps_its_size() -> None:
    found = attended()
    odd = Attention(np.zeros((35, 26, 3), dtype=np.uint8), found.queries, (), STRIDE, found.areas)
    assert attention.panels(odd, "affect", 0.0)[0][1].picture.shape == (192, 143, 3)
