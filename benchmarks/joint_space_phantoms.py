"""Drawn knees whose joint spaces are known: for `benchmarks/joint_space.py` and for the tests."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kellgren.joint_space.derivatives import smoothed
from kellgren.joint_space.widths import WEIGHT_BEARING

SIDE = 299  # pixels, as of the training crops
_FINE = 2  # samples per pixel along each axis
_SOFT, _BONE, _LINE = 0.40, 0.57, 0.10  # grey values: soft tissue, bone, the plateau's line
_HALF = 125.0  # pixels: half of the condylar width
_LINE_THICKNESS = 4.0  # pixels


@dataclass(frozen=True)
class Phantom:
    """A drawn knee.

    Attributes:
        left: narrowest width of the space on the picture's left, in pixels.
        right: likewise.
        tilt: degrees by which the whole knee is turned clockwise.
        blur: standard deviation in pixels.
        noise: standard deviation of grey values.
        centre: (x, y) of the joint.
        radius: of the condyles, in pixels.
        concavity: depth of the plateaus, in pixels.
        rims: of the plateaus, that are projected above their floor: for each its height in pixels
            at the spines, its grey value between those of soft tissue and of bone, 0 to 1, and
            that of a line along it, against the floor's.
        line: grey value of the floor's line above that of bone.
    """

    left: float
    right: float
    tilt: float = 0.0
    blur: float = 1.2
    noise: float = 0.01
    centre: tuple[float, float] = (149.5, 175.0)
    radius: float = 110.0
    concavity: float = 2.0
    rims: tuple[tuple[float, float, float], ...] = ()
    line: float = _LINE

    def draw(self, chance: np.random.Generator) -> npt.NDArray[np.float32]:
        """``(299, 299)`` grey values, 0..1, bone bright."""
        steps = (np.arange(SIDE * _FINE) + 0.5) / _FINE
        x, y = np.meshgrid(steps - self.centre[0], steps - self.centre[1])
        turn = math.radians(self.tilt)
        along, down = (
            x * math.cos(turn) + y * math.sin(turn),
            y * math.cos(turn) - x * math.sin(turn),
        )
        femur, tibia = self.femur(along), self.tibia(along)
        width = _HALF - 0.06 * np.abs(down)
        is_femur = _covered(femur - down) * _covered(width - np.abs(along))
        is_tibia = _covered(down - tibia) * _covered(width + 3 - np.abs(along))
        grey = _SOFT + (_BONE - _SOFT) * np.maximum(is_femur, is_tibia)
        for height, bone, line in self.rims:
            edge = tibia - self._rim(along, height)
            is_rim = _covered(down - edge) * _covered(width + 3 - np.abs(along))
            shown = _SOFT + (_BONE - _SOFT) * bone * is_rim
            shown += line * self.line * np.exp(-np.maximum(down - edge, 0)) * is_rim
            grey = np.maximum(grey, shown)
        grey += self.line * np.exp(-np.maximum(down - tibia, 0) / _LINE_THICKNESS) * is_tibia
        fine = smoothed(
            smoothed(grey.astype(np.float32), self.blur * _FINE, 0), self.blur * _FINE, 1
        )
        picture = fine.reshape(SIDE, _FINE, SIDE, _FINE).mean(axis=(1, 3))
        picture += chance.normal(0, self.noise, picture.shape).astype(np.float32)
        return picture.clip(0, 1)

    def femur(self, along: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Lower edge of the femur below the joint's centre: two condyles, and the notch."""
        from_condyle = np.abs(along) - 0.6 * _HALF
        arc = np.sqrt(np.maximum(self.radius**2 - from_condyle**2, 0)) - self.radius
        condyle = self._floor(along) - np.where(along < 0, self.left, self.right) + arc
        notch = -45 + 0.05 * along**2  # its roof, a valley between the condyles
        return np.minimum(condyle, np.where(np.abs(along) < 30, np.maximum(notch, -45), condyle))

    def tibia(self, along: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Upper edge of the tibia: two concave plateaus, and the spines."""
        from_plateau = (np.abs(along) - 0.6 * _HALF) / (0.4 * _HALF)
        spines = -22 * np.exp(-(((np.abs(along) - 12) / 12) ** 2))
        return self._floor(along) - self.concavity * from_plateau**2 + spines

    def _floor(self, along: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.full_like(along, 8.0)

    def _rim(self, along: npt.NDArray[np.float64], height: float) -> npt.NDArray[np.float64]:
        """How far above the floor a rim lies: most at the spines, a third of it at the border."""
        from_border = np.clip((_HALF - np.abs(along)) / (0.7 * _HALF), 0, 1)
        return height * (1 / 3 + 2 / 3 * from_border)

    def narrowest(self, *, right: bool) -> float:
        """The least width where a minimum is looked for, in pixels."""
        from_end = np.linspace(*WEIGHT_BEARING, 400)
        along = _HALF - 2 * _HALF * from_end if right else 2 * _HALF * from_end - _HALF
        return max(0.0, float((self.tibia(along) - self.femur(along)).min()))


def drawn_at_random(chance: np.random.Generator) -> Phantom:
    """A knee with plateaus of a single edge."""
    left, right = chance.uniform(0, 18, 2)
    return Phantom(
        left,
        right,
        tilt=chance.uniform(-6, 6),
        blur=chance.uniform(0.9, 1.5),
        noise=chance.uniform(0.004, 0.012),
        centre=(149.5 + chance.uniform(-6, 6), 175 + chance.uniform(-8, 8)),
        radius=chance.uniform(80, 160),
        concavity=chance.uniform(0, 3),
    )


def drawn_with_rims(chance: np.random.Generator) -> Phantom:
    """The same with wider spaces and two rims up to 8 pixels above floors of any brightness."""
    left, right = chance.uniform(5, 18, 2)
    height = chance.uniform(2, 8)
    rims = tuple(
        (share * height, chance.uniform(0.3, 0.9), chance.uniform(0, 0.8))
        for share in (1.0, chance.uniform(0.2, 0.8))
    )
    plain = drawn_at_random(chance)
    return replace(plain, left=left, right=right, rims=rims, line=chance.uniform(0.04, 0.14))


def _covered(inside: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Share of each sample on the inner side of an edge that lies so many pixels further out."""
    return np.clip(inside * _FINE + 0.5, 0, 1)
