"""What a file of several frames says of one of them: grey values and spacing in functional groups.

Objects of the newer kind (PS3.3, C.7.6.16) state there what others state at their top level.
"""

from __future__ import annotations

from pydicom import Dataset

from kellgren.imaging.dicom.codes import items
from kellgren.imaging.dicom.header import Header
from kellgren.imaging.dicom.sides import FRAMES

_STATED = {
    "FrameVOILUTSequence": ("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "PixelMeasuresSequence": ("PixelSpacing",),
}


def adopt_frame_groups(header: Header, frame: int) -> None:
    """Lift what the groups say of a frame, else of all frames, to the top level of the data set.

    A group that states a contrast or a quantity replaces the whole of it that stands there.

    Args:
        header: of the file; its data set is changed.
        frame: that is read, from 0.
    """
    shared, of_frames = (items(header, keyword) for keyword in FRAMES)
    for group in (*shared[:1], *of_frames[frame : frame + 1]):
        for sequence, keywords in _STATED.items():
            inner = Header(group)
            for item in items(inner, sequence)[:1]:
                _replace(header.dataset, item, keywords)
            header.warnings += inner.warnings


def _replace(dataset: Dataset, item: Dataset, keywords: tuple[str, ...]) -> None:
    stated = [keyword for keyword in keywords if keyword in item]
    if not stated:
        return
    for keyword in keywords:
        if keyword in dataset:
            delattr(dataset, keyword)
    for keyword in stated:
        dataset[keyword] = item[keyword]
