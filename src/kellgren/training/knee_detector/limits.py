"""How real knees look to a trained localiser: what its limits are taken from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from kellgren.data.manifest import Knee
from kellgren.imaging.radiograph import read_radiograph
from kellgren.knee import Region
from kellgren.localisation.candidates import upright_grey
from kellgren.localisation.knee_detector import Detection, Localiser
from kellgren.training.knee_detector.export import Judged
from kellgren.training.knee_detector.film_maker import BoxedFrame, FilmMaker
from kellgren.training.knee_detector.run import load_crops

LIMIT_KNEES = 322
"""How many of the knees held out serve the limits; the others are left for judging the gates."""
_CROPS, _FILMS, _FILM_SIZE = 500, 250, 512


def judge(
    folder: Path,
    learnt: Sequence[Knee],
    held_out: Sequence[Knee],
    frames: Sequence[BoxedFrame],
    rng: np.random.Generator,
) -> Judged:
    """Look at knees as crops and on synthetic films.

    Args:
        folder: of the networks and their card.
        learnt: knees of the training, which describe what knees look like.
        held_out: of the fold; the first `LIMIT_KNEES` by name are used for the limits.
        frames: real films of the training.
        rng: chooses crops and draws films.
    """
    localiser = Localiser(folder)
    some = [learnt[n] for n in rng.choice(len(learnt), min(_CROPS, len(learnt)), replace=False)]
    cloud = [*_on_crops(localiser, some), *_on_films(localiser, some, rng)]
    for frame in frames:
        cloud += _matched(localiser.find(frame.pixels.numpy()), [box for box, _ in frame.knees])
    judges = limit_knees(held_out)
    limits = [*_on_crops(localiser, judges), *_on_films(localiser, judges, rng)]
    return Judged(np.stack([finding.features for finding in cloud]), limits)


def limit_knees(held_out: Sequence[Knee]) -> list[Knee]:
    """The knees held out that the limits are taken from: the first by name, whole patients."""
    ordered = sorted(held_out, key=lambda knee: knee.image.name)
    return ordered[:LIMIT_KNEES]


def _on_crops(localiser: Localiser, knees: Sequence[Knee]) -> Iterator[Detection]:
    for knee in knees:
        _, findings, _ = upright_grey(read_radiograph(knee.image).pixels, localiser)
        yield from findings[:1]


def _on_films(
    localiser: Localiser, knees: Sequence[Knee], rng: np.random.Generator
) -> Iterator[Detection]:
    maker = FilmMaker(*load_crops(knees), _FILM_SIZE)
    for _ in range(_FILMS):
        film = maker.draw_film(rng)
        left, top, right, bottom = film.content
        pixels = film.pixels[top:bottom, left:right].numpy()
        bright = np.float32(1) - pixels if film.inverted else pixels
        places = [
            Region((k.region.centre[0] - left, k.region.centre[1] - top), k.region.width)
            for k in film.knees
        ]
        yield from _matched(localiser.find(bright), places)


def _matched(findings: list[Detection], places: Sequence[Region]) -> list[Detection]:
    """Those that lie where a knee is."""
    return [
        finding
        for finding in findings
        if any(
            np.hypot(*np.subtract(finding.region.centre, place.centre)) < 0.25 * place.width
            for place in places
        )
    ]
