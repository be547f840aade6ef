"""Whether a JPEG Lossless picture takes up just the bits that its values need.

Its decoder goes on after damage and does not tell. But a picture's values and its code tables fix
the number of bits of the compressed data (ITU-T T.81, Annex H): where the data has more or fewer,
other values were written than were read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

_ROWS = 256  # handled at a time, to need little memory
_SPARE_BYTES = 2  # behind the last value, which some encoders leave
_TABLES, _FRAME, _SCAN, _RESTARTS, _END = 0xC4, 0xC3, 0xDA, 0xDD, 0xD9


class _Scan(NamedTuple):
    precision: int
    predictor: int
    shift: int  # bits that every value was shifted by, the "point transform"
    code_bits: np.ndarray  # (17,) length of each category's code; 0: it has none
    interval: int  # values between restart markers; 0: there are none
    data: bytes  # of the entropy-coded segment, up to the end of the picture


def uses_all_bits(codestream: bytes, values: np.ndarray) -> bool:
    """Whether the compressed data ends where its last value does.

    Args:
        codestream: a JPEG Lossless picture of one component.
        values: ``(rows, columns)``, as decoded from it.

    Returns:
        False where it is cut off or broken. True too where this cannot be told: of several scans,
        and of restart markers only the number counts.
    """
    scan = _scan(codestream)
    if scan is None:
        return True
    if scan.interval:
        restarts = len(re.findall(rb"\xff[\xd0-\xd7]", scan.data))
        return restarts == -(-values.size // scan.interval) - 1
    needed = _needed_bits(scan, values.astype(np.int32) >> scan.shift)
    if needed is None:
        return False
    # Fill bytes may stand in front of a marker.
    present = len(scan.data.rstrip(b"\xff")) - scan.data.count(b"\xff\0")
    least = -(-needed // 8)
    filled = len(scan.data) - scan.data.count(b"\xff\0")
    return present <= least + _SPARE_BYTES and least <= filled


def _scan(codestream: bytes) -> _Scan | None:
    """The one scan; None if it has another build than this program knows."""
    at, precision, interval = 2, 0, 0
    tables: dict[int, np.ndarray] = {}
    while at + 4 <= len(codestream) and codestream[at] == 0xFF:
        marker = codestream[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        length = int.from_bytes(codestream[at + 2 : at + 4])
        body = codestream[at + 4 : at + 2 + length]
        if marker == _TABLES:
            tables |= _tables(body)
        elif marker == _FRAME:
            precision = body[0]
        elif marker == _RESTARTS:
            interval = int.from_bytes(body[:2])
        elif marker == _SCAN:
            data = codestream[at + 2 + length :]
            end = re.search(rb"\xff[\x01-\xcf\xd8-\xfe]", data)
            codes = tables.get(body[2] >> 4)
            if body[0] != 1 or codes is None or (end and data[end.start() + 1] != _END):
                return None
            data = data[: end.start()] if end else data
            return _Scan(precision, body[3], body[5] & 15, codes, interval, data)
        at += 2 + length
    return None


def _tables(body: bytes) -> dict[int, np.ndarray]:
    """Length of the code of each category, by the table's number."""
    found: dict[int, np.ndarray] = {}
    while len(body) >= 17:
        counts, symbols = body[1:17], body[17 : 17 + sum(body[1:17])]
        lengths = np.zeros(256, dtype=np.int64)
        of_each = [bits for bits, count in enumerate(counts, 1) for _ in range(count)]
        for symbol, bits in zip(symbols, of_each, strict=False):
            lengths[symbol] = bits
        found[body[0] & 15] = lengths[:17]
        body = body[17 + sum(counts) :]
    return found


def _needed_bits(scan: _Scan, values: np.ndarray) -> int | None:
    """Bits that these values take up; None if one has no code."""
    counts = np.zeros(17, dtype=np.int64)
    for first in range(0, len(values), _ROWS):
        rows = values[max(first - 1, 0) : first + _ROWS]
        predicted = _predicted(rows, scan) if first else _predicted_from_top(rows, scan)
        difference = (rows[first > 0 :] - predicted + 2**15 - 1) % 2**16 - 2**15 + 1
        _, categories = np.frexp(np.abs(difference).astype(np.float32))
        counts += np.bincount(categories.ravel(), minlength=17)[:17]
    if (counts[scan.code_bits == 0] > 0).any():
        return None
    extra = np.arange(17) % 16  # a difference of category 16 needs no bits besides its code
    return int((counts * (scan.code_bits + extra)).sum())


def _predicted_from_top(rows: np.ndarray, scan: _Scan) -> np.ndarray:
    """Of the picture's first rows: the very first value is predicted by half the range."""
    top = np.empty_like(rows[:1])
    top[0, 0] = 1 << (scan.precision - scan.shift - 1)
    top[0, 1:] = rows[0, :-1]
    return np.concatenate([top, _predicted(rows, scan)])


def _predicted(rows: np.ndarray, scan: _Scan) -> np.ndarray:
    """Predictions ``(n - 1, columns)`` of all rows but the first, Table H.1."""
    left, above, corner = rows[1:, :-1], rows[:-1, 1:], rows[:-1, :-1]
    formulas: dict[int, Callable[[], np.ndarray]] = {
        1: lambda: left,
        2: lambda: above,
        3: lambda: corner,
        4: lambda: left + above - corner,
        5: lambda: left + ((above - corner) >> 1),
        6: lambda: above + ((left - corner) >> 1),
        7: lambda: (left + above) >> 1,
    }
    return np.concatenate([rows[:-1, :1], formulas[scan.predictor]()], axis=1)
