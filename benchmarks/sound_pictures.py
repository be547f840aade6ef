"""Real knees, stored in every format that is read and two that are not."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import uid

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "helpers"))

from dicom_factory import dicom_bytes, full_range  # noqa: E402

SYNTAXES = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.HTJ2KLossless,
)
LOSSY = frozenset(
    {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000}
)

Values = np.ndarray
"""Stored values ``(H, W)``: uint8, or uint16 of 12 bits."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to store a knee."""

    name: str
    store: Callable[[Values], bytes]
    is_wide: bool = False  # 12 bits a value, not 8
    is_exact: bool = True  # stored values are read as they were

    @property
    def is_dicom(self) -> bool:
        """Whether mutations of DICOM files fit it."""
        return self.name.startswith("dicom")

    def sound(self, example: int = 0) -> bytes:
        """The file of one of the examples."""
        return _stored(self, example)


@cache
def _stored(kind: Kind, example: int) -> bytes:
    return kind.store(values(example, is_wide=kind.is_wide))


@cache
def values(example: int, *, is_wide: bool) -> Values:
    """The stored values of an example; their number is ``EXAMPLES``."""
    with Image.open(_examples()[example]) as opened:
        knee = np.array(opened.convert("L"))[:, :-1]
    return with_low_bits(knee) if is_wide else knee


def with_low_bits(knee: Values) -> Values:
    """A knee of 8 bits in 12, of which the four lowest are noise."""
    noise = np.random.default_rng(0).integers(0, 16, knee.shape)
    return (knee.astype(np.uint16) * 16 + noise).astype(np.uint16)


def _examples() -> list[Path]:
    return sorted((REPOSITORY / "examples").glob("*.png"))


EXAMPLES = len(_examples())


def _raster(pixels: Values, *, file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, file_format, **options)
    return stream.getvalue()


def _in_colours(pixels: Values, *, file_format: str, **options: object) -> bytes:
    return _raster(np.repeat(pixels[..., None], 3, axis=2), file_format=file_format, **options)


def _palette(pixels: Values) -> bytes:
    picture = Image.fromarray(pixels)
    picture.putpalette([grey for grey in range(256) for _ in range(3)])
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def _dicom(pixels: Values, *, syntax: uid.UID) -> bytes:
    bits = 8 if pixels.dtype == np.uint8 else 12
    return dicom_bytes(
        pixels,
        bits=bits,
        transfer_syntax=syntax,
        RescaleSlope=1,
        RescaleIntercept=0,
        **full_range(bits),
    )


def _kinds() -> list[Kind]:
    png, jpeg, tiff = (partial(_raster, file_format=name) for name in ("PNG", "JPEG", "TIFF"))
    packed = {
        f"tiff, {name}": partial(tiff, compression=name)
        for name in ("tiff_adobe_deflate", "tiff_lzw", "packbits")
    }
    rasters = [
        Kind("png", png),
        Kind("png of 16 bits", png, is_wide=True),
        Kind("png in colours", partial(_in_colours, file_format="PNG")),
        Kind("png with a palette", _palette),
        Kind("jpeg", partial(jpeg, quality=90), is_exact=False),
        Kind("jpeg, progressive", partial(jpeg, quality=90, progressive=True), is_exact=False),
        Kind(
            "jpeg with restarts", partial(jpeg, quality=90, restart_marker_rows=1), is_exact=False
        ),
        Kind("jpeg in colours", partial(_in_colours, file_format="JPEG"), is_exact=False),
        Kind("tiff", tiff),
        Kind("tiff of 16 bits", tiff, is_wide=True),
        Kind("tiff in strips", partial(tiff, strip_size=8192)),
        *(Kind(name, store) for name, store in packed.items()),
        Kind("tiff, jpeg", partial(tiff, compression="jpeg"), is_exact=False),
        Kind("bmp", partial(_raster, file_format="BMP")),
        Kind("webp", partial(_raster, file_format="WEBP", lossless=True)),
    ]
    dicoms = [
        Kind(
            f"dicom, {syntax.keyword}",
            partial(_dicom, syntax=syntax),
            is_wide=syntax != uid.JPEGBaseline8Bit,
            is_exact=syntax not in LOSSY,
        )
        for syntax in SYNTAXES
    ]
    eight = Kind("dicom of 8 bits", partial(_dicom, syntax=uid.ExplicitVRLittleEndian))
    return [*rasters, *dicoms, eight]


KINDS = {kind.name: kind for kind in _kinds()}
"""By name."""
