"""What is no native frontal knee is refused, in words, and native knees are not."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import drawn_films as drawn
from command_line import EXAMPLES
from kellgren import Ensemble
from kellgren.errors import BundleError, NotAKneeFilm
from kellgren.grades import Side
from kellgren.imaging.radiograph import Radiograph, read_radiograph
from kellgren.knee import Plane
from kellgren.localisation.check import Check
from kellgren.localisation.film import find_knees
from kellgren.localisation.knee_detector import Localiser
from kellgren.localisation.picture_checks import check_certainty, gate_checks
from kellgren.localisation.picture_gate import (
    CARD,
    NETWORK,
    WEIGHTS,
    PictureGate,
    default_folder,
    default_gate,
)

KNEES = sorted(EXAMPLES.glob("*.png"))
IMPLANTS = {
    "total": drawn.total_knee,
    "partial": drawn.half_knee,
    "plate": drawn.plate,
    "nail": drawn.rod,
}


def find(pixels: Plane, localiser: Localiser, *, force: bool = False) -> dict[str, Check]:
    film = Radiograph("film", np.asarray(pixels, np.float32), Side.UNKNOWN, None, 8, "PNG", ())
    (knee,) = find_knees(film, (), localiser, force=force)
    return {check.name: check for check in knee.checks}


def of_knee(pixels: Plane, *, corrected: bool = False) -> dict[str, str]:
    return {check.name: check.verdict for check in gate_checks(pixels, corrected=corrected)}


# --- native knees ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", KNEES, ids=lambda path: path.stem)
def test_a_native_knee_passes_every_check(path: Path) -> None:
    assert set(of_knee(drawn.knee(path)).values()) == {"passed"}


@pytest.mark.parametrize("power", [0.6, 1.5])
@pytest.mark.parametrize("contrast", [0.5, 1.0])
def test_the_tone_of_a_native_knee_does_not_matter(power: float, contrast: float) -> None:
    for path in KNEES:
        shown = (0.2 + contrast * (drawn.knee(path) ** power - 0.2)).clip(0, 1)
        assert "refused" not in of_knee(shown.astype(np.float32)).values(), path


def test_a_lead_letter_beside_the_bone_is_no_implant() -> None:
    for path in KNEES:
        shown = drawn.painted(
            drawn.knee(path), lambda pen, ink: pen.text((4, 8), "R", ink, font_size=28), 255
        )
        assert of_knee(shown)["implant"] != "refused", path


# --- implants and growth plates ----------------------------------------------------------------


@pytest.mark.parametrize("kind", IMPLANTS)
@pytest.mark.parametrize(("grey", "noise"), [(255, 0.0), (242, 0.02)])
def test_an_implant_is_refused(kind: str, grey: int, noise: float) -> None:
    verdicts = [
        of_knee(drawn.painted(drawn.knee(path), IMPLANTS[kind], grey, noise=noise))["implant"]
        for path in KNEES
    ]
    assert verdicts.count("refused") >= 9, verdicts
    assert "passed" not in verdicts


def test_a_film_with_a_prosthesis_is_refused_in_words(localiser: Localiser) -> None:
    film = drawn.painted(drawn.knee(KNEES[0]), drawn.total_knee, 245)
    with pytest.raises(NotAKneeFilm, match="an implant is to be seen"):
        find(film, localiser)
    assert find(film, localiser, force=True)["implant"].verdict == "refused"


def test_a_film_with_growth_plates_is_refused_in_words(localiser: Localiser) -> None:
    with pytest.raises(NotAKneeFilm, match="open growth plates are to be seen"):
        find(drawn.growth_plates(drawn.knee(KNEES[0])), localiser)


def test_open_growth_plates_are_refused_or_warned_of() -> None:
    verdicts = [of_knee(drawn.growth_plates(drawn.knee(path)))["growth_plates"] for path in KNEES]
    assert verdicts.count("passed") == 0, verdicts
    assert verdicts.count("refused") >= 8, verdicts


# --- other pictures ----------------------------------------------------------------------------


@pytest.mark.parametrize("turn", range(4))
def test_a_skyline_view_is_refused_whichever_way_up(turn: int, localiser: Localiser) -> None:
    view = np.rot90(drawn.skyline(), turn)
    with pytest.raises(NotAKneeFilm):
        find(view, localiser)
    assert "refused" in of_knee(drawn.skyline(), corrected=True).values()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("make", [drawn.head_slice, drawn.speckle])
def test_slices_and_ultrasound_are_refused(make, seed: int, localiser: Localiser) -> None:  # type: ignore[no-untyped-def]
    picture = make(seed)
    for shown in (picture, np.rot90(picture), 1 - picture):
        with pytest.raises(NotAKneeFilm):
            find(shown, localiser)
    assert of_knee(picture)["picture"] == "refused"


@pytest.mark.parametrize("size", [116, 232, 500])
def test_five_drawn_diamonds_are_no_knee(size: int, tmp_path: Path, localiser: Localiser) -> None:
    path, grey = tmp_path / "diamonds.png", tmp_path / "grey.png"
    drawn.diamonds(size).save(path)
    drawn.diamonds(size).convert("L").save(grey)
    for file in (path, grey):
        with pytest.raises(NotAKneeFilm):
            find_knees(read_radiograph(file), (), localiser)


# --- a corrected picture must be surer ---------------------------------------------------------


def test_limits_are_stricter_for_a_picture_that_was_turned_or_inverted() -> None:
    gate = default_gate()
    upright, corrected = gate.limits(corrected=False), gate.limits(corrected=True)
    assert corrected.distance < upright.distance
    assert corrected.other < upright.other
    assert corrected.metal <= upright.metal
    assert corrected.growth_plates <= upright.growth_plates


def test_a_corrected_picture_needs_a_certain_knee() -> None:
    least = default_gate().card.corrected_confidence
    view = Check("view", "warning", "the picture is upside down")
    assert check_certainty(view, least) == view
    refused = check_certainty(view, least - 0.01)
    assert refused.verdict == "refused"
    assert "not certain enough" in refused.evidence


def test_a_real_film_turned_or_inverted_is_still_graded(localiser: Localiser) -> None:
    knee = drawn.knee(KNEES[1])
    for shown in (np.rot90(knee), np.rot90(knee, 2), 1 - knee):
        assert "refused" not in {check.verdict for check in find(shown, localiser).values()}


# --- the artefact ------------------------------------------------------------------------------


def test_a_damaged_or_missing_gate_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no picture gate"):
        PictureGate(tmp_path)
    for name in (NETWORK, WEIGHTS):
        folder = tmp_path / name
        shutil.copytree(default_folder(), folder)
        PictureGate(folder)
        (folder / name).write_bytes((folder / name).read_bytes()[:-1] + b"x")
        with pytest.raises(BundleError, match="is damaged"):
            PictureGate(folder)
    card = json.loads((folder / CARD).read_text())
    del card["upright"]["metal"]
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(BundleError, match="metal"):
        PictureGate(folder)


def test_the_gate_stays_small() -> None:
    sizes = {path.name: path.stat().st_size for path in default_folder().iterdir()}
    assert set(sizes) == {CARD, NETWORK, WEIGHTS}
    assert max(sizes.values()) < 1_000_000


def test_the_same_knee_scores_the_same() -> None:
    knee = drawn.knee(KNEES[0])
    assert default_gate().scores(knee) == PictureGate().scores(knee)


# --- colours -----------------------------------------------------------------------------------


def coloured(ensemble: Ensemble, picture: Image.Image) -> tuple[str, list[str]]:
    """The verdict on a picture's colours, and all warnings that speak of them."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    (knee,) = ensemble.read(stream.getvalue(), force=True)
    (verdict,) = [check.verdict for check in knee.checks if check.name == "colour"]
    return verdict, [text for text in knee.warnings if "colour" in text or "tint" in text]


def test_a_tinted_photo_is_named_once_and_a_heat_map_is_refused(bundle: Path) -> None:
    with Image.open(KNEES[0]) as picture:
        grey = picture.convert("L")
    bright = np.asarray(grey, dtype=np.float32)
    ensemble = Ensemble.open(bundle)
    tinted = np.stack([bright * 0.75, bright * 0.9, bright], axis=-1).astype(np.uint8)
    verdict, warnings = coloured(ensemble, Image.fromarray(tinted))
    assert (verdict, len(warnings)) == ("warning", 1)
    assert "photo" in warnings[0]

    heat = np.stack([bright, np.roll(bright, 90, 0), 255 - bright], axis=-1).astype(np.uint8)
    verdict, warnings = coloured(ensemble, Image.fromarray(heat))
    assert (verdict, len(warnings)) == ("refused", 1)
    assert coloured(ensemble, grey.convert("RGB")) == ("passed", [])
    marked = np.stack([bright] * 3, axis=-1).astype(np.uint8)
    marked[:6, :6, 2] = 0  # so few pixels in colour that the check passes
    verdict, warnings = coloured(ensemble, Image.fromarray(marked))
    assert (verdict, len(warnings)) == ("passed", 1)
    assert "luminance" in warnings[0]
