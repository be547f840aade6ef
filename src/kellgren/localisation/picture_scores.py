"""How far a knee's features lie from native frontal knees, and how much like what must be refused.

Four numbers, each the larger the worse: the distance from real knees, and the logits of metal, of
open growth plates and of another picture than a frontal knee. All are arithmetic on the features.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from kellgren.arrays import Float32Array
from kellgren.model_files.npz import npz_arrays

_MOST_BYTES = 64 * 2**20
GRID = 14
"""Height and width of the features' grid."""
DEEP = 88
"""The first channels, the deeper ones: they describe the knee as a whole."""
METAL, PLATES = 0, 1
"""Rows of what the local network tells of each place."""
_AXIS = np.linspace(-1, 1, GRID)
_PLACE = np.stack(np.meshgrid(_AXIS, _AXIS))  # x and y of each place of the grid
_PLACES = {METAL: 8, PLATES: 16}  # how many of the most suspicious places count


@dataclass(frozen=True, slots=True)
class Scores:
    """What the gate says of one knee; each the larger the worse.

    Attributes:
        distance: from real knees: 1.4 is usual.
        metal: logit of an implant.
        growth_plates: logit of open growth plates.
        other: logit of a picture that is no upright frontal knee.
    """

    distance: float
    metal: float
    growth_plates: float
    other: float


@dataclass(frozen=True, slots=True, eq=False)
class GateWeights:
    """What the gate learnt; D is the length of `whole`, A the number of principal axes.

    Attributes:
        centre: ``(D,)`` mean of real knees.
        scale: ``(D,)`` their standard deviation.
        axes: ``(D / 2, A)`` principal axes of real knees' means so standardised.
        spread: ``(A,)`` variance along each, a little shrunk to their mean.
        usual: ``(2,)`` medians, over real knees, of the distance along the axes and off them.
        place_centre: ``(C + 2,)`` mean of each channel, and of x and y; see `by_place`.
        place_scale: ``(C + 2,)`` their standard deviations.
        hidden: ``(C + 3, H)`` weights, and in the last row biases, of the network that looks at
            each place of the grid.
        told: ``(H + 1, 2)`` the same of its outputs: metal, growth plate.
        pictures: ``(D + 1, 3)`` the same of the linear models of the whole: metal, growth plates,
            another picture.
    """

    centre: Float32Array
    scale: Float32Array
    axes: Float32Array
    spread: Float32Array
    usual: Float32Array
    place_centre: Float32Array
    place_scale: Float32Array
    hidden: Float32Array
    told: Float32Array
    pictures: Float32Array

    @classmethod
    def parsed(cls, content: bytes) -> Self:
        """From the bytes of an npz file.

        Raises:
            ValueError: it is no such file, or its arrays do not fit each other.
        """
        names = [f.name for f in fields(cls)]
        arrays = npz_arrays(content, names, _MOST_BYTES)
        weights = cls(**{name: arrays[name].astype(np.float32) for name in names})
        weights._check()
        return weights

    @property
    def channels(self) -> int:
        """C of the features that it judges."""
        return len(self.place_centre) - 2

    def _check(self) -> None:
        """Raise a ValueError where a shape does not fit, or a number is not finite."""
        means = DEEP * (GRID // 2) ** 2
        axes, inner = self.axes.shape[-1:], self.hidden.shape[-1:]
        places = self.place_centre.shape
        shapes = {
            "centre": (2 * means,),
            "scale": (2 * means,),
            "axes": (means, *axes),
            "spread": axes,
            "usual": (2,),
            "place_scale": places,
            "hidden": (*(length + 1 for length in places), *inner),
            "told": (*(length + 1 for length in inner), 2),
            "pictures": (2 * means + 1, 3),
        }
        for name, shape in shapes.items():
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(f"its array {name} has the shape {found}, not {shape}")
        for name in ("place_centre", *shapes):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"its array {name} is not of finite numbers")

    def content(self) -> bytes:
        """As the bytes of an npz file; what is large is stored in half precision."""
        stream = io.BytesIO()
        arrays = {f.name: getattr(self, f.name) for f in fields(self)}
        large = ("axes", "hidden", "pictures")
        half = {n: a.astype(np.float16) if n in large else a for n, a in arrays.items()}
        np.savez_compressed(stream, allow_pickle=False, **half)
        return stream.getvalue()

    def scores(self, features: Float32Array) -> Scores:
        """Judge one knee by its features, ``(C, GRID, GRID)``."""
        unit = (whole(features) - self.centre) / self.scale
        distance = self.distance(unit)
        metal, plates, other = unit @ self.pictures[:-1] + self.pictures[-1]
        places = self.places(features)
        return Scores(
            distance,
            float(metal) + most(places, METAL),
            float(plates) + most(places, PLATES),
            float(other),
        )

    def distance(self, unit: Float32Array) -> float:
        """Distance of the standardised whole from real knees, along their axes and off them."""
        means = unit[: len(self.axes)]  # the largest values would only double the weights
        along = means @ self.axes
        off = means - self.axes @ along
        inside = np.sqrt(np.mean(along**2 / self.spread))
        outside = np.sqrt(np.mean(off**2))
        return float(np.hypot(inside / self.usual[0], outside / self.usual[1]))

    def places(self, features: Float32Array) -> Float32Array:
        """Logits of metal and growth plate at each place of the grid, ``(GRID * GRID, 2)``."""
        unit = (by_place(features) - self.place_centre) / self.place_scale
        hidden = np.maximum(unit @ self.hidden[:-1] + self.hidden[-1], 0)
        return np.asarray(hidden @ self.told[:-1] + self.told[-1], dtype=np.float32)


def most(places: Float32Array, what: int) -> float:
    """Mean logit of the most suspicious places, ``places`` being ``(GRID * GRID, 2)``."""
    return float(np.sort(places[:, what])[-_PLACES[what] :].mean())


def by_place(features: Float32Array) -> Float32Array:
    """The channels of each place of ``(C, GRID, GRID)`` features, then its x and y, -1 to 1.

    Returns:
        ``(GRID * GRID, C + 2)``, of the features' type.
    """
    planes = np.concatenate([features, _PLACE.astype(features.dtype)])
    return np.ascontiguousarray(planes.reshape(len(planes), -1).T)


def whole(features: Float32Array) -> Float32Array:
    """The deep channels of ``(C, GRID, GRID)`` features on half the grid: ``(D,)``.

    Of each cell of two by two places the mean and the largest value.
    """
    deep = features[:DEEP]
    above, below = (
        (deep[:, row::2, 0::2], deep[:, row::2, 1::2])  # left and right of each cell
        for row in (0, 1)
    )
    means = (np.add(*above) + np.add(*below)) / 4
    largest = np.maximum(np.maximum(*above), np.maximum(*below))
    return np.concatenate([means.ravel(), largest.ravel()])
