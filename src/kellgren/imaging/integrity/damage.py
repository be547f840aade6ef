"""Traces of damage in the grey values of a knee: what no film shows, and broken data often does.

Most picture formats carry no checksum. Their damaged data decodes to blocks of one grey value, rows
that repeat, rows that are shifted, steps of brightness across the whole width, and noise. Each is
measured with the file's own pixels, before anything is resampled, and compared with a limit that
real knees keep; see docs/decisions/0026-decoders-and-damage.md for the figures.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kellgren.arrays import FloatArray
from kellgren.imaging.integrity.blocks import block_edges
from kellgren.imaging.integrity.contours import contours
from kellgren.imaging.integrity.copies import copied_share, repeated_rows
from kellgren.imaging.integrity.pairs import swapped_pairs
from kellgren.imaging.integrity.seams import seam
from kellgren.imaging.integrity.splices import splice
from kellgren.imaging.integrity.steps import edge, step
from kellgren.imaging.integrity.texture import flat_shares, noisy_shares, speck_share
from kellgren.imaging.integrity.wrapping import wrapped
from kellgren.knee import Plane, bands

MOST_FLAT = 0.02
"""Share of a knee in rectangles of one grey value that do not reach its border."""
MOST_REPEATED = 0.02
"""Share of a knee's rows that are another row's copy."""
MOST_STEP = 0.35
"""Share of the width that takes one step of brightness, from one row to the next."""
MOST_SHIFT = 3.0
"""How many times better two neighbouring rows match when one is shifted."""
MOST_SPECKS = 0.004
"""Share of single pixels far darker or brighter than all their neighbours."""
MOST_NOISY = 0.03
"""Share of a knee in tiles without any smoothness."""
MOST_WRAPPED = 10.0
"""How many times worse neighbouring columns match than the outer ones, around the edge."""
MOST_COPIED = 0.02
"""Share of the pixels that others repeat, at one distance."""
MOST_CONTOURS = 3.0
"""How many times more often neighbours differ by one step than by others near it."""

MOST_EDGE = 0.018
"""Grey values that most of a row's half differ by from the next, beyond the slope around it."""
MOST_MOVED = 3.4
"""How many times better some rows match the next ones, row for row, when these are shifted."""
MOST_PERHAPS_WRAPPED = 6.0
"""As `MOST_WRAPPED`."""
MOST_PERHAPS_COPIED = 0.004
"""As `MOST_COPIED`."""
MOST_SEAM = 2.65
"""How many times larger a step is, along a straight line, than those beside it: a letter's too."""
MOST_SPLICE = 1.6
"""How many times worse pixels can be told from those beside them, along much of a straight line."""
MOST_ALONG_LINES = 0.85
"""Of what `MOST_SEAM` and `MOST_SPLICE` allow beyond 1, on the average of both."""
MOST_PAIRS = 0.35
"""Logarithm of how much every second step along a row differs from the others, beyond the usual."""
MOST_BLOCK_EDGES = 0.1
"""Share of steps across every eighth column or row that are far, beyond that across others."""
MOST_GRAINY = 0.03
"""Share of a knee in tiles without any smoothness that are far rougher than its others."""
MOST_PERHAPS_CONTOURS = 1.1
"""As `MOST_CONTOURS`."""
MOST_FLAT_AT_A_BORDER, MOST_FLAT_AT_TWO_BORDERS = 0.01, 0.03
"""As `MOST_FLAT`, in rectangles that reach one border, or two: perhaps text that was masked."""
MOST_OF_BOTH = 0.7
"""Of `MOST_STEP` and of `MOST_MOVED` at once, as rows show that come from elsewhere."""

_LEAST_SIDE = 32
_LEAST_EMPTY = 0.02  # of the rows
_ROWS_TRIED, _FAR_ROWS = 8, 8
_LEAST_MISMATCH = 2.5e-4  # mean square between a row and the next
_MOVED_ROWS, _MOVED_SIDE = 4, 300  # rows that are averaged, on a picture of such a side
_USUAL_MISMATCH = 0.25  # of its median: the least that counts


class Traces(NamedTuple):
    """What a knee's pixels show, each as the limit of the same name measures it."""

    flat: float
    repeated: float
    step: float
    shift: float
    specks: float
    noisy: float
    grainy: float
    edge: float
    moved: float
    wrapped: float
    copied: float
    seam: float
    splice: float
    pairs: float
    contours: float
    blocks: float
    flat_border: float
    flat_borders: float


def traces(knee: Plane, strip: Plane | None = None) -> Traces:
    """Measure a knee.

    Args:
        knee: ``(H, W)`` grey values 0..1 cut along the picture's own rows and columns.
        strip: the picture's whole rows through the knee, in which data is shifted; ``None``: the
            knee is as wide as the picture.

    Returns:
        Zeros for a cut smaller than 32 pixels on a side.
    """
    if min(knee.shape) < _LEAST_SIDE:
        return Traces(*[0.0] * len(Traces._fields))
    flat, noisy = flat_shares(knee), noisy_shares(knee)
    is_film = strip is not None and strip.shape[1] > knee.shape[1]
    return Traces(
        flat=flat.inside,
        repeated=repeated_rows(knee),
        step=step(knee),
        shift=_shift(knee if strip is None else strip),
        specks=speck_share(knee),
        noisy=noisy.rough,
        grainy=noisy.rougher_than_others,
        edge=edge(knee),
        moved=_moved(knee if strip is None else strip),
        wrapped=wrapped(knee if strip is None else strip),
        copied=copied_share(knee if strip is None else strip),
        seam=seam(knee, is_film=is_film),
        splice=splice(knee, is_film=is_film),
        pairs=swapped_pairs(knee),
        contours=contours(knee),
        blocks=block_edges(knee),
        flat_border=flat.at_a_border,
        flat_borders=flat.at_two_borders,
    )


def damage(found: Traces) -> str:
    """What speaks of damage, in words with figures; empty: nothing."""
    signs = (
        (found.flat, MOST_FLAT, f"{found.flat:.0%} of it are blocks of one grey value"),
        (found.repeated, MOST_REPEATED, f"{found.repeated:.0%} of its rows repeat others"),
        (found.step, MOST_STEP, f"the brightness jumps over {found.step:.0%} of its width"),
        (found.shift, MOST_SHIFT, "its rows are shifted against each other"),
        (found.specks, MOST_SPECKS, f"{found.specks:.1%} of its pixels are single specks"),
        (found.noisy, MOST_NOISY, f"{found.noisy:.0%} of it are noise"),
        (found.wrapped, MOST_WRAPPED, "its left and right edges meet within it"),
        (found.copied, MOST_COPIED, f"{found.copied:.0%} of its pixels repeat others"),
        (found.contours, MOST_CONTOURS, "its grey values jump by one step in many places"),
    )
    return "; ".join(text for value, most, text in signs if value > most)


def doubt(found: Traces) -> str:
    """What may speak of damage, and is shown by one real knee in a few hundred; empty: nothing."""
    both = min(found.step / MOST_STEP, found.moved / MOST_MOVED)
    signs = (
        (found.edge, MOST_EDGE, "half of its width is darker or brighter from one row on"),
        (found.moved, MOST_MOVED, "its rows are perhaps shifted against each other"),
        (found.wrapped, MOST_PERHAPS_WRAPPED, "its edges perhaps meet within it"),
        (found.copied, MOST_PERHAPS_COPIED, "some of its pixels repeat others"),
        (found.seam, MOST_SEAM, "a part of it perhaps ends along a straight line"),
        (found.splice, MOST_SPLICE, "two parts perhaps meet in it along a straight line"),
        (_along_lines(found), MOST_ALONG_LINES, "a part of it perhaps comes from elsewhere"),
        (found.pairs, MOST_PAIRS, "neighbouring pixels perhaps changed places"),
        (
            found.blocks,
            MOST_BLOCK_EDGES,
            "its JPEG blocks stand out, by damage or compression",
        ),
        (found.grainy, MOST_GRAINY, f"{found.grainy:.0%} of it are far noisier than the rest"),
        (found.flat_border, MOST_FLAT_AT_A_BORDER, "a block at its border is of one grey value"),
        (found.flat_borders, MOST_FLAT_AT_TWO_BORDERS, "a block at borders is of one grey value"),
        (found.contours, MOST_PERHAPS_CONTOURS, "its grey values jump by one step in some places"),
        (both, MOST_OF_BOTH, "some of its rows perhaps come from elsewhere"),
    )
    return "; ".join(text for value, most, text in signs if value > most)


def _along_lines(found: Traces) -> float:
    """As `MOST_ALONG_LINES`."""
    step = (found.seam - 1) / (MOST_SEAM - 1)
    texture = (found.splice - 1) / (MOST_SPLICE - 1)
    return 0.0 if max(step, texture) > 1 else (step + texture) / 2


def ends_within_a_row(pixels: Plane) -> bool:
    """Whether a picture ends in rows of one value that begins in the middle of a row.

    That is what a copy leaves that was cut off and filled up; a black border begins with a row.

    Args:
        pixels: ``(H, W)`` the whole picture.
    """
    last = pixels[-1, -1]
    is_empty = (pixels[::-1] == last).all(axis=1)
    empty = int(is_empty.argmin())  # a picture of one value is refused elsewhere
    if empty < max(2, _LEAST_EMPTY * len(pixels)) or is_empty.all() or empty + 2 > len(pixels):
        return False
    before, at = (int((row[::-1] != last).argmax()) for row in pixels[-empty - 2 : -empty][:2])
    width = pixels.shape[1]
    return bool(before < 0.02 * width and 0.04 * width < at < 0.96 * width)


def _shift(knee: Plane) -> float:
    """How much better a row matches one below when that is shifted around, at the worst rows.

    Data that was lost or put in moves all that follows by some pixels, around the picture's edge.
    Rows further apart are compared too, because others may lie between; they match less.
    """
    return max(_best_shift(knee, 1), _best_shift(knee, _FAR_ROWS) / 2)


def _best_shift(knee: Plane, apart: int) -> float:
    above, below = knee[:-apart], knee[apart:]
    errors = np.concatenate(
        [np.square(below[band] - above[band]).mean(axis=1) for band in bands(*above.shape)]
    )
    some = np.linspace(0, len(errors) - 1, _ROWS_TRIED).astype(int).tolist()
    tried = np.array(sorted({*np.argsort(errors)[-_ROWS_TRIED:].tolist(), *some}))
    tried = tried[errors[tried] >= _LEAST_MISMATCH]
    above, below = above[tried], below[tried]
    straight, least = _mismatches(above, below, np.fft.rfft(above), np.fft.rfft(below))
    return float((straight / np.maximum(least, _LEAST_MISMATCH / 10)).max(initial=0.0))


def _mismatches(
    above: FloatArray,
    below: FloatArray,
    spectra_above: npt.NDArray[np.complexfloating],
    spectra_below: npt.NDArray[np.complexfloating],
) -> tuple[FloatArray, FloatArray]:
    """Mean squares between rows and others, as they are and where one is shifted best, around.

    Args:
        above: ``(N, W)`` rows.
        below: ``(N, W)`` what they are compared with.
        spectra_above: their Fourier transforms.
        spectra_below: likewise.

    Returns:
        ``(N,)`` of each: as they are, and by the best shift of two pixels or more.
    """
    width = above.shape[1]
    products = np.fft.irfft(spectra_above.conj() * spectra_below, width)
    squares = np.square(above).sum(axis=1) + np.square(below).sum(axis=1)
    straight, shifted = products[:, 0], products[:, 2:-1].max(axis=1)
    return (squares - 2 * straight) / width, (squares - 2 * shifted) / width


def _moved(strip: Plane) -> float:
    """`_shift` with a few rows averaged on either side, which tells smaller shifts from texture."""
    scale = max(1, round(min(strip.shape) / _MOVED_SIDE))
    rows = _MOVED_ROWS * scale
    pairs = -(-(len(strip) + 1 - rows) // scale) - _MOVED_ROWS
    above, below = slice(None, -_MOVED_ROWS), slice(_MOVED_ROWS, None)
    found = []
    for band in bands(pairs, strip.shape[1]):
        means = _means(strip[band.start * scale :], band.stop - band.start + _MOVED_ROWS, scale)
        spectra = np.fft.rfft(means)
        found.append(_mismatches(means[above], means[below], spectra[above], spectra[below]))
    straight, shifted = np.concatenate(found, axis=1)
    least = max(_USUAL_MISMATCH * float(np.median(straight)), _LEAST_MISMATCH / 100)
    return float((straight / np.maximum(shifted, least)).max())


def _means(strip: Plane, count: int, scale: int) -> FloatArray:
    """``(count, W)`` means of some rows each, from every ``scale``-th row on."""
    rows = _MOVED_ROWS * scale
    means = np.zeros((count, strip.shape[1]))
    for first in range(rows):
        means += strip[first : first + (count - 1) * scale + 1 : scale]
    means /= rows
    return means
