"""Which spacing of pixels may be turned into millimetres of joint space, and what is said of it."""

from __future__ import annotations

from kellgren.imaging.picture import PixelSpacing

NONE_STATED = "no millimetres: the file states no distance between pixels"


def trusted_spacing(spacing: PixelSpacing | None) -> tuple[float | None, str]:
    """Millimetres per pixel of the radiograph as it was read, and where they come from.

    Returns:
        ``None`` and the reason where a spacing is missing, or describes a screen or a printer as
        often as a detector. One at the detector or on the film is used, and said to be so: the
        beam magnifies a knee there by 1.05 to 1.2.
    """
    if spacing is None:
        return None, NONE_STATED
    source = spacing.source
    if source == "given":
        return spacing.column_mm, "millimetres by the spacing that was given"
    if source.startswith("ImagerPixelSpacing /"):
        return spacing.column_mm, f"millimetres at the patient by {source}"
    if source.startswith(("ImagerPixelSpacing", "NominalScannedPixelSpacing")):
        where = "on the film" if source.startswith("Nominal") else "at the detector"
        element = source.split(" ")[0]
        return spacing.column_mm, f"millimetres {where} by {element}, the beam's magnification in"
    if source.startswith("PixelSpacing"):
        return spacing.column_mm, f"millimetres by {source}"
    return None, f"no millimetres: {source} need not be that of the detector"
