"""The sides of knees on whole films: by the header's orientation, and never by a ghost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle_factory import make_bundle
from command_line import EXAMPLES
from dicom_factory import full_range, write_dicom
from kellgren.ensemble import Ensemble
from kellgren.grades import Side
from kellgren.imaging.evidence import (
    BOTH,
    PLACE,
    HeaderEvidence,
    Orientation,
    SideStatement,
)
from kellgren.imaging.radiograph import Radiograph, read_radiograph
from kellgren.knee import Plane, Region
from kellgren.localisation.film import DetectedKnee, find_knees
from kellgren.localisation.knee_detector import Detection, Localiser
from kellgren.localisation.laterality import ANATOMY, facing, places

FILM = Path(__file__).parents[1] / "frames" / "both.png"
LEFT, RIGHT, UNKNOWN = Side.LEFT, Side.RIGHT, Side.UNKNOWN
USUAL, MIRRORED = Orientation("L\\F", (1, 0), (0, 1)), Orientation("R\\F", (-1, 0), (0, 1))


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Ensemble:
    return Ensemble(make_bundle(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="module")
def both() -> Plane:
    return read_radiograph(FILM).pixels


def find(
    pixels: Plane,
    localiser: Localiser,
    orientation: Orientation | None = None,
    *statements: SideStatement,
    force: bool = False,
) -> list[DetectedKnee]:
    header = HeaderEvidence("DX", orientation=orientation)
    film = Radiograph(
        "film", np.ascontiguousarray(pixels), UNKNOWN, None, 8, "DICOM", (), header=header
    )
    return find_knees(film, statements, localiser, force=force)


def side_check(knee: DetectedKnee) -> tuple[str, str]:
    (check,) = [check for check in knee.checks if check.name == "side"]
    return check.verdict, check.evidence


# --- orientation ---------------------------------------------------------------------------------

TRANSFORMS: dict[str, tuple[Any, Orientation]] = {
    "usual": (lambda film: film, USUAL),
    "mirrored": (np.fliplr, MIRRORED),
    "upside down": (lambda film: np.rot90(film, 2), Orientation("R\\H", (-1, 0), (0, -1))),
    "turned left": (np.rot90, Orientation("F\\R", (0, -1), (1, 0))),
    "turned right": (lambda film: np.rot90(film, -1), Orientation("H\\L", (0, 1), (-1, 0))),
    "flipped": (np.flipud, Orientation("L\\H", (1, 0), (0, -1))),
    "transposed": (np.transpose, Orientation("F\\L", (0, 1), (1, 0))),
    "no feet told": (np.fliplr, Orientation("R\\", (-1, 0), None)),
}


@pytest.mark.parametrize("kind", TRANSFORMS)
def test_the_headers_orientation_decides(kind: str, both: Plane, localiser: Localiser) -> None:
    """However the film was turned or mirrored, each knee keeps its side, told by the anatomy."""
    transform, orientation = TRANSFORMS[kind]
    knees = find(transform(both), localiser, orientation)
    assert {knee.crop.side for knee in knees} == {LEFT, RIGHT}
    for knee in knees:
        by = {statement.source: statement for statement in knee.side_evidence}
        assert by[PLACE].side is knee.crop.side
        assert by[PLACE].value == f"PatientOrientation {orientation.stated}"
        assert by[ANATOMY].side in (knee.crop.side, UNKNOWN)
        mirrored = kind in ("mirrored", "flipped", "transposed", "no feet told")
        verdict, evidence = side_check(knee)
        assert ("mirrored" in evidence) == mirrored == (verdict == "warning")
    sizes = [round(knee.crop.region.width) for knee in find(both, localiser) if knee.crop.region]
    assert len(sizes) == 2  # the film that was turned shows what this one shows


def test_a_mirrored_film_swaps_the_sides_that_its_twin_has(
    both: Plane, localiser: Localiser
) -> None:
    as_delivered = [knee.crop.side for knee in find(both, localiser)]
    assert as_delivered == [RIGHT, LEFT]
    mirrored = find(np.fliplr(both), localiser, MIRRORED)
    assert [knee.crop.side for knee in mirrored] == [LEFT, RIGHT]


def test_without_a_header_the_orientation_is_assumed_and_said(
    both: Plane, localiser: Localiser
) -> None:
    for knee in find(both, localiser):
        verdict, evidence = side_check(knee)
        assert verdict == "passed"
        assert "orientation assumed as usual" in evidence


@pytest.mark.parametrize(
    "orientation",
    [
        Orientation("L\\H", (1, 0), (0, -1)),  # the knees stand upright
        Orientation("F\\L", (0, 1), (1, 0)),
        Orientation("A\\F", None, (0, 1)),
        Orientation(""),
    ],
)
def test_an_orientation_that_does_not_fit_the_picture_tells_no_side(
    orientation: Orientation, both: Plane, localiser: Localiser
) -> None:
    for knee in find(both, localiser, orientation):
        assert knee.crop.side is UNKNOWN
        verdict, evidence = side_check(knee)
        assert verdict == "warning"
        assert "PatientOrientation" in evidence


def test_a_contradiction_names_both_sources(both: Plane, localiser: Localiser) -> None:
    stated = SideStatement("ImageLaterality", "L", LEFT)
    left, right = find(np.fliplr(both), localiser, MIRRORED, stated)
    assert (left.crop.side, right.crop.side) == (LEFT, UNKNOWN)
    verdict, evidence = side_check(right)
    assert verdict == "warning"
    for part in ("side unknown", "ImageLaterality says left", f"{PLACE} (PatientOrientation R\\F)"):
        assert part in evidence


def test_both_sides_are_right_for_two_knees_and_odd_for_one(
    both: Plane, localiser: Localiser
) -> None:
    stated = SideStatement("ImageLaterality", BOTH, UNKNOWN)
    knees = find(both, localiser, None, stated)
    assert [knee.crop.side for knee in knees] == [RIGHT, LEFT]
    assert [side_check(knee)[0] for knee in knees] == ["passed", "passed"]
    (one,) = find(both[:, : both.shape[1] // 2], localiser, None, stated)
    assert side_check(one)[0] == "warning"
    assert "ImageLaterality says both sides" in side_check(one)[1]
    named = SideStatement("the file's name", "L", LEFT)
    (one,) = find(both[:, : both.shape[1] // 2], localiser, None, stated, named)
    assert one.crop.side is UNKNOWN


@given(st.floats(-180, 180), st.floats(-25, 25), st.booleans(), st.sampled_from([0, 90, 180, -90]))
def test_sides_by_place_do_not_depend_on_the_way_the_film_lies(
    turn: float, tilt: float, mirror: bool, quarter: int
) -> None:
    """With a header that turns along, in steps of a quarter."""
    steps = {0: (1, 0), 90: (0, 1), 180: (-1, 0), -90: (0, -1)}
    x, y = steps[quarter]
    regions = [
        Region((0.0, 0.0), 100.0, quarter + tilt),
        Region((200.0 * x, 200.0 * y), 100.0, quarter),
    ]
    across = (-x, -y) if mirror else (x, y)
    shown = facing(Orientation("L\\F", across, (-y, x)), regions)
    assert shown.mirrored is mirror
    assert places(regions, mirrored=mirror) == ([LEFT, RIGHT] if mirror else [RIGHT, LEFT])
    assert places(regions, mirrored=None) == [UNKNOWN, UNKNOWN]


# --- ghosts --------------------------------------------------------------------------------------


class WithGhost(Localiser):
    """Finds one knee, and beside it what a check refuses: dirt, letters, another leg's edge."""

    doubtful: dict[str, Any]

    def find(self, pixels: Plane) -> list[Detection]:
        (knee, *_) = super().find(pixels)
        at = knee.region.centre[0] + 1.2 * knee.region.width, knee.region.centre[1]
        return [knee, replace(knee, region=replace(knee.region, centre=at), **self.doubtful)]


@pytest.mark.parametrize(
    "doubtful",
    [{"confidence": 0.3}, {"features": np.full(48, 9.0, np.float32)}],
    ids=["unsure", "unlike"],
)
@pytest.mark.parametrize("force", [False, True])
def test_what_is_refused_tells_no_side(doubtful: dict[str, Any], force: bool, both: Plane) -> None:
    localiser = WithGhost()
    localiser.doubtful = doubtful
    alone = np.pad(both[:, : both.shape[1] // 2], ((0, 0), (0, both.shape[1])))
    knees = find(alone, localiser, None, force=force)
    assert knees
    for knee in knees:
        assert knee.crop.side is UNKNOWN
        assert PLACE not in {statement.source for statement in knee.side_evidence}


def test_two_of_unlike_size_tell_no_side() -> None:
    assert places([Region((0, 0), 100), Region((300, 0), 150)]) == [RIGHT, LEFT]
    assert places([Region((0, 0), 100), Region((300, 0), 170)]) == [UNKNOWN, UNKNOWN]


# --- files ---------------------------------------------------------------------------------------


def test_a_reading_and_its_json_hold_the_evidence(
    tmp_path: Path, both: Plane, ensemble: Ensemble
) -> None:
    grey = np.rint(np.fliplr(both) * 255).astype(np.uint8)
    header = {"PatientOrientation": ["R", "F"], "ImageLaterality": "B", **full_range(8)}
    readings = ensemble.read(write_dicom(tmp_path / "mirrored.dcm", grey, **header))
    assert [reading.side for reading in readings] == [LEFT, RIGHT]
    for reading in readings:
        rows = reading.to_dict()["side_evidence"]
        assert isinstance(rows, list)
        assert rows[:2] == [
            {"source": "ImageLaterality", "value": BOTH, "side": ""},
            {"source": PLACE, "value": "PatientOrientation R\\F", "side": reading.side.value},
        ]


def test_names_and_callers_are_in_the_evidence(ensemble: Ensemble) -> None:
    (reading,) = ensemble.read(EXAMPLES / "9177337R.png", side="R")
    assert [s.to_dict() for s in reading.side_evidence[:2]] == [
        {"source": "the file's name", "value": "R", "side": "R"},
        {"source": "the caller", "value": "R", "side": "R"},
    ]
