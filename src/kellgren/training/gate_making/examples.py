"""What the gate learns from: native knees, the same with implants or growth plates, others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from kellgren.arrays import Float32Array
from kellgren.data.manifest import Knee
from kellgren.imaging.radiograph import read_radiograph
from kellgren.knee import Plane
from kellgren.localisation.candidates import upright_grey
from kellgren.localisation.crop import cut
from kellgren.localisation.knee_detector import Localiser
from kellgren.localisation.picture_gate import FeatureNetwork
from kellgren.localisation.picture_scores import GRID
from kellgren.training.gate_making.drawn_growth_plates import with_growth_plates
from kellgren.training.gate_making.drawn_implants import with_implant
from kellgren.training.gate_making.drawn_pictures import other_picture
from kellgren.training.gate_making.native import exposed, marked, moved
from kellgren.training.knee_detector.film_maker import BoxedFrame

NATIVE, IMPLANT, PLATES, OTHER = range(4)
"""Kinds of examples."""
WITH_IMPLANT = frozenset(
    [
        "9725279R",
        "9454100L",
        "9877295L",
        "9857800L",
        "9645958L",
        "9718881R",
        "9375300L",
        "9008322L",
        "9391061L",
        "9930679R",
        "9862741R",
        "9070442L",
        "9289216L",
        "9086204R",
        "9575435R",
        "9624954L",
        "9715626L",
        "9425996L",
        "9235666R",
        "9676996R",
        "9547360L",
        "9408506R",
        "9160026L",
        "9528258L",
        "9614429L",
        "9170536L",
        "9574236R",
        "9529676R",
        "9022902L",
        "9879069L",
        "9288911R",
        "9548815L",
        "9311411L",
        "9082901L",
        "9293216L",
        "9313331L",
        "9547611R",
        "9366809R",
    ]
)
"""Published knees in which implants were seen by eye, among the 70 that an earlier gate, which had
learnt drawn implants only, found likest to metal: they are no native knees."""
_SIZE = 299
_VIEWS_OF_FRAMES = 10
Tell = Callable[[int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One picture as the gate's network saw it.

    Attributes:
        kind: `NATIVE`, `IMPLANT`, `PLATES` or `OTHER`.
        patient: whose knee it was made of; empty: another hospital's.
        features: ``(C, GRID, GRID)`` float16.
        covered: ``(GRID, GRID)`` share of each place under the implant or growth plate.
    """

    kind: int
    patient: str
    features: np.ndarray
    covered: Float32Array


def draw_examples(
    knees: Sequence[Knee],
    network: FeatureNetwork,
    localiser: Localiser,
    rng: np.random.Generator,
    tell: Tell,
) -> list[Example]:
    """Of each knee itself, itself moved and exposed otherwise, and one with an implant.

    Every second knee also gives one with open growth plates, the others a picture of another kind.
    """
    examples = []
    for number, knee in enumerate(knees):
        plane = published(knee, localiser)
        (again,) = moved(plane, rng)
        made: list[tuple[int, Plane, Float32Array | None]] = [
            (NATIVE, plane, None),
            (NATIVE, exposed(marked(again, rng), rng), None),
        ]
        shown, covered = moved(*_drawn(with_implant(plane, rng), rng))
        made.append((IMPLANT, exposed(marked(shown, rng), rng), covered))
        if number % 2:
            shown, covered = moved(*_drawn(with_growth_plates(plane, rng), rng))
            made.append((PLATES, exposed(marked(shown, rng), rng), covered))
        else:
            made.append((OTHER, exposed(other_picture(plane, rng), rng), None))
        examples += [
            Example(kind, knee.patient, _half(network, picture), _on_grid(mask))
            for kind, picture, mask in made
        ]
        tell(number + 1)
    return examples


def frame_examples(
    frames: Sequence[BoxedFrame], network: FeatureNetwork, rng: np.random.Generator
) -> list[Example]:
    """Native knees of real films, each cut a few times, a little off."""
    examples = []
    for knee in frame_knees(frames):
        for _ in range(_VIEWS_OF_FRAMES):
            features = _half(network, exposed(moved(knee, rng)[0], rng))
            examples.append(Example(NATIVE, "", features, _on_grid(None)))
    return examples


def frame_knees(frames: Sequence[BoxedFrame]) -> list[Plane]:
    """The knees of real films, cut where they were boxed."""
    return [cut(f.pixels.numpy(), region, _SIZE) for f in frames for region, _ in f.knees]


def published(knee: Knee, localiser: Localiser) -> Plane:
    """A knee with bright bone, as the gate is shown it; some were published with dark bone."""
    return square(upright_grey(read_radiograph(knee.image).pixels, localiser)[0])


def square(pixels: Plane) -> Plane:
    """A crop at the size at which shapes are drawn on it."""
    if pixels.shape == (_SIZE, _SIZE):
        return pixels
    picture = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.float32))
    return np.asarray(picture.resize((_SIZE, _SIZE), Image.Resampling.BICUBIC)).clip(0, 1)


def _drawn(
    made: tuple[Plane, Float32Array], rng: np.random.Generator
) -> tuple[Plane, np.random.Generator, Float32Array]:
    """In the order that `moved` takes them."""
    return made[0], rng, made[1]


def _half(network: FeatureNetwork, picture: Plane) -> np.ndarray:
    return network.features(picture).astype(np.float16)


def _on_grid(mask: Float32Array | None) -> Float32Array:
    if mask is None:
        return np.zeros((GRID, GRID), dtype=np.float32)
    return np.asarray(Image.fromarray(mask).resize((GRID, GRID), Image.Resampling.BOX))
