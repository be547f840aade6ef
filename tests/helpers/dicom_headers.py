"""Headers of X-ray files for tests: as complete as a modality writes them, and as bare as found."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

DX = "1.2.840.10008.5.1.4.1.1.1.1"
CR = "1.2.840.10008.5.1.4.1.1.1"
SOURCE_UIDS = {
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.10",
    "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.11",
    "SOPInstanceUID": "1.2.826.0.1.3680043.8.498.12",
}
CANARIES = {
    "PatientName": "Kanarienvogel^Ännchen",
    "PatientID": "CANARY-7741",
    "PatientBirthDate": "19470613",
    "AccessionNumber": "CANARYACC99",
    "ReferringPhysicianName": "Canaryphysician^Hugo",
    "StudyDescription": "CANARY study of knees",
    "IssuerOfPatientID": "CANARYISSUER",
}


def sparse(sop_class: str) -> dict[str, Any]:
    """What a picture cannot be named without."""
    return {"SOPClassUID": sop_class, "Modality": "CR" if sop_class == CR else "DX", **SOURCE_UIDS}


def complete(sop_class: str, side: str = "R") -> dict[str, Any]:
    """A header with everything an answer can take over, the patient's canaries among it."""
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator = "72696002", "SCT"
    region.CodeMeaning = "Knee"
    return {
        **sparse(sop_class),
        **CANARIES,
        "SpecificCharacterSet": "ISO_IR 100",
        "PatientSex": "F",
        "PatientAge": "071Y",
        "StudyDate": "20190304",
        "StudyTime": "101530.25",
        "StudyID": "77",
        "BodyPartExamined": "KNEE",
        "ViewPosition": "PA",
        "PatientOrientation": ["L", "F"],
        "ImageLaterality" if sop_class == DX else "Laterality": side,
        "ImagerPixelSpacing": ["0.139", "0.139"],
        "PixelSpacing": ["0.139", "0.139"],
        "PresentationLUTShape": "IDENTITY",
        "RescaleSlope": "1",
        "RescaleIntercept": "0",
        "RescaleType": "US",
        "WindowCenter": "2048",
        "WindowWidth": "4096",
        "AnatomicRegionSequence": [region],
    }
