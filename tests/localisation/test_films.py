"""From films to knees: detected, oriented, cut, or refused with the reason."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from command_line import EXAMPLES, kellgren
from dicom_factory import full_range, write_dicom
from kellgren import Ensemble, Side
from kellgren.errors import NotAKneeFilm
from kellgren.file_names import patient_and_side
from kellgren.imaging.evidence import SideStatement, agree
from kellgren.imaging.radiograph import Radiograph, read_radiograph
from kellgren.knee import Plane, Region
from kellgren.localisation import candidates
from kellgren.localisation.check import Check
from kellgren.localisation.crop import cut
from kellgren.localisation.film import DetectedKnee, find_knees
from kellgren.localisation.knee_detector import Detection, Localiser
from kellgren.localisation.laterality import (
    check_side,
    decided,
    evidence_of,
    facing,
    places,
    side_statements,
)
from kellgren.localisation.quality import check_exposure, check_implant, missing

FRAMES = Path(__file__).parents[1] / "frames"
BOTH, ONE = FRAMES / "both.png", FRAMES / "one.png"
KNEES = sorted(EXAMPLES.glob("*.png"))


def radiograph(pixels: Plane, side: Side = Side.UNKNOWN) -> Radiograph:
    return Radiograph("film", np.asarray(pixels, np.float32), side, None, 8, "PNG", ())


def find(pixels: Plane, localiser: Localiser, side: Side = Side.UNKNOWN) -> list[DetectedKnee]:
    return find_knees(radiograph(pixels, side), side_statements((), Side.UNKNOWN, side), localiser)


def verdicts(knee: DetectedKnee) -> dict[str, str]:
    return {check.name: check.verdict for check in knee.checks}


@pytest.fixture(scope="module")
def both() -> Plane:
    return read_radiograph(BOTH).pixels


# --- a crop in comes out as itself -----------------------------------------------------------


@pytest.mark.parametrize("path", KNEES, ids=lambda path: path.stem)
def test_a_crop_is_not_cut_again(path: Path, localiser: Localiser) -> None:
    whole = read_radiograph(path)
    statements = side_statements((), patient_and_side(path)[1], Side.UNKNOWN)
    (knee,) = find_knees(whole, statements, localiser)

    np.testing.assert_array_equal(knee.crop.pixels, whole.pixels)
    assert knee.crop.region is None
    assert knee.warnings == ()


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_crop_is_turned_back_without_loss(quarters: int, localiser: Localiser) -> None:
    whole = read_radiograph(KNEES[1]).pixels
    (knee,) = find(np.rot90(whole, quarters), localiser)

    np.testing.assert_array_equal(knee.crop.pixels, whole)
    assert verdicts(knee)["view"] == "warning"


def test_what_is_hardly_a_knee_has_no_say_in_which_way_round_the_film_is(
    localiser: Localiser,
) -> None:
    region, features = Region((50.0, 50.0), 40.0), np.zeros(48, np.float32)
    knee = Detection(region, 0.76, 0.5, 0.99, features)
    chance = Detection(region, 0.36, 0.5, 0.02, features)
    assert candidates._trusted([knee, chance], localiser) == [knee]
    assert candidates._trusted([chance], localiser) == [chance]
    assert candidates._inverted([knee]) == pytest.approx(0.99)
    assert candidates._inverted([]) == 0


def test_a_letter_taken_for_a_bright_knee_does_not_hide_that_the_film_is_inverted() -> None:
    """As seen on a synthetic film: letters, 0.49 sure, spoke against the knee, 0.77 sure."""

    class MisledByLetters(Localiser):
        def find(self, pixels: Plane) -> list[Detection]:
            detections = super().find(pixels)
            if not detections or detections[0].inverted < 0.8:
                return detections
            unlike = np.full_like(detections[0].features, 3.0)
            letters = Detection(Region((20.0, 20.0), 20.0), 0.6, 0.5, 0.0, unlike)
            return [replace(detections[0], confidence=0.8), letters]

    whole = read_radiograph(KNEES[1]).pixels
    (knee,) = find(1 - whole, MisledByLetters())
    np.testing.assert_allclose(knee.crop.pixels, whole, atol=1e-6)
    assert verdicts(knee)["inversion"] == "warning"


def test_an_inverted_crop_is_corrected(localiser: Localiser) -> None:
    whole = read_radiograph(KNEES[1]).pixels
    (knee,) = find(1 - whole, localiser)

    np.testing.assert_allclose(knee.crop.pixels, whole, atol=1e-6)
    assert verdicts(knee)["inversion"] == "warning"


def test_where_only_the_negative_shows_a_knee_it_is_the_film(localiser: Localiser) -> None:
    crop = read_radiograph(KNEES[0]).pixels
    film = np.full((500, 700), crop.min(), np.float32)
    film[100 : 100 + crop.shape[0], 250 : 250 + crop.shape[1]] = crop
    dark = np.float32(0.12) * (1 - film)  # inverted, and hardly any contrast
    assert localiser.find(dark) == []
    (knee,) = find(dark, localiser)

    assert verdicts(knee)["inversion"] == "warning"
    assert knee.crop.region is not None
    assert math.dist(knee.crop.region.centre, (400, 250)) < 30


# --- whole films -----------------------------------------------------------------------------


def test_both_knees_of_a_film_are_found_with_their_sides(both: Plane, localiser: Localiser) -> None:
    right, left = find(both, localiser)

    assert (right.crop.side, left.crop.side) == (Side.RIGHT, Side.LEFT)
    assert right.crop.region is not None
    assert left.crop.region is not None
    assert right.crop.region.centre[0] < both.shape[1] / 2 < left.crop.region.centre[0]
    assert right.crop.pixels.shape[0] == round(right.crop.region.width)


def test_a_film_upside_down_tells_the_same_sides(both: Plane, localiser: Localiser) -> None:
    left, right = find(np.rot90(both, 2), localiser)

    assert (right.crop.side, left.crop.side) == (Side.RIGHT, Side.LEFT)
    assert verdicts(left)["view"] == "warning"


def test_a_knee_is_found_where_it_was_laid(localiser: Localiser) -> None:
    one = read_radiograph(ONE).pixels
    film = np.zeros((500, 700), np.float32)
    film[200 : 200 + one.shape[0], 120 : 120 + one.shape[1]] = one
    (alone,), (laid,) = find(one, localiser), find(film, localiser)

    assert alone.crop.region is not None
    assert laid.crop.region is not None
    apart = np.subtract(laid.crop.region.centre, alone.crop.region.centre) - (120, 200)
    assert np.hypot(*apart) < 0.06 * alone.crop.region.width
    assert laid.crop.region.width == pytest.approx(alone.crop.region.width, rel=0.1)


def test_one_side_for_two_knees_contradicts_one_of_them(both: Plane, localiser: Localiser) -> None:
    right, left = find(both, localiser, Side.LEFT)

    assert (right.crop.side, left.crop.side) == (Side.UNKNOWN, Side.LEFT)
    assert any(warning.startswith("side unknown") for warning in right.warnings)


def test_a_film_gives_one_reading_a_knee_and_one_row_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "grades.csv"
    assert kellgren("grade", BOTH, "--csv", table, "--overlay", tmp_path / "pictures") == 0

    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["side"] for row in rows] == ["R", "L"]
    assert {row["image"] for row in rows} == {str(BOTH)}
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == [
        "both knee 1.png",
        "both knee 2.png",
    ]
    capsys.readouterr()


# --- what is refused -------------------------------------------------------------------------


def photograph(name: str) -> Plane:
    return read_radiograph(Path(sklearn.__file__).parent / "datasets" / "images" / name).pixels


@pytest.mark.parametrize("kind", ["china.jpg", "flower.jpg", "noise", "ramp", "black"])
def test_what_is_no_knee_is_refused(kind: str, localiser: Localiser) -> None:
    pixels = {
        "noise": lambda: np.random.default_rng(0).random((300, 300), dtype=np.float32),
        "ramp": lambda: np.linspace(0, 1, 300, dtype=np.float32)[None].repeat(300, 0),
        "black": lambda: np.eye(300, dtype=np.float32) * 0.01,
    }.get(kind, lambda: photograph(kind))()

    for shown in (pixels, 1 - pixels):
        with pytest.raises(NotAKneeFilm, match="refused") as caught:
            find(shown, localiser)
        assert "frontal film" in caught.value.remedy


def test_a_refusal_can_be_overruled_and_is_marked(tmp_path: Path) -> None:
    ensemble = Ensemble.default(threads=1)
    path = tmp_path / "noise.png"
    noise = np.random.default_rng(0).integers(0, 256, (300, 300), dtype=np.uint8)
    Image.fromarray(noise).save(path)

    (forced,) = ensemble.read(path, force=True)
    assert "refused" in {check.verdict for check in forced.checks}
    assert forced.warnings
    assert kellgren("grade", path) == 4
    assert kellgren("grade", path, "--force") == 0


def test_clipped_and_flat_exposures_are_refused() -> None:
    knee = read_radiograph(KNEES[0]).pixels
    assert check_exposure(knee).verdict == "passed"
    assert check_exposure((knee > knee.mean()).astype(np.float32)).verdict == "refused"
    assert check_exposure(0.5 + knee * 0.01).verdict == "refused"


def test_metal_is_told_from_bone() -> None:
    for path in KNEES:
        knee = read_radiograph(path).pixels
        assert check_implant(knee).verdict == "passed", path
        with_metal = knee * 0.8
        with_metal[150:175, 60:240] = 1.0
        assert check_implant(with_metal).verdict == "warning", path


# --- laws ------------------------------------------------------------------------------------

angles = st.floats(-180, 180)


@given(angles, st.floats(-29.9, 29.9), st.floats(0.6, 4))  # 60 degrees apart is the limit
def test_places_do_not_depend_on_how_the_film_was_turned(
    turn: float, tilt: float, apart: float
) -> None:
    radians = np.radians(turn)
    step = 100 * apart * np.array([np.cos(radians), np.sin(radians)])
    right = Region((0.0, 0.0), 100.0, turn - tilt)
    left = Region((float(step[0]), float(step[1])), 100.0, turn + tilt)

    assert places([right, left]) == [Side.RIGHT, Side.LEFT]
    assert places([left, right]) == [Side.LEFT, Side.RIGHT]
    assert places([right]) == [Side.UNKNOWN]


@given(st.dictionaries(st.sampled_from("abcd"), st.sampled_from(list(Side))), st.floats(0, 1))
def test_a_side_is_never_guessed(stated: dict[str, Side], left: float) -> None:
    known = {side for side in stated.values() if side is not Side.UNKNOWN}
    statements = [SideStatement(source, side.value, side) for source, side in stated.items()]
    evidence = evidence_of(statements, Side.UNKNOWN, facing(None, []), left)
    check = check_side(evidence)

    assert (
        decided(evidence)
        is agree(statements)
        is (next(iter(known)) if len(known) == 1 else Side.UNKNOWN)
    )
    assert (check.verdict == "passed") <= (len(known) == 1)
    assert check.evidence.startswith("side unknown") is (len(known) == 2)


def test_the_anatomy_warns_of_a_contradiction() -> None:
    stated = side_statements((), Side.UNKNOWN, Side.LEFT)
    usual = facing(None, [])

    def check(statements: tuple[SideStatement, ...], left: float) -> Check:
        return check_side(evidence_of(statements, Side.UNKNOWN, usual, left))

    assert check(stated, 0.001).verdict == "warning"
    assert check(stated, 0.5).verdict == "passed"
    assert check((), 0.999).evidence.endswith("looks like a left knee")


@given(st.integers(8, 60), st.integers(0, 3))
def test_a_cut_of_the_whole_picture_is_the_picture(size: int, quarters: int) -> None:
    pixels = np.random.default_rng(size).random((size, size), dtype=np.float32)
    whole = Region((size / 2, size / 2), float(size), 90.0 * quarters)

    np.testing.assert_allclose(cut(pixels, whole, size), np.rot90(pixels, quarters), atol=1e-5)


def test_a_cut_beyond_the_picture_repeats_its_edge_or_is_filled() -> None:
    pixels = np.full((50, 50), 0.5, np.float32)
    beyond = Region((0.0, 25.0), 40.0, 20.0)

    np.testing.assert_allclose(cut(pixels, beyond, 40), 0.5, atol=1e-6)
    assert cut(pixels, beyond, 40, outside=0.0)[20, 2] == 0
    assert missing(Region((0.0, 25.0), 40.0), (50, 50)).beside == pytest.approx(0.5, abs=0.02)


# --- `kellgren locate` -----------------------------------------------------------------------


def test_locate_shows_where_knees_lie(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blank = tmp_path / "blank.png"
    Image.fromarray(np.eye(200, dtype=np.uint8)).save(blank)
    table, document = tmp_path / "knees.csv", tmp_path / "knees.json"
    pictures = tmp_path / "pictures"

    done = kellgren(
        "locate", BOTH, blank, "--csv", table, "--json", document, "--overlay", pictures
    )
    assert done == 1
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    document_rows = json.loads(document.read_text())["knees"]
    assert [row["side"] for row in rows] == ["R", "L", ""]
    assert "refused" in rows[2]["note"]
    assert [row["knee"] for row in document_rows] == [1, 2, None]
    assert float(rows[0]["width"]) == document_rows[0]["region"]["width"]
    with Image.open(pictures / "both.png") as picture:
        assert max(picture.size) == 1200
    assert "no knee" in capsys.readouterr().err
    assert kellgren("locate", blank) == 4


def test_locate_knows_no_names_of_the_header(tmp_path: Path) -> None:
    with Image.open(KNEES[0]) as picture:
        pixels = np.asarray(picture.convert("L"))
    path = write_dicom(tmp_path / "film.dcm", pixels, **full_range(8), PatientName="CANARY^Name")
    document = tmp_path / "knees.json"

    assert kellgren("locate", path, "--json", document) == 0
    assert "CANARY" not in document.read_text()
