"""What may happen to the bytes of a picture file, and which mutations fit which kind of file."""

from __future__ import annotations

import random
from collections.abc import Callable

from mutated_dicom import DICOM_MUTATIONS, EXTREMES
from mutated_pixels import PIXEL_MUTATIONS
from mutated_rasters import RASTER_MUTATIONS
from mutation_parts import by_name
from sound_pictures import EXAMPLES, Kind, values

Mutation = Callable[[bytes, random.Random], bytes]


def _piece(data: bytes, rng: random.Random) -> tuple[int, int]:
    """Place and length of up to a fifth of the file, behind its first hundredth."""
    start = rng.randrange(len(data) // 100, len(data))
    return start, min(len(data) - start, rng.randrange(1, max(2, len(data) // 5)))


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(data)
    end = rng.choice([512, 2048, len(data), len(data)])
    for _ in range(rng.choice([1, 2, 8, 64])):
        damaged[rng.randrange(min(end, len(data)))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def truncate_and_fill(data: bytes, rng: random.Random) -> bytes:
    """What a copy leaves that was interrupted after the file's size was set."""
    kept = rng.randrange(len(data))
    return data[:kept] + bytes(len(data) - kept)


def delete_piece(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.randrange(1, 256) :]


def move_on(data: bytes, rng: random.Random) -> bytes:
    """Bytes that were lost, with as many others at the end."""
    short = delete_piece(data, rng)
    return short + rng.randbytes(len(data) - len(short))


def repeat_piece(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    piece = data[start : start + rng.randrange(1, 256)]
    return data[:start] + piece * rng.randrange(2, 20) + data[start:]


def copy_block(data: bytes, rng: random.Random) -> bytes:
    start, length = _piece(data, rng)
    source = rng.randrange(len(data) - length + 1)
    return data[:start] + data[source : source + length] + data[start + length :]


def one_value(data: bytes, rng: random.Random) -> bytes:
    start, length = _piece(data, rng)
    return data[:start] + bytes([rng.choice([0, 0, 255, 128])]) * length + data[start + length :]


def noise(data: bytes, rng: random.Random) -> bytes:
    start, length = _piece(data, rng)
    return data[:start] + rng.randbytes(length) + data[start + length :]


def extreme_number(data: bytes, rng: random.Random) -> bytes:
    width = rng.choice([1, 2, 4])
    at = rng.randrange(min(len(data) - width, rng.choice([200, 1000, len(data) - width])))
    number = rng.choice(EXTREMES) & (256**width - 1)
    return data[:at] + number.to_bytes(width, rng.choice(["little", "big"])) + data[at + width :]


BYTE_MUTATIONS: dict[str, Mutation] = by_name(
    flip_bits,
    truncate,
    truncate_and_fill,
    delete_piece,
    move_on,
    repeat_piece,
    copy_block,
    one_value,
    noise,
    extreme_number,
)
"""By name: those that know nothing of the format."""


def mutations_of(kind: Kind, *, of_dicom_only: bool = False) -> list[str]:
    """Names of the mutations that fit a kind of file; only those of its structure for DICOM."""
    if of_dicom_only:
        return list(DICOM_MUTATIONS)
    structure = [name for name in RASTER_MUTATIONS if kind.name.startswith(name.split("_")[0])]
    return [
        *BYTE_MUTATIONS,
        *(DICOM_MUTATIONS if kind.is_dicom else structure),
        *(PIXEL_MUTATIONS if kind.is_exact else ()),
    ]


def mutated(kind: Kind, mutation: str, rng: random.Random) -> tuple[int, bytes]:
    """The number of an example, and its file after a mutation; unchanged if that does not fit."""
    example = rng.randrange(EXAMPLES)
    if mutation in PIXEL_MUTATIONS:
        changed = PIXEL_MUTATIONS[mutation](values(example, is_wide=kind.is_wide), rng)
        return example, kind.store(changed)
    change = {**BYTE_MUTATIONS, **DICOM_MUTATIONS, **RASTER_MUTATIONS}[mutation]
    return example, change(kind.sound(example), rng)
