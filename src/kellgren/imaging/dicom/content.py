"""What a DICOM header says that its picture is: evidence against grading it as a film of a knee.

Refused is what says that it is another thing; what may be one gets a warning. Terms of the standard
are repeated in the evidence; free text, dates and ages never are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date

from pydicom import uid

from kellgren.imaging.dicom import terms
from kellgren.imaging.dicom.codes import items, meaning
from kellgren.imaging.dicom.header import Header
from kellgren.imaging.dicom.terms import Judgement
from kellgren.imaging.evidence import Objection, Orientation

ADULT_YEARS = 18
"""Age below which growth plates may be open."""
_REGIONS = ("AnatomicRegionSequence",)
_VIEWS = ("ViewCodeSequence",)
_FOR_PROCESSING = uid.DigitalXRayImageStorageForProcessing
_FILMS = frozenset(
    {
        uid.ComputedRadiographyImageStorage,
        uid.DigitalXRayImageStorageForPresentation,
        _FOR_PROCESSING,
    }
)
_SECONDARY = frozenset(
    {
        uid.SecondaryCaptureImageStorage,
        uid.MultiFrameSingleBitSecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
    }
)
_FLUOROSCOPY = frozenset({uid.XRayRadiofluoroscopicImageStorage, uid.XRayAngiographicImageStorage})
_MADE = {"DRW": "a drawing", "SYN": "a synthetic picture", "SD": "a scanned document"}
_NO_FILM_TYPES = frozenset({"LOCALIZER", "SCOUT", "DRR", "PHANTOM"})
_ODD_TYPES = frozenset(
    {"SECONDARY", "QC", "QA", "SUBTRACTION", "SCREENSHOT", "SCREEN SAVE", "MPR", "REFORMATTED"}
)


def described(header: Header) -> str:
    """The picture in known terms of its header, for the reader."""
    said = [header.word("Modality"), header.word("BodyPartExamined"), header.word("ViewPosition")]
    judged = (terms.modality(said[0]), terms.body_part(said[1]), terms.view(said[2]))
    known = [word for word, it in zip(said, judged, strict=True) if it != "not known"]
    return ", ".join(word for word in known if word.isalpha()) or "no kind, body part or view"


def objections(header: Header, orientation: Orientation | None) -> tuple[Objection, ...]:
    """All that speaks against grading the picture, each thing once."""
    found = [
        *_kind(header),
        *_body_part(header),
        *_view(header),
        *_direction(orientation),
        *_intent(header),
        *_age(header),
        *_species(header),
    ]
    return tuple(dict.fromkeys(found))


def _refused(evidence: str) -> Objection:
    return Objection(True, evidence)


def _warned(evidence: str) -> Objection:
    return Objection(False, evidence)


def _kind(header: Header) -> Iterator[Objection]:
    """By Modality and SOP class."""
    word = header.word("Modality")
    judged = terms.modality(word) if word else "fits"
    named = f"{word} ({terms.MODALITIES.get(word)})"
    if judged == "other":
        yield _refused(f"Modality is {named}: no radiograph")
    elif judged == "may be":
        yield _warned(f"Modality is {named}: perhaps no radiograph")
    elif judged == "not known":
        yield _warned("Modality is no known term: perhaps no radiograph")
    stored = _sop_class(header)
    if stored in _SECONDARY:
        yield _warned(
            "a secondary capture: a copy of a screen or of a scanned film, perhaps edited"
        )
    elif stored in _FLUOROSCOPY:
        yield _warned("stored as fluoroscopy: perhaps no radiograph")
    elif stored and stored not in _FILMS and stored.name != stored:
        yield _refused(f"stored as {stored.name.removesuffix(' Storage')}: no radiograph")
    made = _MADE.get(header.word("ConversionType"))
    if made:
        yield _refused(f"ConversionType says {made}: no radiograph")


def _sop_class(header: Header) -> uid.UID | None:
    meta = getattr(header.dataset, "file_meta", None) or {}
    for named in (header.dataset.get("SOPClassUID"), meta.get("MediaStorageSOPClassUID")):
        if isinstance(named, str) and named:
            return uid.UID(named)
    return None


def _body_part(header: Header) -> Iterator[Objection]:
    stated = _stated(header, "BodyPartExamined", _REGIONS)
    judged = [(source, terms.body_part(text), text) for source, text in stated]
    kinds = {judgement for _, judgement, _ in judged}
    frontal = any(terms.view(text) == "fits" for _, text in _views(header))
    for source, judgement, text in judged:
        if terms.is_patella(text):
            said = f"{source} is the patella"
            yield _warned(said) if frontal else _refused(f"{said}, and no view from the front")
        elif judgement == "other":
            yield _refused(f"{source} is {_term(text, terms.body_part)}, not the knee")
        elif judgement == "may be" and "fits" not in kinds:
            yield _warned(f"{source} is {_term(text, terms.body_part)}: perhaps not the knee")
    if kinds == {"not known"} and not any(terms.is_patella(text) for _, text in stated):
        yield _warned("the body part is no known term: perhaps not the knee")


def _view(header: Header) -> Iterator[Objection]:
    judged = [(source, terms.view(text), text) for source, text in _views(header)]
    kinds = {judgement for _, judgement, _ in judged}
    for source, judgement, text in judged:
        if judgement == "other":
            yield _refused(f"{source} is {_term(text, terms.view)}: not from the front")
        elif judgement == "may be":
            yield _warned(f"{source} is {_term(text, terms.view)}: perhaps not the usual view")
    if kinds == {"not known"}:
        yield _warned("the view is no known term: perhaps not from the front")


def _views(header: Header) -> list[tuple[str, str]]:
    """ViewPosition, the codes of views, and what modifies them: a Merchant view is an axial one."""
    stated = _stated(header, "ViewPosition", _VIEWS)
    for view in items(header, "ViewCodeSequence"):
        inner = Header(view)
        stated += _stated(inner, "ViewPosition", ("ViewModifierCodeSequence",))
    return stated


def _stated(header: Header, keyword: str, sequences: tuple[str, ...]) -> list[tuple[str, str]]:
    """Sources and texts: of an element, and of the codes of sequences."""
    stated = [(keyword, header.word(keyword))]
    for sequence in sequences:
        stated += [(sequence, meaning(item)) for item in items(header, sequence)]
    return [(source, text) for source, text in stated if text]


def _term(text: str, judge: Callable[[str], Judgement]) -> str:
    """The words of a text that are known terms: free text beside them is not repeated."""
    known = [word for word in re.findall(r"[^\W\d_]+", text.upper()) if judge(word) != "not known"]
    return " ".join(known)


def _direction(orientation: Orientation | None) -> Iterator[Objection]:
    """By the axis of the patient along which the picture looks."""
    if orientation is None or "\\" not in orientation.stated:
        return
    row, column = orientation.stated.split("\\")
    if row and column and orientation.left is None:
        yield _refused("PatientOrientation shows the patient from the side")
    elif row and column and orientation.foot is None:
        yield _refused("PatientOrientation shows the patient from above or below")


def _intent(header: Header) -> Iterator[Objection]:
    """What was made of the picture, and for whom."""
    if (
        header.word("PresentationIntentType") == "FOR PROCESSING"
        or _sop_class(header) == _FOR_PROCESSING
    ):
        yield _warned("raw data for processing, not the picture that readers see")
    types = header.words("ImageType")
    for value in types:
        if value in _NO_FILM_TYPES:
            yield _refused(f"ImageType is {value}: no diagnostic radiograph")
        elif value in _ODD_TYPES:
            yield _warned(f"ImageType is {value}: perhaps not the radiograph itself")
    if types[:1] == ("DERIVED",):
        yield _warned("ImageType is DERIVED: made from other pixels, by processing or editing")
    if header.word("QualityControlImage") == "YES":
        yield _warned("QualityControlImage is YES: perhaps a phantom or a test")
    if header.word("BurnedInAnnotation") == "YES":
        yield _warned("BurnedInAnnotation is YES: text in the picture may cover the knee")


def _species(header: Header) -> Iterator[Objection]:
    if header.word("AnatomicalOrientationType") == "QUADRUPED":
        yield _refused("AnatomicalOrientationType is QUADRUPED: an animal")


def _age(header: Header) -> Iterator[Objection]:
    """What is stated counts before what follows from dates, which may have been shifted."""
    stated, counted = _stated_years(header), _counted_years(header)
    young = f"below {ADULT_YEARS} years: growth plates may be open, and the scale is for adults"
    if stated is not None and stated < ADULT_YEARS:
        yield _refused(f"the patient's age is {young}")
    elif counted is not None and counted < ADULT_YEARS:
        said = f"the patient's age, by birth date and study date, is {young}"
        yield _refused(said) if stated is None else _warned(f"{said}; PatientAge says otherwise")


def _stated_years(header: Header) -> float | None:
    """PatientAge: three digits and D, W, M or Y."""
    word = header.word("PatientAge")
    if not word:
        return None
    match = re.fullmatch(r"(\d{1,3})([DWMY])", word)
    if match is None:
        header.warn_ignored("PatientAge")
        return None
    return int(match[1]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[match[2]]


def _counted_years(header: Header) -> float | None:
    """Whole years between birth and examination; ``None`` without both dates in this order."""
    born = _day(header.word("PatientBirthDate"))
    dates = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
    examined = next(filter(None, (_day(header.word(keyword)) for keyword in dates)), None)
    if born is None or examined is None or examined < born:
        return None
    years = examined.year - born.year
    return years - ((examined.month, examined.day) < (born.month, born.day))


def _day(word: str) -> date | None:
    match = re.fullmatch(r"(\d{4})[.\-]?(\d\d)[.\-]?(\d\d)", word)
    try:
        return None if match is None else date(*(int(part) for part in match.groups()))
    except ValueError:
        return None
