"""Presentation states: the knee's box and the reading as text, over the unchanged picture."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom import pr
from highdicom.content import PresentationLUTTransformation
from pydicom import Dataset
from pydicom.valuerep import DSfloat

from kellgren.imaging.dicom.grey_values import is_inverted, window
from kellgren.imaging.dicom.header import Header
from kellgren.output.dicom.common import (
    Polygon,
    UidScope,
    equipment_attributes,
    outline,
    series_attributes,
    summary_line,
    uid_scope,
    with_patient,
    without_patient,
)
from kellgren.output.dicom.source import Source
from kellgren.output.dicom.vocabulary import FORCED_NOTICE, RESEARCH_NOTICE
from kellgren.reading import KneeReading

_LAYER = "KELLGREN"
_TEXT_SHARE = 0.12  # of the box's height, along its lower edge


def presentation_state(readings: Sequence[KneeReading], source: Source) -> Dataset:
    """A grayscale softcopy presentation state of the picture, with one annotation a knee."""
    scope = uid_scope(readings, source)
    layer = pr.GraphicLayer(_LAYER, order=1, description="Kellgren-Lawrence reading")
    picture = without_patient(source)
    contrast = Header(source.reference)
    made = pr.GrayscaleSoftcopyPresentationState(
        referenced_images=[picture],
        content_label="KELLGREN",
        content_description=RESEARCH_NOTICE,
        graphic_layers=[layer],
        graphic_annotations=[
            _annotation(reading, source, scope, number, layer, picture)
            for number, reading in enumerate(readings, start=1)
        ],
        # The state's own table takes the place of the photometric interpretation.
        presentation_lut_transformation=PresentationLUTTransformation(
            "INVERSE" if is_inverted(contrast) else "IDENTITY"
        ),
        **series_attributes(scope, "presentation"),
        **equipment_attributes(readings[0]),
    )
    _copy_contrast(made, contrast)
    return with_patient(made, source, readings)


def _annotation(
    reading: KneeReading,
    source: Source,
    scope: UidScope,
    number: int,
    layer: pr.GraphicLayer,
    picture: Dataset,
) -> pr.GraphicAnnotation:
    box = outline(reading.crop, source)
    tracking_uid, tracking_id = scope.uid("knee", number), f"Knee {number}"
    words = [summary_line(reading), *([FORCED_NOTICE] if reading.forced else []), RESEARCH_NOTICE]
    return pr.GraphicAnnotation(
        referenced_images=[picture],
        graphic_layer=layer,
        graphic_objects=[
            pr.GraphicObject(
                "POLYLINE", box, "PIXEL", tracking_uid=tracking_uid, tracking_id=tracking_id
            )
        ],
        text_objects=[
            pr.TextObject(
                "\r\n".join(words),
                "PIXEL",
                bounding_box=_text_box(box),
                text_justification="LEFT",
                tracking_uid=tracking_uid,
                tracking_id=tracking_id,
            )
        ],
    )


def _text_box(box: Polygon) -> tuple[float, float, float, float]:
    (left, top), (right, bottom) = box.min(axis=0), box.max(axis=0)
    return float(left), float(bottom - _TEXT_SHARE * (bottom - top)), float(right), float(bottom)


def _copy_contrast(made: Dataset, contrast: Header) -> None:
    """Copy the conversion from stored values to greys that was used to read the source.

    A table takes precedence over a rescale or a window, and of several the first is used; without
    any, viewers choose as they do for the picture itself. highdicom's tables cannot begin
    below zero.
    """
    if "ModalityLUTSequence" in contrast:
        made.ModalityLUTSequence = contrast.dataset.ModalityLUTSequence
    elif "RescaleSlope" in contrast or "RescaleIntercept" in contrast:
        made.RescaleSlope = _decimal(contrast.number("RescaleSlope") or 1)
        made.RescaleIntercept = _decimal(contrast.number("RescaleIntercept") or 0)
        made.RescaleType = "US"
    shown, chosen = Dataset(), window(contrast)
    if "VOILUTSequence" in contrast:
        shown.VOILUTSequence = contrast.dataset.VOILUTSequence
    elif chosen is not None:
        shown.WindowCenter, shown.WindowWidth = _decimal(chosen.centre), _decimal(chosen.width)
        shown.VOILUTFunction = chosen.function
    if len(shown):
        made.SoftcopyVOILUTSequence = [shown]


def _decimal(value: float) -> DSfloat:
    """A number in the 16 characters that it may have; files hold longer ones."""
    return DSfloat(value, auto_format=True)
