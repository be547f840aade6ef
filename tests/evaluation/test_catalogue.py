"""A metric is added in one place, and is then computed, compared, written and shown everywhere."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator

import numpy as np
import pytest
from rich.console import Console

from kellgren.cli.score_tables import render
from kellgren.errors import InvalidPredictions
from kellgren.evaluation import Comparison, GradedKnees, Grades, Scores, compare, score
from kellgren.evaluation.bootstrap import Estimate
from kellgren.evaluation.catalogue import (
    AGREEMENT,
    GRADE_METRICS,
    METRICS,
    PROBABILITIES,
    MeanOf,
    Metric,
    from_confusion,
    register,
)
from kellgren.evaluation.matched import Coverage
from kellgren.evaluation_report import Report, html_page
from simulated_grades import graded_knees

ENTROPY_MEANING = "how spread the five probabilities are, in nats"


def entropy(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1)


def specificity(confusion: np.ndarray) -> np.ndarray:
    total = confusion.sum(axis=(-2, -1))[..., None]
    given, having = confusion.sum(axis=-2), confusion.sum(axis=-1)
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    return (total - given - having + right) / (total - having)


@pytest.fixture
def added() -> Iterator[tuple[Metric, Metric]]:
    whole = Metric(
        "entropy", "mean entropy", PROBABILITIES, False, ENTROPY_MEANING, MeanOf(entropy)
    )
    of_grade = Metric(
        "specificity",
        "specificity",
        AGREEMENT,
        True,
        "share of the other knees not given this grade",
        from_confusion(specificity),
    )
    register(whole)
    register(of_grade, per_grade=True)
    yield whole, of_grade
    METRICS.remove(whole)
    GRADE_METRICS.remove(of_grade)


def judged() -> tuple[GradedKnees, Scores, Comparison]:
    truth, predicted, probabilities = graded_knees(0)
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
    patients = np.arange(len(truth)) // 2
    scores = score(truth, predicted, probabilities, patients, resamples=100)
    other = Grades(truth, np.full_like(probabilities, 0.2))
    comparison = compare(
        truth,
        Grades(predicted, probabilities),
        other,
        patients,
        resamples=100,
        permutations=100,
    )
    return GradedKnees.checked(truth, predicted, probabilities, patients), scores, comparison


def page_of(knees: GradedKnees, scores: Scores, comparison: Comparison) -> str:
    coverage = Coverage(labelled=scores.knees, scored=scores.knees, refused=0, unlabelled=0)
    return html_page(
        Report("a.csv", scores, coverage, knees, (), (), "m", comparison=comparison, other="b")
    )


def text_of(scores: Scores, comparison: Comparison) -> str:
    console = Console(width=120, no_color=True)
    with console.capture() as capture:
        console.print(render(scores, None, comparison))
    return " ".join(capture.get().split())


def test_a_registered_metric_is_computed_compared_written_and_shown(
    added: tuple[Metric, Metric],
) -> None:
    knees, scores, comparison = judged()
    assert knees.probabilities is not None
    entropies = entropy(knees.truth, knees.probabilities)

    found = scores.entropy
    assert found.value == pytest.approx(entropies.mean())
    assert found.low < found.value < found.high
    assert (found.high - found.low) == pytest.approx(
        3.92 * entropies.reshape(-1, 2).mean(axis=1).std() / np.sqrt(scores.patients), rel=0.35
    )
    difference = comparison.metrics["entropy"]
    assert difference.other == pytest.approx(np.log(5))
    assert difference.difference.value == pytest.approx(entropies.mean() - np.log(5))
    assert difference.p_value < 0.05
    assert all(row.specificity.low <= row.specificity.value for row in scores.per_grade)
    assert len(comparison.per_grade["specificity"]) == 5

    written = json.loads(json.dumps(scores.to_dict()))
    assert written["entropy"] == found.to_dict()
    assert written["per_grade"][2]["specificity"] == scores.per_grade[2].specificity.to_dict()
    compared = json.loads(json.dumps(comparison.to_dict()))
    assert compared["entropy"]["difference"] == difference.difference.to_dict()
    assert "specificity" in compared["per_grade"][0]

    text = text_of(scores, comparison)
    assert f"mean entropy {found.value:.3f} {found.low:.3f} to {found.high:.3f}" in text
    assert f"mean entropy {difference.this:.3f} {difference.other:.3f}" in text
    assert "specificity" in text
    page = page_of(knees, scores, comparison)
    assert f"mean entropy<small>{ENTROPY_MEANING}</small></th><td><b>{found.value:.3f}" in page
    assert f"mean entropy</th><td>{difference.this:.3f}</td>" in page
    assert "<th scope=col>specificity</th>" in page
    assert page.count(">mean entropy</text>") == 2  # of both plots


def test_the_other_metrics_stay_as_they_are(added: tuple[Metric, Metric]) -> None:
    _, scores, comparison = judged()
    for metric in added:
        (METRICS if metric in METRICS else GRADE_METRICS).remove(metric)
    _, alone, compared = judged()
    for metric in added:
        register(metric, per_grade=metric.key == "specificity")
    for key, estimate in alone.metrics.items():
        assert estimate is not None
        with_it: Estimate = getattr(scores, key)
        assert (with_it.value, with_it.low, with_it.high) == pytest.approx(
            (estimate.value, estimate.low, estimate.high), abs=1e-12, nan_ok=True
        )
        assert comparison.metrics[key].p_value == compared.metrics[key].p_value
    assert "entropy" not in alone.metrics


def test_without_probabilities_a_metric_of_them_is_left_out(added: tuple[Metric, Metric]) -> None:
    truth, predicted, _ = graded_knees(0)
    scores = score(truth, predicted, None, range(len(truth)), resamples=2)
    assert scores.entropy is None
    assert scores.to_dict()["entropy"] is None
    assert scores.per_grade[0].specificity is not None


def test_groups_stay_together_and_a_key_is_taken_once(added: tuple[Metric, Metric]) -> None:
    whole, of_grade = added
    assert METRICS[-1] is whole
    groups = [metric.group for metric in GRADE_METRICS]
    assert GRADE_METRICS[groups.index(PROBABILITIES) - 1] is of_grade
    for taken in (whole, of_grade):
        with pytest.raises(InvalidPredictions, match="this key is taken"):
            register(taken)
    nowhere = Metric("new", "new", "elsewhere", True, "", from_confusion(specificity))
    with pytest.raises(InvalidPredictions, match="unknown group elsewhere"):
        register(nowhere)


def test_scores_travel_between_processes_and_know_their_metrics_only() -> None:
    _, scores, _ = judged()
    again: Scores = pickle.loads(pickle.dumps(scores))
    assert again.to_dict() == scores.to_dict()
    assert again.qwk == scores.qwk
    with pytest.raises(AttributeError, match="Scores has no metric 'kappa'"):
        scores.kappa  # noqa: B018
