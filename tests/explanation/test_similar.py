"""Similar graded knees: the nearest by features, of other patients, for the networks they fit."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bundle_factory import make_bundle
from examples_truth import EXAMPLES, GRADES
from kellgren.ensemble import Ensemble
from kellgren.errors import BundleError
from kellgren.explanation.similar import (
    CARD,
    CODES,
    PICTURES,
    SAME_FILM,
    SimilarKnees,
    Source,
    joined,
)
from kellgren.grading.bundle import Bundle, default_bundle, open_bundle

SOURCE = Source("none", "none", "none", "none")


def made(count: int, seed: int = 0) -> tuple[SimilarKnees, np.ndarray]:
    """An index of drawn features of two networks, both knees of each patient, and the features."""
    rng = np.random.default_rng(seed)
    features = rng.gamma(1.0, 1.0, (count, 2, 12)).astype(np.float32)
    every = np.stack([joined(list(knee)) for knee in features])
    index = SimilarKnees(
        source=SOURCE,
        networks=["a", "b"],
        files=[f"{1000 + number // 2}{'LR'[number % 2]}" for number in range(count)],
        grades=rng.integers(0, 5, count),
        centre=every.mean(axis=0),
        axes=np.eye(24, dtype=np.float32),
        codes=every - every.mean(axis=0),
        pictures=[bytes([number]) for number in range(count)],
    )
    return index, features


@given(seed=st.integers(0, 2**16), count=st.integers(1, 6))
def test_the_nearest_are_those_of_other_patients_by_distance(seed: int, count: int) -> None:
    index, features = made(20, seed)
    every = np.stack([joined(list(knee)) for knee in features])
    found = index.nearest(list(features[4]), count)
    expected = np.linalg.norm(every - every[4], axis=1)
    others = [number for number in np.argsort(expected) if number not in (4, 5)]
    assert [knee.number for knee in found] == others[:count]
    assert [knee.distance for knee in found] == pytest.approx(
        expected[others[:count]].tolist(), abs=1e-5
    )
    left = index.nearest(list(features[4]), 20, lambda patient: patient in ("1000", "1001"))
    assert {knee.number for knee in left} == set(range(20)) - {0, 1, 2, 3, 4, 5}


def test_an_index_is_kept_and_damage_is_seen(tmp_path: Path) -> None:
    index, features = made(8)
    index.write(tmp_path / "index")
    opened = SimilarKnees.open(tmp_path / "index")
    assert (len(opened), opened.source, opened.networks) == (8, SOURCE, ("a", "b"))
    assert opened.checksum == index.checksum
    assert [opened.picture(number) for number in range(8)] == [bytes([n]) for n in range(8)]
    near, again = (one.nearest(list(features[0]), 3) for one in (index, opened))
    assert [knee.number for knee in near] == [knee.number for knee in again]
    for name in (CARD, CODES, PICTURES):
        folder = tmp_path / f"without {name}"
        shutil.copytree(tmp_path / "index", folder)
        (folder / name).write_bytes((folder / name).read_bytes()[:-3])
        with pytest.raises(BundleError, match="Restore the index"):
            SimilarKnees.open(folder)


@pytest.fixture(scope="module")
def index() -> SimilarKnees:
    return SimilarKnees.default()


def test_the_index_of_the_package_is_small_and_says_whom_to_thank(index: SimilarKnees) -> None:
    folder = default_bundle().parent / "similar"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4e6
    assert len(index) > 1000
    assert "Chen 2018" in index.source.credit
    assert "CC BY 4.0" in index.source.credit
    for number in (0, len(index) - 1):
        with Image.open(io.BytesIO(index.picture(number))) as picture:
            assert picture.format == "WEBP"
    grades = [index.knee(number).grade for number in range(len(index))]
    assert all(grades.count(grade) > 30 for grade in set(GRADES.values()))


def test_the_index_fits_its_networks_however_they_vote(index: SimilarKnees, tmp_path: Path) -> None:
    bundle = open_bundle(default_bundle())
    assert index.places(bundle) == (1,)  # the other one learnt from its knees
    members = tuple(reversed(bundle.card.members))
    another = bundle.card.model_copy(update={"name": "another vote", "members": members})
    assert index.places(Bundle(bundle.folder, another, "")) == (0,)
    assert index.places(make_bundle(tmp_path / "tiny")) is None


def test_examples_resemble_knees_of_their_grade_and_never_themselves(index: SimilarKnees) -> None:
    """Nine of the ten are in the index, as other files: they and the other knee are left out."""
    ensemble = Ensemble.default(threads=1)
    places = index.places(ensemble.bundle)
    assert places is not None
    apart = []
    for name, grade in GRADES.items():
        [reading] = ensemble.read(EXAMPLES / f"{name}.png")
        found = index.nearest([reading.features[place] for place in places], 6)
        assert name[:-1] not in {knee.patient for knee in found}
        assert found[0].distance >= SAME_FILM
        apart += [abs(int(knee.grade) - grade) for knee in found]
    assert np.mean(apart) < 0.8
    assert np.mean(np.array(apart) <= 1) > 0.8
