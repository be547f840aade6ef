"""How colours of a picture are counted."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from kellgren.imaging.colour import colours_of


def filled(*colours: tuple[int, int, int]) -> Image.Image:
    """Stripes of equal width."""
    rows = np.repeat(np.array(colours, dtype=np.uint8), 60, axis=0)
    return Image.fromarray(np.repeat(rows[:, None], 200, axis=1))


def test_grey_has_no_colour_and_one_hue() -> None:
    found = colours_of(filled((10, 10, 10), (200, 200, 205)))
    assert (found.share, found.strong, found.agreement) == (0, 0, 1)
    assert found.grey == pytest.approx(0.5)


def test_one_tint_agrees_whatever_its_brightness() -> None:
    found = colours_of(filled((60, 80, 100), (120, 160, 200), (30, 30, 30)))
    assert found.share == pytest.approx(2 / 3, abs=0.01)
    assert found.agreement == pytest.approx(1, abs=0.01)


def test_opposite_hues_balance() -> None:
    found = colours_of(filled((255, 0, 0), (0, 255, 255)))
    assert found.strong == 1
    assert found.agreement == pytest.approx(0, abs=0.01)
    thirds = colours_of(filled((200, 0, 0), (0, 200, 0), (0, 0, 200)))
    assert thirds.agreement == pytest.approx(0, abs=0.01)
