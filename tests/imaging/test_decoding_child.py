"""Decoding in a process of its own gives the same picture, and survives what a decoder does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from damaged_files import picture, small_knee
from dicom_factory import dicom_bytes
from kellgren.cli import listen
from kellgren.errors import UnreadableRadiograph
from kellgren.imaging import decoding_child
from kellgren.imaging.radiograph import read_radiograph
from kellgren.pacs import station


@pytest.fixture
def in_child() -> Iterator[None]:
    with decoding_child.decoding_in_child():
        yield


def files() -> dict[str, bytes]:
    knee = small_knee()
    label = knee.astype(np.uint16) * 16
    label[5:20, 5:60:2] = 65535
    return {
        "label": dicom_bytes(label),
        "dicom": dicom_bytes(
            knee,
            ImageLaterality="L",
            ImagerPixelSpacing=[0.2, 0.1],
            PatientOrientation=["L", "F"],
            BodyPartExamined="CHEST",
        ),
        "colour": picture(np.stack([knee, knee, knee // 2], axis=-1), "JPEG"),
        "tiff": picture(knee, "TIFF", dpi=(200, 200)),
    }


def test_the_picture_is_the_same(in_child: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, data in files().items():
        there = read_radiograph(data)
        with monkeypatch.context() as patch:
            patch.setattr(decoding_child, "_wanted", False)
            here = read_radiograph(data)
        assert np.array_equal(there.pixels, here.pixels), name
        assert (here.outliers is not None) is (name == "label")
        assert np.array_equal(there.outliers, here.outliers), name
        for part in ("side", "spacing", "bit_depth", "warnings", "stretch", "header", "colours"):
            assert getattr(there, part) == getattr(here, part), (name, part)


def test_refusals_are_the_same(in_child: None, monkeypatch: pytest.MonkeyPatch) -> None:
    knee = small_knee()
    for data in (picture(knee, "PNG")[:500], dicom_bytes(knee, SamplesPerPixel=3)):
        with pytest.raises(UnreadableRadiograph) as there:
            read_radiograph(data)
        with monkeypatch.context() as patch:
            patch.setattr(decoding_child, "_wanted", False)
            with pytest.raises(UnreadableRadiograph) as here:
                read_radiograph(data)
        assert str(there.value) == str(here.value)


def test_a_decoder_that_dies_refuses_the_file_only(
    in_child: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding_child.sys, "executable", "/bin/false")
    with pytest.raises(UnreadableRadiograph, match="it ended the decoder of PNG pictures"):
        read_radiograph(picture(small_knee(), "PNG"))


class Entered(Exception):
    """The station would listen now."""


class SpiedStation:
    """Ends where a station would begin, and knows where files are decoded then."""

    in_child: ClassVar[list[bool]] = []

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __enter__(self) -> None:
        self.in_child.append(decoding_child._wanted)
        raise Entered

    def __exit__(self, *_: object) -> None:
        pass


def test_the_station_decodes_in_children_only_and_leaves_the_process_as_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(station, "Station", SpiedStation)
    with pytest.raises(Entered):
        listen._run(*((None, tmp_path) + (None,) * 7))  # type: ignore[arg-type]
    assert SpiedStation.in_child == [True]
    assert not decoding_child._wanted
