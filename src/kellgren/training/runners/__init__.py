"""Runners: processes that do the jobs of a campaign side by side."""
