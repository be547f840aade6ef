"""The bytes of a picture file to its grey values, by the reader of its format."""

from __future__ import annotations

from kellgren.imaging.picture import Picture
from kellgren.libraries import library_messages_dropped


def decoded(data: bytes, file_format: str, frame: int | None) -> Picture:
    """Decode one picture in this process.

    Args:
        data: the whole file.
        file_format: as `sniffed_format` tells it.
        frame: which one, from 1, of a DICOM file that holds several.

    Raises:
        RejectedPicture: it is not read.
        Exception: whatever a decoder raises on damaged data.
    """
    # Imported here because loading the DICOM decoders takes longer than reading a PNG.
    if file_format == "DICOM":
        from kellgren.imaging.dicom.reader import read_dicom

        with library_messages_dropped():
            return read_dicom(data, frame)
    from kellgren.imaging.raster import read_raster

    with library_messages_dropped():
        return read_raster(data, file_format)
