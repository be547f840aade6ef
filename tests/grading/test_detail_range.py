"""Knees of finer or coarser detail than a bundle was measured on are told with less certainty."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from bundle_factory import make_bundle
from command_line import EXAMPLES
from kellgren.ensemble import Ensemble
from kellgren.grading.bundle import default_bundle, open_bundle, write_bundle
from kellgren.grading.card import Card
from kellgren.grading.card_parts.detail_range import FEWEST_FOR_RANGE, DetailRange, detail_range
from kellgren.grading.contralateral import BothKnees
from kellgren.grading.grade_sets import LEVELS, fit_grade_sets
from kellgren.grading.judgement import Judge, widened_set
from kellgren.imaging.integrity.fine_detail import fine_detail
from kellgren.imaging.radiograph import read_radiograph
from kellgren.local_calibration.calibrated_bundle import LocalNames, calibrated_card
from kellgren.local_calibration.estimate import estimate
from kellgren.local_calibration.local_sets import local_grade_sets
from simulated_grades import calibrated_knees

NAMES = sorted(path.name for path in EXAMPLES.glob("*.png"))
SURE = np.array([0.01, 0.04, 0.9, 0.04, 0.01])
TORN = np.array([0.02, 0.30, 0.55, 0.12, 0.01])


@pytest.fixture(scope="module")
def card() -> Card:
    return open_bundle(default_bundle()).card


def grey(name: str) -> np.ndarray:
    with Image.open(EXAMPLES / name) as picture:
        return np.asarray(picture.convert("L"))


def blurred(knee: np.ndarray, radius: float) -> np.ndarray:
    return np.asarray(Image.fromarray(knee).filter(ImageFilter.GaussianBlur(radius)))


def noisy(knee: np.ndarray, deviation: float) -> np.ndarray:
    grain = np.random.default_rng(3).normal(0, deviation, knee.shape)
    return np.clip(np.rint(knee + grain), 0, 255).astype(np.uint8)


def measured(knee: np.ndarray) -> float:
    return fine_detail(read_radiograph(knee).pixels)


def resized(knee: np.ndarray, factor: float) -> np.ndarray:
    size = [round(length * factor) for length in knee.shape[::-1]]
    return np.asarray(Image.fromarray(knee).resize((size[0], size[1]), Image.Resampling.BICUBIC))


# --- the measure -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_blur_lowers_it_and_noise_raises_it(name: str) -> None:
    knee = grey(name)
    assert measured(blurred(knee, 2)) < measured(blurred(knee, 1)) < measured(knee)
    assert measured(knee) < measured(noisy(knee, 3)) < measured(noisy(knee, 6))


def test_strong_compression_lowers_it() -> None:
    stream = io.BytesIO()
    Image.fromarray(grey(NAMES[0])).save(stream, "JPEG", quality=40)
    with Image.open(stream) as packed:
        assert measured(np.asarray(packed)) < measured(grey(NAMES[0])) - 0.2


@pytest.mark.parametrize("name", NAMES[:3])
def test_tone_contrast_and_the_number_of_pixels_hardly_move_it(name: str) -> None:
    knee = grey(name)
    toned = np.rint(255 * (knee / 255) ** 1.4).astype(np.uint8)
    flat = np.rint(60 + 0.6 * knee).clip(0, 255).astype(np.uint8)
    for other in (toned, flat, resized(knee, 2), resized(knee, 4)):
        assert measured(other) == pytest.approx(measured(knee), abs=0.12)


def test_a_picture_of_one_grey_value_has_a_number() -> None:
    assert np.isfinite(fine_detail(np.full((90, 70), 0.5, np.float32)))


# --- the range -------------------------------------------------------------------------------


def test_it_leaves_out_at_most_the_stated_share_of_further_knees() -> None:
    random = np.random.default_rng(0)
    beyond = []
    for _ in range(200):
        values = random.gamma(3, 1, 800)
        fitted = detail_range(values[:600].tolist())
        assert fitted is not None
        beyond.append(np.mean([bool(fitted.beyond(value)) for value in values[600:]]))
    assert 0.002 < np.mean(beyond) < 0.007


def test_too_few_knees_have_no_range() -> None:
    few = np.linspace(0, 1, FEWEST_FOR_RANGE - 1).tolist()
    assert detail_range(few) is None
    assert detail_range([*few, 2.0]) == DetailRange(low=0.0, high=2.0, knees=FEWEST_FOR_RANGE)


def test_it_says_in_which_direction_a_knee_lies_beyond() -> None:
    fitted = DetailRange(low=1.0, high=1.4, knees=300)
    assert "blurred" in fitted.beyond(0.9)
    assert "noise" in fitted.beyond(1.5)
    assert fitted.beyond(1.0) == fitted.beyond(1.4) == ""


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_lie_within_that_of_the_default_bundle(name: str, card: Card) -> None:
    assert card.detail is not None
    assert card.detail.beyond(measured(grey(name))) == ""


# --- what follows ----------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("told", [SURE, TORN, TORN[::-1], np.full(5, 0.2)])
def test_the_set_holds_what_it_held_and_sets_of_higher_levels_hold_it(
    told: np.ndarray, level: float, card: Card
) -> None:
    assert card.grade_sets is not None
    low, high = card.grade_sets.set_of(told, level)
    wide_low, wide_high = widened_set(card.grade_sets, told, level)
    assert wide_low <= low <= high <= wide_high
    top = widened_set(card.grade_sets, told, LEVELS[-1])
    assert top[0] <= wide_low <= wide_high <= top[1]
    if level == LEVELS[-1]:
        assert wide_high - wide_low == min(high - low + 1, 4)
    else:
        assert (wide_low, wide_high) == card.grade_sets.set_of(
            told, LEVELS[LEVELS.index(level) + 1]
        )


@pytest.mark.parametrize(
    ("told", "word", "lower"),
    [
        (SURE, "high", "moderate"),
        (TORN, "moderate", "low"),
        (np.array([0.4, 0.3, 0.2, 0.1, 0.0]), "low", "low"),
    ],
)
def test_the_word_is_the_next_lower_one_and_the_probabilities_stay(
    told: np.ndarray, word: str, lower: str, card: Card
) -> None:
    judge = Judge(card)
    usual, beyond = judge.of(told, 0.0), judge.of(told, 0.0, beyond=True)
    assert (usual.certainty, beyond.certainty) == (word, lower)
    assert beyond.probabilities == usual.probabilities
    assert beyond.right_share == card.right_share(lower)
    assert set(usual.doubts) <= set(beyond.doubts) or beyond.doubts


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    return Ensemble.default(threads=1, joint_space=False)


@pytest.mark.parametrize(
    ("altered", "reason"),
    [(lambda k: blurred(k, 1.3), "blurred"), (lambda k: noisy(k, 4), "noise")],
)
def test_a_reading_is_less_certain_and_says_why(
    altered: object, reason: str, ensemble: Ensemble
) -> None:
    assert callable(altered)
    knee = grey("9177337L.png")
    usual, worse = ensemble.read(knee)[0], ensemble.read(altered(knee), force=True)[0]
    assert not usual.beyond
    assert not [text for text in usual.warnings if "fine detail" in text]
    assert worse.beyond
    assert any("fine detail" in text and reason in text for text in worse.warnings)
    judged = Judge(ensemble.bundle.card).of(np.array(worse.alone), worse.disagreement)
    order = ["low", "moderate", "high"]
    assert order.index(worse.certainty) == max(0, order.index(judged.certainty) - 1)
    assert worse.grade_set.lowest <= judged.grade_set.lowest
    assert worse.grade_set.highest >= judged.grade_set.highest


def test_a_local_calibration_drops_the_range_because_its_sets_are_of_other_pictures() -> None:
    bundle = open_bundle(default_bundle())
    told, grades, patients = calibrated_knees(60)
    made = estimate(told, np.minimum(grades + 1, 4), patients, resamples=50)
    sets = local_grade_sets(made.after, made.truth, made.patients, None)
    assert bundle.card.detail is not None
    assert calibrated_card(bundle, made, sets, LocalNames("Mine")).detail is None


def test_it_stays_so_when_the_other_knee_is_taken_into_account(tmp_path: Path) -> None:
    both = BothKnees(sharpness=1.0, agreement=0.5, bias=(0.0,) * 5)
    made = make_bundle(tmp_path / "made", both_knees=both)
    bounds = DetailRange(low=0.0, high=0.01, knees=300)
    told, grades, patients = calibrated_knees(200)
    sets = fit_grade_sets(told, grades, patients)
    card = made.card.model_copy(update={"detail": bounds, "grade_sets": sets})
    files = {name: made.path(name) for name in made.card.files}
    readings = Ensemble(write_bundle(card, files, tmp_path / "new"), joint_space=False)
    left, right = (readings.read(EXAMPLES / f"9177337{side}.png")[0] for side in "LR")
    for alone, paired in zip((left, right), readings.together(left, right), strict=True):
        assert paired.read_with
        assert paired.beyond
        assert paired.warnings == alone.warnings
        judged = Judge(card).of(np.array(paired.probabilities), None)
        order = ["low", "moderate", "high"]
        assert order.index(paired.certainty) == max(0, order.index(judged.certainty) - 1)
