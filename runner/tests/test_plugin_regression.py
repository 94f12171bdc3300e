"""MMPose's regression heads as the plugin leaves them: each test fails with the shim taken away."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import posestudy_runner.plugin  # noqa: F401  (before mmpose, which does not import without it)

from mmengine.structures import InstanceData  # isort: skip
from mmpose.models.heads import RegressionHead, RLEHead
from mmpose.models.losses import RLELoss
from mmpose.models.utils.realnvp import RealNVP
from mmpose.structures import PoseDataSample
from torch.distributions import MultivariateNormal

from posestudy_runner.outcomes import classify
from posestudy_runner.plugin import regression

CHANNELS, KEYPOINTS, BATCH = 8, 5, 4
HEADS = [RLEHead, RegressionHead]


def samples() -> list[PoseDataSample]:
    made = []
    for _ in range(BATCH):
        labels = InstanceData(keypoint_labels=torch.rand(1, KEYPOINTS, 2), keypoint_weights=torch.ones(1, KEYPOINTS))
        made.append(PoseDataSample(gt_instance_labels=labels))
    return made


def trained(head: type[Any], dtype: torch.dtype | None) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss of a fresh head on fixed features, and its gradients."""
    torch.manual_seed(0)
    made = head(in_channels=CHANNELS, num_joints=KEYPOINTS)
    made.init_weights()
    features = (torch.randn(BATCH, CHANNELS, 1, 1).bfloat16().float(),)
    with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        loss = made.loss(features, samples())["loss_kpt"]
    loss.backward()
    return loss.item(), {name: part.grad for name, part in made.named_parameters() if part.grad is not None}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_costs_coordinates_nothing(head: type[Any], dtype: torch.dtype) -> None:
    plain, gradients = trained(head, None)
    mixed, mixed_gradients = trained(head, dtype)
    assert mixed == plain
    assert gradients.keys() == mixed_gradients.keys()
    assert all(torch.equal(gradients[name], mixed_gradients[name]) for name in gradients)


@pytest.mark.parametrize("head", HEADS)
def test_the_trap_of_mixed_precision_is_there(head: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    plain, _ = trained(head, None)
    stock = next(cell.cell_contents for cell in head.loss.__closure__ if callable(cell.cell_contents))
    monkeypatch.setattr(head, "loss", stock)
    mixed, _ = trained(head, torch.bfloat16)
    assert mixed != plain


def test_a_spread_too_small_for_float16_is_no_infinite_error() -> None:
    torch.manual_seed(0)
    head = RLEHead(in_channels=CHANNELS, num_joints=KEYPOINTS)
    with torch.no_grad():
        head.fc.weight.zero_()
        head.fc.bias.view(KEYPOINTS, 4)[:, 2:] = -18.0
    with torch.autocast("cpu", dtype=torch.float16):
        loss = head.loss((torch.ones(BATCH, CHANNELS, 1, 1).half(),), samples())["loss_kpt"]
    assert torch.isfinite(loss)


@pytest.fixture
def stock_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow's density as MMPose has it."""
    monkeypatch.setattr(RealNVP, "prior", property(lambda self: MultivariateNormal(self.loc, self.cov)))


def diverging(loss: RLELoss) -> torch.Tensor:
    points = torch.full((BATCH, KEYPOINTS, 2), torch.nan)
    found: torch.Tensor = loss(points, points, torch.rand(BATCH, KEYPOINTS, 2))
    return found


def test_a_diverged_flow_gives_a_loss_that_is_no_number() -> None:
    loss = diverging(RLELoss())
    assert torch.isnan(loss)
    assert classify(FloatingPointError(f"the loss was {loss.item()}")).outcome == "diverged"


@pytest.mark.usefixtures("stock_prior")
def test_the_trap_of_divergence_is_there() -> None:
    with pytest.raises(ValueError, match="within the support") as caught:
        diverging(RLELoss())
    assert classify(caught.value).outcome == "failed"


def test_the_density_of_numbers_is_the_stock_one(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    flow, errors = RealNVP(), torch.randn(50, 2)
    ours = flow.log_prob(errors)
    monkeypatch.setattr(RealNVP, "prior", property(lambda self: MultivariateNormal(self.loc, self.cov)))
    assert torch.equal(flow.log_prob(errors), ours)


@pytest.mark.parametrize("flip", [False, True])
def test_scores_are_ones_or_one_minus_the_spread(flip: bool) -> None:
    decoder = {"type": "RegressionLabel", "input_size": (64, 48)}
    torch.manual_seed(0)
    features = [(10 * torch.randn(BATCH, CHANNELS, 1, 1),) for _ in range(2)]
    meta = {"flip_indices": [1, 0, 2, 3, 4], "input_size": (64, 48)}
    found = {}
    for head in HEADS:
        made = head(in_channels=CHANNELS, num_joints=KEYPOINTS, decoder=decoder)
        batch = [PoseDataSample(metainfo=meta) for _ in range(BATCH)]
        with torch.no_grad():
            predictions = made.predict(features if flip else features[0], batch, {"flip_test": flip})
        found[head] = [one.keypoint_scores for one in predictions]
    assert all((scores == 1).all() for scores in found[RegressionHead])
    assert all(((scores > 0) & (scores < 1)).all() for scores in found[RLEHead])
    assert len({float(value) for scores in found[RLEHead] for value in scores.ravel()}) > BATCH


def test_installing_twice_changes_nothing() -> None:
    before = RealNVP.prior, *(head.loss for head in HEADS)
    regression.install()
    assert (RealNVP.prior, *(head.loss for head in HEADS)) == before
