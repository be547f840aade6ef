"""Films that are refused get no answer, or a report that says so; doubtful ones a warning."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from highdicom import sr
from PIL import Image
from pydicom import uid

from bundle_factory import make_bundle
from command_line import EXAMPLES
from dicom_headers import CANARIES
from documented_commands import parse
from kellgren.ensemble import Ensemble
from kellgren.localisation.film import FORCED
from kellgren.output.dicom.answer import answer
from kellgren.output.dicom.source import read_source
from kellgren.output.dicom.structured_report import refusal_report
from kellgren.pacs.sender import Peer
from kellgren.pacs.spool import counts
from kellgren.pacs.station import Station
from pacs_network import AnswerPeer, eventually, report_texts, send, write_films

# pynetdicom leaves the sockets of connections that failed to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", autouse=True)
def _leave_no_socket_to_others() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Ensemble:
    return Ensemble(make_bundle(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture
def peer() -> Iterator[AnswerPeer]:
    archive = AnswerPeer()
    yield archive
    archive.close()


@pytest.fixture(scope="module")
def knee() -> np.ndarray:
    return np.asarray(Image.open(EXAMPLES / "9177337R.png")).astype(np.uint16) * 16


def received(
    folder: Path, films: list[Path], ensemble: Ensemble, peer: AnswerPeer, *, refusals: bool
) -> list[str]:
    """What the station says while it does with the films whatever it does."""
    events: list[str] = []
    with Station(
        ensemble,
        folder / "spool",
        Peer.parse(peer.address),
        address=("127.0.0.1", 0),
        refusals=refusals,
        report=events.append,
    ) as station:
        assert set(send(station.port, films)) == {0}
        done = ("answered", "refused")
        assert eventually(lambda: sum(counts(folder / "spool")[it] for it in done) == len(films))
    return events


OBJECTIONS = [
    ({"ViewPosition": "LL"}, "ViewPosition is LL"),
    ({"BodyPartExamined": "CHEST", "AnatomicRegionSequence": []}, "BodyPartExamined is CHEST"),
    ({"BodyPartExamined": "PATELLA", "ViewPosition": "AXIAL"}, "ViewPosition is AXIAL"),
    ({"Modality": "MR"}, "Modality is MR"),
    ({"PatientAge": "007Y"}, "age is below 18 years"),
]


@pytest.mark.parametrize(
    ("elements", "reason"), OBJECTIONS, ids=[reason for _, reason in OBJECTIONS]
)
@pytest.mark.parametrize("refusals", [False, True])
def test_a_film_that_its_header_refuses(
    tmp_path: Path,
    ensemble: Ensemble,
    peer: AnswerPeer,
    knee: np.ndarray,
    elements: dict[str, Any],
    reason: str,
    refusals: bool,
) -> None:
    films = write_films(tmp_path / "films", knee, 1, **elements)
    events = received(tmp_path, films, ensemble, peer, refusals=refusals)

    assert counts(tmp_path / "spool")["refused"] == 1
    (record,) = (tmp_path / "spool" / "done").glob("*.json")
    noted = json.loads(record.read_text())
    assert reason in noted["reason"]
    assert any(reason in line for line in events)
    assert not any(": is refused: " in line for line in events), "refused is said once a line"
    assert len(peer.kept) == refusals == noted.get("objects", 0)
    for report in peer.kept:
        (comment,) = report_texts(report, "Comment")
        assert reason in comment
        assert "--force" not in comment
        assert report.PatientName == CANARIES["PatientName"]
        assert "KL0" not in str(report)
    everything = "\n".join([*events, record.read_text()])
    assert not any(canary in everything for canary in [*CANARIES.values(), "CANARY"])


def test_a_picture_that_shows_no_knee_is_answered_with_a_refusal_too(
    tmp_path: Path, ensemble: Ensemble, peer: AnswerPeer, knee: np.ndarray
) -> None:
    noise = np.random.default_rng(0).integers(0, 4096, (300, 300)).astype(np.uint16)
    (film,) = write_films(tmp_path / "films", noise, 1)
    received(tmp_path, [film], ensemble, peer, refusals=True)
    (report,) = peer.kept
    assert "no knee joint" in report_texts(report, "Comment")[0]
    assert list((tmp_path / "spool" / "outbox").iterdir()) == []


def test_the_report_of_a_refusal_is_a_report_after_tid_1500(
    tmp_path: Path, ensemble: Ensemble, knee: np.ndarray
) -> None:
    (film,) = write_films(tmp_path / "films", knee, 1)
    source = read_source(film)
    made = refusal_report("is refused: ViewPosition is LL", source, ensemble.model)
    made.save_as(tmp_path / "report.dcm", enforce_file_format=True)

    read = sr.srread(tmp_path / "report.dcm")
    (group,) = read.content.get_image_measurement_groups()
    values = {e.name.value: e.value.value for e in group.get_qualitative_evaluations()}
    assert values["KL"] == "NOT-GRADED"
    assert values["STATUS"] == "RESEARCH"
    assert made.StudyInstanceUID == source.identity.StudyInstanceUID
    again = refusal_report("is refused: ViewPosition is LL", source, ensemble.model)
    assert again.SOPInstanceUID == made.SOPInstanceUID
    readings = ensemble.read(film)
    assert made.SOPInstanceUID not in {part.SOPInstanceUID for part in answer(readings, source)}


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy (dicom3tools) is not installed")
def test_a_validator_finds_no_error_in_it(
    tmp_path: Path, ensemble: Ensemble, knee: np.ndarray
) -> None:
    (film,) = write_films(tmp_path / "films", knee, 1)
    made = refusal_report("is refused: ViewPosition is LL", read_source(film), ensemble.model)
    made.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    done = subprocess.run(
        ["dciodvfy", tmp_path / "report.dcm"], capture_output=True, text=True, check=False
    )
    said = (done.stdout + done.stderr).splitlines()
    assert said
    assert [line for line in said if line.startswith("Error")] == []


@pytest.mark.parametrize(
    ("elements", "warning"),
    [
        (
            {
                "SOPClassUID": uid.DigitalXRayImageStorageForProcessing,
                "PresentationIntentType": "FOR PROCESSING",
            },
            "raw data for processing",
        ),
        ({"QualityControlImage": "YES"}, "QualityControlImage is YES"),
    ],
)
def test_what_may_be_another_thing_is_answered_with_a_warning(
    tmp_path: Path,
    ensemble: Ensemble,
    peer: AnswerPeer,
    knee: np.ndarray,
    elements: dict[str, Any],
    warning: str,
) -> None:
    films = write_films(tmp_path / "films", knee, 1, **elements)
    received(tmp_path, films, ensemble, peer, refusals=False)
    (report,) = [made for made in peer.kept if made.Modality == "SR"]
    assert any(warning in text for text in report_texts(report, "Algorithm Parameters"))


def test_a_forced_reading_is_marked_in_every_object(
    tmp_path: Path, ensemble: Ensemble, knee: np.ndarray
) -> None:
    (film,) = write_films(tmp_path / "films", knee, 1, ViewPosition="LL")
    (good,) = write_films(tmp_path / "good", knee, 1)
    forced = answer(ensemble.read(film, force=True), read_source(film))
    usual = answer(ensemble.read(good), read_source(good))
    report, capture, segments, state = forced
    assert any(
        text.startswith(f"warning: {FORCED}")
        for text in report_texts(report, "Algorithm Parameters")
    )
    assert "forced" in segments.SegmentSequence[0].SegmentDescription
    (annotation,) = state.GraphicAnnotationSequence
    assert "forced" in annotation.TextObjectSequence[0].UnformattedTextValue
    assert "forced" not in str(usual)
    changed = (capture.pixel_array != usual[1].pixel_array).any(axis=(1, 2))
    assert np.flatnonzero(changed).min() > 600  # below the pictures, one line more
    assert changed.any()


def test_the_option_is_the_command_lines() -> None:
    parse("kellgren listen --answer-to 127.0.0.1:4242/ORTHANC --refusals")
