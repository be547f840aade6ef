"""Every network that a recipe can name: its input, its CAM layer, where its weights come from."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kellgren.errors import InvalidRecipe
from kellgren.training.architectures.member import Member

Triple = tuple[float, float, float]
Builder = Callable[[int], Member]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
HALF: Triple = (0.5, 0.5, 0.5)  # as mean and as deviation: grey values -1..1


@dataclass(frozen=True)
class Architecture:
    """One network, and what must be known to use it."""

    name: str
    input_size: int  # pixels, square
    mean: Triple  # of the three channels, for grey values 0..1
    std: Triple
    cam_layer: str  # dotted name of the module that returns the last feature map
    build: Builder  # number of grades -> network, randomly initialised
    # loads pretrained weights from a folder or, given None, from the network's publisher; returns
    # one line for the model card; raises WeightsUnavailable
    pretrained: Callable[[Member, Path | None], str]
    # whether the published batch normalisations are folded, without statistics of their own:
    # before training these must be measured on knees
    measured: bool = False


ARCHITECTURES: dict[str, Architecture] = {}


def architecture(
    *,
    input_size: int,
    cam_layer: str,
    pretrained: Callable[[Member, Path | None], str],
    mean: Triple = IMAGENET_MEAN,
    std: Triple = IMAGENET_STD,
    measured: bool = False,
) -> Callable[[Builder], Builder]:
    """Register the decorated builder under its own name.

    Raises:
        ValueError: the name is taken.
    """

    def register(build: Builder) -> Builder:
        name = build.__name__
        if name in ARCHITECTURES:
            raise ValueError(f"there is already an architecture named {name}")
        ARCHITECTURES[name] = Architecture(
            name, input_size, mean, std, cam_layer, build, pretrained, measured
        )
        return build

    return register


def find(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
        InvalidRecipe: there is none; the remedy names its nearest neighbours.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    near = difflib.get_close_matches(name, ARCHITECTURES)
    known = ", ".join(sorted(ARCHITECTURES))
    raise InvalidRecipe(
        name,
        problem="is not a known architecture",
        remedy=f"Did you mean {' or '.join(near)}?" if near else f"Choose one of {known}.",
    )
