"""Stored values to grey values, without a file: tables, rescaling, windows, padding at their edges.

`test_dicom_input` reads whole files; here are the laws, and elements that a file may have wrong.
"""

from __future__ import annotations

import tracemalloc
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from dicom_factory import lut_item
from kellgren.imaging.dicom.grey_values import grey_values, is_inverted, lookup_table, window
from kellgren.imaging.dicom.header import Header, pixel_spacing
from kellgren.imaging.picture import RejectedPicture

RAMP = np.arange(-2048, 2048, dtype=np.int16).reshape(64, 64)
NOTHING_SHOWN = "the contrast stored in the file shows nothing and is ignored"


def header(**elements: Any) -> Header:
    dataset = Dataset()
    dataset.set_original_encoding(False, True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom, about the values that are meant to be wrong
        for keyword, value in ({"PhotometricInterpretation": "MONOCHROME2"} | elements).items():
            setattr(dataset, keyword, value)
    return Header(dataset)


def grey(stored: np.ndarray = RAMP, **elements: Any) -> np.ndarray:
    return grey_values(stored, header(**elements)).pixels


WINDOWS = st.fixed_dictionaries(
    {
        "WindowCenter": st.integers(-3000, 3000),
        "WindowWidth": st.integers(1, 5000),
        "VOILUTFunction": st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
        "RescaleSlope": st.sampled_from([1, 2, 0.5]),
        "RescaleIntercept": st.integers(-1000, 1000),
    }
)


@settings(max_examples=50)
@given(WINDOWS)
def test_grey_values_rise_with_stored_ones_and_stay_within_0_and_1(
    elements: dict[str, Any],
) -> None:
    pixels = grey(**elements).ravel()
    assert pixels.dtype == np.float32
    assert 0.0 <= pixels[0] < pixels[-1] <= 1.0
    assert (np.diff(pixels) >= 0).all()


@settings(max_examples=50)
@given(WINDOWS)
def test_monochrome1_is_the_negative(elements: dict[str, Any]) -> None:
    positive, negative = (
        grey(PhotometricInterpretation=f"MONOCHROME{n}", **elements) for n in "21"
    )
    np.testing.assert_allclose(negative, 1 - positive, atol=1e-6)


@settings(max_examples=50)
@given(st.integers(-1500, 1500), st.integers(2, 3000), st.integers(-500, 500))
def test_a_window_moves_with_the_intercept(centre: int, width: int, intercept: int) -> None:
    plain = grey(WindowCenter=centre, WindowWidth=width)
    moved = grey(WindowCenter=centre + intercept, WindowWidth=width, RescaleIntercept=intercept)
    assert plain.min() < plain.max()
    np.testing.assert_allclose(moved, plain, atol=1e-4)


@pytest.mark.parametrize(
    ("function", "width", "used", "warned"),
    [
        ("LINEAR", 1, "LINEAR", None),
        ("LINEAR", 0.99, None, "WindowWidth"),
        ("LINEAR_EXACT", 0.99, "LINEAR_EXACT", None),
        ("LINEAR_EXACT", 0, None, "WindowWidth"),
        ("SIGMOID", 0.5, "SIGMOID", None),
        ("SIGMOID", -1, None, "WindowWidth"),
        ("CUBIC", 50, "LINEAR", "VOILUTFunction"),
    ],
)
def test_widths_at_their_limits(
    function: str, width: float, used: str | None, warned: str | None
) -> None:
    asked = header(WindowCenter=10, WindowWidth=width, VOILUTFunction=function)
    chosen = window(asked)
    assert (None if chosen is None else chosen.function) == used
    assert asked.warnings == ([] if warned is None else [f"{warned} cannot be used and is ignored"])


@pytest.mark.parametrize("alone", [{"WindowCenter": 10}, {"WindowWidth": 10}])
def test_half_a_window_is_none(alone: dict[str, int]) -> None:
    np.testing.assert_array_equal(grey(**alone), grey())


@pytest.mark.parametrize("centre", [-9000, 9000])
def test_a_window_beyond_all_values_is_left_for_the_whole_range(centre: int) -> None:
    asked = header(WindowCenter=centre, WindowWidth=100)
    np.testing.assert_array_equal(grey_values(RAMP, asked).pixels, grey())
    assert asked.warnings == [NOTHING_SHOWN]


def test_a_table_without_contrast_is_left_for_the_window() -> None:
    flat = lut_item(np.full(100, 7, np.uint16), first=0, bits=8)
    asked = header(VOILUTSequence=[flat], WindowCenter=0, WindowWidth=100)
    np.testing.assert_array_equal(
        grey_values(RAMP, asked).pixels, grey(WindowCenter=0, WindowWidth=100)
    )
    assert asked.warnings == [NOTHING_SHOWN]


@settings(max_examples=50)
@given(st.integers(-1000, 1000), st.integers(2, 500), st.sampled_from([8, 10, 12, 16]))
def test_a_table_holds_its_first_and_last_entry_beyond_its_ends(
    first: int, length: int, bits: int
) -> None:
    entries = np.linspace(2, 2**bits - 2, length).astype(np.uint16)
    pixels = grey(VOILUTSequence=[lut_item(entries, first, bits)]).ravel()
    at = np.clip(RAMP.ravel().astype(int) - first, 0, length - 1)
    np.testing.assert_allclose(pixels, entries[at] / (2**bits - 1), atol=1e-6)


def test_a_table_of_65536_entries_says_0() -> None:
    item = lut_item(np.arange(65536).astype(np.uint16), first=0, bits=16)
    assert item.LUTDescriptor[0] == 0
    table = lookup_table(header(VOILUTSequence=[item]), "VOILUTSequence")
    assert table is not None
    assert (len(table.entries), table.first, table.bits) == (65536, 0, 16)


def test_a_first_value_stored_as_unsigned_may_be_negative() -> None:
    entries = (np.arange(4096) ** 2 // 4096).astype(np.uint16)
    wrapped = lut_item(entries, first=2**16 - 2048, bits=12)
    signed = lut_item(entries, first=-2048, bits=12)
    np.testing.assert_array_equal(grey(VOILUTSequence=[wrapped]), grey(VOILUTSequence=[signed]))


@pytest.mark.parametrize("keyword", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize("part", [slice(500, 900), slice(3000, 4000)])
def test_a_table_that_rises_and_falls_is_warned_of(keyword: str, part: slice) -> None:
    entries = np.arange(4096, dtype=np.uint16)
    entries[part] = 2048
    asked = header(**{keyword: [lut_item(entries, first=-2048, bits=12)]})
    grey_values(RAMP, asked)
    assert asked.warnings == [f"{keyword} neither rises nor falls throughout: check the greys"]


@pytest.mark.parametrize("falls", [False, True])
def test_only_the_part_of_a_table_that_is_used_has_to_rise_or_fall(falls: bool) -> None:
    entries = np.zeros(8192, np.uint16)  # filled up behind what a detector gives
    entries[:4096] = np.arange(4096)[:: -1 if falls else 1]
    entries[100] += 5  # as rounding does
    asked = header(VOILUTSequence=[lut_item(entries, first=-2048, bits=12)])
    grey_values(RAMP, asked)
    assert asked.warnings == []


@pytest.mark.parametrize(
    ("length", "bits"), [(50, 12), (50, 8), (98, 16), (49, 7), (49, 17), (49, 0)]
)
def test_a_table_that_is_broken_is_ignored_with_a_warning(length: int, bits: int) -> None:
    item = lut_item(np.arange(49, dtype=np.uint16), first=0, bits=bits)
    item.LUTDescriptor = [length, 0, bits]  # the data stay those of 49 entries of 2 bytes
    asked = header(VOILUTSequence=[item])
    assert lookup_table(asked, "VOILUTSequence") is None
    assert asked.warnings == ["VOILUTSequence cannot be used and is ignored"]


@pytest.mark.parametrize("length", [2, 49, 50])
def test_entries_of_one_byte_may_be_padded_to_an_even_number(length: int) -> None:
    entries = np.arange(length, dtype=np.uint8)
    item = lut_item(entries, first=0, bits=8)
    item.LUTData = entries.tobytes() + b"\0" * (length % 2)
    table = lookup_table(header(VOILUTSequence=[item]), "VOILUTSequence")
    assert table is not None
    np.testing.assert_array_equal(table.entries, entries)


def test_a_modality_table_takes_the_place_of_rescaling() -> None:
    item = lut_item(np.arange(0, 8192, 2, dtype=np.uint16), first=-2048, bits=16)
    window = {"WindowCenter": 4096, "WindowWidth": 8191}
    looked_up = grey(ModalityLUTSequence=[item], RescaleSlope=9, RescaleIntercept=5, **window)
    rescaled = grey(RescaleSlope=2, RescaleIntercept=4096, **window)
    np.testing.assert_allclose(looked_up, rescaled, atol=1e-6)


def test_a_slope_of_0_counts_as_1_with_a_warning() -> None:
    asked = header(RescaleSlope=0)
    np.testing.assert_array_equal(grey_values(RAMP, asked).pixels, grey())
    assert asked.warnings == ["RescaleSlope cannot be used and is ignored"]


@pytest.mark.parametrize("limits", [(-2048, -1900), (-1900, -2048), (-2048, None)])
def test_padding_is_a_range_in_either_order_or_one_value(limits: tuple[int, int | None]) -> None:
    value, limit = limits
    elements = {"PixelPaddingValue": value} | (
        {} if limit is None else {"PixelPaddingRangeLimit": limit}
    )
    pixels = grey(PhotometricInterpretation="MONOCHROME1", **elements).ravel()
    padded = 149 if limit is not None else 1
    assert (pixels[:padded] == 0).all()
    assert (pixels[padded], pixels[-1]) == (1.0, 0.0)


def test_padding_lies_around_a_picture_and_not_inside_it() -> None:
    rows, columns = np.mgrid[-30:31, -30:31]
    inside = rows**2 + columns**2 < 25**2  # as a round detector sees
    spots = (rows % 7 == 0) & (columns % 5 == 0) & (rows**2 + columns**2 < 20**2)
    stored = np.where(inside & ~spots, 900 + columns, 1000)
    pixels = grey(stored, PixelPaddingValue=1000, WindowCenter=950, WindowWidth=200)
    assert (pixels[~inside] == 0).all()
    assert (pixels[spots] > 0.7).all()


def test_a_picture_of_padding_alone_is_black() -> None:
    assert (grey(np.full((32, 32), 5), PixelPaddingValue=5) == 0).all()


# --- elements ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"), [("2", 2), ("2.0", 2), (None, 9), ("2.5", None), ("-1", None)]
)
def test_a_count_is_whole_and_not_negative(value: str | None, expected: int | None) -> None:
    asked = header() if value is None else header(RescaleSlope=value)
    if expected is None:
        with pytest.raises(RejectedPicture, match="RescaleSlope is missing or is no count"):
            asked.count("RescaleSlope", default=9)
    else:
        assert asked.count("RescaleSlope", default=9) == expected
    with pytest.raises(RejectedPicture):
        header().count("RescaleSlope")


def test_a_warning_is_given_once_and_never_the_value() -> None:
    asked = header()
    asked.dataset.add_new("PixelSpacing", "LO", "CANARY")
    for _ in range(2):
        assert asked.number("PixelSpacing") is None
    assert asked.warnings == ["PixelSpacing cannot be used and is ignored"]


@pytest.mark.parametrize(
    ("factor", "spacing", "warned"),
    [(1, 0.2, False), (2, 0.1, False), (3, 0.2 / 3, False), (0.9, 0.2, True), (3.1, 0.2, True)],
)
def test_magnification_is_divided_out_where_it_can_be(
    factor: float, spacing: float, warned: bool
) -> None:
    asked = header(ImagerPixelSpacing=[0.2, 0.2], EstimatedRadiographicMagnificationFactor=factor)
    found = pixel_spacing(asked)
    assert found is not None
    assert (found.row_mm, found.column_mm) == pytest.approx((spacing, spacing))
    assert bool(asked.warnings) is warned


@pytest.mark.parametrize("spacing", [[0.009, 0.2], [0.2, 5.1], [0.2], [0.2, 0.2, 0.2]])
def test_a_spacing_that_cannot_be_is_ignored(spacing: list[float]) -> None:
    asked = header(PixelSpacing=spacing, NominalScannedPixelSpacing=[0.01, 5])
    found = pixel_spacing(asked)
    assert found is not None
    assert (found.row_mm, found.column_mm) == (0.01, 5.0)
    assert asked.warnings == ["PixelSpacing cannot be used and is ignored"]


@pytest.mark.parametrize("shape", ["", "IDENTITY", "INVERSE", "OTHER"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_the_shape_decides_where_it_is_one(shape: str, photometric: str) -> None:
    asked = header(PhotometricInterpretation=photometric, PresentationLUTShape=shape)
    by_shape = {"IDENTITY": False, "INVERSE": True}.get(shape)
    by_photometric = photometric == "MONOCHROME1"
    assert is_inverted(asked) is (by_photometric if by_shape is None else by_shape)
    assert bool(asked.warnings) is (by_shape not in (None, by_photometric))


@pytest.mark.parametrize(
    ("elements", "most"),
    [
        ({"WindowCenter": 1000, "WindowWidth": 2000}, 12),
        ({"WindowCenter": 1000, "WindowWidth": 2000, "VOILUTFunction": "SIGMOID"}, 12),
        ({"VOILUTSequence": [lut_item(np.arange(4096, dtype=np.uint16), first=0, bits=12)]}, 16),
    ],
    ids=["window", "sigmoid", "table"],
)
def test_grey_values_of_a_large_picture_take_little_memory(
    elements: dict[str, Any], most: int
) -> None:
    stored = np.resize(np.arange(4096, dtype=np.uint16), (2400, 2400))
    tracemalloc.start()
    try:
        grey(stored, **elements)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most * stored.size  # bytes; formulas of all values at once took 13 to 17
