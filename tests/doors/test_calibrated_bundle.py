"""A locally calibrated bundle opens in `grade`, `serve` and `listen`, and each says what it is."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from starlette.testclient import TestClient

from bundle_factory import make_bundle
from command_line import EXAMPLES, kellgren
from dicom_factory import write_dicom
from dicom_headers import DX, complete
from doors import case_over_http, reports_from_the_archive
from kellgren.ensemble import Ensemble
from kellgren.grading.bundle import Bundle
from kellgren.local_calibration.calibrated_bundle import (
    LocalNames,
    calibrated_card,
    write_calibrated,
)
from kellgren.local_calibration.estimate import estimate
from kellgren.local_calibration.local_sets import local_grade_sets
from pacs_network import report_texts
from simulated_grades import calibrated_knees
from web_room import opened

# pynetdicom leaves the sockets of connections that failed to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SAID = "Elsewhere 2026, 60 knees of 30 patients"


@pytest.fixture(scope="module", autouse=True)
def _leave_no_socket_to_others() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def calibrated(plain: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Calibrated to a reader who gives one grade more than the model's labels."""
    told, grades, patients = calibrated_knees(60)
    made = estimate(told, np.minimum(grades + 1, 4), patients, resamples=50)
    sets = local_grade_sets(made.after, made.truth, made.patients, plain.card.grade_sets)
    card = calibrated_card(plain, made, sets, LocalNames("Elsewhere 2026"))
    return write_calibrated(plain, card, tmp_path_factory.mktemp("models") / "calibrated")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    knee = np.asarray(Image.open(EXAMPLES / "9177337R.png")).astype(np.uint16) * 16
    path = tmp_path_factory.mktemp("films") / "film.dcm"
    return write_dicom(path, knee, bits=12, **complete(DX))


@pytest.fixture(scope="module")
def expected(plain: Bundle, calibrated: Bundle, film: Path) -> tuple[float, ...]:
    """The plain bundle's probabilities with the shift that was fitted, which changes them."""
    (before,) = Ensemble(plain).read(film)
    local = calibrated.card.local_calibration
    assert local is not None
    after = local.shift.apply(np.array(before.probabilities))
    assert np.abs(after - before.probabilities).max() > 0.002  # the tiny network is very sure
    return tuple(float(share) for share in after)


def probabilities_of(report: Dataset) -> list[float]:
    """The report's numbers P0 to P4, in order."""
    found = {}
    for item in report.get("ContentSequence", []):
        if item.ValueType == "NUM":
            (measured,) = item.MeasuredValueSequence
            found[item.ConceptNameCodeSequence[0].CodeValue] = float(measured.NumericValue)
        found |= {f"P{grade}": share for grade, share in enumerate(probabilities_of(item))}
    return [found[f"P{grade}"] for grade in range(5) if f"P{grade}" in found]


def test_grade_opens_it(
    calibrated: Bundle,
    film: Path,
    expected: tuple[float, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    document = tmp_path / "g.json"

    assert kellgren("grade", film, "--model", calibrated.folder, "--json", document) == 0

    assert f"Calibrated to local readers: {SAID}" in capsys.readouterr().out
    told = json.loads(document.read_text("utf-8"))
    assert told["model"]["local_calibration"] == SAID
    assert told["readings"][0]["probabilities"] == pytest.approx(expected, abs=1e-5)


def test_serve_opens_it(
    calibrated: Bundle, film: Path, expected: tuple[float, ...], tmp_path: Path
) -> None:
    application = opened(calibrated.folder, tmp_path)

    case = case_over_http(film, Ensemble(calibrated), application)

    (knee,) = case["knees"]
    assert knee["reading"]["model"]["local_calibration"] == SAID
    assert knee["reading"]["probabilities"] == pytest.approx(expected, abs=1e-5)
    about = TestClient(application.asgi()).get("/api/v1/about").json()
    assert about["scale"].endswith("as the readers of Elsewhere 2026 give them")


def test_listen_opens_it(
    calibrated: Bundle, film: Path, expected: tuple[float, ...], tmp_path: Path
) -> None:
    report = reports_from_the_archive([film], Ensemble(calibrated), tmp_path)[film]

    assert report is not None
    said = "\n".join(report_texts(report, "Algorithm Parameters"))
    assert SAID in said
    assert probabilities_of(report) == pytest.approx(expected, abs=1e-4)
