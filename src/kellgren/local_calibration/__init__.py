"""Calibration to a hospital's own readers: few numbers, fitted, and judged on other patients."""
