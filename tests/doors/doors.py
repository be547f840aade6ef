"""What the three doors say of a film: the command line, the HTTP API, `kellgren listen`."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from starlette.testclient import TestClient

from command_line import kellgren
from kellgren.ensemble import Ensemble
from kellgren.pacs.sender import Peer
from kellgren.pacs.spool import counts
from kellgren.pacs.station import Station
from kellgren.web.app import Application
from kellgren.web.storage.messages import (
    GRADER_MESSAGE,
    AnswerHeader,
    Upload,
    decoded_answer,
    encoded_answer,
)
from kellgren.web.workers.grader import read_case
from pacs_network import AnswerPeer, eventually, report_texts, send, sides_of

_SIDES = {"Right": "R", "Left": "L", "": ""}


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said of one film.

    Attributes:
        sides: of the graded knees, from the film's left to its right; empty words: unknown.
        refused: why joints, or the whole film, are not graded.
        warnings: of the graded knees.
    """

    sides: tuple[str, ...]
    refused: tuple[str, ...]
    warnings: str


def on_the_command_line(film: Path, bundle: Path | None, folder: Path) -> Heard:
    """`kellgren grade FILM --json`."""
    document = folder / f"{film.name}.json"
    model = () if bundle is None else ("--model", bundle)
    kellgren("grade", film, "--json", document, *model)
    rows = json.loads(document.read_text("utf-8"))["readings"]
    graded = [row for row in rows if row.get("grade") is not None]
    return Heard(
        tuple(row["side"] for row in graded),
        tuple(row["note"] for row in rows if row.get("grade") is None),
        "\n".join(warning for row in graded for warning in row["warnings"]),
    )


def case_over_http(film: Path, ensemble: Ensemble, application: Application) -> dict[str, Any]:
    """Handed in, graded as a grader does it, and asked for again; `application` has no graders."""
    received = application.store.blobs.receive(io.BytesIO(film.read_bytes()))
    (identifier,) = application.store.accept([Upload(*received, film.name, "")], most_open=1)
    job = application.store.claim()
    assert job is not None
    line, _, files = encoded_answer(read_case(ensemble, job)).partition(b"\n")
    header = GRADER_MESSAGE.validate_json(line)
    assert isinstance(header, AnswerHeader)
    cuts = np.cumsum([0, *header.sizes])
    parts = [files[a:b] for a, b in pairwise(cuts)]
    assert application.store.finish(job.id, decoded_answer(header, parts))
    case: dict[str, Any] = TestClient(application.asgi()).get(f"/api/v1/cases/{identifier}").json()
    return case


def over_http(film: Path, ensemble: Ensemble, application: Application) -> Heard:
    """What the server says of a film."""
    case = case_over_http(film, ensemble, application)
    knees = [knee["reading"] for knee in case["knees"]]
    reasons = [joint["note"] for joint in case["refused"]]
    return Heard(
        tuple(knee["side"] for knee in knees),
        tuple(reasons or ([case["note"]] if case["note"] else [])),
        "\n".join(warning for knee in knees for warning in knee["warnings"]),
    )


def reports_from_the_archive(
    films: Sequence[Path], ensemble: Ensemble, folder: Path
) -> dict[Path, Dataset | None]:
    """Sent to `kellgren listen --refusals`; its report of each, if there is one."""
    peer = AnswerPeer()
    with Station(
        ensemble,
        folder / "spool",
        Peer.parse(peer.address),
        address=("127.0.0.1", 0),
        refusals=True,
    ) as station:
        for number, film in enumerate(films, 1):
            assert send(station.port, [film]) == [0]
            assert eventually(lambda number=number: _ended(folder / "spool") == number)
    peer.close()
    reports = {made.StudyInstanceUID: made for made in peer.kept if made.Modality == "SR"}
    studies = {film: str(dcmread(film, stop_before_pixels=True).StudyInstanceUID) for film in films}
    return {film: reports.get(study) for film, study in studies.items()}


def from_the_archive(films: Sequence[Path], ensemble: Ensemble, folder: Path) -> dict[Path, Heard]:
    """What the reports of `kellgren listen --refusals` say."""
    reports = reports_from_the_archive(films, ensemble, folder)
    return {film: _of_report(report) for film, report in reports.items()}


def _ended(spool: Path) -> int:
    return sum(counts(spool)[outcome] for outcome in ("answered", "refused"))


def _of_report(report: Dataset | None) -> Heard:
    if report is None:
        return Heard((), ("no answer",), "")
    sides = sides_of(report)
    if not sides:
        return Heard((), tuple(report_texts(report, "Comment")), "")
    said = report_texts(report, "Algorithm Parameters")
    return Heard(tuple(_SIDES[side] for side in sides), (), "\n".join(said))
