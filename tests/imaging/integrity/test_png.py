"""PNG pictures: chunks are counted."""

from __future__ import annotations

import zlib

import pytest

from damaged_files import picture, small_knee
from kellgren.errors import UnreadableRadiograph
from kellgren.imaging.integrity.png import MOST_CHUNKS
from kellgren.imaging.radiograph import read_radiograph


def test_a_png_of_a_hundred_thousand_chunks_is_refused() -> None:
    png = picture(small_knee(), "PNG")
    empty = bytes(4) + b"prVt" + zlib.crc32(b"prVt").to_bytes(4)
    assert read_radiograph(png[:33] + empty * 100 + png[33:]).warnings == ()
    with pytest.raises(UnreadableRadiograph) as caught:
        read_radiograph(png[:33] + empty * MOST_CHUNKS + png[33:])
    assert caught.value.problem.startswith(f"is a PNG of more than {MOST_CHUNKS} chunks")
