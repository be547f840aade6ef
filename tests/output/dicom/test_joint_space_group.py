"""The joint space in the report: coded, with units and uncertainty, where the file's picture is."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from highdicom import sr
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes

from bundle_factory import make_bundle
from command_line import EXAMPLES
from dicom_factory import write_dicom
from dicom_headers import CR, DX, complete, sparse
from kellgren.ensemble import Ensemble
from kellgren.grades import Side
from kellgren.joint_space.measurement import JointSpace
from kellgren.joint_space.spacing import NONE_STATED
from kellgren.joint_space.widths import remeasure
from kellgren.knee import Stretch
from kellgren.output.dicom import vocabulary
from kellgren.output.dicom.answer import write_object
from kellgren.output.dicom.source import Source, read_source
from kellgren.output.dicom.structured_report import structured_report
from kellgren.reading import KneeReading
from made.joint_space import made_joint_space, margin_of, raised

ALLOWED = "Warning - Unrecognized defined term <99KELLGREN>"
Asked = tuple[KneeReading, Source]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """A reading of a right knee, and the DICOM picture that it is of."""
    folder = tmp_path_factory.mktemp("film")
    ensemble = Ensemble(make_bundle(folder / "tiny"))
    grey = np.asarray(Image.open(EXAMPLES / "9177337R.png")).astype(np.uint16) * 16
    path = write_dicom(folder / "film.dcm", grey, bits=12, **complete(DX))
    [reading] = ensemble.read(path)
    return reading, read_source(path)


def report_of(asked: Asked, space: JointSpace | None, **changes: Any) -> Dataset:
    reading, source = asked
    return structured_report([replace(reading, joint_space=space, **changes)], source)


def group_of(report: Dataset) -> sr.MeasurementsAndQualitativeEvaluations:
    content = sr.MeasurementReport.from_sequence([report])
    [group] = content.get_image_measurement_groups()
    return group


def values(group: sr.MeasurementsAndQualitativeEvaluations) -> dict[tuple[str, ...], Any]:
    """Measurements by code, place, derivation and unit."""
    return {
        (
            one.name.value,
            *places(one),
            one.derivation.meaning if one.derivation else "",
            one.unit.value,
        ): one
        for one in group.get_measurements()
    }


def places(measurement: sr.Measurement) -> list[str]:
    return [
        site.topographical_modifier.meaning
        for site in measurement.finding_sites
        if site.topographical_modifier
    ]


def uncertainty(measurement: sr.Measurement) -> Dataset:
    [found] = [
        item for item in measurement[0].ContentSequence if item.RelationshipType == "HAS PROPERTIES"
    ]
    return found


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy (dicom3tools) is not installed")
@pytest.mark.parametrize(("header", "sop_class"), [(complete, DX), (sparse, CR)])
def test_a_validator_finds_no_fault(
    asked: Asked, tmp_path: Path, header: Any, sop_class: str
) -> None:
    """One report of three knees: in millimetres, of an unknown side, with one compartment."""
    grey = np.asarray(Image.open(EXAMPLES / "9177337R.png")).astype(np.uint16) * 16
    path = write_dicom(tmp_path / "film.dcm", grey, bits=12, **header(sop_class))
    spaces = made_joint_space(), made_joint_space(("left", "right"), None)
    readings = [
        replace(asked[0], joint_space=space, side=Side.RIGHT if space.medial else Side.UNKNOWN)
        for space in (*spaces, made_joint_space(untold="medial"))
    ]
    write_object(structured_report(readings, read_source(path)), tmp_path / "report.dcm")
    done = subprocess.run(
        ["dciodvfy", tmp_path / "report.dcm"], capture_output=True, text=True, check=False
    )
    lines = (done.stdout + done.stderr).splitlines()
    assert "Comprehensive3DSR" in lines
    study = "Warning - Missing attribute or value that would be needed to build DICOMDIR - Study"
    allowed = ("Comprehensive3DSR", ALLOWED, study)
    assert [line for line in lines if not line.startswith(allowed)] == []


def test_widths_have_codes_units_and_uncertainty(asked: Asked) -> None:
    group = group_of(report_of(asked, made_joint_space()))
    measured = values(group)
    mm = measured["JSW", "Medial", "Minimum", "mm"]
    assert (mm.value, mm.unit) == (4.0, codes.UCUM.Millimeter)
    ratio = measured["JSW", "Lateral", "Mean", "{ratio}"]
    assert ratio.value == pytest.approx(12 / 184, abs=1e-5)
    spread = uncertainty(mm)
    assert spread.ConceptNameCodeSequence[0].CodeValue == "371884006"
    assert float(spread.MeasuredValueSequence[0].NumericValue) == pytest.approx(0.184)
    assert spread.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "mm"
    angle = measured["JLCA", "", "deg"]
    assert float(uncertainty(angle).MeasuredValueSequence[0].NumericValue) == 0.4
    assert measured["JSW-LAT-MED", "", "mm"].value == pytest.approx(2.0)
    [site] = group.finding_sites
    assert (site.value, site.laterality) == (codes.SCT.KneeJoint, codes.SCT.Right)
    assert group.get_measurements()[0].finding_sites[0].laterality == codes.SCT.Right


def test_without_a_trusted_spacing_there_are_ratios_and_the_reason(asked: Asked) -> None:
    group = group_of(report_of(asked, made_joint_space(mm_per_pixel=None)))
    assert {key[-1] for key in values(group)} == {"{ratio}", "deg"}
    remarks = [item.TextValue for item in group[0].ContentSequence if item.ValueType == "TEXT"]
    assert NONE_STATED in remarks


def test_of_an_unknown_side_the_places_are_those_of_the_picture(asked: Asked) -> None:
    space = made_joint_space(("left", "right"))
    group = group_of(report_of(asked, space, side=Side.UNKNOWN))
    names = {place for one in group.get_measurements() for place in places(one)}
    assert names == {vocabulary.PICTURE_LEFT.meaning, vocabulary.PICTURE_RIGHT.meaning}
    assert ("JSW-RIGHT-LEFT", "", "mm") in values(group)


def test_margins_lie_in_the_pixels_of_the_file_and_only_where_they_are_told(asked: Asked) -> None:
    reading, _ = asked
    space = made_joint_space(untold="medial")
    lateral, medial = space.compartments
    told = (True,) * 5 + (False,) * 6 + (True,) * 1 + (False,) * 2 + (True,) * 7
    part = replace(lateral, tibia=replace(lateral.tibia, told=told))
    space = replace(space, compartments=(part, medial))
    crop = replace(reading.crop, stretch=Stretch(1.0, 2.0))
    measured = values(group_of(report_of(asked, space, crop=crop)))
    lines = measured["JSW", "Lateral", "Mean", "{ratio}"].referenced_coordinates
    names = [line.name.value for line in lines]
    assert names == ["MARGIN-FEMUR", "MARGIN-TIBIA", "MARGIN-TIBIA"]
    femur = np.array(lateral.femur.points) / (1, 2)
    assert lines[0].value == pytest.approx(femur)
    assert [len(line.value) for line in lines] == [21, 5, 7]
    assert lines[0].ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    [shortest] = measured["JSW", "Lateral", "Minimum", "mm"].referenced_coordinates
    assert shortest.name.value == "NARROWEST"
    assert lateral.narrowest is not None
    assert shortest.value == pytest.approx(np.array(lateral.narrowest) / (1, 2))
    assert ("JSW", "Medial", "Minimum", "mm") not in measured


def test_a_correction_is_named_and_has_a_report_of_its_own(asked: Asked) -> None:
    found = made_joint_space()
    points = raised(margin_of(found, "medial", "tibia"), 2.0)
    hand = remeasure(found, {("medial", "tibia"): points})
    reports = [report_of(asked, space) for space in (None, found, hand)]
    assert len({report.SOPInstanceUID for report in reports}) == 3
    assert report_of(asked, hand).SOPInstanceUID == reports[2].SOPInstanceUID
    origins = [
        {item.name.value: item.value for item in group_of(report).get_qualitative_evaluations()}
        for report in reports[1:]
    ]
    assert [one["MARGINS"] for one in origins] == [vocabulary.FOUND, vocabulary.CORRECTED]
    mm = values(group_of(reports[2]))["JSW", "Medial", "Minimum", "mm"]
    assert mm.value == pytest.approx(3.0, abs=0.01)
    assert "HAS PROPERTIES" not in str(mm[0].ContentSequence)


def test_a_reading_without_a_measurement_has_no_such_group(asked: Asked, tmp_path: Path) -> None:
    write_object(report_of(asked, None), tmp_path / "report.dcm")
    content = sr.MeasurementReport.from_sequence([dcmread(tmp_path / "report.dcm")])
    assert content.get_image_measurement_groups() == []
