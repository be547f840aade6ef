"""The sides that `listen` sends back: those of the header's orientation, or none."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from bundle_factory import make_bundle
from kellgren.ensemble import Ensemble
from kellgren.imaging.radiograph import read_radiograph
from kellgren.pacs.sender import Peer
from kellgren.pacs.spool import counts
from kellgren.pacs.station import Station
from pacs_network import AnswerPeer, eventually, report_texts, send, sides_of, write_films

# pynetdicom leaves the sockets of connections that failed to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
FILM = Path(__file__).parents[1] / "frames" / "both.png"
BOTH_KNEES = {"ImageLaterality": "B", "AnatomicRegionSequence": []}


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    yield Ensemble(make_bundle(tmp_path_factory.mktemp("models") / "tiny"))
    gc.collect()


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    """Both knees of a patient as delivered: the film's left shows the right knee."""
    return np.rint(read_radiograph(FILM).pixels * 4095).astype(np.uint16)


def answered(
    folder: Path, pixels: np.ndarray, ensemble: Ensemble, **elements: Any
) -> dict[str, Dataset]:
    """What comes back on one film, by modality; of two captures the last."""
    peer = AnswerPeer()
    address = Peer.parse(peer.address)
    films = write_films(folder / "films", pixels, 1, **elements)
    with Station(ensemble, folder / "spool", address, address=("127.0.0.1", 0)) as station:
        assert send(station.port, films) == [0]
        assert eventually(lambda: counts(folder / "spool")["answered"] == 1)
    peer.close()
    return {made.Modality: made for made in peer.kept}


@pytest.mark.parametrize(
    ("transform", "orientation", "sides"),
    [
        (np.array, ["L", "F"], ["Right", "Left"]),
        (np.array, [], ["Right", "Left"]),
        (np.fliplr, ["R", "F"], ["Left", "Right"]),
        (np.fliplr, ["RA", "FP"], ["Left", "Right"]),
        (lambda film: np.rot90(film, 2), ["R", "H"], ["Left", "Right"]),
        (np.array, ["R", "H"], ["", ""]),
        (np.array, ["F", "L"], ["", ""]),
    ],
)
def test_the_report_has_the_sides_of_the_headers_orientation(
    tmp_path: Path,
    ensemble: Ensemble,
    film: np.ndarray,
    transform: Any,
    orientation: list[str],
    sides: list[str],
) -> None:
    pixels = np.ascontiguousarray(transform(film))
    made = answered(tmp_path, pixels, ensemble, PatientOrientation=orientation, **BOTH_KNEES)
    assert sides_of(made["SR"]) == sides
    regions = [segment.AnatomicRegionSequence[0] for segment in made["SEG"].SegmentSequence]
    coded = [
        region.AnatomicRegionModifierSequence[0].CodeMeaning
        if "AnatomicRegionModifierSequence" in region
        else ""
        for region in regions
    ]
    assert coded == sides
    words = [
        annotation.TextObjectSequence[0].UnformattedTextValue.split(":")[0]
        for annotation in made["PR"].GraphicAnnotationSequence
    ]
    assert words == [side[:1] or "side unknown" for side in sides]
    assert made["PR"].Laterality == ""
    assert made["OT"].Laterality == sides[1][:1]


def test_a_contradicted_side_is_sent_as_none(
    tmp_path: Path, ensemble: Ensemble, film: np.ndarray
) -> None:
    elements = {"ImageLaterality": "L", "AnatomicRegionSequence": []}
    mirrored = np.ascontiguousarray(np.fliplr(film))
    made = answered(tmp_path, mirrored, ensemble, PatientOrientation=["R", "F"], **elements)
    assert sides_of(made["SR"]) == ["Left", ""]
    said = report_texts(made["SR"], "Algorithm Parameters")
    assert any("side unknown: ImageLaterality says left" in text for text in said)
