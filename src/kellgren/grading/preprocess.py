"""The input of a member: one description shared by training and inference, kept in the bundle."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from kellgren.grades import Side
from kellgren.knee import KneeCrop, Plane, plane_image, quantiles, resampled, undamped

_Mean = Annotated[float, Field(ge=0, le=1)]
_Std = Annotated[float, Field(ge=0.001, le=10)]
_LEVELLED = (0.01, 0.5, 0.99)  # quantiles
_DARK, _BRIGHT = 0.05, 0.95  # where the first and the last of them come to lie
_MIDDLE = 0.7  # how far from dark to bright the median lies on a usual knee
_LEAST_CONTRAST = 0.05
_STRONGEST = 2.5  # exponent of the tone curve


class Preprocess(BaseModel):
    """How a knee becomes a member's input.

    Attributes:
        size: width and height of the input, in pixels.
        mean: per channel, 0 to 1, of the network's pretraining, for pixels in 0..1.
        std: per channel, 0.001 to 10, likewise.
        mirror_left: left knees are mirrored, so that the medial side lies on one side always.
        level: the exposure is taken out, see `levelled`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    size: int = Field(ge=32, le=2048)
    mean: tuple[_Mean, _Mean, _Mean]
    std: tuple[_Std, _Std, _Std]
    mirror_left: bool = True
    level: bool = False

    def mirrors(self, crop: KneeCrop) -> bool:
        """Whether the members see this knee mirrored."""
        return self.mirror_left and crop.side is Side.LEFT

    def plane(self, crop: KneeCrop) -> Plane:
        """Orient the knee, resize it, cubic and antialiased, to ``(size, size)``, and level it."""
        evened = self._evened(crop)
        pixels = evened[:, ::-1] if self.mirrors(crop) else evened
        picture = plane_image(pixels)
        resized = picture.resize((self.size, self.size), Image.Resampling.BICUBIC)
        plane = np.clip(np.asarray(resized, dtype=np.float32), 0.0, 1.0)
        return levelled(plane) if self.level else plane

    def _evened(self, crop: KneeCrop) -> Plane:
        """A knee that was refined in one direction, as sharp in the other as in this one.

        Where the file's own number of pixels is enough in the coarser direction, both are brought
        to it, so that the network sees what it sees of a file with square pixels of that size.
        Where it is not, the longer pixels' damping is undone.
        """
        times = max(crop.stretch)
        if times <= 1:  # square in the file, or reduced to the coarser pixels
            return crop.pixels
        rows, columns = (round(count / times) for count in crop.pixels.shape)
        if min(rows, columns) >= self.size:
            return resampled(crop.pixels, rows, columns)
        is_lying = crop.region is not None and round(crop.region.angle / 90) % 2 == 1
        refined = 1 if crop.stretch.x > crop.stretch.y else 0
        return undamped(crop.pixels, 1 - refined if is_lying else refined, times)

    def normalise(self, planes: Plane) -> Plane:
        """Turn ``(N, size, size)`` planes in 0..1 into a network's ``(N, 3, size, size)`` input."""
        mean = np.asarray(self.mean, dtype=np.float32).reshape(1, 3, 1, 1)
        std = np.asarray(self.std, dtype=np.float32).reshape(1, 3, 1, 1)
        images = planes[:, None] - mean
        images /= std
        return images


def levelled(plane: Plane) -> Plane:
    """The same knee, exposed as every other one: what the tube and the detector chose is taken out.

    The 1st percentile of its grey values becomes 0.05 and the 99th 0.95; between them a power
    moves the median to 0.7 of the way, as it lies on a usual knee. The order of grey values stays.

    Args:
        plane: ``(H, W)`` 0..1, bone bright.

    Returns:
        The same shape, 0..1. Where all is nearly one grey, contrast is not made of nothing.
    """
    dark, middle, bright = (float(p) for p in quantiles(plane, _LEVELLED))
    contrast = max(bright - dark, _LEAST_CONTRAST)
    share = np.clip((plane - dark) / contrast, 0.0, None)
    tone = min(max((middle - dark) / contrast, 1e-3), 1 - 1e-3)
    power = min(max(math.log(_MIDDLE) / math.log(tone), 1 / _STRONGEST), _STRONGEST)
    even = _DARK + (_BRIGHT - _DARK) * share**power
    return np.asarray(np.clip(even, 0.0, 1.0), dtype=np.float32)
