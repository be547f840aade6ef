"""One identifier, several contents: each is answered once, under identifiers of its own."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread, uid

from bundle_factory import make_bundle
from command_line import EXAMPLES
from kellgren.ensemble import Ensemble
from kellgren.pacs.sender import Peer
from kellgren.pacs.spool import counts
from kellgren.pacs.station import Station
from pacs_network import AnswerPeer, eventually, send, write_films

# pynetdicom leaves the sockets of connections that failed to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    yield Ensemble(make_bundle(tmp_path_factory.mktemp("models") / "tiny"))
    gc.collect()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    knee = np.asarray(Image.open(EXAMPLES / "9177337R.png")).astype(np.uint16) * 16
    return dcmread(write_films(tmp_path_factory.mktemp("films"), knee, 1)[0])


def other_pixels(film: Dataset) -> None:
    pixels = np.frombuffer(film.PixelData, np.uint16).reshape(film.Rows, film.Columns)
    film.PixelData = np.ascontiguousarray(pixels[:, ::-1]).tobytes()


def other_patient(film: Dataset) -> None:
    film.PatientName, film.PatientID = "Other^Person", "CANARY-OTHER"


def other_study(film: Dataset) -> None:
    film.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.99"


def other_encoding(film: Dataset) -> None:
    film.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian


def router_remarks(film: Dataset) -> None:
    film.add_new((0x0013, 0x0010), "LO", "A ROUTER")
    film.add_new((0x0013, 0x1010), "LO", "passed")


def sent(
    folder: Path, ensemble: Ensemble, films: list[Dataset], answers: int
) -> tuple[AnswerPeer, list[str]]:
    """What the archive gets on films that come one after the other, and the log."""
    archive, events = AnswerPeer(), list[str]()
    with Station(
        ensemble,
        folder / "spool",
        Peer.parse(archive.address),
        address=("127.0.0.1", 0),
        report=events.append,
    ) as station:
        for made in films:
            assert send(station.port, [made]) == [0]
        assert eventually(lambda: counts(folder / "spool")["answered"] == answers)
    archive.close()
    return archive, events


@pytest.mark.parametrize("change", [other_pixels, other_patient, other_study])
def test_other_content_gets_an_answer_of_its_own(
    tmp_path: Path, ensemble: Ensemble, film: Dataset, change: Callable[[Dataset], None]
) -> None:
    other = copy.deepcopy(film)
    change(other)
    archive, events = sent(tmp_path, ensemble, [film, other, film, other], 2)
    assert len(archive.got) == 8
    assert len({identifier for _, _, identifier, _ in archive.got}) == 8
    reports = [made for made in archive.kept if made.Modality == "SR"]
    assert [made.PatientName for made in reports] == [film.PatientName, other.PatientName]
    assert [made.StudyInstanceUID for made in reports] == [
        film.StudyInstanceUID,
        other.StudyInstanceUID,
    ]
    told = [line.partition(" ")[2][8:] for line in events if line.startswith("received")]
    said = ", with other content than before: it gets an answer of its own"
    assert told == ["", said, " again", " again"]
    assert not any("CANARY" in line or "Other" in line for line in events)


@pytest.mark.parametrize("change", [other_encoding, router_remarks])
def test_a_film_that_is_only_written_differently_yields_the_same_objects(
    tmp_path: Path, ensemble: Ensemble, film: Dataset, change: Callable[[Dataset], None]
) -> None:
    other = copy.deepcopy(film)
    change(other)
    archive, _ = sent(tmp_path, ensemble, [film, other], 2)
    assert len(archive.got) == 8
    assert len({identifier for _, _, identifier, _ in archive.got}) == 4
