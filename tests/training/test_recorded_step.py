"""A step recorded on a GPU learns what a step asked for kernel by kernel learns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kellgren.training.recorded_step import GRAPHS, RecordedStep, gradients_of

BATCHES = (8, 8, 5, 8, 8)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="recorded on a GPU alone")


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 5),
    )  # fmt: skip


def _learnt(place: str) -> tuple[list[float], list[Tensor]]:
    """The losses of a few steps, one of a smaller batch, and the weights after them."""
    network = _network().to(place)
    loss_of = lambda images, targets: functional.cross_entropy(network(images), targets)  # noqa: E731
    gradients = gradients_of(network, loss_of)
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.05)
    chance, losses = torch.Generator().manual_seed(1), []
    for size in BATCHES:
        images = torch.rand(size, 3, 16, 16, generator=chance).to(place)
        targets = torch.rand(size, 5, generator=chance).softmax(dim=1).to(place)
        losses.append(float(gradients(images, targets)))
        optimiser.step()
    return losses, [weight.detach().cpu() for weight in network.parameters()]


def test_a_processor_computes_step_by_step() -> None:
    network = _network()
    assert not isinstance(gradients_of(network, functional.cross_entropy), RecordedStep)
    losses, _ = _learnt("cpu")
    assert losses[-1] < losses[0]


@needs_gpu
def test_a_recorded_step_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = _learnt("cuda")
    monkeypatch.setenv(GRAPHS, "0")
    asked = _learnt("cuda")
    assert recorded[0] == pytest.approx(asked[0], abs=1e-4)
    for weight, expected in zip(recorded[1], asked[1], strict=True):
        torch.testing.assert_close(weight, expected, atol=1e-3, rtol=1e-3)
