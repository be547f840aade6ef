"""What a DICOM header says of the side and of how the patient lies on the picture."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from kellgren.grades import Side
from kellgren.imaging.dicom.header import Header
from kellgren.imaging.dicom.sides import orientation, side_statements
from kellgren.imaging.evidence import agree


def header(**elements: Any) -> Header:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return Header(dataset)


def coded(value: str, scheme: str, meaning: str = "CANARY", **sequences: Any) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    for keyword, nested in sequences.items():
        setattr(item, keyword, nested)
    return item


# --- laterality ----------------------------------------------------------------------------------

WORDS = ("", "L", "R", "B", "U", "CANARY")


@pytest.mark.parametrize("image", WORDS)
@pytest.mark.parametrize("body", WORDS)
def test_elements_that_contradict_each_other_leave_the_side_unknown(image: str, body: str) -> None:
    asked = header(ImageLaterality=image, Laterality=body)
    stated = side_statements(asked)
    known = {image, body} & set("LRBU")
    assert agree(stated) is (Side(known.pop()) if known in ({"L"}, {"R"}) else Side.UNKNOWN)
    assert [s.source for s in stated] == [
        name
        for name, word in (("ImageLaterality", image), ("Laterality", body))
        if word in ("L", "R", "B", "U")
    ]
    odd = [word for word in (image, body) if word in ("U", "CANARY")]
    assert len(asked.warnings) == len(odd)
    assert "CANARY" not in f"{asked.warnings} {stated}"


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
def test_a_side_may_be_written_small_and_padded() -> None:
    assert agree(side_statements(header(Laterality=" l "))) is Side.LEFT


def frame_anatomy(word: str) -> Dataset:
    anatomy, group = Dataset(), Dataset()
    anatomy.FrameLaterality = word
    group.FrameAnatomySequence = [anatomy]
    return group


def test_the_side_of_a_frame_is_its_own() -> None:
    asked = header(
        PerFrameFunctionalGroupsSequence=[frame_anatomy("L"), frame_anatomy("R"), Dataset()],
        SharedFunctionalGroupsSequence=[frame_anatomy("L")],
    )
    sides = [agree(side_statements(asked, frame)) for frame in range(3)]
    assert sides == [Side.LEFT, Side.RIGHT, Side.LEFT]
    assert side_statements(asked, 1)[0].source == "FrameLaterality"
    assert agree(side_statements(header(FrameLaterality="R"))) is Side.RIGHT


@pytest.mark.parametrize(
    ("item", "side"),
    [
        (coded("72696002", "SCT", AnatomicRegionModifierSequence=[coded("7771000", "SCT")]), "L"),
        (coded("T-D9200", "SRT", AnatomicRegionModifierSequence=[coded("G-A100", "SRT")]), "R"),
        (coded("T-D9200", "SNM3", AnatomicRegionModifierSequence=[coded("G-A101", "SNM3")]), "L"),
        (coded("72696002", "SCT", AnatomicRegionModifierSequence=[coded("51440002", "SCT")]), ""),
        (coded("82169009", "SCT"), "L"),
        (coded("6757004", "SCT"), "R"),
        (coded("72696002", "SCT", "Left knee"), ""),  # the code counts, not what stands beside it
        (coded("1", "99LOCAL", AnatomicRegionModifierSequence=[coded("2", "99LOCAL", "Left")]), ""),
    ],
)
def test_codes_of_the_region_tell_the_side(item: Dataset, side: str) -> None:
    stated = side_statements(header(AnatomicRegionSequence=[item]))
    assert agree(stated) is Side(side)
    assert "CANARY" not in str(stated)
    against = side_statements(
        header(AnatomicRegionSequence=[item], ImageLaterality="L" if side == "R" else "R")
    )
    if stated:
        assert agree(against) is Side.UNKNOWN


def test_modifiers_of_structure_and_view_tell_the_side_too() -> None:
    structure = coded("T-12710", "SRT", PrimaryAnatomicStructureModifierSequence=[])
    structure.PrimaryAnatomicStructureModifierSequence = [coded("G-A100", "SRT")]
    view = coded("R-10206", "SRT", ViewModifierCodeSequence=[coded("G-A101", "SRT")])
    asked = header(PrimaryAnatomicStructureSequence=[structure], ViewCodeSequence=[view])
    assert [(s.source, s.side.value) for s in side_statements(asked)] == [
        ("PrimaryAnatomicStructureModifier", "R"),
        ("ViewModifierCode", "L"),
    ]


def test_a_broken_sequence_is_as_good_as_none() -> None:
    asked = header(Laterality="L")
    asked.dataset.add_new("AnatomicRegionSequence", "LO", "CANARY")
    assert agree(side_statements(asked)) is Side.LEFT
    assert "CANARY" not in str(asked.warnings)


# --- orientation ---------------------------------------------------------------------------------

OPPOSITE = dict(zip("LRAPHF", "RLPAFH", strict=True))
VECTORS = ((1, 0), (0, 1))


@pytest.mark.parametrize(
    ("values", "left", "foot"),
    [
        (["L", "F"], (1, 0), (0, 1)),
        (["R", "F"], (-1, 0), (0, 1)),
        (["R", "H"], (-1, 0), (0, -1)),
        (["F", "R"], (0, -1), (1, 0)),
        (["LP", "FA"], (1, 0), (0, 1)),
        (["RAH", "FP"], (-1, 0), (0, 1)),
        (["PL", "F"], None, (0, 1)),
        (["P", "F"], None, (0, 1)),
        (["L", "P"], (1, 0), None),
        (["L", ""], (1, 0), None),
        (["", "F"], None, (0, 1)),
        ("R", (-1, 0), None),
    ],
)
def test_directions_of_rows_and_columns(
    values: list[str] | str, left: tuple[int, int] | None, foot: tuple[int, int] | None
) -> None:
    asked = header(PatientOrientation=values)
    found = orientation(asked)
    assert found is not None
    assert (found.left, found.foot) == (left, foot)
    assert not asked.warnings


@given(st.sampled_from(list(permutations("LRAPHF", 2))))
def test_what_is_towards_one_end_is_away_from_the_other(pair: tuple[str, str]) -> None:
    row, column = pair
    found = orientation(header(PatientOrientation=[row, column]))
    assert found is not None
    if OPPOSITE[row] == column:
        assert (found.stated, found.left, found.foot) == ("", None, None)
        return
    turned = orientation(header(PatientOrientation=[OPPOSITE[row], column]))
    assert turned is not None
    assert (found.left is None) == (turned.left is None) == (not {"L", "R"} & set(pair))
    if found.left is not None and row in "LR":
        assert turned.left == (-found.left[0], 0)


@pytest.mark.parametrize(
    "values", [["X", "Y"], ["CANARY", "F"], ["L", "R"], ["LR", "F"], ["L", "F", "H"], ["L", "LP"]]
)
def test_what_are_no_directions_tell_nothing_and_are_not_repeated(values: list[str]) -> None:
    asked = header(PatientOrientation=values)
    found = orientation(asked)
    assert found is not None
    assert (found.stated, found.left, found.foot) == ("", None, None)
    assert len(asked.warnings) == 1
    assert "CANARY" not in asked.warnings[0]


@pytest.mark.parametrize("elements", [{}, {"PatientOrientation": []}, {"PatientOrientation": ""}])
def test_no_orientation_is_none(elements: dict[str, Any]) -> None:
    assert orientation(header(**elements)) is None
