"""Does a class-activation map matter to the grade? Deletion and insertion against a random map.

The knee's pixels are blurred away in the order of the map, strongest evidence first, and in reverse
brought back into a blurred knee (Petsiuk et al., BMVC 2018). If the map shows what the grade rests
on, its probability falls faster, and comes back faster, than in the order of a random map on the
same grid. A blurred knee stands for absence: black or grey patches would be findings of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from kellgren.arrays import FloatArray
from kellgren.knee import KneeCrop, Plane

Read = Callable[[KneeCrop], FloatArray]
_BLUR = 16  # a knee of 299 pixels keeps about 18 x 18 grey values


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """The grade's probability while pixels are removed and brought back.

    Attributes:
        grade: of the untouched knee.
        share: ``(S + 1,)`` of the pixels that were removed or brought back, 0..1.
        deletion: ``(S + 1,)`` probability with that share removed in the order of the map.
        insertion: ``(S + 1,)`` with that share brought back in the order of the map.
        random_deletion: ``(S + 1,)`` the same in the order of a random map.
        random_insertion: ``(S + 1,)`` likewise.
    """

    grade: int
    share: FloatArray
    deletion: FloatArray
    insertion: FloatArray
    random_deletion: FloatArray
    random_insertion: FloatArray

    def area(self, curve: FloatArray) -> float:
        """Under a curve, 0..1: its mean. Low is good for deletion, high for insertion."""
        return float(((curve[1:] + curve[:-1]) / 2 * np.diff(self.share)).sum())

    @property
    def gain(self) -> float:
        """How much better than the random map: mean of the gains in deletion and insertion."""
        deletion = self.area(self.random_deletion) - self.area(self.deletion)
        insertion = self.area(self.insertion) - self.area(self.random_insertion)
        return (deletion + insertion) / 2

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        curves = ("deletion", "insertion", "random_deletion", "random_insertion")
        return {
            "grade": self.grade,
            "share": [round(float(value), 4) for value in self.share],
            **{name: [round(float(p), 6) for p in getattr(self, name)] for name in curves},
            "areas": {name: round(self.area(getattr(self, name)), 6) for name in curves},
            "gain": round(self.gain, 6),
        }


def faithfulness(
    read: Read, crop: KneeCrop, activation: Plane, steps: int = 20, seed: int = 0
) -> Curves:
    """Curves of one knee.

    Args:
        read: gives the distribution ``(5,)`` of a crop; it is called about ``4 * steps`` times.
        crop: the knee.
        activation: ``(h, w)`` the map of the grade that `read` gives the knee.
        steps: in which all pixels are removed or brought back.
        seed: of the random map.
    """
    whole = read(crop)
    grade = int(np.argmax(whole))
    blurred = blur(crop.pixels)
    chance = np.random.default_rng(seed).normal(size=activation.shape).astype(np.float32)
    shape = (int(crop.pixels.shape[0]), int(crop.pixels.shape[1]))
    share = np.linspace(0.0, 1.0, steps + 1)
    ends = float(whole[grade]), float(read(replace(crop, pixels=blurred))[grade])

    def curves(ordering: Plane) -> tuple[FloatArray, FloatArray]:
        strongest_first = np.argsort(-_enlarged(ordering, shape).ravel(), kind="stable")
        deleted, inserted = np.empty(steps + 1), np.empty(steps + 1)
        (deleted[0], deleted[-1]), (inserted[-1], inserted[0]) = ends, ends
        for step in range(1, steps):
            removed = np.zeros(strongest_first.size, dtype=np.bool_)
            removed[strongest_first[: round(share[step] * removed.size)]] = True
            mask = removed.reshape(shape)
            for curve, blurred_away in ((deleted, mask), (inserted, ~mask)):
                pixels = np.where(blurred_away, blurred, crop.pixels)
                curve[step] = read(replace(crop, pixels=pixels))[grade]
        return deleted, inserted

    return Curves(grade, share, *curves(activation), *curves(chance))


def blur(pixels: Plane) -> Plane:
    """A knee without detail: averaged over squares of 16 pixels and enlarged again."""
    height, width = pixels.shape
    picture = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.float32))
    small = picture.resize((max(1, width // _BLUR), max(1, height // _BLUR)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)


def _enlarged(ordering: Plane, shape: tuple[int, int]) -> Plane:
    picture = Image.fromarray(np.ascontiguousarray(ordering, dtype=np.float32))
    return np.asarray(picture.resize(shape[::-1], Image.Resampling.BICUBIC), dtype=np.float32)
