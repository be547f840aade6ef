"""The comparison of two samples: its statistics, its rate of false alarms, and what it notices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from kellgren.shift.quantities import QUANTITIES
from kellgren.shift.sample import Sample, WatchedKnees, one_per_patient
from kellgren.shift.two_samples import compare, holm
from kellgren.shift.words import missing_words, moved_words, verdict_words


def population(rng: np.random.Generator, patients: int, **moved: Any) -> WatchedKnees:
    """Two knees of each patient, alike as a patient's knees are, with ties as tables have them."""
    severity = rng.normal(moved.get("severity", 0.0), 1.0, patients).repeat(2)
    severity += 0.5 * rng.normal(0, 1, 2 * patients)
    device = rng.normal(0, 1, patients).repeat(2)
    values = {
        "grade": np.digitize(severity, [-0.2, 0.3, 1.2, 2.2]).astype(np.float64),
        "certainty": 0.5 + 0.4 * np.abs(np.tanh(severity)),
        "gate_distance": 1.4 + 0.1 * device + 0.05 * severity,
        "exposure": 0.45 + 0.05 * (device + moved.get("brighter", 0.0)),
    }
    told = {it.key: np.round(values[it.key], 2) for it in QUANTITIES}
    return WatchedKnees(tuple(f"p{n // 2}" for n in range(2 * patients)), told)


def sample(rng: np.random.Generator, patients: int, **moved: Any) -> Sample:
    return one_per_patient(population(rng, patients, **moved))


def test_the_rate_of_false_alarms_is_kept() -> None:
    rng = np.random.default_rng(0)
    alarms = [
        bool(compare(sample(rng, 60), sample(rng, 150), permutations=159, seed=it).noticed)
        for it in range(400)
    ]
    assert 0.03 <= np.mean(alarms) <= 0.07


def test_knees_of_one_patient_count_once() -> None:
    """Every knee twice is no more evidence than every knee once."""
    rng = np.random.default_rng(1)
    once, other = population(rng, 70), sample(rng, 70)
    half = {key: column[::2] for key, column in once.values.items()}
    twice = {key: column.repeat(2) for key, column in half.items()}
    told = [
        compare(one_per_patient(WatchedKnees(names, values)), other)
        for names, values in ((once.patients[::2], half), (once.patients, twice))
    ]
    assert told[0] == told[1]


def test_brighter_pictures_are_noticed_as_such() -> None:
    rng = np.random.default_rng(2)
    shift = compare(sample(rng, 60, brighter=1.2), sample(rng, 300))
    assert [it.key for it in shift.noticed] == ["exposure"]
    told = verdict_words(shift)
    assert told.startswith("Changed: mean grey value of the knee, median 0.4")
    assert "look at detector" in told


def test_other_patients_are_noticed_as_such() -> None:
    rng = np.random.default_rng(3)
    shift = compare(sample(rng, 100, severity=0.9), sample(rng, 400))
    assert "grade" in {it.key for it in shift.noticed}
    assert "exposure" not in {it.key for it in shift.noticed}
    (grades,) = (it for it in shift.changes if it.key == "grade")
    assert moved_words(grades).startswith("grade 0 ")
    assert sum(grades.after) == pytest.approx(1)


def test_statistics_and_p_values_are_the_known_ones() -> None:
    rng = np.random.default_rng(4)
    now, then = sample(rng, 80, severity=0.3, brighter=0.3), sample(rng, 200)
    found = {it.key: it for it in compare(now, then, permutations=4999).changes}
    for key in ("certainty", "gate_distance", "exposure"):
        known = stats.ks_2samp(now.values[key], then.values[key])
        assert found[key].statistic == pytest.approx(known.statistic)
        assert found[key].p_value <= known.pvalue + 0.03  # ties make the tabled one too large
    counts = np.array(
        [np.bincount(it.values["grade"].astype(int), minlength=5) for it in (now, then)]
    )
    known = stats.chi2_contingency(counts[:, counts.sum(axis=0) > 0], correction=False)
    assert found["grade"].statistic == pytest.approx(known.statistic)
    assert found["grade"].p_value == pytest.approx(known.pvalue, abs=0.03)


def test_without_ties_the_p_value_is_kolmogorov_s_and_smirnov_s() -> None:
    rng = np.random.default_rng(5)
    now, then = (Sample(n, {it.key: np.sort(rng.random(n)) for it in QUANTITIES}) for n in (60, 90))
    found = {it.key: it for it in compare(now, then, permutations=4999).changes}
    for key in ("certainty", "exposure"):
        known = stats.ks_2samp(now.values[key], then.values[key], method="exact").pvalue
        assert found[key].p_value == pytest.approx(known, abs=0.03)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])


def test_what_one_sample_lacks_is_said_not_guessed() -> None:
    rng = np.random.default_rng(6)
    now, then = sample(rng, 60), sample(rng, 60)
    bare = Sample(60, {**now.values, "exposure": np.array([])})
    shift = compare(bare, then)
    assert shift.missing == ("exposure",)
    assert [it.key for it in shift.changes] == ["grade", "certainty", "gate_distance"]
    assert "mean grey value of the knee" in missing_words(shift)
    assert "does not prove" in verdict_words(shift)


def test_too_few_permutations_for_the_rate_are_refused() -> None:
    rng = np.random.default_rng(7)
    with pytest.raises(ValueError, match="199 permutations"):
        compare(sample(rng, 60), sample(rng, 60), false_alarms=0.01, permutations=199)
