"""How well predicted grades agree with labels: metrics, intervals by patient, and a report."""

from __future__ import annotations

from kellgren.evaluation import metrics
from kellgren.evaluation.bootstrap import Estimate
from kellgren.evaluation.matching import Coverage, Label, MatchedKnees, match
from kellgren.evaluation.predictions import Predictions, Refusal, read_predictions
from kellgren.evaluation.report import render
from kellgren.evaluation.scores import GradeScore, Scores, score

__all__ = [
    "Coverage",
    "Estimate",
    "GradeScore",
    "Label",
    "MatchedKnees",
    "Predictions",
    "Refusal",
    "Scores",
    "match",
    "metrics",
    "read_predictions",
    "render",
    "score",
]
