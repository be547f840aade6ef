"""The segmentation: where half or more of the strongest evidence lies, one segment a knee.

A map of shares of evidence has no standard object for single projections, so its strong part is
given as a mask on the picture's own grid; the whole map is seen on the secondary capture. The
pixel spacing is not repeated: a mask that holds it without a slice thickness, which projections do
not have, is refused by highdicom's own reader.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import highdicom as hd
import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.sr.codedict import codes

from kellgren.arrays import Mask
from kellgren.grades import Side
from kellgren.output.dicom import vocabulary
from kellgren.output.dicom.common import (
    SIDE_LETTERS,
    UidScope,
    equipment_attributes,
    series_attributes,
    uid_scope,
    with_patient,
    without_patient,
)
from kellgren.output.dicom.source import Source
from kellgren.reading import KneeReading

THRESHOLD = 0.5
"""Share of the map's largest value from which a pixel belongs to the segment."""
_LATERALITY = {Side.LEFT: codes.SCT.Left, Side.RIGHT: codes.SCT.Right}


def segmentation(readings: Sequence[KneeReading], source: Source) -> Dataset:
    """The strong parts of the maps as one binary segmentation of the picture."""
    scope = uid_scope(readings, source)
    masks = np.stack([evidence_mask(reading, source) for reading in readings], axis=-1)
    made = hd.seg.Segmentation(
        source_images=[without_patient(source)],
        pixel_array=masks[None].astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[
            _segment(reading, scope, number) for number, reading in enumerate(readings, start=1)
        ],
        omit_empty_frames=False,
        content_label="KELLGREN",
        content_description=vocabulary.RESEARCH_NOTICE,
        coding_schemes=[vocabulary.scheme_identification()],
        **series_attributes(scope, "map"),
        **equipment_attributes(readings[0]),
    )
    made.PatientOrientation = source.reference.get("PatientOrientation")
    return with_patient(made, source, readings)


def evidence_mask(reading: KneeReading, source: Source) -> Mask:
    """Where the evidence is strong, on the picture's pixels: ``(rows, columns)`` bool."""
    positive = np.maximum(reading.activation, 0.0).astype(np.float32)
    peak = float(positive.max())
    if peak == 0:
        return np.zeros((source.rows, source.columns), dtype=bool)
    on_picture = Image.fromarray(positive / peak).transform(
        (source.columns, source.rows),
        Image.Transform.AFFINE,
        _to_map(reading, source),
        Image.Resampling.BICUBIC,
    )
    return np.asarray(on_picture) >= THRESHOLD


def _to_map(reading: KneeReading, source: Source) -> tuple[float, ...]:
    """From (x, y) of the picture to (x, y) of the map, as the six numbers of an affine map."""
    height, width = reading.activation.shape
    region = reading.crop.region
    if region is None:
        return (width / source.columns, 0.0, 0.0, 0.0, height / source.rows, 0.0)
    turn, (x, y), (across, down) = math.radians(region.angle), region.centre, reading.crop.stretch
    cosine, sine = math.cos(turn) / region.width, math.sin(turn) / region.width
    return (
        width * cosine * across,
        width * sine * down,
        width * (0.5 - x * cosine - y * sine),
        -height * sine * across,
        height * cosine * down,
        height * (0.5 + x * sine - y * cosine),
    )


def _segment(reading: KneeReading, scope: UidScope, number: int) -> hd.seg.SegmentDescription:
    side = SIDE_LETTERS[reading.side]
    name, _, version = reading.model["software"].partition(" ")
    described = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=f"Evidence, knee {number} {side}".strip(),
        segmented_property_category=codes.SCT.SpatialAndRelationalConcept,
        segmented_property_type=vocabulary.EVIDENCE,
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=name,
            version=version,
            family=codes.DCM.ArtificialIntelligence,
            parameters={key: value for key, value in reading.model.items() if key != "software"},
        ),
        tracking_uid=scope.uid("knee", number),
        tracking_id=f"Knee {number}",
        anatomic_regions=[codes.SCT.Knee],
    )
    if reading.forced:
        described.SegmentDescription = vocabulary.FORCED_NOTICE
    if reading.side in _LATERALITY:
        laterality = hd.sr.CodedConcept.from_code(_LATERALITY[reading.side])
        described.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [laterality]
    return described
