"""Random changes to batches of knees, as tensor operations: draw first, then apply.

Chance is drawn where the pictures are, for a whole epoch at once, and nothing that was drawn is
read back: neither drawing nor applying waits for the device, and every tensor's shape is known
beforehand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from kellgren.training.recipe import Augmentation

_SHARPEST, _BLURRIEST = 0.95, 0.55
_SMALLEST = 8  # pixels: to what a picture is shrunk at most
_NUMBERS = 16  # that chance gives each picture


@dataclass(frozen=True, slots=True)
class Draw:
    """What chance decided for T batches of N pictures; of one batch, without the T.

    Attributes:
        affine: ``(T, N, 2, 3)`` matrices from output to input coordinates, both in -1..1.
        contrast: ``(T, N)`` factors about the picture's mean.
        brightness: ``(T, N)``, added.
        gamma: ``(T, N)`` exponents.
        shrink: ``(T,)``, to which share of its size the blurred part of a batch is shrunk.
        blurred: ``(T, M)``, which of a batch's first M pictures are; ``None``: none ever is.
        noise: ``(T, N)`` standard deviations; ``None``: no noise ever.
        box: ``(T, N, 4)`` top, left, height and width of the erased rectangle, as shares; zero:
            none; ``None``: none ever.
    """

    affine: Tensor
    contrast: Tensor
    brightness: Tensor
    gamma: Tensor
    shrink: Tensor
    blurred: Tensor | None
    noise: Tensor | None
    box: Tensor | None

    def of_step(self, step: int) -> Draw:
        """What was drawn for one of the batches."""
        every = {part.name: getattr(self, part.name) for part in fields(self)}
        drawn: dict[str, Any] = {
            name: None if values is None else values[step] for name, values in every.items()
        }
        return Draw(**drawn)


def draw(
    ranges: Augmentation,
    steps: int,
    count: int,
    generator: torch.Generator,
    device: str | None = None,
) -> Draw:
    """Let chance decide, once, for ``steps`` batches of ``count`` pictures.

    Every number is drawn, whatever is switched on: two recipes that differ in one range get the
    same chance in all others. Blur costs most, so only the first ``M = ceil(count * blur)``
    pictures of a batch can have it, each with the probability ``count * blur / M``. A batch's order
    is chance too: the probability for every knee is ``blur``.

    Args:
        ranges: of a recipe.
        steps: T.
        count: N.
        generator: advances.
        device: of the tensors; the generator's if not given.
    """
    place = device or generator.device
    chance = torch.rand(steps, count, _NUMBERS, generator=generator, device=place)
    turn, zoom, mirror, across, down, contrast, brightness, gamma, blur, noise, erase, shrink = (
        chance[..., :12].unbind(-1)
    )

    def symmetric(column: Tensor, reach: float) -> Tensor:
        return (2 * column - 1) * reach

    def factor(column: Tensor, reach: float) -> Tensor:
        return symmetric(column, math.log1p(reach)).exp()

    few = math.ceil(count * ranges.blur)
    box = torch.cat([0.8 * chance[..., 12:14], 0.1 + 0.2 * chance[..., 14:]], dim=-1)
    return Draw(
        affine=_affine(
            angle=symmetric(turn, math.radians(ranges.rotation)),
            zoom=factor(zoom, ranges.scale),
            flip=1.0 - 2.0 * (mirror < ranges.mirror).float(),
            across=symmetric(across, 2 * ranges.shift),
            down=symmetric(down, 2 * ranges.shift),
        ),
        contrast=1 + symmetric(contrast, ranges.contrast),
        brightness=symmetric(brightness, ranges.brightness),
        gamma=factor(gamma, ranges.gamma),
        shrink=_BLURRIEST + (_SHARPEST - _BLURRIEST) * shrink[:, 0],
        blurred=blur[:, :few] < count * ranges.blur / few if few else None,
        noise=noise * ranges.noise if ranges.noise else None,
        box=box * (erase < ranges.erase)[..., None] if ranges.erase else None,
    )


def _affine(angle: Tensor, zoom: Tensor, flip: Tensor, across: Tensor, down: Tensor) -> Tensor:
    cosine, sine = angle.cos() / zoom, angle.sin() / zoom
    rows = [
        torch.stack([cosine * flip, -sine, across], dim=-1),
        torch.stack([sine * flip, cosine, down], dim=-1),
    ]
    return torch.stack(rows, dim=-2)


def apply(planes: Tensor, change: Draw, generator: torch.Generator) -> Tensor:
    """Carry out what was drawn.

    Args:
        planes: ``(N, 1, S, S)`` float32 in 0..1.
        change: of one batch of N pictures, on the same device.
        generator: of the noise's pixels; advances where there is noise.

    Returns:
        A new tensor of the same shape, in 0..1.
    """

    def each(values: Tensor) -> Tensor:
        return values.view(-1, 1, 1, 1)

    moved = functional.grid_sample(
        planes,
        _grid(change.affine, planes.shape[-1]),
        mode="bilinear",
        padding_mode="reflection",
        align_corners=False,
    )
    if change.blurred is not None:
        few = moved[: len(change.blurred)]
        few.copy_(torch.where(each(change.blurred), _coarser(few, change.shrink), few))
    moved.clamp_min_(1e-4).pow_(each(change.gamma))
    contrast = each(change.contrast)
    about = moved.mean(dim=(1, 2, 3), keepdim=True) * (1 - contrast) + each(change.brightness)
    moved = torch.addcmul(about, moved, contrast)
    if change.noise is not None:
        field = torch.randn(moved.shape, generator=generator, device=moved.device)
        moved.addcmul_(field, each(change.noise))
    if change.box is not None:
        moved = torch.where(
            _inside(change.box, moved.shape[-1]), moved.mean(dim=(1, 2, 3), keepdim=True), moved
        )
    return moved.clamp_(0.0, 1.0)


def _grid(affine: Tensor, size: int) -> Tensor:
    """What `functional.affine_grid` returns, ``(N, S, S, 2)``, at a tenth of its time on a CPU."""
    at = (2 * torch.arange(size, device=affine.device) + 1) / size - 1
    grid = affine.new_empty(len(affine), size, size, 2)
    for axis in range(2):
        along_row = affine[:, axis, 0, None] * at + affine[:, axis, 2, None]
        along_column = affine[:, axis, 1, None] * at
        torch.add(along_row[:, None, :], along_column[:, :, None], out=grid[..., axis])
    return grid


def _coarser(planes: Tensor, share: Tensor) -> Tensor:
    """Planes shrunk to a share of their size, without aliasing, and enlarged again.

    As `functional.interpolate` does it, there and back, but as a product with one matrix for each
    axis: the share may lie on the device, and the shapes do not hang on it.

    Args:
        planes: ``(N, 1, S, S)``.
        share: a scalar, 0..1.
    """
    size = planes.shape[-1]
    at = torch.arange(size, device=planes.device, dtype=planes.dtype)
    small = (size * share).round().clamp_min(_SMALLEST)
    scale = size / small
    # row j of `shrink` is pixel j of the small picture; those beyond its edge are never asked for
    shrink = 1 - (at + 0.5 - (at[:, None] + 0.5) * scale).abs() / scale
    shrink = shrink.clamp_min(0)
    shrink = shrink / shrink.sum(dim=1, keepdim=True).clamp_min(1e-6)
    source = ((at + 0.5) / scale - 0.5).clamp_min(0).minimum(small - 1)
    enlarge = (1 - (source[:, None] - at).abs()).clamp_min(0)
    both = enlarge @ shrink
    return both @ (planes @ both.T)


def _inside(boxes: Tensor, size: int) -> Tensor:
    """``(N, 1, S, S)``: the pixels of each picture that lie in its box."""
    at = torch.arange(size, device=boxes.device)
    first, last = (boxes[:, :2] * size).floor(), ((boxes[:, :2] + boxes[:, 2:]) * size).floor()
    inside = (at >= first[..., None]) & (at < last[..., None])  # (N, 2, S): rows, columns
    return inside[:, 0, None, :, None] & inside[:, 1, None, None, :]
