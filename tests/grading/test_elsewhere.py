"""Scores on knees of other hospitals: on the shipped card, and wherever a card is shown."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from bundle_factory import make_bundle
from command_line import ROOT, kellgren
from kellgren.grading.bundle import Bundle, default_bundle, open_bundle, write_bundle
from kellgren.grading.elsewhere import Elsewhere, Score
from kellgren.local_calibration.calibrated_bundle import LocalNames, calibrated_card
from kellgren.local_calibration.estimate import estimate
from kellgren.local_calibration.local_sets import local_grade_sets
from kellgren.training.selection.publish import model_card
from simulated_grades import calibrated_knees
from web_room import opened

DELIVERED = {"accuracy": Score(value=0.4, low=0.3, high=0.5)}
CALIBRATED = {"accuracy": Score(value=0.6, low=0.5, high=0.7)}
OTHER = Elsewhere(
    name="Knees of Example Hospital",
    licence="CC0",
    credit="E. Xample",
    limits="one site",
    knees=50,
    pictures=40,
    order=0.8,
    delivered=DELIVERED,
    calibrated=CALIBRATED,
    high=20,
    high_right=9,
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle whose card has such scores."""
    folder = tmp_path_factory.mktemp("models")
    made = make_bundle(folder / "tiny")
    files = {name: made.path(name) for name in made.card.files}
    return write_bundle(
        made.card.model_copy(update={"elsewhere": (OTHER,)}), files, folder / "stated"
    )


def test_the_card_keeps_them(bundle: Bundle) -> None:
    assert open_bundle(bundle.folder).card.elsewhere == (OTHER,)


def test_bundle_show_prints_them_with_their_limits(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert kellgren("bundle", "show", bundle.folder) == 0
    told = capsys.readouterr().out
    for words in (
        "50 knees on 40 pictures: Knees of Example Hospital (E. Xample, CC0)",
        "0.400 (0.300 to 0.500) as delivered, 0.600 (0.500 to 0.700) calibrated to the readers",
        "of 20 knees of high certainty 9 have the readers' grade",
        "one site",
    ):
        assert words in told


def test_the_model_card_has_them() -> None:
    card = open_bundle(default_bundle()).card.model_copy(update={"elsewhere": (OTHER,)})
    told = model_card(card)
    assert "| accuracy | 0.400 (0.300 to 0.500) | 0.600 (0.500 to 0.700) |" in told
    assert "Limits: one site." in told
    assert "## Elsewhere" not in model_card(card.model_copy(update={"elsewhere": ()}))


def test_a_local_calibration_drops_them_because_it_changes_the_grades(bundle: Bundle) -> None:
    told, grades, patients = calibrated_knees(60)
    made = estimate(told, np.minimum(grades + 1, 4), patients, resamples=50)
    sets = local_grade_sets(made.after, made.truth, made.patients, None)
    assert calibrated_card(bundle, made, sets, LocalNames("Mine")).elsewhere == ()


def test_the_server_tells_them(bundle: Bundle, tmp_path: Path) -> None:
    about = TestClient(opened(bundle.folder, tmp_path).asgi()).get("/api/v1/about").json()
    assert about["model"]["elsewhere"] == [OTHER.model_dump()]


def test_the_shipped_card_has_those_of_the_table_in_results() -> None:
    with gzip.open(ROOT / "results" / "elsewhere.csv.gz", "rt", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if not row["note"]]
    assert len(rows) > 100
    right = np.array(
        [int(np.argmax([float(r[f"p{g}"]) for g in range(5)])) == int(r["expert1"]) for r in rows]
    )
    one_knee = np.array([row["view"] == "one_knee" for row in rows])
    every, alone = open_bundle(default_bundle()).card.elsewhere
    for told, among in ((every, np.ones(len(rows), dtype=bool)), (alone, one_knee)):
        assert told.knees == among.sum()
        assert told.delivered["accuracy"].value == pytest.approx(right[among].mean(), abs=1e-4)
        assert "one site, two readers" in told.limits
