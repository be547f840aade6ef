"""The pictures that this software draws, so that none of them is read as an X-ray."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

FIRST_PAPER, FIRST_SIZE = (16, 19, 24), (1018, 712)
"""Red, green and blue of the paper, and size, of the sheets of version 0.1.0: they bear no mark."""
_KEY, _VALUE = "kellgren", "drawn by kellgren, not an X-ray"
MARK = {_KEY: _VALUE}
"""Text chunk, by keyword, that a drawn picture is saved with."""
_BEGINNING = 256  # bytes: Pillow writes text before the pixels


def is_own_sheet(image: Image.Image) -> bool:
    """Whether an opened picture bears the mark, or is a sheet of version 0.1.0."""
    if image.info.get(_KEY) == _VALUE:
        return True
    if image.size != FIRST_SIZE or image.mode != "RGB":
        return False
    right, bottom = image.width - 1, image.height - 1
    corners = ((0, 0), (right, 0), (0, bottom), (right, bottom))
    return all(image.getpixel(corner) == FIRST_PAPER for corner in corners)


def begins_as_own_sheet(path: Path) -> bool:
    """Whether a file bears the mark, by its first bytes; false for one that cannot be read."""
    try:
        with path.open("rb") as stream:
            beginning = stream.read(_BEGINNING)
    except OSError:
        return False
    return beginning.startswith(b"\x89PNG") and f"tEXt{_KEY}\0{_VALUE}".encode() in beginning
