"""A decoder that dies on damaged data takes nobody with it."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.encaps import get_frame

from damaged_files import flip_bits, outcome, small_knee
from dicom_factory import write_dicom
from kellgren.imaging.dicom import isolated_decoder
from kellgren.imaging.radiograph import read_radiograph

SYNTAXES = (uid.JPEGLosslessSV1, uid.JPEGLSLossless)
TWELVE_BITS = uid.JPEGExtended12Bit
MUTATIONS = 12


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_childs_pixels_are_the_uncompressed_ones(tmp_path: Path, syntax: uid.UID) -> None:
    knee = small_knee()
    write_dicom(tmp_path / "plain.dcm", knee, bits=8)
    write_dicom(tmp_path / "packed.dcm", knee, bits=8, transfer_syntax=syntax)
    plain = read_radiograph(tmp_path / "plain.dcm").pixels
    assert np.array_equal(read_radiograph(tmp_path / "packed.dcm").pixels, plain)


def test_damaged_pictures_are_read_or_refused(tmp_path: Path) -> None:
    paths = []
    for number in range(MUTATIONS):
        rng = random.Random(number)
        path = tmp_path / f"{number}.dcm"
        syntax = (*SYNTAXES, TWELVE_BITS)[number % 3]
        bits, scale = (12, np.uint16(16)) if syntax == TWELVE_BITS else (8, np.uint8(1))
        write_dicom(path, small_knee() * scale, bits=bits, transfer_syntax=syntax)
        data = path.read_bytes()
        head = data.index(b"\xfe\xff\x00\xe0")  # the pixel data's first item: damage comes after
        path.write_bytes(data[:head] + flip_bits(data[head:], rng))
        paths.append(path)
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(outcome, paths))
    assert len(outcomes) == MUTATIONS
    assert "refused" in outcomes


def test_twelve_bit_data_that_ends_early_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "knee.dcm"
    write_dicom(path, small_knee() * np.uint16(16), bits=12, transfer_syntax=TWELVE_BITS)
    codestream = get_frame(dcmread(path).PixelData, 0, number_of_frames=1)
    end = codestream.rindex(b"\xff\xd9")
    decode = isolated_decoder.DECODERS["jpeg"]
    whole = decode(codestream)
    assert capsys.readouterr().err == ""
    assert decode(codestream[: end - 40] + codestream[end:]).shape == whole.shape
    assert capsys.readouterr().err == isolated_decoder.DATA_TOO_SHORT
    decode(codestream[:end] + b"\x12\x34" + codestream[end:])
    assert capsys.readouterr().err == "data too long"


def test_a_dying_child_is_a_refused_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dicom(tmp_path / "knee.dcm", small_knee(), bits=8, transfer_syntax=uid.JPEGLosslessSV1)
    monkeypatch.setattr("kellgren.imaging.dicom.isolated_decoder.sys.executable", "/bin/false")
    assert outcome(tmp_path / "knee.dcm") == "refused"


def test_the_child_of_a_limited_process_keeps_to_its_limits(tmp_path: Path) -> None:
    """A grader is limited itself, and what it may have no child of its may exceed."""
    write_dicom(tmp_path / "knee.dcm", small_knee(), transfer_syntax=uid.JPEG2000Lossless)
    program = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 * 2**29, 3 * 2**29))\n"
        "from kellgren.imaging.radiograph import read_radiograph\n"
        "print(read_radiograph(sys.argv[1]).pixels.shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "knee.dcm")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "(96, 96)\n"), done.stderr


def test_a_decoder_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processor time is what counts, so that a busy machine refuses nothing."""
    monkeypatch.setattr(isolated_decoder, "LEAST_SECONDS", 0)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    with pytest.raises(isolated_decoder.DecoderFailed):
        isolated_decoder.decode_isolated(b"", "jpeg", (96, 96))
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 2
