"""Films exposed as real knees were: contrast, tone and noise of pictures that somebody took.

`synthetic_films.expose` draws wider than X-ray rooms do, which is good to learn from. To tell how
a film is graded, it must look like one: a film here takes the grey values of another real knee.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kellgren.knee import Plane
from kellgren.training.knee_detector.synthetic_films import Film, add_marks, resharpen, shading

_BLOCK = 8  # differences a side of the blocks that noise is measured in
_LEAST_CONTRAST = 0.05


@dataclass(frozen=True, slots=True)
class Exposure:
    """How one real knee was exposed.

    Attributes:
        dark: 1st percentile of its grey values, 0..1.
        middle: median.
        bright: 99th percentile.
        noise: standard deviation from pixel to pixel, in the median block.
        pixels: the longer side of the picture that the noise was measured in.
    """

    dark: float
    middle: float
    bright: float
    noise: float
    pixels: int

    @property
    def contrast(self) -> float:
        """From dark to bright, never quite nothing."""
        return max(self.bright - self.dark, _LEAST_CONTRAST)

    @property
    def tone(self) -> float:
        """How far from dark to bright the median lies, 0.05..0.95."""
        return min(max((self.middle - self.dark) / self.contrast, 0.05), 0.95)


def exposure_of(knee: Plane) -> Exposure:
    """Measure a knee's square, ``(H, W)`` 0..1; H and W at least 16."""
    dark, middle, bright = (float(p) for p in np.percentile(knee, (1, 50, 99)))
    return Exposure(dark, middle, bright, noise_of(knee), max(knee.shape))


def noise_of(knee: Plane) -> float:
    """Noise from pixel to pixel: what a 2 x 2 block's diagonals differ by.

    Edges and the shading of bone cancel out in it but for their corners; those are few, so the
    median over blocks of 16 pixels leaves them out too.
    """
    height, width = (length // (2 * _BLOCK) * (2 * _BLOCK) for length in knee.shape)
    even, odd = knee[0:height:2], knee[1:height:2]
    one = even[:, 0:width:2] - even[:, 1:width:2]
    other = odd[:, 0:width:2] - odd[:, 1:width:2]
    blocks = ((one - other) / 2).reshape(
        height // (2 * _BLOCK), _BLOCK, width // (2 * _BLOCK), _BLOCK
    )
    return float(np.median(np.sqrt((blocks**2).mean(axis=(1, 3)))))


class ExposureSimulator:
    """Exposes films as real knees were.

    Args:
        groups: exposures by where they come from; each group serves equally many films.
    """

    def __init__(self, groups: Sequence[Sequence[Exposure]]) -> None:
        self._groups = groups
        tones = [np.median([exposure.tone for exposure in group]) for group in groups]
        self._usual = float(np.mean(tones))

    def expose(self, film: Film, own: Exposure, rng: np.random.Generator) -> Film:
        """One film.

        Its dark, its bright and its noise become those of a real knee drawn by chance; its tone
        moves as far as that knee's is from the usual one. Then come what every film may have:
        uneven beam, the detector's sharpness, collimation and letters beside the knees, a frame,
        inversion.

        Args:
            film: laid, not exposed.
            own: of the crop that was laid first.
            rng: draws.
        """
        group = self._groups[int(rng.integers(len(self._groups)))]
        like = group[int(rng.integers(len(group)))]
        share = ((film.pixels - own.dark) / own.contrast).clamp(1e-4, 1.15)
        gamma = math.log(like.tone) / math.log(self._usual)
        pixels = like.dark + like.contrast * share**gamma
        if rng.random() < 0.3:
            pixels = pixels * (0.75 + 0.25 * shading(pixels.shape[0], rng))
        if rng.random() < 0.3:
            pixels = resharpen(pixels, rng)
        width = film.knees[0].region.width
        pixels = pixels + _missing_noise(own, like, width) * _normal(pixels, rng)
        spared = [knee.region for knee in film.knees]
        return add_marks(film, pixels.clamp(0, 1), rng, spared=spared)


def _missing_noise(own: Exposure, like: Exposure, width: float) -> float:
    """Of the film's pixels, so that a crop of it becomes as noisy as the other knee's picture.

    The film's knee is ``width`` pixels wide, more than the crop's; independent noise falls as the
    pixels are averaged, by the square root of their number.
    """
    return math.sqrt(max(0.0, like.noise**2 - own.noise**2)) * width / own.pixels


def _normal(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal(tuple(pixels.shape), dtype=np.float32))
