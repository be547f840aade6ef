"""A structured report whose margins a person corrected afterwards: a new object after the old one.

It is made of the report and the rows alone. The film, which may hold anything, is not opened again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from datetime import datetime

import numpy as np
from highdicom import UID, sr
from pydicom import Dataset, dcmread

from kellgren.grades import Side
from kellgren.joint_space.telling.space_record import JointSpaceRecord
from kellgren.knee import Stretch
from kellgren.output.dicom.joint_space_group import MeasuredKnee, group_name, joint_space_group
from kellgren.output.dicom.vocabulary import unique_id
from kellgren.reading_schema import GradedRow

_TRACKING, _MEASUREMENTS = "112039", "126010"  # codes of DCM


def corrected_report(report: bytes, rows: Sequence[GradedRow]) -> bytes:
    """A report with the joint spaces that are corrected in the rows.

    Args:
        report: as it was made of these rows, before anything was corrected.
        rows: of its knees, in their order.

    Returns:
        A DICOM file with an identifier of its own, which follows from the report's and from the
        corrected margins, and which names the report as its predecessor; the report itself where
        nothing is corrected.
    """
    made = dcmread(io.BytesIO(report))
    [container] = [item for item in made.ContentSequence if _code(item) == _MEASUREMENTS]
    groups = {_name(group): place for place, group in enumerate(container.ContentSequence)}
    changed = []
    for number, row in enumerate(rows, start=1):
        place = groups.get(group_name(number))
        if place is None or row.joint_space is None or not row.joint_space.corrected:
            continue
        box = container.ContentSequence[groups[f"Knee {number}"]]
        old = container.ContentSequence[place]
        [group] = joint_space_group(_knee(row, row.joint_space, number, box, old))
        container.ContentSequence[place] = group
        changed.append(row.joint_space.model_dump_json())
    if not changed:
        return report
    _make_successor(made, unique_id("corrected report", made.SOPInstanceUID, json.dumps(changed)))
    stream = io.BytesIO()
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _knee(
    row: GradedRow, record: JointSpaceRecord, number: int, box: Dataset, old: Dataset
) -> MeasuredKnee:
    """What the new group is made of; the knee's box ends at the picture's borders."""
    [region] = [item for item in box.ContentSequence if item.ValueType == "SCOORD"]
    corners = np.reshape(region.GraphicData, (-1, 2))
    [reference] = region.ContentSequence[0].ReferencedSOPSequence
    frame = reference.get("ReferencedFrameNumber")
    [uid] = [item.UID for item in old.ContentSequence if item.ValueType == "UIDREF"]
    picture = sr.SourceImageForRegion(
        referenced_sop_class_uid=reference.ReferencedSOPClassUID,
        referenced_sop_instance_uid=reference.ReferencedSOPInstanceUID,
        referenced_frame_numbers=None if frame is None else [int(frame)],
    )
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    return MeasuredKnee(
        *(record.space, Side(row.side), Stretch(*record.stretch), row.model.software),
        *(UID(uid), number, picture),
        *((float(left), float(top)), (float(right), float(bottom))),
    )


def _make_successor(made: Dataset, uid: UID) -> None:
    """A new object of the same series, which names the one before it."""
    study, series, instance = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID = made.SOPClassUID
    instance.ReferencedSOPInstanceUID = made.SOPInstanceUID
    series.SeriesInstanceUID = made.SeriesInstanceUID
    series.ReferencedSOPSequence = [instance]
    study.StudyInstanceUID = made.StudyInstanceUID
    study.ReferencedSeriesSequence = [series]
    made.PredecessorDocumentsSequence = [study]
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = uid
    made.InstanceNumber = int(made.InstanceNumber) + 1
    now = datetime.now()
    made.ContentDate = made.InstanceCreationDate = now.strftime("%Y%m%d")
    made.ContentTime = made.InstanceCreationTime = now.strftime("%H%M%S")


def _code(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""


def _name(group: Dataset) -> str:
    """Its tracking identifier."""
    return next(
        (str(item.TextValue) for item in group.ContentSequence if _code(item) == _TRACKING), ""
    )
