"""Large pictures in pieces, so that what is made of them takes little memory."""

from __future__ import annotations

from collections.abc import Iterator

_BAND_PIXELS = 2**20


def bands(rows: int, columns: int) -> Iterator[slice]:
    """Pieces of the rows, each of about a million pixels; transposed, of the columns."""
    step = max(1, _BAND_PIXELS // columns)
    for first in range(0, rows, step):
        yield slice(first, min(first + step, rows))
