"""Whatever this program draws is known as its own, and nothing else is."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from command_line import EXAMPLES
from dicom_factory import write_dicom
from kellgren.errors import UnreadableRadiograph
from kellgren.exchange.own_output import MANUFACTURER, is_own_output
from kellgren.explanation.overlay import png_bytes
from kellgren.imaging.picture import HEAD_BYTES
from kellgren.imaging.radiograph import read_radiograph


def sheet_of_version_0_1(background: tuple[int, int, int]) -> bytes:
    """A sheet as the first release drew it, without a mark, or another picture of its size."""
    sheet = Image.new("RGB", (1018, 712), background)
    ImageDraw.Draw(sheet).rectangle((28, 104, 468, 544), fill=(200, 200, 200))
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()


def test_own_pictures_are_known_and_never_read() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 300), dtype=np.uint8)
    drawn = png_bytes(Image.fromarray(noise))
    assert is_own_output(drawn[:HEAD_BYTES])
    with pytest.raises(UnreadableRadiograph, match="drawn or written by kellgren"):
        read_radiograph(drawn)


def test_sheets_of_the_first_release_are_known_by_their_form() -> None:
    assert is_own_output(sheet_of_version_0_1((16, 19, 24))[:HEAD_BYTES])
    assert not is_own_output(sheet_of_version_0_1((16, 19, 25))[:HEAD_BYTES])


def test_own_objects_are_known_by_their_equipment(tmp_path: Path) -> None:
    pixels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    for name, own in ((MANUFACTURER, True), ("another project", False)):
        path = write_dicom(tmp_path / "object.dcm", pixels, Manufacturer=name)
        assert is_own_output(path.read_bytes()[:HEAD_BYTES]) is own


def test_radiographs_are_not_taken_for_own_pictures() -> None:
    for path in EXAMPLES.glob("*.png"):
        assert not is_own_output(path.read_bytes()[:HEAD_BYTES])
