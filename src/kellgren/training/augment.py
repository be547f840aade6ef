"""Random changes to a batch of knees, as tensor operations: draw first, then apply."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from kellgren.recipe import Augmentation

Floats = npt.NDArray[np.float32]
_SHARPEST, _BLURRIEST = 0.95, 0.55


@dataclass(frozen=True, slots=True)
class Draw:
    """What chance decided for one batch; each array has one value per picture.

    Attributes:
        affine: ``(N, 2, 3)`` matrices from output to input coordinates, both in -1..1.
        contrast: factors about the picture's mean.
        brightness: added.
        gamma: exponents.
        shrink: to which share of its size the blurred part of the batch is shrunk.
        blurred: which pictures are.
        noise: standard deviations.
        noise_seed: of the noise field.
        box: ``(N, 4)`` top, left, height and width of the erased rectangle, as shares; zero: none.
    """

    affine: Floats
    contrast: Floats
    brightness: Floats
    gamma: Floats
    shrink: float
    blurred: npt.NDArray[np.bool_]
    noise: Floats
    noise_seed: int
    box: Floats


def draw(ranges: Augmentation, count: int, rng: np.random.Generator) -> Draw:
    """Let chance decide, once, for ``count`` pictures."""

    def symmetric(reach: float) -> Floats:
        return rng.uniform(-reach, reach, count).astype(np.float32)

    def factor(reach: float) -> Floats:
        return np.exp(symmetric(math.log1p(reach)))

    erased = rng.random(count) < ranges.erase
    box = rng.uniform((0.0, 0.0, 0.1, 0.1), (0.8, 0.8, 0.3, 0.3), (count, 4)).astype(np.float32)
    return Draw(
        affine=_affine(
            angle=np.radians(symmetric(ranges.rotation)),
            zoom=factor(ranges.scale),
            mirrored=rng.random(count) < ranges.mirror,
            shift=np.stack([symmetric(ranges.shift), symmetric(ranges.shift)], axis=1) * 2,
        ),
        contrast=1 + symmetric(ranges.contrast),
        brightness=symmetric(ranges.brightness),
        gamma=factor(ranges.gamma),
        shrink=float(rng.uniform(_BLURRIEST, _SHARPEST)),
        blurred=rng.random(count) < ranges.blur,
        noise=np.abs(symmetric(ranges.noise)),
        noise_seed=int(rng.integers(2**31)),
        box=box * erased[:, None],
    )


def _affine(angle: Floats, zoom: Floats, mirrored: npt.NDArray[np.bool_], shift: Floats) -> Floats:
    cosine, sine = np.cos(angle) / zoom, np.sin(angle) / zoom
    flip = np.where(mirrored, -1.0, 1.0)
    rows = np.stack(
        [
            np.stack([cosine * flip, -sine, shift[:, 0]], axis=1),
            np.stack([sine * flip, cosine, shift[:, 1]], axis=1),
        ],
        axis=1,
    )
    return rows.astype(np.float32)


def apply(planes: torch.Tensor, change: Draw) -> torch.Tensor:
    """Carry out what was drawn.

    Args:
        planes: ``(N, 1, S, S)`` float32 in 0..1.
        change: for N pictures.

    Returns:
        A new tensor of the same shape, in 0..1.
    """
    device = planes.device

    def each(values: Floats) -> torch.Tensor:
        return torch.from_numpy(values).to(device).view(-1, 1, 1, 1)

    grid = functional.affine_grid(
        torch.from_numpy(change.affine).to(device), list(planes.shape), align_corners=False
    )
    moved = functional.grid_sample(
        planes, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    moved = _lose_resolution(moved, change)
    moved = moved.clamp_min(1e-4) ** each(change.gamma)
    mean = moved.mean(dim=(1, 2, 3), keepdim=True)
    moved = (moved - mean) * each(change.contrast) + mean + each(change.brightness)
    if change.noise.any():
        generator = torch.Generator().manual_seed(change.noise_seed)
        field = torch.randn(moved.shape, generator=generator).to(device)
        moved = moved + field * each(change.noise)
    return _erase(moved, change.box).clamp(0.0, 1.0)


def _lose_resolution(planes: torch.Tensor, change: Draw) -> torch.Tensor:
    if not change.blurred.any():
        return planes
    chosen = torch.from_numpy(np.flatnonzero(change.blurred)).to(planes.device)
    size = planes.shape[-1]
    small = max(8, round(size * change.shrink))
    coarse = functional.interpolate(
        planes[chosen], size=(small, small), mode="bilinear", antialias=True, align_corners=False
    )
    blurred = functional.interpolate(
        coarse, size=(size, size), mode="bilinear", align_corners=False
    )
    return planes.index_copy(0, chosen, blurred)


def _erase(planes: torch.Tensor, boxes: Floats) -> torch.Tensor:
    size = planes.shape[-1]
    for plane, (top, left, height, width) in zip(planes, boxes, strict=True):
        if height:
            rows = slice(int(top * size), int((top + height) * size))
            columns = slice(int(left * size), int((left + width) * size))
            plane[:, rows, columns] = plane.mean()
    return planes
