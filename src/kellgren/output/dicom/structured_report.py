"""The structured report, a Comprehensive 3D SR of TID 1500: a group a knee, one a joint space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from highdicom import sr
from pydicom import Dataset
from pydicom.sr.codedict import codes

from kellgren.grades import Grade
from kellgren.output.dicom import vocabulary
from kellgren.output.dicom.common import (
    MANUFACTURER,
    MODEL_NAME,
    UidScope,
    equipment_attributes,
    outline,
    series_attributes,
    software_attributes,
    uid_scope,
    uid_scope_of_refusal,
    with_patient,
    without_patient,
)
from kellgren.output.dicom.joint_space_group import LATERALITY, joint_space_group, measured_knee
from kellgren.output.dicom.source import Source
from kellgren.reading import KneeReading


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
        observation_context=sr.ObservationContext(
            observer_device_context=_observer(readings[0].model)
        ),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=[
            group
            for number, reading in enumerate(readings, start=1)
            for group in _groups(reading, source, scope, number)
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


def refusal_report(reason: str, source: Source, model: Mapping[str, str]) -> Dataset:
    """The report that a picture was not graded, and why.

    Args:
        reason: as the error says it; holds nothing of the patient.
        source: the picture.
        model: of the ensemble that refused it.

    Returns:
        A Comprehensive 3D SR with one group and no knee.
    """
    scope = uid_scope_of_refusal(model, source)
    picture = sr.SourceImageForMeasurementGroup(
        referenced_sop_class_uid=source.reference.SOPClassUID,
        referenced_sop_instance_uid=source.reference.SOPInstanceUID,
        referenced_frame_numbers=None if source.frame is None else [source.frame],
    )
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=scope.uid("refusal"), identifier="Refusal"),
        source_images=[picture],
        method=vocabulary.scale_code(model),
        algorithm_id=_algorithm(model, ()),
        qualitative_evaluations=[
            sr.QualitativeEvaluation(vocabulary.GRADE, vocabulary.NOT_GRADED),
            sr.QualitativeEvaluation(vocabulary.STATUS, vocabulary.RESEARCH),
        ],
    )
    comment = sr.TextContentItem(codes.DCM.Comment, reason, sr.RelationshipTypeValues.CONTAINS)
    group[0].ContentSequence.append(comment)
    report = sr.Comprehensive3DSR(
        evidence=[without_patient(source)],
        content=sr.MeasurementReport(
            observation_context=sr.ObservationContext(observer_device_context=_observer(model)),
            procedure_reported=codes.SCT.ImagingProcedure,
            imaging_measurements=[group],
            title=codes.DCM.ImagingMeasurementReport,
        ),
        is_complete=True,
        coding_schemes=[vocabulary.scheme_identification()],
        **series_attributes(scope, "report"),
        **software_attributes(model),
    )
    return with_patient(report, source, ())


def _observer(model: Mapping[str, str]) -> sr.ObserverContext:
    return sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=vocabulary.DEVICE_UID,
            name=model["name"],
            manufacturer_name=MANUFACTURER,
            model_name=MODEL_NAME,
            serial_number=model["checksum"],
        ),
    )


def _groups(
    reading: KneeReading, source: Source, scope: UidScope, number: int
) -> Iterator[
    sr.PlanarROIMeasurementsAndQualitativeEvaluations | sr.MeasurementsAndQualitativeEvaluations
]:
    """The groups of one knee: its reading, and its joint space where that was measured."""
    yield _measurement_group(reading, source, scope, number)
    measured = measured_knee(reading, source, scope, number)
    if measured is not None:
        yield joint_space_group(measured)


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
        finding_sites=[sr.FindingSite(codes.SCT.Knee, laterality=LATERALITY[reading.side])],
        method=vocabulary.scale_code(reading.model),
        algorithm_id=_algorithm(reading.model, (*reading.doubts, *reading.warnings)),
        measurements=[
            sr.Measurement(name=name, value=round(value, 6), unit=codes.UCUM.NoUnits)
            for name, value in _numbers(reading)
        ],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(name, value) for name, value in _evaluations(reading)
        ],
    )


def _numbers(reading: KneeReading) -> list[tuple[sr.CodedConcept, float]]:
    """Probabilities, and what the reading's certainty and set are worth, as far as measured."""
    held = reading.grade_set
    numbers = [
        *((vocabulary.probability_code(grade), reading.probabilities[grade]) for grade in Grade),
        (vocabulary.SET_LEVEL, held.level),
        (vocabulary.SET_COVERAGE, held.coverage),
        (vocabulary.RIGHT_SHARE, reading.right_share),
        (vocabulary.DISAGREEMENT, reading.disagreement),
    ]
    return [(name, value) for name, value in numbers if value is not None]


def _evaluations(reading: KneeReading) -> list[tuple[sr.CodedConcept, sr.CodedConcept]]:
    """The grade, or that none is named; certainty, and the ends of the set."""
    grade = vocabulary.grade_code(reading.grade)
    return [
        (vocabulary.GRADE, grade if reading.named else vocabulary.NOT_NAMED),
        (vocabulary.MOST_PROBABLE, grade),
        (vocabulary.CERTAINTY, vocabulary.certainty_code(reading.certainty)),
        (vocabulary.SET_LOW, vocabulary.grade_code(reading.grade_set.lowest)),
        (vocabulary.SET_HIGH, vocabulary.grade_code(reading.grade_set.highest)),
        (vocabulary.STATUS, vocabulary.RESEARCH),
    ]


def _algorithm(model: Mapping[str, str], warnings: Sequence[str]) -> sr.AlgorithmIdentification:
    """TID 4019; the parameters hold all that distinguishes one model from another."""
    name, _, version = model["software"].partition(" ")
    parameters = [f"{key}={value}" for key, value in model.items() if key != "software"]
    return sr.AlgorithmIdentification(
        name=name,
        version=version,
        parameters=[*parameters, *(f"warning: {warning}" for warning in warnings)],
        family=codes.DCM.ArtificialIntelligence,
    )
