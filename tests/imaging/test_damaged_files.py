"""Damaged and hostile files: a radiograph or `UnreadableRadiograph`, quickly, and nothing else.

2 000 mutations a run; KELLGREN_MUTATIONS asks for more. DICOM pictures that are decoded in a
process of their own take too long for that: see `test_isolated_decoder`.
"""

from __future__ import annotations

import os
import random
import resource
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import uid

from damaged_files import (
    IHDR,
    check_promises,
    flip_bits,
    huge_claims,
    nested,
    outcome,
    picture,
    replaced,
    small_knee,
    with_png_header,
)
from dicom_factory import CANARY, dicom_bytes, full_range, lut_item
from kellgren.imaging.picture import SUFFIXES
from kellgren.imaging.radiograph import read_radiograph

MUTATIONS = int(os.environ.get("KELLGREN_MUTATIONS", "2000"))
SECONDS_PER_CLAIM = 1.0
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

Mutation = Callable[[bytes, random.Random], bytes]


def seeds() -> dict[str, bytes]:
    """Sound files of every kind, small enough to mutate by the thousand."""
    knee = small_knee()
    wide = knee.astype(np.uint16) * 16
    little, big = ([lut_item(np.arange(4096), 0, 12, order)] for order in "<>")
    tables = {True: little, False: big}
    rasters = {
        "png": picture(knee, "PNG"),
        "png 16": picture(wide, "PNG"),
        "png palette": picture(np.asarray(Image.fromarray(knee).convert("RGB")), "PNG"),
        "jpeg": picture(knee, "JPEG"),
        "jpeg progressive": picture(knee, "JPEG", progressive=True),
        "tiff": picture(knee, "TIFF", dpi=(200, 200)),
        "tiff 16 deflate": picture(wide, "TIFF", compression="tiff_adobe_deflate"),
        "tiff lzw": picture(knee, "TIFF", compression="tiff_lzw"),
        "tiff jpeg": picture(knee, "TIFF", compression="jpeg"),
    }
    dicoms = {
        f"dicom {syntax.name}": dicom_bytes(
            knee if syntax == uid.JPEGBaseline8Bit else wide,
            bits=8 if syntax == uid.JPEGBaseline8Bit else 12,
            transfer_syntax=syntax,
            ImageLaterality="L",
            ImagerPixelSpacing=[0.14, 0.14],
            PixelPaddingValue=0,
            RescaleSlope=1,
            RescaleIntercept=0,
            ModalityLUTSequence=tables[syntax.is_little_endian],
            VOILUTSequence=tables[syntax.is_little_endian],
            **full_range(12),
        )
        for syntax in (
            uid.ImplicitVRLittleEndian,
            uid.ExplicitVRLittleEndian,
            uid.ExplicitVRBigEndian,
            uid.DeflatedExplicitVRLittleEndian,
            uid.RLELossless,
            uid.JPEGBaseline8Bit,
        )
    }
    return rasters | dicoms


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def append_garbage(data: bytes, rng: random.Random) -> bytes:
    return data + rng.randbytes(rng.randrange(1, 4096))


def delete_piece(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.randrange(1, 64) :]


def repeat_piece(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    piece = data[start : start + rng.randrange(1, 256)]
    return data[:start] + piece * rng.randrange(2, 20) + data[start:]


def extreme_number(data: bytes, rng: random.Random) -> bytes:
    """A lie where a length, a count or a size may stand, in either byte order."""
    damaged = bytearray(data)
    width = rng.choice([1, 2, 4])
    at = rng.randrange(0, min(len(data) - width, rng.choice([200, 1000, len(data)])))
    number = rng.choice(EXTREMES) & (256**width - 1)
    damaged[at : at + width] = number.to_bytes(width, rng.choice(["little", "big"]))
    return bytes(damaged)


def lie_in_png_header(data: bytes, rng: random.Random) -> bytes:
    """A false IHDR whose checksum is right; other formats have no checksums to mend."""
    if not data.startswith(b"\x89PNG"):
        return extreme_number(data, rng)
    header = bytearray(data[IHDR])
    at = rng.randrange(len(header))
    header[at] = rng.choice([0, 1, 2, 3, 4, 6, 8, 16, 96, 255])
    return with_png_header(data, bytes(header))


OPERATIONS: list[Mutation] = [
    flip_bits,
    truncate,
    append_garbage,
    delete_piece,
    repeat_piece,
    extreme_number,
    lie_in_png_header,
]


def mutated(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if len(data) > 16:
            data = rng.choice(OPERATIONS)(data, rng)
    return data


def test_sound_seeds_are_read_without_a_warning(tmp_path: Path) -> None:
    for name, data in seeds().items():
        path = tmp_path / "knee"
        path.write_bytes(data)
        radiograph = read_radiograph(path)
        assert radiograph.warnings == (), name
        check_promises(radiograph)


def test_mutations_are_read_or_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    sound = list(seeds().items())
    suffixes = sorted(SUFFIXES)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts: Counter[tuple[str, str]] = Counter()
    for number in range(MUTATIONS):
        rng = random.Random(number)
        name, data = sound[number % len(sound)]
        path = tmp_path / f"knee{number}{rng.choice(suffixes)}"
        path.write_bytes(mutated(data, rng))
        counts[name, outcome(path)] += 1
        path.unlink()
    growth_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert growth_mb < 500
    assert capfd.readouterr() == ("", "")
    assert CANARY not in caplog.text
    # A reader that refused everything would pass all of the above.
    for name, _ in sound:
        assert counts[name, "refused"], name
        assert counts[name, "read"], name


def test_huge_claims_are_refused_at_once_and_without_memory(tmp_path: Path) -> None:
    """In a process of its own, where the peak of memory is that of these files."""
    for name, data in huge_claims().items():
        (tmp_path / name).write_bytes(data)
    sound = tmp_path / "sound"
    sound.mkdir()
    for number, data in enumerate(seeds().values()):
        (sound / f"knee{number}").write_bytes(data)
    program = (
        "import sys, time, pathlib\n"
        "from resource import RUSAGE_SELF, getrusage\n"
        "from kellgren.imaging.radiograph import read_radiograph\n"
        "from kellgren.errors import UnreadableRadiograph\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "for path in (folder / 'sound').iterdir(): read_radiograph(path)\n"
        "before = getrusage(RUSAGE_SELF).ru_maxrss\n"
        "for path in sorted(p for p in folder.iterdir() if p.is_file()):\n"
        "    start = time.process_time()\n"
        "    try: read_radiograph(path); problem = 'read'\n"
        "    except UnreadableRadiograph as error: problem = error.problem\n"
        "    growth = (getrusage(RUSAGE_SELF).ru_maxrss - before) // 1024\n"
        "    print(path.name, time.process_time() - start, growth, problem, sep='|')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    lines = [line.split("|") for line in done.stdout.splitlines()]
    assert len(lines) == len(huge_claims())
    for name, seconds, growth_mb, problem in lines:
        assert "claims" in problem, name
        assert "50000" in problem or "45 million" in problem, name
        assert float(seconds) < SECONDS_PER_CLAIM, name
        assert int(growth_mb) < 100, name


@pytest.mark.parametrize("explicit_length", [True, False])
@pytest.mark.parametrize("levels", [5, 1_000, 20_000])
def test_deeply_nested_sequences(tmp_path: Path, levels: int, explicit_length: bool) -> None:
    data = dicom_bytes(small_knee())
    pixel_data = data.index(b"\xe0\x7f\x10\x00")
    sequence = nested(levels, explicit_length=explicit_length)
    path = tmp_path / "nested.dcm"
    path.write_bytes(data[:pixel_data] + sequence + data[pixel_data:])
    # A length that is stated lets the reader step over what it does not need.
    assert outcome(path) == ("read" if levels == 5 or explicit_length else "refused")


def test_floods_of_empty_elements_are_cut_off(tmp_path: Path) -> None:
    data = dicom_bytes(small_knee())
    pixel_data = data.index(b"\xe0\x7f\x10\x00")
    element = b"\x40\x00\x07\x10LO\0\0"
    inside = b"\x40\x00\x75\x02SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\x00\xe0" + b"\xff" * 4
    for flood in (bytes(2**24), element * 2**21, inside + element * 2**21):
        path = tmp_path / "flood.dcm"
        path.write_bytes(data[:pixel_data] + flood + data[pixel_data:])
        assert outcome(path) == "refused"


@pytest.mark.parametrize("length", [0, 1, 95, 0x7FFFFFFE, 0xFFFFFFFE, 0xFFFFFFFF])
def test_false_lengths_of_pixel_data(tmp_path: Path, length: int) -> None:
    data = dicom_bytes(small_knee())
    at = data.index(b"\xe0\x7f\x10\x00OB") + 8
    path = tmp_path / "length.dcm"
    path.write_bytes(replaced(data, at, struct.pack("<I", length)))
    # A length beyond the end is what an interrupted copy leaves, and there are pixels enough.
    assert outcome(path) == ("read" if length in (0x7FFFFFFE, 0xFFFFFFFE) else "refused")


def test_a_patients_name_in_any_element_never_leaves_the_header(tmp_path: Path) -> None:
    """The name stands where a value ought to, in every element that is read."""
    data = dicom_bytes(
        small_knee(),
        ImageLaterality="L",
        PixelSpacingCalibrationType="FIDUCIAL",
        PixelSpacing="0.12345678",
        WindowCenter="128.000000",
        WindowWidth="256.000000",
        VOILUTFunction="LINEAR",
    )
    for value in (b"MONOCHROME2 ", b"FIDUCIAL", b"LINEAR", b"128.000000", b"256.000000"):
        path = tmp_path / "knee.dcm"
        assert value in data
        path.write_bytes(data.replace(value, b"CANARY".ljust(len(value))))
        outcome(path)
    path.write_bytes(data.replace(uid.ExplicitVRLittleEndian.encode(), b"CANARY".ljust(19)))
    outcome(path)
