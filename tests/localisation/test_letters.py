"""Side letters on films: read in fonts that no template was drawn in; they only contradict."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from command_line import EXAMPLES
from kellgren.grades import Side
from kellgren.imaging.evidence import PLACE, HeaderEvidence, Orientation
from kellgren.imaging.radiograph import Radiograph, read_radiograph
from kellgren.knee import Plane
from kellgren.localisation import letters
from kellgren.localisation.film import DetectedKnee, find_knees
from kellgren.localisation.knee_detector import Localiser
from kellgren.localisation.letters import LETTER, side_letters

FRAMES = Path(__file__).parents[1] / "frames"
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
LEFT, RIGHT, UNKNOWN = Side.LEFT, Side.RIGHT, Side.UNKNOWN


@pytest.fixture(scope="module")
def both() -> Plane:
    """A film of both knees with room for letters above them."""
    return np.pad(read_radiograph(FRAMES / "both.png").pixels, ((60, 0), (0, 0)))


def lettered(
    film: Plane,
    letter: str,
    at: tuple[float, float],
    *,
    backwards: bool = False,
    font: str = "DejaVuSans-Bold.ttf",
    height: int = 32,
) -> Plane:
    """The film with a letter whose middle lies at these shares of its width and height."""
    stamp = Image.new("L", (200, 200))
    drawn = ImageFont.truetype(FONTS / font, height)
    ImageDraw.Draw(stamp).text((100, 100), letter, 255, drawn, "mm")
    stamp = stamp.crop(stamp.getbbox())
    if backwards:
        stamp = stamp.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = Image.fromarray(np.rint(film * 255).astype(np.uint8))
    corner = (
        round(at[0] * film.shape[1] - stamp.width / 2),
        round(at[1] * film.shape[0] - stamp.height / 2),
    )
    picture.paste(250, corner, stamp)
    return np.asarray(picture, np.float32) / 255


@pytest.mark.parametrize("font", ["DejaVuSans-Bold.ttf", "DejaVuSansMono-Bold.ttf"])
@pytest.mark.parametrize("letter", ["L", "R"])
@pytest.mark.parametrize("backwards", [False, True])
def test_letters_are_read(font: str, letter: str, backwards: bool, both: Plane) -> None:
    film = lettered(both, letter, (0.5, 0.2), backwards=backwards, font=font)
    (read,) = side_letters(film)
    assert (read.side, read.mirrored) == (Side(letter), backwards)
    assert np.hypot(read.centre[0] - 320, read.centre[1] - 44) < 6


@pytest.mark.parametrize("letter", [*"ABCDEFHIJKPTVXZ", "1", "4", "7", "8", "PA", "LAT", "RT"])
def test_other_letters_and_words_are_not(letter: str, both: Plane) -> None:
    for backwards in (False, True):
        assert side_letters(lettered(both, letter, (0.5, 0.2), backwards=backwards)) == []


def test_no_knee_holds_a_letter() -> None:
    for path in (*EXAMPLES.glob("*.png"), *FRAMES.glob("*.png")):
        pixels = read_radiograph(path).pixels
        assert side_letters(pixels) == []
        assert side_letters(1 - pixels) == []


def test_noise_takes_no_time_and_is_no_letter() -> None:
    noise = np.random.default_rng(0).random((900, 900), dtype=np.float32)
    assert side_letters(noise) == []


# --- as evidence ---------------------------------------------------------------------------------


def find(
    pixels: Plane, localiser: Localiser, orientation: Orientation | None = None
) -> list[DetectedKnee]:
    header = HeaderEvidence("DX", orientation=orientation)
    film = Radiograph(
        "film", np.ascontiguousarray(pixels), UNKNOWN, None, 8, "DICOM", (), header=header
    )
    return find_knees(film, (), localiser)


def side_check(knee: DetectedKnee) -> tuple[str, str]:
    (check,) = [check for check in knee.checks if check.name == "side"]
    return check.verdict, check.evidence


@pytest.mark.parametrize(("letter", "at"), [("R", 0.06), ("L", 0.94)])
@pytest.mark.parametrize("upside_down", [False, True])
def test_a_letter_that_agrees_changes_nothing(
    letter: str, at: float, upside_down: bool, both: Plane, localiser: Localiser
) -> None:
    film = lettered(both, letter, (at, 0.2))
    knees = find(np.rot90(film, 2) if upside_down else film, localiser)
    assert {knee.crop.side for knee in knees} == {LEFT, RIGHT}
    assert {side_check(knee)[0] for knee in knees} == {"passed"}
    (beside,) = [knee for knee in knees if LETTER in {s.source for s in knee.side_evidence}]
    assert beside.crop.side is Side(letter)


@pytest.mark.parametrize(("letter", "at"), [("L", 0.06), ("R", 0.94)])
@pytest.mark.parametrize("upside_down", [False, True])
def test_a_letter_that_contradicts_the_place_leaves_both_sides_unknown(
    letter: str, at: float, upside_down: bool, both: Plane, localiser: Localiser
) -> None:
    film = lettered(both, letter, (at, 0.2))
    for knee in find(np.rot90(film, 2) if upside_down else film, localiser):
        assert knee.crop.side is UNKNOWN
        verdict, evidence = side_check(knee)
        assert verdict == "warning"
        assert PLACE in evidence
        assert f"the letter {letter}" in evidence


def test_a_letter_written_backwards_is_evidence_of_a_mirrored_film(
    both: Plane, localiser: Localiser
) -> None:
    film = np.fliplr(lettered(both, "R", (0.06, 0.2)))
    for knee in find(film, localiser):
        assert knee.crop.side is UNKNOWN
        assert "written backwards" in side_check(knee)[1]
    told = find(film, localiser, Orientation("R\\F", (-1, 0), (0, 1)))
    assert [knee.crop.side for knee in told] == [LEFT, RIGHT]
    usual = find(film, localiser, Orientation("L\\F", (1, 0), (0, 1)))
    assert {knee.crop.side for knee in usual} == {UNKNOWN}


def test_a_letter_alone_tells_no_side(localiser: Localiser) -> None:
    one = read_radiograph(FRAMES / "one.png").pixels
    (knee,) = find(lettered(one, "L", (0.08, 0.15)), localiser)
    assert LETTER in {statement.source for statement in knee.side_evidence}
    assert knee.crop.side is UNKNOWN
    assert side_check(knee)[0] == "unknown"


def test_what_is_no_letter_is_compared_with_those_of_the_sides_only() -> None:
    letters._templates.cache_clear()
    assert side_letters(read_radiograph(EXAMPLES / "9103968L.png").pixels) == []
    assert letters._templates.cache_info().currsize == 1
