"""Parts of a picture that stand in it twice, pixel by pixel.

A detector's noise is never the same twice, so a stretch of pixels that is no flat ground does not
recur. Where many do, all by the same distance, rows, blocks or bytes were copied.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from kellgren.knee import Plane, bands

_DOUBLINGS = 4  # windows of 16 pixels, in the order in which rows are stored
_WINDOW = 2**_DOUBLINGS
_LEAST_CHANGES = 5  # between neighbours in a window: the rest may be equal, as enlarged pixels are
_KEPT_BITS = 4  # of their hashes: one window in sixteen is compared
_MOST_KEPT = 2**16
_MOST_ALIKE = 4  # windows with one hash: more of them are a pattern, not a copy
_ENLARGED = 3  # rows: a picture enlarged to four times its size has each row four times
_AT_ONCE = 2**18  # pixels: more take longer, because they leave the processor's cache
_HALF, _LOWER = np.uint64(32), np.uint64(2**32 - 1)
_FACTOR = np.uint32(0x9E3779B1)  # so that sums of the same values in another order differ
_SEVERAL = 0.05  # grey values between the darkest and the brightest of a row


def repeated_rows(knee: Plane) -> float:
    """Share of the rows, 0..1, of several values that are found more than twice, or far apart.

    Args:
        knee: ``(H, W)``.
    """
    if len(set(_row_sums(knee))) == len(knee):
        return 0.0  # as most knees
    places: dict[int, list[int]] = {}
    for number in np.flatnonzero(np.ptp(knee, axis=1) > _SEVERAL).tolist():
        places.setdefault(hash(knee[number].tobytes()), []).append(number)
    # A picture enlarged to twice its size has each row twice.
    copies = [len(p) for p in places.values() if len(p) > 3 or p[-1] - p[0] >= len(p)]
    return sum(copies) / len(knee)


def _row_sums(knee: Plane) -> Iterator[int]:
    """Numbers that are equal for equal rows, and hardly ever for others."""
    weights = np.arange(1, 2 * knee.shape[1], 2, dtype=np.uint32) * _FACTOR
    for band in bands(*knee.shape):
        weighted = knee[band].view(np.uint32) * weights
        yield from weighted.sum(axis=1, dtype=np.uint32).tolist()


def copied_share(strip: Plane) -> float:
    """Share of the pixels, 0..1, that others repeat at one distance, which most of them share.

    Args:
        strip: ``(H, W)`` whole rows of a picture.
    """
    flat = np.ascontiguousarray(strip).reshape(-1)
    kept_bits = max(_KEPT_BITS, (flat.size // _MOST_KEPT).bit_length())
    starts = range(0, flat.size - _WINDOW, _AT_ONCE)
    parts = [_some_windows(flat, start, kept_bits) for start in starts]
    windows = np.sort(np.concatenate(parts))
    hashes, places = windows >> _HALF, (windows & _LOWER).astype(np.int64)
    is_copy = ~_many(hashes)
    distances = [np.zeros(0, np.int64)]
    for apart in range(1, _MOST_ALIKE):
        same = hashes[apart:] == hashes[:-apart]
        distances.append((places[apart:] - places[:-apart])[same & is_copy[apart:]])
    copied = _most_common(np.concatenate(distances), strip.shape[1]) << kept_bits
    return float(copied / flat.size)


def _some_windows(flat: Plane, start: int, kept_bits: int) -> npt.NDArray[np.uint64]:
    """Hashes of windows that are no flat ground, and in their lower half where these begin.

    Only windows with some hashes are given, which are the same ones wherever they stand.
    """
    bits = flat[start : start + _AT_ONCE + _WINDOW - 1].view(np.uint32)
    hashes, width = bits * _FACTOR, 1
    hashes ^= hashes >> np.uint32(15)
    factor = _FACTOR
    while width < _WINDOW:
        factor = np.uint32(int(factor) * 5 % 2**32)
        hashes = hashes[:-width] * factor + hashes[width:]
        width *= 2
    places = np.flatnonzero(hashes * _FACTOR < np.uint32(2 ** (32 - kept_bits)))
    changes = (bits[1:] != bits[:-1]).view(np.uint8)
    two = changes[:-1] + changes[1:]
    four = two[:-2] + two[2:]
    seven = four[:-3] + two[4:-1] + changes[6:]
    within = seven[places] + changes[places + 7] + seven[places + 8]  # in 16 pixels
    places = places[within >= _LEAST_CHANGES]
    upper, lower = hashes[places].astype(np.uint64), (places + start).astype(np.uint64)
    return np.asarray(upper << _HALF | lower)


def _many(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which of sorted hashes more windows have than copies of a part would."""
    if not hashes.size:
        return np.zeros(0, np.bool_)
    is_first = np.append(True, hashes[1:] != hashes[:-1])
    counts = np.diff(np.append(np.flatnonzero(is_first), len(hashes)))
    return np.asarray(np.repeat(counts, counts) > _MOST_ALIKE)


def _most_common(distances: npt.NDArray[np.int64], width: int) -> int:
    near = (distances % width == 0) & (distances <= _ENLARGED * width)
    _, counts = np.unique(distances[~near], return_counts=True)
    return int(counts.max(initial=0))
