"""Answers in DICOM: valid, of the right knee and patient, and the same when repeated."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from highdicom import seg, sr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from bundle_factory import make_bundle
from command_line import EXAMPLES, ROOT, kellgren, rows
from dicom_factory import full_range, lut_item, write_dicom
from dicom_headers import CANARIES, CR, DX, SOURCE_UIDS, complete, sparse
from kellgren.ensemble import Ensemble
from kellgren.errors import UnanswerableSource
from kellgren.grades import Grade, Side
from kellgren.imaging.radiograph import read_radiograph
from kellgren.knee import KneeCrop, Region, Stretch
from kellgren.output.dicom import vocabulary
from kellgren.output.dicom.answer import answer, write_object
from kellgren.output.dicom.common import outline, summary_line, uid_scope
from kellgren.output.dicom.segmentation import evidence_mask
from kellgren.output.dicom.source import Source, read_source
from kellgren.reading import KneeReading

WHOLE = (None,)
PAIR = (Region((220, 110), 200, 4.0), Region((70, 100), 180, -3.0))  # the second leaves the picture
Read = Callable[..., tuple[list[KneeReading], Source]]


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Ensemble:
    return Ensemble(make_bundle(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture
def read(tmp_path: Path, ensemble: Ensemble) -> Read:
    def read(
        header: dict[str, Any], regions: tuple[Region | None, ...] = WHOLE, name: str = "film.dcm"
    ) -> tuple[list[KneeReading], Source]:
        """Readings of a real knee under a header, as if a film had held knees in these regions."""
        path = write_dicom(tmp_path / name, knee(), bits=12, **header)
        (reading,) = ensemble.read(path)
        if regions == WHOLE:
            return [reading], read_source(path)
        sides = (Side.RIGHT, Side.LEFT)
        readings = [
            replace(reading, side=side, crop=replace(reading.crop, side=side, region=region))
            for side, region in zip(sides, regions, strict=True)
        ]
        return readings, read_source(path)

    return read


def knee() -> np.ndarray:
    """A real knee, 12 bits in (H, W) uint16."""
    return np.asarray(Image.open(EXAMPLES / "9177337R.png")).astype(np.uint16) * 16


def of_modality(made: list[Dataset], modality: str) -> Dataset:
    return next(part for part in made if part.Modality == modality)


# A private scheme is in nobody's list; the side of a knee may be unknown, or that of two knees;
# and a source without date, time or number of its study has none to hand on.
EXPECTED_WARNINGS = (
    "Warning - Unrecognized defined term <99KELLGREN>",
    "Warning - is only permitted to be empty when actually unknown",
    "Warning - Missing attribute or value that would be needed to build DICOMDIR - Study",
)


def errors_of(validator: str, path: Path) -> list[str]:
    return lines_of(validator, path, "Error")


def warnings_of(validator: str, path: Path) -> list[str]:
    return lines_of(validator, path, "Warning")


def lines_of(validator: str, path: Path, kind: str) -> list[str]:
    done = subprocess.run([validator, path], capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr).splitlines()
    assert said  # it names the object at least
    return [line for line in said if line.startswith(kind)]


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy (dicom3tools) is not installed")
@pytest.mark.parametrize("regions", [WHOLE, PAIR], ids=["one knee", "two knees"])
@pytest.mark.parametrize("header", [complete, sparse])
@pytest.mark.parametrize("sop_class", [DX, CR])
def test_a_validator_finds_no_error(
    read: Read, tmp_path: Path, sop_class: str, header: Callable[[str], Any], regions: Any
) -> None:
    made = answer(*read(header(sop_class), regions))

    assert sorted(part.Modality for part in made) == sorted(
        ["SR", "SEG", "PR", *["OT"] * len(regions)]
    )
    for part in made:
        write_object(part, tmp_path / "part.dcm")
        assert errors_of("dciodvfy", tmp_path / "part.dcm") == [], part.Modality
        left = warnings_of("dciodvfy", tmp_path / "part.dcm")
        assert [it for it in left if not it.startswith(EXPECTED_WARNINGS)] == [], part.Modality


@pytest.mark.parametrize("header", [complete, sparse])
def test_the_report_says_what_was_read(read: Read, header: Callable[[str], Any]) -> None:
    readings, source = read(header(DX), PAIR)

    report = of_modality(answer(readings, source), "SR")

    content = sr.MeasurementReport.from_sequence([report])
    groups = content.get_planar_roi_measurement_groups()
    for reading, group in zip(readings, groups, strict=True):
        said = {item.name.value: item.value for item in group.get_qualitative_evaluations()}
        assert said["KL"] == vocabulary.grade_code(reading.grade)
        held = reading.grade_set
        ends = [f"KL{int(held.lowest)}", f"KL{int(held.highest)}"]
        assert [said["KL-LOW"].value, said["KL-HIGH"].value] == ends
        assert said["KL-MOST"] == vocabulary.grade_code(reading.grade)
        assert said["CERTAINTY"].meaning == f"{reading.certainty} certainty"
        assert said["STATUS"].meaning == "Research software, not a medical device"
        measured = {item.name.value: item.value for item in group.get_measurements()}
        assert [measured[f"P{g}"] for g in Grade] == pytest.approx(reading.probabilities, abs=1e-6)
        assert measured["SET-LEVEL"] == held.level
        (site,) = group.finding_sites
        laterality = codes.SCT.Right if reading.side is Side.RIGHT else codes.SCT.Left
        assert site.ContentSequence[0].value == laterality
        assert np.array_equal(group.roi.value, outline(reading.crop, source))
        picture = group.roi.ContentSequence[0].ReferencedSOPSequence[0]
        assert picture.ReferencedSOPInstanceUID == SOURCE_UIDS["SOPInstanceUID"]
    told = str(report)
    assert readings[0].model["checksum"] in told
    assert report.VerificationFlag == "UNVERIFIED"
    assert report.PreliminaryFlag == "PRELIMINARY"
    (evidence,) = report.CurrentRequestedProcedureEvidenceSequence
    assert evidence.StudyInstanceUID == SOURCE_UIDS["StudyInstanceUID"]


def test_every_object_is_of_the_same_patient_and_study_in_a_series_of_its_own(read: Read) -> None:
    made = answer(*read(complete(DX), PAIR))

    for part in made:
        assert {keyword: str(part[keyword].value) for keyword in CANARIES} == CANARIES
        assert part.StudyInstanceUID == SOURCE_UIDS["StudyInstanceUID"]
        assert part.ContentQualification == "RESEARCH"
        assert "not for diagnosis" in part.SeriesDescription
    series = [part.SeriesInstanceUID for part in made]
    objects = [part.SOPInstanceUID for part in made]
    assert len({*series, *objects, *SOURCE_UIDS.values()}) == 2 * len(made) + 3
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in series + objects)


def test_the_same_question_has_the_same_identifiers(read: Read) -> None:
    readings, source = read(complete(DX))
    first, again = (
        [part.SOPInstanceUID for part in answer(*asked)]
        for asked in ((readings, source), read(complete(DX), name="copy.dcm"))
    )
    assert first == again

    (reading,) = readings
    other_model = replace(reading, model=reading.model | {"checksum": "0" * 64})
    asked = [
        uid_scope(readings, source),
        uid_scope([other_model], source),
        uid_scope([replace(reading, side=Side.LEFT)], source),
        uid_scope(readings, replace(source, frame=2)),
        uid_scope(*read(complete(DX) | {"SOPInstanceUID": "1.2.3"}, name="other.dcm")),
        uid_scope(*read(complete(DX) | {"PatientID": "ANOTHER"}, name="patient.dcm")),
    ]
    assert len({one.uid(kind) for one in asked for kind in ("report", "map")}) == 2 * len(asked)


@pytest.mark.parametrize(
    "broken",
    [
        {"PatientName": "Onename"},
        {"PatientName": "Yamada^Tarou=山田^太郎", "SpecificCharacterSet": "ISO_IR 192"},
        {"PatientSex": "W"},
        {"StudyDate": "", "StudyTime": None},
        {"PatientOrientation": "L"},
        {"WindowWidth": "0", "PresentationLUTShape": "NONE"},
    ],
)
def test_broken_elements_stop_no_answer(read: Read, tmp_path: Path, broken: dict[str, Any]) -> None:
    made = answer(*read(complete(CR) | broken))
    assert len(made) == 4
    for part in made:
        write_object(part, tmp_path / "part.dcm")
        back = dcmread(tmp_path / "part.dcm")
        assert back.PatientName == broken.get("PatientName", CANARIES["PatientName"])
        assert back.PatientSex in ("F", "")


@pytest.mark.parametrize(
    ("keyword", "found", "copied"),
    [
        ("StudyDate", "2019.03.04", "20190304"),
        ("StudyTime", "10:15:30.25", "101530.25"),
        ("StudyTime", "101530+0100", ""),
        ("PatientBirthDate", "1947", ""),
        ("PatientBirthDate", "19470101-19471231", ""),
        ("PatientAge", "71", ""),
        ("AccessionNumber", "A" * 40, "A" * 40),
        ("PatientID", "7" * 70, "7" * 70),
    ],
)
def test_an_element_is_valid_or_left_empty_but_names_and_numbers_are_those_of_the_film(
    tmp_path: Path, keyword: str, found: str, copied: str
) -> None:
    with config.disable_value_validation():
        film = write_dicom(tmp_path / "film.dcm", knee(), bits=12, **sparse(DX) | {keyword: found})
    assert read_source(film).identity.get(keyword, "") == copied


@pytest.mark.parametrize("missing", sorted(SOURCE_UIDS))
def test_what_names_no_picture_is_not_answered(tmp_path: Path, missing: str) -> None:
    path = write_dicom(tmp_path / "film.dcm", knee(), bits=12, **sparse(DX))
    identifier = SOURCE_UIDS[missing].encode()
    path.write_bytes(path.read_bytes().replace(identifier, b"x" * len(identifier)))
    with pytest.raises(UnanswerableSource, match=missing):
        read_source(path)


@pytest.mark.parametrize(
    ("photometric", "shape"), [("MONOCHROME1", "INVERSE"), ("MONOCHROME2", "IDENTITY")]
)
def test_the_presentation_keeps_bone_bright(read: Read, photometric: str, shape: str) -> None:
    header = sparse(DX) | {"PhotometricInterpretation": photometric, "WindowCenter": "2000"}

    state = of_modality(answer(*read(header | {"WindowWidth": "3000"})), "PR")

    assert state.PresentationLUTShape == shape
    (window,) = state.SoftcopyVOILUTSequence
    assert (window.WindowCenter, window.WindowWidth) == (2000, 3000)


RAMP = np.arange(4096)
CONTRASTS: dict[str, dict[str, Any]] = {
    "a window": {"WindowCenter": "1500", "WindowWidth": "1800"},
    "a window of many digits": {
        **{"RescaleSlope": "1.0000000000000002", "RescaleIntercept": "-0.33333333333333331"},
        **{"WindowCenter": "1500.1234567890123", "WindowWidth": "1800.9876543210987"},
    },
    "two windows": {"WindowCenter": ["1500", "9"], "WindowWidth": ["1800", "9"]},
    "a window after a rescale": {
        **{"RescaleSlope": "0.5", "RescaleIntercept": "-300", "RescaleType": "US"},
        **{"WindowCenter": "500", "WindowWidth": "900"},
    },
    "a table of values of interest": {
        "VOILUTSequence": [lut_item((RAMP[:3000] ** 2 // 2200), first=200, bits=12)],
        **{"WindowCenter": "1", "WindowWidth": "1"},
    },
    "a table after a rescale": {
        **{"RescaleSlope": "1", "RescaleIntercept": "-1024", "RescaleType": "US"},
        "VOILUTSequence": [lut_item(RAMP[:3000] // 3, first=-500, bits=10)],
    },
    "a modality table and a window": {
        "ModalityLUTSequence": [lut_item(65535 - 16 * RAMP[::-1], first=0, bits=16)],
        **{"WindowCenter": "30000", "WindowWidth": "60000"},
    },
    "shown inverse": {
        **{"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
        **{"WindowCenter": "2000", "WindowWidth": "3000"},
    },
}


@pytest.mark.skipif(not shutil.which("dcmp2pgm"), reason="dcmp2pgm (dcmtk) is not installed")
@pytest.mark.parametrize("contrast", CONTRASTS)
def test_the_presentation_shows_the_picture_as_it_was_read(
    read: Read, tmp_path: Path, contrast: str
) -> None:
    header = {k: v for k, v in complete(DX).items() if not k.startswith(("Window", "Rescale"))}
    readings, _ = read(complete(DX))
    with config.disable_value_validation():
        film = write_dicom(tmp_path / "film.dcm", knee(), bits=12, **header | CONTRASTS[contrast])
    source = read_source(film)
    write_object(of_modality(answer(readings, source), "PR"), tmp_path / "state.dcm")
    assert errors_of("dciodvfy", tmp_path / "state.dcm") == []

    given = ["-p", tmp_path / "state.dcm", film, tmp_path / "shown.pgm"]
    subprocess.run(["dcmp2pgm", *given], check=True, capture_output=True)

    with Image.open(tmp_path / "shown.pgm") as shown:
        greys = np.asarray(shown) / 255
    expected = read_radiograph(film).pixels
    assert expected.std() > 0.05
    assert np.abs(greys - expected).max() < 1.5 / 255


def test_the_presentation_draws_each_knees_box_and_words(read: Read) -> None:
    readings, source = read(complete(DX), PAIR)

    annotations = of_modality(answer(readings, source), "PR").GraphicAnnotationSequence

    for reading, item in zip(readings, annotations, strict=True):
        box = np.reshape(item.GraphicObjectSequence[0].GraphicData, (-1, 2))
        assert np.allclose(box, outline(reading.crop, source))
        said = item.TextObjectSequence[0].UnformattedTextValue
        assert f"KL {int(reading.grade)} {reading.grade.label}" in said
        assert "Research software, not a medical device" in said


def test_the_segmentation_lies_on_the_picture(read: Read) -> None:
    readings, source = read(complete(DX), PAIR)

    made = of_modality(answer(readings, source), "SEG")

    found = seg.Segmentation.from_dataset(made)
    for number, reading in enumerate(readings, start=1):
        mask = found.get_pixels_by_source_instance(
            [SOURCE_UIDS["SOPInstanceUID"]], segment_numbers=[number]
        )[0, ..., 0]
        assert np.array_equal(mask.astype(bool), evidence_mask(reading, source))


@pytest.mark.parametrize("corner", range(4))
@pytest.mark.parametrize("region", [None, Region((150, 140), 160, 25.0), Region((150, 140), 160)])
def test_evidence_in_a_corner_of_the_knee_lies_in_that_corner_of_its_region(
    read: Read, region: Region | None, corner: int
) -> None:
    (reading,), source = read(sparse(DX))
    spot = np.zeros((8, 8), dtype=np.float32)
    spot[-1 if corner >= 2 else 0, -1 if corner in (1, 2) else 0] = 1
    reading = replace(reading, maps=np.stack([spot] * 5), crop=replace(reading.crop, region=region))

    rows_of, columns_of = np.nonzero(evidence_mask(reading, source))

    box = region or Region((source.columns / 2, source.rows / 2), source.columns)
    x, y = box.corners()[corner]
    cell = box.width / 8
    # The spot's cell begins at the corner, so its middle is half a cell's diagonal away.
    distance = math.hypot(columns_of.mean() + 0.5 - x, rows_of.mean() + 0.5 - y)
    assert distance == pytest.approx(cell * math.sqrt(0.5), abs=0.15 * cell)


@given(
    x=st.floats(-50, 350),
    y=st.floats(-50, 350),
    width=st.floats(20, 500),
    angle=st.floats(-180, 180),
)
def test_a_box_never_leaves_the_picture(x: float, y: float, width: float, angle: float) -> None:
    reference = Dataset()
    reference.Rows, reference.Columns = 300, 200
    region = Region((x, y), width, angle)
    crop = KneeCrop(np.zeros((64, 64), np.float32), Side.UNKNOWN, None, region)
    box = outline(crop, Source(Dataset(), reference, None, ""))

    assert np.array_equal(box[0], box[-1])
    assert box.min() >= -1e-3
    assert (box.max(axis=0) <= np.array([200, 300]) + 1e-3).all()
    corners = np.asarray(region.corners())
    if corners.min() >= 0 and corners.max() <= 200:
        assert np.allclose(box[:-1], corners, atol=1e-3)


def test_the_command_line_writes_answers_and_says_where_there_is_none(
    tmp_path: Path, ensemble: Ensemble, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    film = write_dicom(tmp_path / "in" / "film.dcm", knee(), bits=12, **complete(DX))
    png = EXAMPLES / "9177337R.png"
    given = [
        "grade",
        film,
        png,
        "--model",
        ensemble.bundle.folder,
        "--csv",
        tmp_path / "t.csv",
    ]

    assert kellgren(*given, "--dicom-out", tmp_path / "answers") == 0

    first = {path.name for path in (tmp_path / "answers").iterdir()}
    assert len(first) == 4
    answered, unanswered = rows(tmp_path / "t.csv")
    assert "no DICOM answer" not in answered["warnings"]
    assert "no DICOM answer: the file is no DICOM file" in unanswered["warnings"]
    assert "no DICOM answer" in capsys.readouterr().err
    assert kellgren(*given, "--dicom-out", tmp_path / "answers") == 0
    assert {path.name for path in (tmp_path / "answers").iterdir()} == first


def test_one_frame_among_several_is_graded_and_answered(
    tmp_path: Path, ensemble: Ensemble, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["9177337R", "9103968L"]
    frames = [np.asarray(Image.open(EXAMPLES / f"{name}.png").convert("L")) for name in names]
    both = {"NumberOfFrames": 2, "PixelData": np.stack(frames).tobytes()}
    write_dicom(tmp_path / "both.dcm", frames[0], **complete(CR) | both | full_range(8))
    for number, frame in enumerate(frames, start=1):
        write_dicom(tmp_path / f"{number}.dcm", frame, **complete(CR) | full_range(8))
    shares = {}
    for number in (1, 2):
        for name in (f"{number}.dcm", "both.dcm"):
            asked = ["--frame", str(number)] * (name == "both.dcm")
            given = ["grade", tmp_path / name, "--model", ensemble.bundle.folder, "--force", *asked]
            given += ["--dicom-out", tmp_path / f"answers {number} {name}"]
            assert kellgren(*given, "--csv", tmp_path / "t.csv") == 0
            (row,) = rows(tmp_path / "t.csv")
            shares[number, name] = [row[f"p{grade}"] for grade in range(5)]
        assert shares[number, "both.dcm"] == shares[number, f"{number}.dcm"]
    assert shares[1, "both.dcm"] != shares[2, "both.dcm"]
    made = [dcmread(path) for path in (tmp_path / "answers 2 both.dcm").iterdir()]
    assert sorted(part.Modality for part in made) == ["OT", "SR"]
    (source,) = of_modality(made, "OT").SourceImageSequence
    assert source.ReferencedFrameNumber == 2
    group = sr.MeasurementReport.from_sequence([of_modality(made, "SR")])
    (knee_group,) = group.get_planar_roi_measurement_groups()
    picture = knee_group.roi.ContentSequence[0].ReferencedSOPSequence[0]
    assert picture.ReferencedFrameNumber == 2
    capsys.readouterr()
    for asked in ([], ["--frame", "3"]):
        given = ["grade", tmp_path / "both.dcm", "--model", ensemble.bundle.folder, *asked]
        assert kellgren(*given, "--csv", "-") == 4
        assert "holds 2 frames" in (said := capsys.readouterr().out) or "no frame 3" in said


@pytest.mark.skipif(not shutil.which("dsrdump"), reason="dsrdump (dcmtk) is not installed")
@pytest.mark.parametrize("header", [complete, sparse])
def test_another_reader_finds_the_words(
    read: Read, tmp_path: Path, header: Callable[[str], Any]
) -> None:
    """dcmtk's: the report's lines, and a presentation state that it finds no fault in."""
    nameless = {
        "PatientName": "Canary^Asc",
        "ReferringPhysicianName": "",
    }  # its checker knows no UTF-8
    readings, source = read(header(DX) | nameless, PAIR)
    made = answer(readings, source)
    write_object(of_modality(made, "SR"), tmp_path / "report.dcm")
    write_object(of_modality(made, "PR"), tmp_path / "state.dcm")

    told = subprocess.run(["dsrdump", tmp_path / "report.dcm"], capture_output=True, check=True)
    lines = told.stdout.decode()
    check = subprocess.run(["dcmpschk", tmp_path / "state.dcm"], capture_output=True, check=False)

    for reading in readings:
        grade = f'(KL{reading.grade:d},99KELLGREN,"{vocabulary.grade_code(reading.grade).meaning}")'
        assert f'"Kellgren-Lawrence grade")={grade}' in lines
    assert lines.count("Research software, not a medical device") == 2 * 2  # grade, joint space
    for side in ("Right", "Left"):
        assert f',SCT,"{side}")>' in lines
    assert "Test passed" in (check.stdout + check.stderr).decode()


def test_the_documented_scheme_is_the_one_in_use() -> None:
    page = (ROOT / "docs" / "reference" / "dicom.md").read_text("utf-8")
    assert f"`{vocabulary.SCHEME_UID}`" in page
    for code in (
        vocabulary.GRADE,
        vocabulary.CERTAINTY,
        vocabulary.STATUS,
        vocabulary.RESEARCH,
        vocabulary.SCALE,
    ):
        assert f"`{code.value}`" in page


def test_evidence_on_pixels_that_are_not_square_lies_where_it_is_in_the_file(read: Read) -> None:
    (reading,), source = read(sparse(DX))
    spot = np.zeros((8, 8), dtype=np.float32)
    spot[0, 0] = 1
    region = Region((150, 140), 160, 25.0)
    maps, crop = np.stack([spot] * 5), replace(reading.crop, region=region)
    square = np.nonzero(evidence_mask(replace(reading, maps=maps, crop=crop), source))
    crop = replace(crop, stretch=Stretch(1.0, 2.0))  # the file has half as many rows
    halved = np.nonzero(evidence_mask(replace(reading, maps=maps, crop=crop), source))

    assert halved[0].mean() == pytest.approx(square[0].mean() / 2, abs=1.5)
    assert halved[1].mean() == pytest.approx(square[1].mean(), abs=1.5)
    assert len(halved[0]) == pytest.approx(len(square[0]) / 2, rel=0.1)


@pytest.mark.parametrize(
    ("charset", "name", "expected"),
    [
        (None, "Иванов^Пётр".encode("cp1251"), ""),
        ("ISO_IR 100", "Müller^Jörg".encode("latin-1"), "Müller^Jörg"),
        ("ISO_IR 192", "Иванов^Пётр".encode(), "Иванов^Пётр"),
        (None, b"Miller^Joan", "Miller^Joan"),
    ],
)
def test_a_name_of_unknown_letters_is_left_empty(
    tmp_path: Path, charset: str | None, name: bytes, expected: str
) -> None:
    """Read by the wrong character set it would be another person's."""
    given = {"SpecificCharacterSet": charset} if charset else {}
    path = write_dicom(tmp_path / "film.dcm", knee(), bits=12, **sparse(DX), **given)
    mark = b"CANARY^Patient"
    data = path.read_bytes()
    assert data.count(mark) == 1
    at = data.index(mark)
    padded = name + b" " * (len(name) % 2)
    length = len(padded).to_bytes(2, "little")
    path.write_bytes(data[: at - 2] + length + padded + data[at + len(mark) :])

    assert str(read_source(path).identity.PatientName) == expected


def test_a_grade_that_is_not_named_is_not_in_the_report(read: Read) -> None:
    """The probabilities and the most probable grade are; no list of grades shows it as one."""
    readings, source = read(complete(DX), PAIR)
    doubts = ("the 90 % set holds 3 grades",)
    open_ones = [replace(reading, named=False, doubts=doubts) for reading in readings]
    report = of_modality(answer(open_ones, source), "SR")
    root = sr.MeasurementReport.from_sequence([report])
    for reading, group in zip(open_ones, root.get_planar_roi_measurement_groups(), strict=True):
        said = {item.name.value: item.value for item in group.get_qualitative_evaluations()}
        assert said["KL"] == vocabulary.NOT_NAMED
        assert said["KL-MOST"] == vocabulary.grade_code(reading.grade)
        assert "no grade named, most probable KL" in summary_line(reading)
