"""DICOM files to grey values in 0..1: parse, check every claim, then decode."""

from __future__ import annotations

from kellgren.imaging.dicom.content import described, objections
from kellgren.imaging.dicom.frame_groups import adopt_frame_groups
from kellgren.imaging.dicom.grey_values import grey_values
from kellgren.imaging.dicom.header import Header, pixel_ratio, pixel_spacing
from kellgren.imaging.dicom.parsing import (
    EXPORT_AGAIN,
    check_description,
    frame_count,
    parsed_picture,
)
from kellgren.imaging.dicom.sides import orientation, side_statements
from kellgren.imaging.dicom.stored_values import stored_values
from kellgren.imaging.evidence import HeaderEvidence
from kellgren.imaging.picture import Picture, RejectedPicture
from kellgren.imaging.square_pixels import with_square_pixels


def read_dicom(data: bytes, frame: int | None = None) -> Picture:
    """Decode one grey frame of a DICOM picture.

    The stored values pass the modality transform, the VOI transform (lookup table, else the first
    window, else the range of the unpadded values, see `grey_range`) and, where the file states it,
    the inversion that makes bone bright. Padding becomes black. Pixels that are not square are
    resampled, see `with_square_pixels`.

    Args:
        data: the whole file, with or without its preamble.
        frame: which one, from 1, of a file that holds several.

    Raises:
        RejectedPicture: colour, several frames and none chosen, a claim that is false or too
            large, an unknown compression.
        Exception: whatever pydicom or a decoder raises on damaged data.
    """
    dataset = parsed_picture(data)
    header = Header(dataset)
    if "PixelData" not in dataset:
        raise RejectedPicture("is a DICOM file without a picture in it", "Name the X-ray itself.")
    if not dataset.PixelData:
        raise RejectedPicture("holds no pixels: its PixelData is empty", EXPORT_AGAIN)
    check_description(header)
    chosen = _chosen_frame(header, frame)
    adopt_frame_groups(header, chosen)
    stored = stored_values(dataset, header, chosen)
    spacing = pixel_spacing(header)
    pixels, outliers = grey_values(stored, header)
    picture = Picture(
        pixels=pixels,
        bit_depth=header.count("BitsStored"),
        spacing=spacing,
        warnings=header.warnings,
        header=_evidence(header, chosen),
        outliers=outliers,
    )
    return with_square_pixels(picture, pixel_ratio(header, spacing))


def _evidence(header: Header, frame: int) -> HeaderEvidence:
    towards = orientation(header)
    return HeaderEvidence(
        described=described(header),
        sides=side_statements(header, frame),
        orientation=towards,
        objections=objections(header, towards),
    )


def _chosen_frame(header: Header, wanted: int | None) -> int:
    """The number of the frame to read, from 0."""
    frames = frame_count(header)
    if wanted is None and frames > 1:
        raise RejectedPicture(
            f"holds {frames} frames and none was chosen",
            f"Name one: --frame 1 to --frame {frames}.",
        )
    if not 1 <= (wanted or 1) <= frames:
        raise RejectedPicture(f"holds no frame {wanted}", f"It holds {frames}: name one of them.")
    return (wanted or 1) - 1
