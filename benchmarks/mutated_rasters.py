"""What may be wrong within the structure of a PNG, TIFF or JPEG picture, checksums made anew."""

from __future__ import annotations

import random
import re
import struct
import zlib
from collections.abc import Callable

from mutation_parts import by_name, cut_up

RasterMutation = Callable[[bytes, random.Random], bytes]

_SIGNATURE = 8
_TAGS = {  # of a TIFF: what may stand in their place
    256: (0, 1, 149, 297, 299, 596, 65535),
    257: (0, 1, 150, 298, 300, 598, 65535),
    258: (1, 4, 8, 12, 16, 32),
    259: (1, 2, 5, 7, 8, 32773, 34712),
    262: (0, 1, 2, 3, 6),
    277: (0, 1, 2, 3, 4),
    278: (1, 8, 100, 298, 65535),
    284: (1, 2, 3),
    317: (1, 2, 3, 4),
}
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    at, chunks = _SIGNATURE, []
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def _png(data: bytes, chunks: list[tuple[bytes, bytes]]) -> bytes:
    return data[:_SIGNATURE] + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def png_lines(data: bytes, rng: random.Random) -> bytes:
    """Filtered lines changed before they are compressed: filters, bytes, pieces, the end."""
    chunks = _chunks(data)
    lines = bytearray(zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT")))
    (height,) = struct.unpack(">I", chunks[0][1][4:8])
    length = len(lines) // height
    match rng.randrange(5):
        case 0:  # filters
            for row in rng.sample(range(height), rng.choice([1, 5, 50])):
                lines[row * length] = rng.randrange(5)
        case 1:  # bytes
            for _ in range(rng.choice([1, 8, 64])):
                lines[rng.randrange(len(lines))] ^= 1 << rng.randrange(8)
        case 2:  # the end
            cut = rng.randrange(len(lines))
            lines[cut:] = bytes(len(lines) - cut)
        case 3:  # a piece from elsewhere
            size = rng.randrange(1, len(lines) // 5)
            start, source = (rng.randrange(len(lines) - size) for _ in range(2))
            lines[start : start + size] = lines[source : source + size]
        case _:  # lines that are lost
            first = rng.randrange(height)
            count = rng.randrange(1, 60)
            del lines[first * length : (first + count) * length]
            lines += bytes(height * length - len(lines))
    others = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
    return _png(data, [*others[:-1], (b"IDAT", zlib.compress(bytes(lines))), others[-1]])


def png_header(data: bytes, rng: random.Random) -> bytes:
    """Width, height, bits, colour type, filter or interlacing, or the palette."""
    chunks = _chunks(data)
    names = [name for name, _ in chunks]
    if b"PLTE" in names and rng.random() < 0.7:
        at = names.index(b"PLTE")
        palette = bytearray(chunks[at][1])
        for _ in range(rng.choice([1, 8, 256])):
            palette[rng.randrange(len(palette))] = rng.randrange(256)
        chunks[at] = (b"PLTE", bytes(palette))
        return _png(data, chunks)
    header = bytearray(chunks[0][1])
    width, height = struct.unpack(">II", header[:8])
    match rng.randrange(5):
        case 0:
            header[:4] = struct.pack(">I", rng.choice([1, width - 1, width + 1, width // 2]))
        case 1:
            header[4:8] = struct.pack(">I", rng.choice([1, height - 1, height + 1, height // 2]))
        case 2:
            header[8] = rng.choice([1, 2, 4, 8, 16])
        case 3:
            header[9] = rng.choice([0, 2, 3, 4, 6])
        case _:
            header[rng.choice([10, 11, 12])] = 1
    chunks[0] = (b"IHDR", bytes(header))
    return _png(data, chunks)


def png_chunks(data: bytes, rng: random.Random) -> bytes:
    """The compressed data in other pieces, one of them lost, changed, or moved."""
    chunks = _chunks(data)
    body = b"".join(body for name, body in chunks if name == b"IDAT")
    cuts = sorted(rng.sample(range(1, len(body)), 3))
    parts = cut_up(body, cuts)
    match rng.randrange(3):
        case 0:
            rng.shuffle(parts)
        case 1:
            parts.pop(rng.randrange(len(parts)))
        case _:
            at = rng.randrange(len(parts))
            changed = bytearray(parts[at])
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            parts[at] = bytes(changed)
    others = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
    return _png(data, [*others[:-1], *((b"IDAT", part) for part in parts), others[-1]])


def _entries(data: bytes) -> list[int]:
    """Where the entries of a little-endian TIFF's first directory stand."""
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    return [at + 2 + 12 * number for number in range(count)]


def tiff_tag(data: bytes, rng: random.Random) -> bytes:
    """Another value for a tag, or a tag in the place of another."""
    changed = bytearray(data)
    known = [at for at in _entries(data) if struct.unpack_from("<H", data, at)[0] in _TAGS]
    at = rng.choice(known)
    (tag,) = struct.unpack_from("<H", data, at)
    if rng.random() < 0.2:
        tag = rng.choice(list(_TAGS))
        struct.pack_into("<HHI", changed, at, tag, 3, 1)
    struct.pack_into("<I", changed, at + 8, rng.choice(_TAGS[tag]))
    return bytes(changed)


def tiff_strips(data: bytes, rng: random.Random) -> bytes:
    """Offsets or lengths of strips that change places, point elsewhere, or are wrong."""
    changed = bytearray(data)
    places = {}
    for at in _entries(data):
        tag, kind, count, value = struct.unpack_from("<HHII", data, at)
        if tag in (273, 279):
            start = value if count * (2 if kind == 3 else 4) > 4 else at + 8
            places[tag] = ("<" + ("H" if kind == 3 else "I") * count, start)
    tag = rng.choice(sorted(places))
    form, start = places[tag]
    numbers = list(struct.unpack_from(form, data, start))
    at = rng.randrange(len(numbers))
    match rng.randrange(4):
        case 0:
            rng.shuffle(numbers)
        case 1:
            numbers[at] = max(0, numbers[at] + rng.choice([-1000, -298, -10, -1, 1, 10, 298, 1000]))
        case 2:
            numbers[at] = rng.choice(numbers)
        case _:
            moved = rng.randrange(-300, 300)
            numbers = [max(0, number + moved) for number in numbers]
    most = 65535 if "H" in form else 2**32 - 1
    struct.pack_into(form, changed, start, *(min(number, most) for number in numbers))
    return bytes(changed)


def _segments(data: bytes) -> list[tuple[int, int, int]]:
    """Marker, start and end of each segment's content, up to the first scan's data."""
    at, found = 2, []
    while at + 4 < len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        found.append((marker, at + 4, at + 2 + length))
        at += 2 + length
        if marker == 0xDA:
            break
    return found


def jpeg_tables(data: bytes, rng: random.Random) -> bytes:
    """Quantisation or code tables, or the frame's or scan's header."""
    markers = rng.choice([(0xDB,), (0xDB,), (0xC4,), (0xC0, 0xC1, 0xC2), (0xDA,), (0xDD,)])
    segments = [segment for segment in _segments(data) if segment[0] in markers]
    if not segments:
        return data
    _, start, end = rng.choice(segments)
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        at = rng.randrange(start, end)
        changed[at] = rng.choice([changed[at] ^ 1 << rng.randrange(8), rng.randrange(256)])
    return bytes(changed)


def jpeg_restarts(data: bytes, rng: random.Random) -> bytes:
    """Pieces between restart markers in another order, one lost or twice; numbered anew or not."""
    start = _segments(data)[-1][2]
    end = data.rfind(b"\xff\xd9")
    parts = _RESTART.split(data[start:end])
    if len(parts) < 3:
        return data
    at = rng.randrange(len(parts))
    match rng.randrange(4):
        case 0:
            rng.shuffle(parts)
        case 1:
            parts.pop(at)
        case 2:
            parts[at] = rng.choice(parts)
        case _:
            other = rng.randrange(len(parts))
            parts[at], parts[other] = parts[other], parts[at]
    whole = parts[0]
    for number, part in enumerate(parts[1:]):
        whole += bytes([0xFF, 0xD0 + number % 8]) + part
    return data[:start] + whole + data[end:]


RASTER_MUTATIONS: dict[str, RasterMutation] = by_name(
    png_lines,
    png_header,
    png_chunks,
    tiff_tag,
    tiff_strips,
    jpeg_tables,
    jpeg_restarts,
)
"""By name, which begins with the format."""
