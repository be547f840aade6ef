"""How much of a picture is in colour, and in how many hues; radiographs have one tint at most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from kellgren.arrays import Float32Array

READ_AS_GREY = "colour picture: its luminance is read, check that it is an X-ray"
"""The warning that goes with a picture stored in colour that shows some."""
_LONGEST = 512  # pixels at which the colours are counted
_COLOURED, _STRONG, _GREY = 20, 60, 12  # differences between the channels, of 255
_LIGHT = 60  # mean of the channels from which a pixel counts as seen


@dataclass(frozen=True, slots=True)
class Colours:
    """What colour a picture shows.

    Attributes:
        share: of the pixels that are visibly coloured, 0..1.
        strong: share that are strongly coloured.
        grey: share that are grey and not dark.
        agreement: of the coloured pixels' hues: 1 where all have one hue, 0 where they balance.
    """

    share: float
    strong: float
    grey: float
    agreement: float


def colours_of(picture: Image.Image) -> Colours:
    """Count the colours of a picture.

    Args:
        picture: of mode RGB, of any size; it is made smaller, to spare the memory of a copy.
    """
    picture.thumbnail((_LONGEST, _LONGEST), Image.Resampling.BOX)
    red, green, blue = (np.asarray(channel) for channel in picture.split())
    chroma = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    sums = np.add(red, green, dtype=np.uint16) + blue
    coloured = chroma > _COLOURED
    direction = _hues(*(channel[coloured].astype(np.float32) for channel in (red, green, blue)))
    length = float(np.abs(direction).sum())
    return Colours(
        share=float(coloured.mean()),
        strong=float((chroma > _STRONG).mean()),
        grey=float(((chroma < _GREY) & (sums > 3 * _LIGHT)).mean()),
        agreement=float(np.abs(direction.sum())) / length if length else 1.0,
    )


def _hues(red: Float32Array, green: Float32Array, blue: Float32Array) -> npt.NDArray[Any]:
    """Each hue as a direction: red at 0, green at 120, blue at 240 degrees."""
    return np.asarray((red - (green + blue) / 2) + 1j * (np.sqrt(3) / 2) * (green - blue))
