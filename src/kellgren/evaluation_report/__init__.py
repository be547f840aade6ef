"""The evaluation as one HTML page that needs nothing else: numbers, plots, worst cases."""

from __future__ import annotations

from kellgren.evaluation_report.map_test import MapTest, map_test
from kellgren.evaluation_report.page import Report, html_page
from kellgren.evaluation_report.worst import Case, graded_by_another, worst_cases

__all__ = [
    "Case",
    "MapTest",
    "Report",
    "graded_by_another",
    "html_page",
    "map_test",
    "worst_cases",
]
