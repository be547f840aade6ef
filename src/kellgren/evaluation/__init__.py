"""How well predicted grades agree with labels: metrics with intervals by patient."""

from __future__ import annotations

from kellgren.evaluation import metrics
from kellgren.evaluation.bootstrap import Estimate
from kellgren.evaluation.comparison import Comparison, Difference, Grades, compare, compare_matched
from kellgren.evaluation.knees import GradedKnees
from kellgren.evaluation.matched import Coverage, MatchedKnees
from kellgren.evaluation.scores import GradeScore, Scores, score
from kellgren.evaluation.selective import BandScore, Selective, score_words, selective

__all__ = [
    "BandScore",
    "Comparison",
    "Coverage",
    "Difference",
    "Estimate",
    "GradeScore",
    "GradedKnees",
    "Grades",
    "MatchedKnees",
    "Scores",
    "Selective",
    "compare",
    "compare_matched",
    "metrics",
    "score",
    "score_words",
    "selective",
]
