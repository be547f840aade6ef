"""The structured report: Comprehensive 3D SR after TID 1500, one measurement group a knee."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom import sr
from pydicom import Dataset
from pydicom.sr.codedict import codes

from kellgren.grades import Grade, Side
from kellgren.output.dicom import vocabulary
from kellgren.output.dicom.common import (
    MANUFACTURER,
    MODEL_NAME,
    UidScope,
    equipment_attributes,
    outline,
    series_attributes,
    uid_scope,
    with_patient,
    without_patient,
)
from kellgren.output.dicom.source import Source
from kellgren.reading import KneeReading

_LATERALITY = {Side.LEFT: codes.SCT.Left, Side.RIGHT: codes.SCT.Right, Side.UNKNOWN: None}


def structured_report(readings: Sequence[KneeReading], source: Source) -> Dataset:
    """The readings of one picture as one report.

    Args:
        readings: of one picture, at least one.
        source: that picture.

    Returns:
        A Comprehensive 3D SR, complete, preliminary and unverified: no reader has confirmed it.
    """
    scope = uid_scope(readings, source)
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=_observer(readings[0])),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=[
            _measurement_group(reading, source, scope, number)
            for number, reading in enumerate(readings, start=1)
        ],
        title=codes.DCM.ImagingMeasurementReport,
    )
    report = sr.Comprehensive3DSR(
        evidence=[without_patient(source)],
        content=content,
        is_complete=True,
        coding_schemes=[vocabulary.scheme_identification()],
        **series_attributes(scope, "report"),
        **equipment_attributes(readings[0]),
    )
    return with_patient(report, source, readings)


def _observer(reading: KneeReading) -> sr.ObserverContext:
    return sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=vocabulary.DEVICE_UID,
            name=reading.model["name"],
            manufacturer_name=MANUFACTURER,
            model_name=MODEL_NAME,
            serial_number=reading.model["checksum"],
        ),
    )


def _measurement_group(
    reading: KneeReading, source: Source, scope: UidScope, number: int
) -> sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    """TID 1410: the knee's box, its reading, and the algorithm."""
    picture = sr.SourceImageForRegion(
        referenced_sop_class_uid=source.reference.SOPClassUID,
        referenced_sop_instance_uid=source.reference.SOPInstanceUID,
        referenced_frame_numbers=None if source.frame is None else [source.frame],
    )
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=scope.uid("knee", number), identifier=f"Knee {number}"
        ),
        referenced_region=sr.ImageRegion("POLYLINE", outline(reading.crop, source), picture),
        finding_type=codes.SCT.KneeJoint,
        finding_sites=[sr.FindingSite(codes.SCT.Knee, laterality=_LATERALITY[reading.side])],
        method=vocabulary.SCALE,
        algorithm_id=_algorithm(reading),
        measurements=[
            sr.Measurement(
                name=vocabulary.probability_code(grade),
                value=round(reading.probabilities[grade], 6),
                unit=codes.UCUM.NoUnits,
            )
            for grade in Grade
        ],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(name, value)
            for name, value in (
                (vocabulary.GRADE, vocabulary.grade_code(reading.grade)),
                (vocabulary.CERTAINTY, vocabulary.certainty_code(reading.certainty)),
                (vocabulary.LIKELY_LOW, vocabulary.grade_code(reading.likely[0])),
                (vocabulary.LIKELY_HIGH, vocabulary.grade_code(reading.likely[1])),
                (vocabulary.STATUS, vocabulary.RESEARCH),
            )
        ],
    )


def _algorithm(reading: KneeReading) -> sr.AlgorithmIdentification:
    """TID 4019; the parameters hold all that distinguishes one model from another."""
    name, _, version = reading.model["software"].partition(" ")
    parameters = [f"{key}={value}" for key, value in reading.model.items() if key != "software"]
    return sr.AlgorithmIdentification(
        name=name,
        version=version,
        parameters=[*parameters, *(f"warning: {warning}" for warning in reading.warnings)],
        family=codes.DCM.ArtificialIntelligence,
    )
