"""What may happen to a picture's stored values before a sound file, checksums and all, holds them.

Each takes a picture ``(H, W)`` of uint8, or of uint16 with 12 bits, and gives one of that shape.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
from mutation_parts import by_name
from sound_pictures import EXAMPLES, Values, values

PixelMutation = Callable[[Values, random.Random], Values]


def _top(pixels: Values) -> int:
    return 255 if pixels.dtype == np.uint8 else 4095


def _stretch(pixels: Values, rng: random.Random) -> slice:
    """Up to two fifths of the values, one row after the other."""
    length = int(pixels.size * rng.uniform(0.01, 0.4))
    start = rng.randrange(pixels.size - length)
    return slice(start, start + length)


def _band(pixels: Values, rng: random.Random) -> slice:
    height = rng.randrange(1, len(pixels) * 2 // 5)
    start = rng.randrange(len(pixels) - height)
    return slice(start, start + height)


def _block(pixels: Values, rng: random.Random) -> tuple[int, int]:
    """Height and width of a rectangle."""
    height, width = (int(length * rng.uniform(0.1, 0.6)) for length in pixels.shape)
    return height, width


def _place(pixels: Values, size: tuple[int, int], rng: random.Random) -> tuple[slice, slice]:
    top, left = (
        rng.randrange(whole - part) for whole, part in zip(pixels.shape, size, strict=True)
    )
    return slice(top, top + size[0]), slice(left, left + size[1])


def _in_stretch(pixels: Values, rng: random.Random, change: Callable[[Values], Values]) -> Values:
    flat = pixels.copy().reshape(-1)
    part = _stretch(pixels, rng)
    flat[part] = change(flat[part])
    return flat.reshape(pixels.shape)


def stretch_of_one_value(pixels: Values, rng: random.Random) -> Values:
    value = rng.choice([0, _top(pixels), int(pixels.mean())])
    return _in_stretch(pixels, rng, lambda part: np.full_like(part, value))


def stretch_inverted(pixels: Values, rng: random.Random) -> Values:
    return _in_stretch(pixels, rng, lambda part: _top(pixels) - part)


def stretch_with_swapped_bytes(pixels: Values, rng: random.Random) -> Values:
    """Of 16 bits; of 8 bits each value changes places with its neighbour."""

    def change(part: Values) -> Values:
        if part.dtype == np.uint16:
            return part.byteswap() & 4095
        even = part[: len(part) // 2 * 2].reshape(-1, 2)[:, ::-1].reshape(-1)
        return np.concatenate([even, part[len(even) :]])

    return _in_stretch(pixels, rng, change)


def stretch_moved_by_a_byte(pixels: Values, rng: random.Random) -> Values:
    def change(part: Values) -> Values:
        octets = np.roll(part.view(np.uint8), 1)
        return octets.view(part.dtype) & _top(pixels)

    return _in_stretch(pixels, rng, change)


def stretch_with_a_bit_flipped(pixels: Values, rng: random.Random) -> Values:
    bit = 1 << rng.randrange(_top(pixels).bit_length())
    return _in_stretch(pixels, rng, lambda part: part ^ part.dtype.type(bit))


def bit_plane(pixels: Values, rng: random.Random) -> Values:
    """One bit of every value, flipped, cleared or set."""
    bit = pixels.dtype.type(1 << rng.randrange(_top(pixels).bit_length()))
    return rng.choice([pixels ^ bit, pixels & ~bit, pixels | bit])


def stretch_of_noise(pixels: Values, rng: random.Random) -> Values:
    """Of all values alike, or of the picture's own in any order."""
    random_ = np.random.default_rng(rng.randrange(2**32))
    if rng.random() < 0.5:
        return _in_stretch(pixels, rng, random_.permutation)
    top = _top(pixels)
    return _in_stretch(pixels, rng, lambda p: random_.integers(0, top + 1, p.shape).astype(p.dtype))


def stretch_darker_or_brighter(pixels: Values, rng: random.Random) -> Values:
    gain = rng.choice([0.25, 0.5, 0.75, 1.5, 2.0])
    top = _top(pixels)
    return _in_stretch(pixels, rng, lambda p: np.minimum(p * gain, top).astype(p.dtype))


def stretch_copied(pixels: Values, rng: random.Random) -> Values:
    source = rng.random()
    flat = pixels.reshape(-1)

    def change(part: Values) -> Values:
        start = int(source * (len(flat) - len(part)))
        return flat[start : start + len(part)].copy()

    return _in_stretch(pixels, rng, change)


def stretch_backwards(pixels: Values, rng: random.Random) -> Values:
    return _in_stretch(pixels, rng, lambda part: part[::-1].copy())


def stretch_of_another_knee(pixels: Values, rng: random.Random) -> Values:
    other = _another(pixels, rng).reshape(-1)
    flat = pixels.copy().reshape(-1)
    part = _stretch(pixels, rng)
    flat[part] = other[part]
    return flat.reshape(pixels.shape)


def spliced(pixels: Values, rng: random.Random) -> Values:
    """Another knee from some value on, from some column on, or in a rectangle."""
    other, seen = _another(pixels, rng), pixels.copy()
    match rng.randrange(3):
        case 0:
            start = rng.randrange(pixels.size // 10, pixels.size * 9 // 10)
            seen.reshape(-1)[start:] = other.reshape(-1)[start:]
        case 1:
            start = rng.randrange(pixels.shape[1] // 10, pixels.shape[1] * 9 // 10)
            seen[:, start:] = other[:, start:]
        case _:
            place = _place(pixels, _block(pixels, rng), rng)
            seen[place] = other[place]
    return seen


def _another(pixels: Values, rng: random.Random) -> Values:
    other = values(rng.randrange(EXAMPLES), is_wide=pixels.dtype == np.uint16)
    return np.resize(other, pixels.shape) if other.shape != pixels.shape else other


def rows_swapped(pixels: Values, rng: random.Random) -> Values:
    """Two bands of rows change places; or the rows of one lie the other way up."""
    band, seen = _band(pixels, rng), pixels.copy()
    if rng.random() < 0.3:
        seen[band] = pixels[band][::-1]
        return seen
    height = band.stop - band.start
    start = rng.randrange(len(pixels) - height)
    other = slice(start, start + height)
    seen[band], seen[other] = pixels[other], pixels[band]
    return seen


def rows_from_elsewhere(pixels: Values, rng: random.Random) -> Values:
    """Rows that were lost or came twice, and as many at the end; or odd rows after even ones."""
    band = _band(pixels, rng)
    height = band.stop - band.start
    without = np.delete(pixels, band, axis=0)
    match rng.randrange(4):
        case 0:
            return np.concatenate([without, np.zeros_like(pixels[:height])])
        case 1:
            return np.concatenate([without, pixels[:height]])
        case 2:
            return np.insert(pixels, [band.start] * height, pixels[band], axis=0)[: len(pixels)]
        case _:
            return np.concatenate([pixels[::2], pixels[1::2]])


def rows_lost(pixels: Values, rng: random.Random) -> Values:
    """Every second, third or fourth row black, or the one above."""
    every, seen = rng.choice([2, 3, 4]), pixels.copy()
    lost = np.arange(1, len(pixels), every)
    seen[lost] = rng.choice([np.zeros_like(pixels[lost]), pixels[lost - 1]])
    return seen


def columns_swapped(pixels: Values, rng: random.Random) -> Values:
    return rows_swapped(pixels.T, rng).T.copy()


def band_moved(pixels: Values, rng: random.Random) -> Values:
    """Some rows, or all from one on, by some columns."""
    band, seen = _band(pixels, rng), pixels.copy()
    if rng.random() < 0.5:
        band = slice(band.start, None)
    seen[band] = np.roll(pixels[band], rng.randrange(1, pixels.shape[1]), axis=1)
    return seen


def cut_off(pixels: Values, rng: random.Random) -> Values:
    """The end lost, and filled up: with one value, the last row, or the picture from its start."""
    end = rng.randrange(pixels.size // 4, pixels.size * 19 // 20)
    flat = pixels.copy().reshape(-1)
    width, left = pixels.shape[1], pixels.size - end
    match rng.randrange(3):
        case 0:
            flat[end:] = rng.choice([0, _top(pixels)])
        case 1:
            flat[end:] = np.resize(flat[end - width : end], left)
        case _:
            flat[end:] = np.resize(flat[:end], left)
    return flat.reshape(pixels.shape)


def block_copied(pixels: Values, rng: random.Random) -> Values:
    size = _block(pixels, rng)
    seen = pixels.copy()
    seen[_place(pixels, size, rng)] = pixels[_place(pixels, size, rng)]
    return seen


def blocks_swapped(pixels: Values, rng: random.Random) -> Values:
    size = _block(pixels, rng)
    one, other = _place(pixels, size, rng), _place(pixels, size, rng)
    seen = pixels.copy()
    seen[one], seen[other] = pixels[other], pixels[one]
    return seen


def block_of_one_value(pixels: Values, rng: random.Random) -> Values:
    seen = pixels.copy()
    seen[_place(pixels, _block(pixels, rng), rng)] = rng.randrange(_top(pixels) + 1)
    return seen


def block_mirrored(pixels: Values, rng: random.Random) -> Values:
    place, seen = _place(pixels, _block(pixels, rng), rng), pixels.copy()
    seen[place] = rng.choice(
        [pixels[place][::-1], pixels[place][:, ::-1], pixels[place][::-1, ::-1]]
    )
    return seen


PIXEL_MUTATIONS: dict[str, PixelMutation] = by_name(
    stretch_of_one_value,
    stretch_inverted,
    stretch_with_swapped_bytes,
    stretch_moved_by_a_byte,
    stretch_with_a_bit_flipped,
    bit_plane,
    stretch_of_noise,
    stretch_darker_or_brighter,
    stretch_copied,
    stretch_backwards,
    stretch_of_another_knee,
    spliced,
    rows_swapped,
    rows_from_elsewhere,
    rows_lost,
    columns_swapped,
    band_moved,
    cut_off,
    block_copied,
    blocks_swapped,
    block_of_one_value,
    block_mirrored,
)
"""By name."""
