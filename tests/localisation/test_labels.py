"""Writing far brighter than the film is left out of the knee; metal as bright is not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from command_line import EXAMPLES
from kellgren.grades import Side
from kellgren.imaging.radiograph import read_radiograph
from kellgren.knee import Plane
from kellgren.localisation.film import DetectedKnee, find_knees
from kellgren.localisation.knee_detector import Localiser
from kellgren.localisation.labels import filled, label_mask
from kellgren.localisation.letters import side_letters

KNEE = EXAMPLES / "9177337L.png"
Words = np.ndarray


@pytest.fixture(scope="module")
def words() -> Words:
    """Of a detector of 12 bits."""
    with Image.open(KNEE) as picture:
        return np.asarray(picture.convert("L")).astype(np.uint16) * 12 + 300


def labelled(words: Words, text: str, size: int, at: tuple[int, int] = (8, 6)) -> Words:
    """With words burned in, far brighter than the detector's brightest value."""
    picture = Image.new("L", words.shape[::-1])
    ImageDraw.Draw(picture).text(at, text, 255, ImageFont.load_default(size))
    share = np.asarray(picture) / 255
    return np.rint(words * (1 - share) + 65535 * share).astype(np.uint16)


def graded(words: Words, localiser: Localiser) -> DetectedKnee:
    (knee,) = find_knees(read_radiograph(words), (), localiser, force=True)
    return knee


@pytest.mark.parametrize(("size", "at"), [(16, (8, 6)), (34, (8, 6)), (34, (120, 255))])
def test_a_label_leaves_the_graded_knee_nearly_as_it_was(
    words: Words, size: int, at: tuple[int, int], localiser: Localiser
) -> None:
    plain = graded(words, localiser).crop.pixels
    knee = graded(labelled(words, "R PA 12:04", size, at), localiser)
    assert not knee.refusal
    off = np.abs(knee.crop.pixels - plain)
    assert off.max() < 0.2
    assert off.mean() < 0.003
    assert (off > 0).mean() < 0.08


def test_letters_of_a_label_are_still_read(words: Words) -> None:
    film = read_radiograph(labelled(words, "R", 40, (250, 4)))
    assert [letter.side for letter in side_letters(film.pixels)] == [Side.RIGHT]


def test_metal_as_bright_as_a_label_is_still_an_implant(words: Words, localiser: Localiser) -> None:
    implant = words.copy()
    implant[150:172, 40:260] = 65535
    implant[172:260, 140:160] = 65535
    screws = words.copy()
    for x in (90, 130, 170, 210):  # each as small as a letter
        screws[60:66, x : x + 30] = 65535
        screws[200:230, x : x + 9] = 65535
    for metal in (implant, screws):
        knee = graded(metal, localiser)
        assert knee.refusal
        assert "implant" in {c.name for c in knee.checks if c.verdict == "refused"}


@pytest.mark.parametrize("kind", ["frame", "bar", "block", "noise", "letter", "screws"])
def test_what_is_no_writing_is_no_label(kind: str) -> None:
    mask = np.zeros((200, 300), np.bool_)
    if kind == "frame":
        mask[:10] = mask[-10:] = mask[:, :10] = mask[:, -10:] = True
    elif kind == "bar":
        mask[190:] = True
    elif kind == "block":
        mask[60:120, 60:120] = True
    elif kind == "letter":
        mask[20:40, 30:36] = mask[20:24, 30:46] = True
    elif kind == "screws":
        for number in range(5):
            mask[20 + 30 * number : 28 + 30 * number, 40:100] = True
            mask[20 + 30 * number : 40 + 30 * number, 150:156] = True
    else:
        mask = np.random.default_rng(0).random((200, 300)) < 0.3
    assert label_mask(mask) is None


def test_a_label_is_filled_with_what_surrounds_it() -> None:
    rows, columns = np.mgrid[:120, :160].astype(np.float32)
    plane: Plane = (0.2 + rows / 400 + columns / 800).astype(np.float32)
    label = np.zeros(plane.shape, np.bool_)
    label[40:52, 30:90] = True
    shown = np.where(label, np.float32(1), plane)
    found = filled(shown, label)
    np.testing.assert_array_equal(found[~label], plane[~label])
    assert np.abs(found - plane).max() < 0.03
    assert shown[45, 60] == 1  # the picture itself is left alone
