"""The evaluation as one HTML page that needs nothing else: numbers, plots, worst cases."""

from __future__ import annotations

from kellgren.report.map_test import MapTest, map_test
from kellgren.report.page import Report, html_page
from kellgren.report.worst import Case, worst_cases

__all__ = ["Case", "MapTest", "Report", "html_page", "map_test", "worst_cases"]
