"""DICOM elements read without trust, and what they say of pixel spacing.

An element that cannot be understood is as good as absent: it leaves a warning, and never its value.
"""

from __future__ import annotations

import math
from typing import Any

from pydicom import Dataset

from kellgren.imaging.picture import PLAUSIBLE_MM, PixelSpacing, RejectedPicture


class Header:
    """The elements of one data set, each valid or absent, and the warnings gathered on the way."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.warnings: list[str] = []

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.dataset

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """The element's finite numbers; empty if it is absent or broken, the latter warned of."""
        try:
            value: Any = self.dataset.get(keyword)
            if value is None or value == "":
                return ()
            values = [value] if isinstance(value, str | float | int) else list(value)
            numbers = tuple(float(number) for number in values)
        except Exception:  # pydicom converts on access and raises whatever it meets
            numbers = (math.nan,)
        if not all(math.isfinite(number) for number in numbers):
            self.warn_ignored(keyword)
            return ()
        return numbers

    def number(self, keyword: str) -> float | None:
        """The first of the element's numbers."""
        return next(iter(self.numbers(keyword)), None)

    def count(self, keyword: str, default: int | None = None) -> int:
        """A whole number of at least 0 that the picture can not be read without.

        Raises:
            RejectedPicture: negative, fractional, or absent or broken without a default.
        """
        number = self.number(keyword)
        if number is None and default is not None:
            return default
        if number is None or number < 0 or number != int(number):
            raise RejectedPicture(
                f"is a damaged DICOM file: {keyword} is missing or is no count",
                "Export or copy the picture again.",
            )
        return int(number)

    def word(self, keyword: str) -> str:
        """The element's one value in upper case; empty if it is absent or broken."""
        try:
            return str(self.dataset.get(keyword) or "").strip(" \0").upper()
        except Exception:  # see numbers
            self.warn_ignored(keyword)
            return ""

    def words(self, keyword: str) -> tuple[str, ...]:
        """All of the element's values, each as `word` gives one; none where it is absent."""
        try:
            value: Any = self.dataset.get(keyword)
            if value is None or value == "":
                return ()
            values = [value] if isinstance(value, str) else list(value)
            return tuple(str(one or "").strip(" \0").upper() for one in values)
        except Exception:  # see numbers
            self.warn_ignored(keyword)
            return ()

    def item(self, keyword: str) -> Dataset | None:
        """The first item of a sequence."""
        try:
            return next(iter(self.dataset.get(keyword) or ()), None)
        except Exception:  # see numbers
            self.warn_ignored(keyword)
            return None

    def warn_ignored(self, keyword: str) -> None:
        """Note, once, that an element is there but of no use."""
        warning = f"{keyword} cannot be used and is ignored"
        if warning not in self.warnings:
            self.warnings.append(warning)


def pixel_spacing(header: Header) -> PixelSpacing | None:
    """Millimetres per pixel from the most trustworthy element that has them.

    PixelSpacing is calibrated to the patient, unless it only repeats ImagerPixelSpacing, which is
    measured at the detector; there, knees look larger than they are by the magnification of the
    beam, which is divided out only if the file estimates it.
    """
    calibrated, at_detector, film = (
        _spacing(header, keyword)
        for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    )
    kind = header.word("PixelSpacingCalibrationType")
    if calibrated and (kind or calibrated != at_detector):
        known = f"calibration {kind}" if kind in ("GEOMETRY", "FIDUCIAL") else "calibration unknown"
        return PixelSpacing(*calibrated, f"PixelSpacing ({known})")
    if at_detector:
        return _at_patient(at_detector, header)
    return PixelSpacing(*film, "NominalScannedPixelSpacing") if film else None


def pixel_ratio(header: Header, spacing: PixelSpacing | None) -> float:
    """Height of a pixel over its width; 1 where nothing states another.

    A spacing decides; the standard has PixelAspectRatio, vertical first, only where there is none.
    """
    if spacing is not None:
        return spacing.row_mm / spacing.column_mm
    stated = header.numbers("PixelAspectRatio")
    if not stated:
        return 1.0
    if len(stated) != 2 or min(stated) <= 0:
        header.warn_ignored("PixelAspectRatio")
        return 1.0
    return stated[0] / stated[1]


def _at_patient(at_detector: tuple[float, float], header: Header) -> PixelSpacing:
    keyword = "EstimatedRadiographicMagnificationFactor"
    factor = header.number(keyword)
    if factor is None:
        return PixelSpacing(*at_detector, "ImagerPixelSpacing (at the detector)")
    if not 1 <= factor <= 3:
        header.warn_ignored(keyword)
        return PixelSpacing(*at_detector, "ImagerPixelSpacing (at the detector)")
    row_mm, column_mm = (mm / factor for mm in at_detector)
    return PixelSpacing(row_mm, column_mm, f"ImagerPixelSpacing / {keyword}")


def _spacing(header: Header, keyword: str) -> tuple[float, float] | None:
    numbers = header.numbers(keyword)
    if not numbers:
        return None
    low, high = PLAUSIBLE_MM
    if len(numbers) != 2 or not all(low <= number <= high for number in numbers):
        header.warn_ignored(keyword)
        return None
    return numbers[0], numbers[1]
