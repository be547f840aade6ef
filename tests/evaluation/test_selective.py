"""What naming some of the grades only is worth, against counts by hand and a plain loop."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from command_line import kellgren
from kellgren.data.matching import Label, match
from kellgren.data.predictions import read_predictions
from kellgren.errors import InvalidPredictions
from kellgren.evaluation import selective
from kellgren.evaluation.selective import Selective


def made(count: int = 300, seed: int = 0) -> Selective:
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.full(5, 0.6), count)
    truth = (shares.cumsum(axis=1) < random.random((count, 1))).sum(axis=1).clip(0, 4)
    patients = [f"p{at // 2}" for at in range(count)]
    named = shares.max(axis=1) > 0.5
    return selective(truth, shares.argmax(axis=1), shares, named, patients, resamples=200)


def test_shares_are_counts() -> None:
    truth, predicted = [0, 1, 2, 3, 4, 0], [0, 1, 2, 0, 0, 1]
    named = np.array([True, True, False, True, False, False])
    it = selective(truth, predicted, None, named, list("abcdef"), resamples=100)
    assert (it.unnamed, it.knees) == (3, 6)
    assert it.named_share.value == pytest.approx(3 / 6)
    assert it.right.value == pytest.approx(3 / 6)
    assert it.right_named.value == pytest.approx(2 / 3)
    assert it.right_unnamed.value == pytest.approx(1 / 3)
    assert it.gain.value == pytest.approx(2 / 3 - 1 / 2)
    assert it.area is None
    assert len(it.kept) == 0


def test_the_area_is_the_mean_of_the_curve() -> None:
    it = made()
    assert it.area is not None
    assert it.area.value == pytest.approx(it.wrong.mean())
    assert it.wrong[-1] == pytest.approx(1 - it.right.value)
    assert it.kept[-1] == 1.0
    assert it.area.low < it.area.value < it.area.high


def test_doubt_that_goes_with_error_has_the_smaller_area() -> None:
    truth = np.arange(40) % 5
    predicted = np.where(np.arange(40) < 30, truth, (truth + 1) % 5)  # the last ten are wrong
    sure = np.where(np.arange(40) < 30, 0.9, 0.3)
    areas = []
    for top in (sure, sure[::-1]):
        shares = np.full((40, 5), 0.0) + ((1 - top) / 4)[:, None]
        shares[np.arange(40), predicted] = top
        named = np.ones(40, bool)
        it = selective(truth, predicted, shares, named, [str(k) for k in range(40)], resamples=100)
        assert it.area is not None
        areas.append(it.area.value)
    ideal = sum((kept - 30) / kept for kept in range(31, 41)) / 40
    assert areas[0] == pytest.approx(ideal)
    assert areas[1] > 2 * areas[0]


def test_knees_that_are_equally_sure_have_no_order() -> None:
    truth, patients = np.repeat([2, 0], 20), [f"p{at // 2}" for at in range(40)]
    shares = np.repeat([[0.0, 0.0, 1.0, 0.0, 0.0], [0.1, 0.2, 0.4, 0.2, 0.1]], [10, 30], axis=0)
    turned = np.r_[:10, 39:9:-1]  # the thirty of one certainty the other way round
    one, other = (
        selective(
            truth[order],
            np.full(40, 2),
            shares,
            np.ones(40, bool),
            [patients[at] for at in order],
            resamples=100,
        )
        for order in (np.arange(40), turned)
    )
    expected = sum(20 * (kept - 10) / 30 / kept for kept in range(11, 41)) / 40
    assert one.area is not None
    assert one.area.value == pytest.approx(expected)
    assert one.area == other.area
    assert one.wrong.tolist() == other.wrong.tolist()


def test_intervals_hold_the_values() -> None:
    it = made()
    for one in (it.named_share, it.right, it.right_named, it.right_unnamed, it.gain):
        assert one.low < one.value < one.high


def test_few_knees_and_few_unnamed_have_no_interval_of_the_area_and_of_the_gain() -> None:
    few = made(16)
    assert few.area is not None
    assert few.area.reason == "too few knees: 16"
    assert np.isnan([few.area.low, few.area.high]).all()
    truth, named = [0, 1] * 30, np.arange(60) >= 10
    it = selective(truth, [0] * 60, None, named, [str(at) for at in range(60)], resamples=100)
    assert it.gain.reason == "too few knees not named: 10"
    assert np.isnan([it.gain.low, it.gain.high]).all()


def test_few_knees_have_no_interval_of_any_of_these_numbers() -> None:
    few = made(count=10)
    assert few.area is not None
    for one in (few.named_share, few.right, few.right_named, few.gain, few.area):
        assert np.isnan(one.low)
        assert np.isnan(one.high)
        assert one.reason.startswith("too few knees")


def test_marks_of_another_length_are_refused() -> None:
    with pytest.raises(InvalidPredictions, match="2 marks for 1 knees"):
        selective([0], [0], None, np.ones(2, bool), ["a"])


def test_a_table_whose_grade_is_not_named_is_scored_by_the_most_probable(tmp_path: Path) -> None:
    table = tmp_path / "grades.csv"
    table.write_text(
        "image,grade,p0,p1,p2,p3,p4,most_probable,note\n"
        "a.png,2,0,0,1,0,0,2,\n"
        "b.png,,0.1,0.5,0.4,0,0,1,not sure enough to name a grade\n"
        "c.png,,,,,,,,is no knee\n"
    )
    labels = [Label(f"{name}.png", name, grade) for name, grade in (("a", 2), ("b", 1), ("c", 0))]
    matched = match(read_predictions(table), labels)
    assert matched.predicted.tolist() == [2, 1]
    assert matched.named is not None
    assert matched.named.tolist() == [True, False]
    assert (matched.coverage.scored, matched.coverage.refused) == (2, 1)
    assert matched.probabilities is not None
    assert matched.probabilities[1].tolist() == [0.1, 0.5, 0.4, 0, 0]
    kept = matched.among(np.array([1])).named
    assert kept is not None
    assert kept.tolist() == [False]


@pytest.mark.parametrize(
    ("column", "found"),
    [
        (("high", "moderate", "moderate"), {"high": 1, "moderate": 2}),  # as unusual detail lowers
        (("high", "", "moderate"), {"high": 3}),
        (("sure", "sure", "sure"), {"high": 3}),
    ],
)
def test_the_words_scored_are_those_of_the_table(
    tmp_path: Path, column: tuple[str, ...], found: dict[str, int]
) -> None:
    rows = [f"{n}.png,2,0,0,0.9,0.1,0,{word}\n" for n, word in enumerate(column)]
    (tmp_path / "t.csv").write_text("image,grade,p0,p1,p2,p3,p4,certainty\n" + "".join(rows))
    (tmp_path / "k.csv").write_text("image,grade\n0.png,2\n1.png,2\n2.png,2\n")
    words = ("evaluate", tmp_path / "t.csv", "--labels", tmp_path / "k.csv", "--resamples", "100")
    assert kellgren(*words, "--json", tmp_path / "s.json") == 0
    certainty = json.loads((tmp_path / "s.json").read_text())["certainty"]
    assert {band["word"]: band["knees"] for band in certainty} == found


def test_a_most_probable_grade_that_is_none_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "grades.csv"
    table.write_text("image,grade,most_probable\na.png,,7\n")
    with pytest.raises(InvalidPredictions, match="most_probable is '7'"):
        read_predictions(table)
