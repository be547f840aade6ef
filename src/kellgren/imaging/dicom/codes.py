"""Coded concepts of DICOM headers, by the meaning that the standard gives them.

A file may pair any code with any text, so a known code's own meaning counts, and a text only
where the code is not known.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from pydicom import Dataset

from kellgren.imaging.dicom.header import Header

if TYPE_CHECKING:
    from pydicom.sr.coding import Code

_OLD_SNOMED = frozenset({"SRT", "SNM3", "99SDM"})  # one set of codes under three names
# CID 4009 and 4031: regions; 4010 to 4012: views; 244: sides.
_GROUPS = ("cid4009", "cid4031", "cid4010", "cid4011", "cid4012", "cid244")
# Of SNOMED CT, and in none of the groups above.
_MORE = {
    ("82169009", "SCT"): "Left knee",
    ("6757004", "SCT"): "Right knee",
    ("12611008", "SCT"): "Tibia",
}


def items(header: Header, keyword: str) -> tuple[Dataset, ...]:
    """The items of a sequence; none, with a warning, where it cannot be read."""
    try:
        value = header.dataset.get(keyword) or ()
        return tuple(item for item in value if isinstance(item, Dataset))
    except Exception:  # pydicom converts on access and raises whatever it meets
        header.warn_ignored(keyword)
        return ()


def known_meaning(item: Dataset) -> str:
    """The standard's meaning of an item's code; empty for a code that is not known here."""
    header = Header(item)
    value, scheme = header.word("CodeValue"), header.word("CodingSchemeDesignator")
    scheme = "SRT" if scheme in _OLD_SNOMED else scheme
    if not value or not scheme:
        return ""
    if (value, scheme) in _MORE:
        return _MORE[value, scheme]
    from pydicom.sr.coding import Code

    asked = Code(value, scheme, "")
    return next((code.meaning for code in _known() if code == asked), "")


def meaning(item: Dataset) -> str:
    """The standard's meaning of an item's code, else the text that the file gives it."""
    return known_meaning(item) or Header(item).word("CodeMeaning")


@cache
def _known() -> tuple[Code, ...]:
    # Loaded where a header holds codes: the dictionary takes longer to load than a DICOM reader.
    from pydicom.sr.codedict import codes

    groups = [getattr(codes, name) for name in _GROUPS]
    found = [getattr(group, name) for group in groups for name in group.dir()]
    return (*found, codes.SCT.KneeJoint)
