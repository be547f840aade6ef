"""The evaluation as one HTML page that needs nothing else: numbers, plots, worst cases."""

from __future__ import annotations

from kellgren.report.page import Report, html_page
from kellgren.report.worst import Case, worst_cases

__all__ = ["Case", "Report", "html_page", "worst_cases"]
