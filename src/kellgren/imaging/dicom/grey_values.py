"""Stored DICOM pixel values to displayed grey: modality, values of interest, inversion, padding.

The formulas are those of DICOM PS3.3 C.11.1, C.11.2 and C.7.6.3.1.2. pydicom's own functions are
not used: its lookup wraps around where a table has more than 256 entries of 8 bits, and its window
does not tell the range it maps to.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from pydicom import Dataset

from kellgren.imaging.dicom.header import Header
from kellgren.imaging.grey_range import (
    GreyRange,
    outliers_left_out,
    outside,
    picture_range,
    without_hot_pixels,
)
from kellgren.knee import bands

_LEAST_CONTRAST = 0.03  # of black to white: below it a stored contrast shows nothing
_LEAST_OF_RANGE = 0.25  # of what its bits can tell: below it a table holds other bits than it says
_MOST_BACK = 0.01  # of the range of its entries, that a rising or falling table may go back
_WHITE = 255  # of 8 bits
_SAMPLE = 250_000  # pixels that the contrast is measured on


class Displayed(NamedTuple):
    """Grey values (H, W) float32 in 0..1, bone bright; which lie far outside all others, if any."""

    pixels: np.ndarray
    outliers: np.ndarray | None


def grey_values(stored: np.ndarray, header: Header) -> Displayed:
    """Displayed grey values of (H, W) stored integers."""
    is_padding = _padding(stored, header)
    values = _modality_values(stored, header)
    pixels, outliers = _values_of_interest(values, is_padding, header)
    if is_inverted(header):
        np.subtract(np.float32(1), pixels, out=pixels)
    pixels[is_padding] = 0.0
    return Displayed(pixels, None if outliers is None else outliers & ~is_padding)


def _padding(stored: np.ndarray, header: Header) -> np.ndarray:
    """Where there is no picture: (H, W) bool.

    Padding lies around a picture (PS3.3 C.7.5.1.1.2); files name a value that tissue has too, and
    black spots inside a knee look like an implant.
    """
    first = header.number("PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, dtype=bool)
    limit = header.number("PixelPaddingRangeLimit")
    low, high = sorted((first, first if limit is None else limit))
    return _from_the_borders((stored >= low) & (stored <= high))


def _from_the_borders(found: np.ndarray) -> np.ndarray:
    """The part of an (H, W) mask that reaches a border straight along its rows or columns."""
    reached = np.zeros_like(found)
    for rows in (slice(None), slice(None, None, -1)):
        for axis, turned in ((0, np.s_[rows, :]), (1, np.s_[:, rows])):
            reached[turned] |= np.logical_and.accumulate(found[turned], axis=axis)
    return reached


def _modality_values(stored: np.ndarray, header: Header) -> np.ndarray:
    """The detector's quantity: (H, W) float32."""
    values = stored.astype(np.float32)
    looked_up = _looked_up(values, header, "ModalityLUTSequence")
    if looked_up is not None:
        return looked_up[0]
    slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept")
    if slope == 0:
        header.warn_ignored("RescaleSlope")
    values *= np.float32(slope or 1)
    values += np.float32(intercept or 0)
    return values


def _values_of_interest(values: np.ndarray, is_padding: np.ndarray, header: Header) -> Displayed:
    """The file's own choice of contrast; if it has none, 8 bits as they are, more by their range.

    A choice that leaves next to no contrast is a mistake, so the next one is tried.
    """
    for choice in (_by_table, _by_window):
        pixels = choice(values, header)
        if pixels is not None:
            if _shows_something(pixels, is_padding):
                return Displayed(pixels, None)
            header.warnings.append("the contrast stored in the file shows nothing and is ignored")
    if _is_made_for_display(values, header):
        pixels = values / np.float32(_WHITE)
        if _shows_something(pixels, is_padding):
            return Displayed(pixels, None)
    found = GreyRange(0.0, 0.0, 0.0) if is_padding.all() else picture_range(values, ~is_padding)
    if found.low == found.high:
        return Displayed(np.zeros_like(values), None)
    outliers = None
    if found.outside:
        header.warnings.append(outliers_left_out(found.outside))
        values = without_hot_pixels(values, found)
        outliers = outside(values, found)
    width = np.float32(found.high) - np.float32(found.low)
    low = np.float32(found.low)
    whole = _in_pieces(values, lambda part: np.clip((part - low) / width, 0.0, 1.0))
    return Displayed(whole, outliers)


def _is_made_for_display(values: np.ndarray, header: Header) -> bool:
    """Whether values are grey as a screen shows it, as those of a PNG file: detectors have more."""
    is_in_range = values.min() >= 0 and values.max() <= _WHITE
    return bool(header.number("BitsStored") == 8 and is_in_range)


def _in_pieces(values: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What a formula makes of each value, float32: of all at once it takes several times as much
    memory as they do.
    """
    changed = np.empty(values.shape, np.float32)
    for rows in bands(*values.shape):
        changed[rows] = change(values[rows])
    return changed


def _shows_something(pixels: np.ndarray, is_padding: np.ndarray) -> bool:
    """Whether the displayed values differ by enough to be seen, but for a few of them."""
    step = max(1, math.isqrt(pixels.size // _SAMPLE))
    shown = pixels[::step, ::step][~is_padding[::step, ::step]]
    if not shown.size:
        return False
    dark, bright = np.percentile(shown, (0.5, 99.5))
    return bool(bright - dark >= _LEAST_CONTRAST)


def _by_table(values: np.ndarray, header: Header) -> np.ndarray | None:
    looked_up = _looked_up(values, header, "VOILUTSequence")
    if looked_up is None:
        return None
    entries, bits = looked_up
    return _in_pieces(entries, lambda part: np.clip(part / np.float32(2**bits - 1), 0.0, 1.0))


class LookupTable(NamedTuple):
    """Entries, float32 ``(N,)``; the input value of the first; bits per entry."""

    entries: np.ndarray
    first: int
    bits: int


def lookup_table(header: Header, keyword: str) -> LookupTable | None:
    """The first table of a Modality or VOI LUT sequence; None if there is none, or it is broken."""
    item = header.item(keyword)
    if item is None:
        return None
    try:
        table = _table(item, header)
        if keyword == "VOILUTSequence":
            _check_depth(table)
        return table
    except Exception:  # pydicom converts on access and raises whatever it meets
        header.warn_ignored(keyword)
        return None


def _check_depth(table: LookupTable) -> None:
    """A table for display reaches white; one that holds 12 bits and says 16 shows black."""
    if table.bits > 8 and table.entries.max() < _LEAST_OF_RANGE * 2**table.bits:
        raise ValueError("the table holds fewer bits than it says")


def _looked_up(values: np.ndarray, header: Header, keyword: str) -> tuple[np.ndarray, int] | None:
    """The table's entries for `values`, (H, W) float32, and its bits per entry."""
    table = lookup_table(header, keyword)
    if table is None:
        return None
    # A first input value may be stored as unsigned although it is meant to be negative.
    low, high = values.min(), values.max()
    first = table.first - 2**16 * (table.first >= 2**15 and low < 0)
    last = len(table.entries) - 1
    used = np.clip(np.rint([low, high]) - first, 0, last).astype(np.int32)
    if _is_mixed(table.entries[used[0] : used[1] + 1]):
        header.warnings.append(f"{keyword} neither rises nor falls throughout: check the greys")

    def entries(part: np.ndarray) -> np.ndarray:
        found: np.ndarray = table.entries[np.clip(np.rint(part) - first, 0, last).astype(np.int32)]
        return found

    return _in_pieces(values, entries), table.bits


def _is_mixed(entries: np.ndarray) -> bool:
    """Whether entries rise and fall, each by more than rounding makes."""
    steps = np.diff(entries)
    up, down = steps[steps > 0].sum(), -steps[steps < 0].sum()
    return bool(min(up, down) > _MOST_BACK * np.ptp(entries))


def _table(item: Dataset, header: Header) -> LookupTable:
    length, first, bits = (int(number) for number in item.LUTDescriptor)
    length = length % 2**16 or 2**16
    data = item.LUTData
    if isinstance(data, bytes):
        is_little_endian = header.dataset.original_encoding[1]
        wide = np.dtype("<u2" if is_little_endian else ">u2")
        # One byte an entry, padded to an even number; any other length is a wide table cut short.
        is_packed = bits == 8 and length <= len(data) <= min(length + 1, 2 * length - 1)
        data = np.frombuffer(data, dtype=np.uint8 if is_packed else wide)
    entries = np.atleast_1d(np.asarray(data, dtype=np.float32))[:length]
    if len(entries) < length or not 8 <= bits <= 16:
        raise ValueError("the table is shorter than it says, or of unknown depth")
    return LookupTable(entries, first, bits)


class Window(NamedTuple):
    """Centre and width in the detector's quantity, and the function between its borders."""

    centre: float
    width: float
    function: str


def window(header: Header) -> Window | None:
    """The first window; None if there is none, or it is broken."""
    centre, width = header.number("WindowCenter"), header.number("WindowWidth")
    if centre is None or width is None:
        return None
    function = header.word("VOILUTFunction") or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        header.warn_ignored("VOILUTFunction")
        function = "LINEAR"
    if width < 1 if function == "LINEAR" else width <= 0:
        header.warn_ignored("WindowWidth")
        return None
    return Window(centre, width, function)


def _by_window(values: np.ndarray, header: Header) -> np.ndarray | None:
    chosen = window(header)
    return None if chosen is None else _in_pieces(values, lambda part: _windowed(part, *chosen))


def _windowed(values: np.ndarray, centre: float, width: float, function: str) -> np.ndarray:
    if function == "SIGMOID":
        # Beyond 50 widths the curve is flat; the limit keeps the exponential finite.
        exponent = np.clip((values - np.float32(centre)) * np.float32(-4 / width), -80.0, 80.0)
        pixels: np.ndarray = 1 / (1 + np.exp(exponent))
    elif function == "LINEAR_EXACT":
        pixels = np.clip((values - np.float32(centre)) / np.float32(width) + 0.5, 0.0, 1.0)
    elif width == 1:
        pixels = (values > centre - 0.5).astype(np.float32)
    else:
        scale = np.float32(1 / (width - 1))
        pixels = np.clip((values - np.float32(centre - 0.5)) * scale + 0.5, 0.0, 1.0)
    return pixels


def is_inverted(header: Header) -> bool:
    """Whether small values are to be shown bright.

    PresentationLUTShape decides where it is stated, as in other DICOM software; the two elements
    must agree, so a contradiction is warned of.
    """
    by_photometric = header.word("PhotometricInterpretation") == "MONOCHROME1"
    shape = header.word("PresentationLUTShape")
    if shape not in ("IDENTITY", "INVERSE"):
        return by_photometric
    if (shape == "INVERSE") != by_photometric:
        header.warnings.append(
            "PresentationLUTShape and PhotometricInterpretation contradict each other: "
            "check that bone is bright"
        )
    return shape == "INVERSE"
