"""The header of the source picture: patient and study of the answer, and what it refers to.

The patient's elements are copied from the source's header to the answer's and nowhere else. Each is
copied if it is valid and left empty if it is not: an invalid birth date prevents no report. Names
and numbers are copied at any length.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset, config, uid
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.uid import UID
from pydicom.valuerep import PersonName

from kellgren.errors import UnanswerableSource
from kellgren.imaging.dicom.grey_values import LookupTable, lookup_table
from kellgren.imaging.dicom.header import Header
from kellgren.imaging.dicom.parsing import parsed_picture, read_header
from kellgren.imaging.picture import file_content
from kellgren.libraries import library_messages_dropped

# Patient and study elements that the answer repeats; those of type 2 are there even when empty.
_REQUIRED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID"),
    "AccessionNumber",
)
_OPTIONAL = (
    *("IssuerOfPatientID", "PatientAge", "PatientSize", "PatientWeight", "StudyDescription"),
    *("PatientIdentityRemoved", "DeidentificationMethod"),
)
_REFERENCE = (
    *("SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID", "Modality"),
    *("Rows", "Columns", "NumberOfFrames", "PhotometricInterpretation", "PresentationLUTShape"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "RescaleSlope", "RescaleIntercept"),
    *("PatientOrientation", "PixelRepresentation"),
)
_TABLES = ("ModalityLUTSequence", "VOILUTSequence")
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_PICTURES = frozenset(
    {
        uid.ComputedRadiographyImageStorage,
        uid.DigitalXRayImageStorageForPresentation,
        uid.DigitalXRayImageStorageForProcessing,
        uid.SecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        uid.XRayRadiofluoroscopicImageStorage,
        uid.XRayAngiographicImageStorage,
    }
)
_VALID = {
    "PatientSex": re.compile(r"[MFO]"),
    "PatientIdentityRemoved": re.compile(r"YES|NO"),
    "Modality": re.compile(r"[A-Z]{2,16}"),
}

# Archives file an answer by the names and numbers of its film, too long ones as well; numbers of
# its contrast with more digits than there may be were used to read it.
_OF_ANY_LENGTH = frozenset({"PN", "LO", "SH", "DS"})
# Of dates and times as ACR-NEMA wrote them: read for ever, but not to be written (PS3.5 6.2).
_OLD_MARKS = {"DA": ".", "TM": ":"}


@dataclass(frozen=True, slots=True)
class Source:
    """One DICOM picture that was read, as its answer needs it.

    Attributes:
        identity: patient and study, copied into the answer; holds names.
        reference: identifiers, size and contrast, without anything of the patient.
        frame: number of the frame that was read, from 1; ``None`` where there is one only.
        content: a hash of the picture and its patient: other content may come under the same
            identifier, and must get an answer of its own.
    """

    identity: Dataset
    reference: Dataset
    frame: int | None
    content: str

    @property
    def rows(self) -> int:
        """Height of the picture in pixels."""
        return int(self.reference.Rows)

    @property
    def columns(self) -> int:
        """Width of the picture in pixels."""
        return int(self.reference.Columns)


def read_source(path: Path | str, frame: int = 1) -> Source:
    """Read what an answer needs of a file's header.

    Args:
        path: of a DICOM picture.
        frame: the one that was read.

    Raises:
        UnreadableRadiograph: it is no DICOM file, or damaged.
        UnanswerableSource: it lacks the identifiers of its study, series or picture.
    """
    with library_messages_dropped():
        return _source(path, frame)


def _source(path: Path | str, frame: int) -> Source:
    header = read_header(
        path, ("SpecificCharacterSet", *_REQUIRED, *_OPTIONAL, *_REFERENCE, *_TABLES)
    )
    dataset = header.dataset
    if "SOPClassUID" not in dataset and "MediaStorageSOPClassUID" in dataset.file_meta:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
    identity, reference = Dataset(), Dataset()
    for keyword in _REQUIRED:
        identity.add(_valid(header, keyword) or DataElement(keyword, dictionary_VR(keyword), ""))
    for target, keywords in ((identity, _OPTIONAL), (reference, _REFERENCE)):
        for element in filter(None, (_valid(header, keyword) for keyword in keywords)):
            target.add(element)
    for keyword in _TABLES:
        if table := lookup_table(header, keyword):
            setattr(reference, keyword, [_plain(table, reference, keyword)])
    if identity.get("PatientIdentityRemoved") == "YES":
        identity.setdefault("DeidentificationMethod", "Stated by the source without a method")
    identity.SpecificCharacterSet = "ISO_IR 192"
    _check(path, identity, reference)
    frames = int(reference.get("NumberOfFrames") or 1)
    content = _content(path, identity, reference)
    return Source(identity, reference, frame if frames > 1 else None, content)


def _content(path: Path | str, *described: Dataset) -> str:
    """A hash of what an answer depends on.

    Not of the file: a picture that comes again in another transfer syntax without compression, or
    with another router's remarks, yields the same objects.
    """
    found = hashlib.sha256()
    for part in described:
        found.update(part.to_json().encode())
    try:
        found.update(parsed_picture(file_content(path)).PixelData)
    except Exception as error:  # a refusal's picture may hold no pixels, or be damaged
        found.update(type(error).__name__.encode())
    return found.hexdigest()[:32]


def _plain(table: LookupTable, reference: Dataset, keyword: str) -> Dataset:
    """A table of 16 bits, without the free text that its file may hold beside it.

    Presentation states know 8 and 16 bits. Greys are shares of the largest entry, so those of a
    table of values of interest are stretched; a modality's are quantities, and stay.
    """
    is_signed, length = reference.get("PixelRepresentation") == 1, len(table.entries)
    first = table.first - 2**16 * (is_signed and table.first >= 2**15)
    length -= 2**16 * (length == 2**16 or (first < 0 and length >= 2**15))  # as 16 bits have it
    item, entries = Dataset(), table.entries
    if keyword == "ModalityLUTSequence":
        item.ModalityLUTType = "US"  # unspecified
    else:
        entries = entries * np.float32((2**16 - 1) / (2**table.bits - 1))
    stored = np.rint(entries.clip(0, 2**16 - 1)).astype("<u2")
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [length, first, 16])
    item.add_new("LUTData", "OW", stored.tobytes())
    return item


def _check(path: Path | str, identity: Dataset, reference: Dataset) -> None:
    missing = [uid for uid in _UIDS if not (identity.get(uid) or reference.get(uid))]
    if missing:
        raise UnanswerableSource(
            path,
            f"has no valid {' and no '.join(missing)}, so no DICOM answer can name it",
            "Export it from the archive with its identifiers",
        )
    if reference.SOPClassUID not in _PICTURES:
        raise UnanswerableSource(
            path,
            "is no plain X-ray picture, so no DICOM answer is made",
            "Send the CR or DX image itself",
        )


def _is_decoded(text: str, header: Header) -> bool:
    """Whether letters beyond ASCII were read by a character set that the file names.

    Without one, pydicom takes Western European letters for what may be Cyrillic: a wrong name in
    an answer is worse than none.
    """
    named = header.dataset.get("SpecificCharacterSet")
    sets = [named] if isinstance(named, str) else list(named or ())
    return text.isascii() or ("\ufffd" not in text and any(s not in ("", "ISO_IR 6") for s in sets))


def _valid(header: Header, keyword: str) -> DataElement | None:
    """The element without what only its file needs, or None if it is absent, empty or broken."""
    try:
        value = header.dataset.get(keyword)
        representation = dictionary_VR(keyword)
        if isinstance(value, str | PersonName | None):
            value = str(value or "").strip(" \0")
        if value == "" or (isinstance(value, str) and not _is_decoded(value, header)):
            return None
        if representation in _OLD_MARKS:
            value = value.replace(_OLD_MARKS[representation], "")
            if "-" in value:  # a range, which only queries have
                return None
        if keyword in _VALID and not _VALID[keyword].fullmatch(value):
            return None
        if representation == "UI" and not UID(value).is_valid:
            return None
        mode = config.IGNORE if representation in _OF_ANY_LENGTH else config.RAISE
        element = DataElement(keyword, representation, value, validation_mode=mode)
        str(element.value)  # some values are converted only on access
    except Exception:  # pydicom converts on access and raises whatever it meets
        return None
    return element
