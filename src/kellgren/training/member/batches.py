"""Knees where they are trained on: carried there once for each input size, picked there by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kellgren.training.input.augment import Draw, apply, draw
from kellgren.training.input.loading import Planes
from kellgren.training.member.run import MemberRun
from kellgren.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class DeviceKnees:
    """All knees of a run at one size, on the training device.

    Attributes:
        planes: ``(K, S, S)`` uint8.
        targets: ``(K, grades)`` distributions.
        mean: ``(1, 3, 1, 1)``, of the network's normalisation.
        std: ``(1, 3, 1, 1)``, likewise.
    """

    planes: Tensor
    targets: Tensor
    mean: Tensor
    std: Tensor

    @property
    def size(self) -> int:
        """S, in pixels."""
        return int(self.planes.shape[-1])

    def augmented(self, chosen: Tensor, change: Draw, generator: torch.Generator) -> Tensor:
        """Knees, changed, as the network's input.

        Args:
            chosen: ``(M,)`` positions, on the device.
            change: drawn for L * M pictures: L views of each knee, view by view.
            generator: of the noise.

        Returns:
            ``(L * M, 3, S, S)`` normalised, channels last.
        """
        views = len(change.contrast) // len(chosen)
        pictures = self._pictures(chosen)
        pictures = pictures if views == 1 else pictures.repeat(views, 1, 1, 1)
        return self._normalised(apply(pictures, change, generator))

    def as_they_are(self, chosen: Tensor) -> Tensor:
        """Knees as the network's input, ``(M, 3, S, S)``."""
        return self._normalised(self._pictures(chosen))

    def _pictures(self, chosen: Tensor) -> Tensor:
        return self.planes.index_select(0, chosen)[:, None] / 255.0

    def _normalised(self, pictures: Tensor) -> Tensor:
        """The same arithmetic as `Preprocess.normalise`."""
        images = (pictures - self.mean) / self.std
        return images.contiguous(memory_format=torch.channels_last)


def on_device(run: MemberRun, planes: Planes, targets: npt.NDArray[np.float32]) -> DeviceKnees:
    """Carry a run's knees to its device.

    Args:
        run: whose knees and device.
        planes: ``(K, S, S)``. On a CPU they are used where they lie, a file's pages included.
        targets: ``(K, grades)`` distributions.
    """
    preprocess = run.preprocess(run.recipe.final_size)  # the same at every size
    place = run.device.name
    return DeviceKnees(
        planes=torch.from_numpy(planes).to(place),
        targets=torch.from_numpy(targets).to(place),
        mean=torch.tensor(preprocess.mean).view(1, 3, 1, 1).to(place),
        std=torch.tensor(preprocess.std).view(1, 3, 1, 1).to(place),
    )


def epoch_order(
    count: int,
    batch: int,
    generator: torch.Generator,
    device: str | None = None,
    *,
    last_batch: Literal["keep", "drop"] = "drop",
) -> tuple[Tensor, ...]:
    """A shuffled order cut into batches of positions, ``(batch,)`` each.

    What does not fill the last batch makes a smaller one, or sits this epoch out; another order,
    another one left out. A single knee always sits out: a batch of one has no statistics to
    normalise by. A set smaller than a batch makes one batch of all of it.

    Args:
        count: of the knees.
        batch: knees in one.
        generator: advances.
        device: of the positions; the generator's if not given.
        last_batch: what becomes of the knees that do not fill it.
    """
    order = torch.randperm(count, generator=generator, device=device or generator.device)
    batch = min(batch, count)
    rest = count % batch
    left_out = rest if last_batch == "drop" or rest == 1 else 0
    return torch.split(order[: count - left_out], batch)


def epoch_changes(
    recipe: Recipe, order: Sequence[Tensor], generator: torch.Generator, device: str | None = None
) -> list[Draw]:
    """What chance changes in each batch of an epoch.

    Args:
        recipe: whose ranges and views.
        order: batches of positions, all as large as the first but perhaps the last.
        generator: advances.
        device: of the draws; the generator's if not given.
    """
    first, last = len(order[0]), len(order[-1])
    whole = len(order) - (last < first)
    drawn = draw(recipe.augmentation, whole, first * recipe.views, generator, device)
    changes = [drawn.of_step(step) for step in range(whole)]
    if last < first:
        rest = draw(recipe.augmentation, 1, last * recipe.views, generator, device)
        changes.append(rest.of_step(0))
    return changes
