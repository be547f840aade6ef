"""Train the network that tells a left knee from a right one by its anatomy: mostly the fibula."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIZE = 96
"""Height and width of what the network sees, in pixels."""
_BATCH = 64


class SideNetwork(nn.Module):
    """``(N, 1, S, S)`` upright knees, grey values 0..1, to ``(N,)`` logits of being a left one.

    The answer is the difference between the scores of the knee and at its mirror image, so that a
    mirrored knee is exactly as much a right one as the knee is a left one.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, stride in ((1, 16, 2), (16, 32, 2), (32, 64, 2), (64, 64, 2)):
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        self.look = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3))
        self.weigh = nn.Linear(64 * (SIZE // 16) ** 2, 1, bias=False)

    def forward(self, knee: Tensor) -> Tensor:
        """See the class."""
        knee = knee * 4 - 2
        scores: Tensor = self.weigh(self.look(torch.cat([knee, knee.flip(3)])))[:, 0]
        seen, mirrored = scores.chunk(2)
        return seen - mirrored


def train_side(
    crops: npt.NDArray[np.uint8], is_left: npt.NDArray[np.bool_], *, epochs: int, seed: int
) -> SideNetwork:
    """Train on crops as published, a little moved, turned and scaled, half of them mirrored.

    Args:
        crops: ``(N, h, h)``.
        is_left: ``(N,)``.
        epochs: over all crops.
        seed: of everything drawn.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = SideNetwork().train()
    steps = epochs * (len(crops) // _BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=max(steps, 2))
    for step in range(steps):
        if step % (len(crops) // _BATCH) == 0:
            order = rng.permutation(len(crops))
        chosen = order[(step % (len(crops) // _BATCH)) * _BATCH :][:_BATCH]
        flip = rng.random(_BATCH) < 0.5
        left = torch.from_numpy((is_left[chosen] ^ flip).astype(np.float32))
        logit = network(_moved(torch.from_numpy(crops[chosen]), flip, rng))
        entropy = F.binary_cross_entropy_with_logits(logit, left)
        optimiser.zero_grad(set_to_none=True)
        entropy.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return network.eval()


def _moved(crops: Tensor, flip: npt.NDArray[np.bool_], rng: np.random.Generator) -> Tensor:
    """Crops as a localiser may cut them: ``(N, 1, SIZE, SIZE)``."""
    count = len(crops)
    turn = rng.normal(0, 0.08, count)
    scale = np.exp(rng.normal(0, 0.07, count))
    sign = np.where(flip, -1.0, 1.0)
    matrix = np.zeros((count, 2, 3), dtype=np.float32)
    matrix[:, 0, 0], matrix[:, 0, 1] = sign * scale * np.cos(turn), -scale * np.sin(turn)
    matrix[:, 1, 0], matrix[:, 1, 1] = sign * scale * np.sin(turn), scale * np.cos(turn)
    matrix[:, :, 2] = rng.normal(0, 0.06, (count, 2))
    grid = F.affine_grid(torch.from_numpy(matrix), [count, 1, SIZE, SIZE], align_corners=False)
    planes = crops[:, None].float() / 255
    moved = F.grid_sample(planes, grid, padding_mode="border", align_corners=False)
    gamma = torch.from_numpy(rng.uniform(0.7, 1.4, (count, 1, 1, 1)).astype(np.float32))
    gain = torch.from_numpy(rng.uniform(0.7, 1.0, (count, 1, 1, 1)).astype(np.float32))
    return moved.clamp(1e-4, 1) ** gamma * gain
