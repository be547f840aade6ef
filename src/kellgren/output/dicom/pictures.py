"""Secondary captures: the sheet of `--overlay`, one series a knee.

A series has one laterality, so the knees of one film do not share it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from highdicom.sc import SCImage
from PIL import Image
from pydicom import Dataset

from kellgren.output.dicom.common import (
    SeriesAttributes,
    equipment_attributes,
    series_attributes,
    uid_scope,
    with_patient,
)
from kellgren.output.dicom.source import Source
from kellgren.reading import KneeReading


def secondary_captures(readings: Sequence[KneeReading], source: Source) -> list[Dataset]:
    """The overlay of each knee as a colour picture in the patient's study."""
    scope = uid_scope(readings, source)
    return [
        _secondary_capture(reading, source, series_attributes(scope, "picture", number))
        for number, reading in enumerate(readings, start=1)
    ]


def _secondary_capture(
    reading: KneeReading, source: Source, identifiers: SeriesAttributes
) -> Dataset:
    with Image.open(io.BytesIO(reading.overlay())) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    capture = SCImage(
        pixel_array=pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        # The sheet has no one orientation; the element must be there, and is emptied below.
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),
        study_instance_uid=source.identity.StudyInstanceUID,
        **identifiers,
        **equipment_attributes(reading),
    )
    capture.PatientOrientation = []
    capture.ConversionType = "WSD"
    capture.BurnedInAnnotation = "NO"
    capture.SourceImageSequence = [_referenced(source)]
    return with_patient(capture, source, [reading])


def _referenced(source: Source) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = source.reference.SOPClassUID
    item.ReferencedSOPInstanceUID = source.reference.SOPInstanceUID
    if source.frame is not None:
        item.ReferencedFrameNumber = source.frame
    return item
