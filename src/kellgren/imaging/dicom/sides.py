"""Which side a DICOM header says that it shows, and how the patient lies on the picture.

Terms of the standard are repeated in the evidence; other values never are.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import Dataset

from kellgren.grades import Side
from kellgren.imaging.dicom.codes import items, known_meaning
from kellgren.imaging.dicom.header import Header
from kellgren.imaging.evidence import BOTH, CODED_BOTH, UNPAIRED, Orientation, SideStatement, Vector

LATERALITY = ("ImageLaterality", "Laterality")
ANATOMY = ("AnatomicRegionSequence", "PrimaryAnatomicStructureSequence")
FRAMES = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_TERMS = {
    "L": ("L", Side.LEFT),
    "R": ("R", Side.RIGHT),
    "B": (BOTH, Side.UNKNOWN),
    "U": (UNPAIRED, Side.UNKNOWN),
}
_AXES: dict[str, str] = {"L": "lateral", "R": "lateral", "A": "depth", "P": "depth"}
_AXES |= {"H": "height", "F": "height"}


def side_statements(header: Header, frame: int = 0) -> tuple[SideStatement, ...]:
    """What each element says of the side, those that say nothing left out.

    Args:
        header: of the file.
        frame: that is read, from 0.
    """
    stated = [_laterality(header, keyword) for keyword in LATERALITY]
    stated.append(_frame_laterality(header, frame))
    for keyword in ANATOMY:
        for item in items(header, keyword):
            name = keyword.removesuffix("Sequence")
            stated += _coded(item, f"{name}Modifier", f"{name}ModifierSequence")
            stated += _coded_region(item, keyword)
    for item in items(header, "ViewCodeSequence"):
        stated += _coded(item, "ViewModifierCode", "ViewModifierCodeSequence")
    return tuple(statement for statement in stated if statement is not None)


def _laterality(header: Header, keyword: str) -> SideStatement | None:
    word = header.word(keyword)
    if not word:
        return None
    if word not in _TERMS:
        header.warnings.append(f"{keyword} is none of L, R, B and U, and is ignored")
        return None
    if word == "U":
        header.warnings.append(f"{keyword} says unpaired, which no knee is")
    return SideStatement(keyword, *_TERMS[word])


def _frame_laterality(header: Header, frame: int) -> SideStatement | None:
    """Of the frame, else of all frames; at the file's top level where it stands there."""
    keyword = "FrameLaterality"
    of_frame = items(header, FRAMES[1])[frame : frame + 1]
    for group in (*of_frame, *items(header, FRAMES[0])):
        for anatomy in items(Header(group), "FrameAnatomySequence"):
            inner = Header(anatomy)
            found = _laterality(inner, keyword)
            header.warnings += inner.warnings
            if found is not None:
                return found
    return _laterality(header, keyword)


def _coded(item: Dataset, source: str, keyword: str) -> Iterator[SideStatement]:
    """The sides among an item's modifiers."""
    for modifier in items(Header(item), keyword):
        meaning = known_meaning(modifier).lower()
        if meaning in ("left", "right", CODED_BOTH):
            side = {"left": Side.LEFT, "right": Side.RIGHT}.get(meaning, Side.UNKNOWN)
            yield SideStatement(source, meaning, side)


def _coded_region(item: Dataset, keyword: str) -> Iterator[SideStatement]:
    """Codes of a left or right knee."""
    meaning = known_meaning(item)
    for side in (Side.LEFT, Side.RIGHT):
        if meaning == f"{side.label.capitalize()} knee":
            yield SideStatement(keyword.removesuffix("Sequence"), meaning, side)


def orientation(header: Header) -> Orientation | None:
    """Where the patient's left and feet are, by PatientOrientation; ``None``: not stated.

    Its first value is the direction of the rows, from the picture's left to its right, its second
    that of the columns, downwards. Of an oblique value such as ``LP`` the first letter is the
    main direction (PS3.3, C.7.6.1.1.1).
    """
    values = header.words("PatientOrientation")
    if not any(values):
        return None
    if len(values) > 2 or not all(_is_direction(value) for value in values):
        header.warnings.append("PatientOrientation holds no directions: it tells no side")
        return Orientation("")
    row, column = (*values, "")[:2]
    if row and column and _AXES[row[0]] == _AXES[column[0]]:
        header.warnings.append(
            "PatientOrientation has rows and columns along one axis of the patient: it tells no "
            "side"
        )
        return Orientation("")
    axes: dict[str, Vector] = {row[:1]: (1, 0), column[:1]: (0, 1)}
    return Orientation("\\".join(values), _towards(axes, "L", "R"), _towards(axes, "F", "H"))


def _is_direction(value: str) -> bool:
    """Up to three letters of different axes, or none."""
    axes = [_AXES.get(letter) for letter in value]
    return None not in axes and len(set(axes)) == len(axes)


def _towards(axes: dict[str, Vector], end: str, opposite: str) -> Vector | None:
    if end in axes:
        return axes[end]
    if opposite in axes:
        x, y = axes[opposite]
        return -x, -y
    return None
