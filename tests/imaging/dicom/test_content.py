"""What a DICOM header says that its picture is: refused, warned of, or accepted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset

from bundle_factory import make_bundle
from command_line import EXAMPLES, kellgren
from dicom_factory import full_range, write_dicom
from kellgren.ensemble import Ensemble
from kellgren.errors import NotAKneeFilm
from kellgren.imaging.dicom import terms
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.film import FORCED

FILM: dict[str, Any] = {
    "Modality": "DX",
    "BodyPartExamined": "KNEE",
    "ViewPosition": "AP",
    "PatientOrientation": ["L", "F"],
    "PatientAge": "067Y",
    "PatientBirthDate": "19500101",
    "StudyDate": "20170404",
    "ImageType": ["ORIGINAL", "PRIMARY", ""],
    "PresentationIntentType": "FOR PRESENTATION",
}


@pytest.fixture(scope="module")
def knee() -> np.ndarray:
    with Image.open(EXAMPLES / "9177337R.png") as picture:
        return np.asarray(picture.convert("L"))


def coded(value: str, scheme: str = "SCT", meaning: str = "CANARY", **nested: Any) -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    for keyword, codes in nested.items():
        setattr(item, keyword, codes)
    return [item]


def film(path: Path, knee: np.ndarray, **elements: Any) -> Path:
    drop = tuple(keyword for keyword, value in elements.items() if value is None)
    given = {key: value for key, value in {**FILM, **elements}.items() if value is not None}
    kept = tuple(keyword for keyword in drop if keyword in ("Modality", "SOPClassUID"))
    return write_dicom(path / "film.dcm", knee, **full_range(8), drop=kept, **given)


def judged(path: Path, knee: np.ndarray, **elements: Any) -> tuple[list[str], list[str]]:
    """What the header's evidence refuses, and what it warns of."""
    header = read_radiograph(film(path, knee, **elements)).header
    assert "CANARY" not in str(header)
    refused = [one.evidence for one in header.objections if one.refused]
    return refused, [one.evidence for one in header.objections if not one.refused]


REFUSED = [
    *({"Modality": word} for word in ("MR", "CT", "US", "OT", "NM", "MG", "BMD")),
    {"SOPClassUID": uid.MRImageStorage},
    {"SOPClassUID": uid.UltrasoundImageStorage, "Modality": None},
    {"ConversionType": "DRW"},
    {"ConversionType": "SYN"},
    *({"BodyPartExamined": word} for word in ("CHEST", "HAND", "FOOT", "HIP", "LSPINE", "WRIST")),
    {"BodyPartExamined": "LT HAND CANARY"},
    {"BodyPartExamined": "PATELLA", "ViewPosition": None},
    {"BodyPartExamined": "PATELLA", "ViewPosition": "AXIAL"},
    {"AnatomicRegionSequence": coded("85562004")},
    {"AnatomicRegionSequence": coded("T-D8700", "SRT", "Hand")},
    {"AnatomicRegionSequence": coded("85562004", meaning="Knee"), "BodyPartExamined": None},
    {"AnatomicRegionSequence": coded("1", "99LOCAL", "Shoulder"), "BodyPartExamined": None},
    *({"ViewPosition": word} for word in ("LL", "RL", "RLD", "LLO", "LAT", "LATERAL", "OBLIQUE")),
    *({"ViewPosition": word} for word in ("AXIAL", "SUNRISE", "SKYLINE", "MERCHANT", "AP/LAT")),
    {"ViewCodeSequence": coded("399067008")},
    {"ViewCodeSequence": coded("399061009"), "ViewPosition": None},
    {"ViewCodeSequence": coded("R-10236", "SRT", "antero-posterior"), "ViewPosition": None},
    {"ViewCodeSequence": coded("399182000")},
    {
        "ViewCodeSequence": coded(
            "399348003", ViewModifierCodeSequence=coded("399284007", meaning="CANARY")
        )
    },
    {"PatientOrientation": ["A", "F"]},
    {"PatientOrientation": ["P", "F"]},
    {"PatientOrientation": ["L", "P"]},
    {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
    {"PatientAge": "017Y"},
    {"PatientAge": "204M"},
    {"PatientAge": "900W"},
    {"PatientAge": "012D"},
    {"PatientAge": None, "PatientBirthDate": "19990405"},
    {"PatientAge": "CANARY", "PatientBirthDate": "20100101"},
    {"AnatomicalOrientationType": "QUADRUPED"},
]
WARNED = [
    {"Modality": "RF"},
    {"Modality": "CANARY"},
    {"SOPClassUID": uid.SecondaryCaptureImageStorage},
    {"SOPClassUID": uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage},
    {"SOPClassUID": uid.XRayRadiofluoroscopicImageStorage},
    {"SOPClassUID": uid.DigitalXRayImageStorageForProcessing},
    {"PresentationIntentType": "FOR PROCESSING"},
    {"BodyPartExamined": "LEG"},
    {"BodyPartExamined": "LOWER LEG"},
    {"BodyPartExamined": "CANARY"},
    {"BodyPartExamined": "PATELLA"},
    {"AnatomicRegionSequence": coded("30021000"), "BodyPartExamined": None},
    {"ViewPosition": "CANARY"},
    {"ViewPosition": "TUNNEL"},
    {"ImageType": ["DERIVED", "PRIMARY"]},
    {"ImageType": ["DERIVED", "SECONDARY"]},
    {"ImageType": ["ORIGINAL", "PRIMARY", "QC"]},
    {"QualityControlImage": "YES"},
    {"BurnedInAnnotation": "YES"},
    {"PatientBirthDate": "20100101"},
]
ACCEPTED = [
    {},
    *({keyword: None} for keyword in FILM),
    {"SOPClassUID": uid.ComputedRadiographyImageStorage, "Modality": "CR"},
    {"Modality": "RG"},
    *({"BodyPartExamined": word} for word in ("LT KNEE CANARY", "KNEES", "BOTH KNEES", "knee")),
    {"BodyPartExamined": "LEG", "AnatomicRegionSequence": coded("72696002")},
    {"AnatomicRegionSequence": coded("T-15720", "SRT")},
    {"AnatomicRegionSequence": coded("82169009")},
    *({"ViewPosition": word} for word in ("PA", "A.P.", "AP STANDING", "PA FLEXION")),
    {"ViewCodeSequence": coded("R-10206", "SRT")},
    {"ViewCodeSequence": coded("272479007"), "ViewPosition": None},
    {"PatientOrientation": ["LP", "FA"]},
    {"PatientAge": "018Y", "PatientBirthDate": None},
    {"PatientAge": "216M", "PatientBirthDate": None},
    {"PatientAge": None, "PatientBirthDate": "19990404"},
    {"PatientAge": None, "StudyDate": None},
    {"PatientAge": None, "PatientBirthDate": "20180101"},
    {"QualityControlImage": "NO", "BurnedInAnnotation": "NO"},
]


@pytest.mark.filterwarnings("ignore:Invalid value for VR", "ignore:The value length")
@pytest.mark.parametrize("elements", REFUSED, ids=" ".join)
def test_what_says_that_it_is_another_thing_is_refused(
    elements: dict[str, Any], tmp_path: Path, knee: np.ndarray
) -> None:
    refused, _ = judged(tmp_path, knee, **elements)
    assert refused


@pytest.mark.filterwarnings("ignore:Invalid value for VR", "ignore:The value length")
@pytest.mark.parametrize("elements", WARNED, ids=" ".join)
def test_what_may_be_another_thing_is_warned_of(
    elements: dict[str, Any], tmp_path: Path, knee: np.ndarray
) -> None:
    refused, warned = judged(tmp_path, knee, **elements)
    assert not refused
    assert warned


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize("elements", ACCEPTED, ids=" ".join)
def test_what_fits_or_is_absent_is_accepted(
    elements: dict[str, Any], tmp_path: Path, knee: np.ndarray
) -> None:
    assert judged(tmp_path, knee, **elements) == ([], [])


def test_every_region_of_the_standard_is_known() -> None:
    from pydicom.sr.codedict import codes

    regions = codes.cid4031
    meanings = {getattr(regions, name).meaning for name in regions.dir()}
    unknown = {m for m in meanings if terms.body_part(m) == "not known"}
    assert unknown == {"Patella"}
    assert {m for m in meanings if terms.body_part(m) == "fits"} == {"Knee"}


def test_no_age_and_no_date_is_repeated(tmp_path: Path, knee: np.ndarray) -> None:
    for elements in ({"PatientAge": "013Y"}, {"PatientAge": None, "PatientBirthDate": "20040203"}):
        (evidence,), _ = judged(tmp_path, knee, **elements)
        assert not {"13", "2004", "2017"} & {w for w in evidence.replace(":", " ").split()}


# --- through the interfaces ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Ensemble:
    return Ensemble(make_bundle(tmp_path_factory.mktemp("models") / "tiny"))


def test_a_refusal_by_the_header_names_all_of_its_reasons(
    tmp_path: Path, knee: np.ndarray, ensemble: Ensemble
) -> None:
    path = film(tmp_path, knee, Modality="MR", BodyPartExamined="CHEST")
    with pytest.raises(
        NotAKneeFilm, match=r"Modality is MR .* BodyPartExamined is CHEST"
    ) as caught:
        ensemble.read(path)
    assert "frontal film" in caught.value.remedy


def test_forcing_marks_the_reading(tmp_path: Path, knee: np.ndarray, ensemble: Ensemble) -> None:
    path = film(tmp_path, knee, ViewPosition="LL", QualityControlImage="YES", ImageLaterality="R")
    (forced,) = ensemble.read(path, force=True)
    assert forced.forced
    assert [check.verdict for check in forced.checks if check.name == "header"] == [
        "refused",
        "warning",
    ]
    assert forced.warnings[0].startswith(f"{FORCED}: ViewPosition is LL")
    assert "phantom" in forced.warnings[1]
    assert forced.side.value == "R"  # the header's refusal says nothing against its side


def test_a_film_whose_header_fits_says_so(
    tmp_path: Path, knee: np.ndarray, ensemble: Ensemble
) -> None:
    (reading,) = ensemble.read(film(tmp_path, knee))
    assert not reading.forced
    assert reading.checks[0].to_dict() == {
        "name": "header",
        "verdict": "passed",
        "evidence": "nothing speaks against it: DX, KNEE, AP",
    }
    (picture,) = ensemble.read(EXAMPLES / "9177337R.png")
    assert "header" not in {check.name for check in picture.checks}


def test_exit_codes_tell_a_refused_film(tmp_path: Path, knee: np.ndarray) -> None:
    for name, view in (("a", "AP"), ("b", "LL")):
        (tmp_path / name).mkdir()
        film(tmp_path / name, knee, ViewPosition=view)
    good, lateral = tmp_path / "a" / "film.dcm", tmp_path / "b" / "film.dcm"
    table = tmp_path / "out.json"
    assert kellgren("grade", lateral, "--json", table) == 4
    (row,) = json.loads(table.read_text())["readings"]
    assert row["grade"] is None
    assert "ViewPosition is LL" in row["note"]
    assert kellgren("grade", good, lateral) == 1
    assert kellgren("grade", lateral, "--force", "--json", table) == 0
    (row,) = json.loads(table.read_text())["readings"]
    assert row["warnings"][0].startswith(FORCED)
    assert kellgren("locate", lateral) == 4
