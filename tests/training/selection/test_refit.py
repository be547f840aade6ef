"""A bundle that is there gets grade sets and limits on its own knees out of fold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle_factory import make_bundle
from command_line import kellgren
from kellgren.data.manifest import Knee, write_manifest
from kellgren.data.matching import Label, Labels
from kellgren.errors import BundleError, InvalidPredictions
from kellgren.evaluation import score
from kellgren.grades import Grade, Side
from kellgren.grading.bundle import Bundle, open_bundle, write_bundle
from kellgren.grading.grade_sets import fit_grade_sets
from kellgren.grading.naming import HeldOut, fit_naming
from kellgren.grading.voting import softmax
from kellgren.imaging.integrity.fine_detail import fine_detail
from kellgren.imaging.radiograph import read_radiograph
from kellgren.training.selection.cards.measured_detail import measured_range
from kellgren.training.selection.cards.refit import PREDICTIONS, held_out, refitted
from kellgren.training.selection.prediction_table import write_readings
from simulated_grades import Floats, calibrated_knees

COUNT = 340


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, list[Knee], Path]:
    """A bundle of two backbones with its table, its graded knees, and the backbones' tables."""
    folder = tmp_path_factory.mktemp("study")
    told, grades, patients = calibrated_knees(COUNT)
    knees = [
        Knee(folder / f"{who}{'LR'[at % 2]}.png", who, Side("LR"[at % 2]), Grade(grade), "", "x")
        for at, (who, grade) in enumerate(zip(patients, grades.tolist(), strict=True))
    ]
    random = np.random.default_rng(7)
    for backbone in ("tiny-0", "tiny-1"):
        noise = random.normal(0, 0.4, told.shape)
        votes: Floats = softmax(np.log(told + 1e-9) + noise)
        write_readings(knees, votes, folder / "oof" / f"{backbone}.csv.gz")
    write_readings(knees, told, folder / PREDICTIONS)
    made = make_bundle(folder / "made", backbones=2)
    files = {name: made.path(name) for name in made.card.files}
    return (
        write_bundle(made.card, files | {PREDICTIONS: folder / PREDICTIONS}, folder / "model"),
        knees,
        folder / "oof",
    )


def labels_of(knees: list[Knee]) -> Labels:
    return Labels([Label(str(k.image), k.patient, int(k.grade or 0), k.side) for k in knees])


def test_the_command_writes_sets_and_leaves_the_networks(
    study: tuple[Bundle, list[Knee], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, knees, oof = study
    write_manifest(knees, tmp_path / "knees.csv")
    command = ("bundle", "sets", bundle.folder, "--labels", tmp_path / "knees.csv")
    assert kellgren(*command, "--members", oof, "-o", tmp_path / "new") == 0

    fitted = open_bundle(tmp_path / "new")
    assert fitted.card.files == bundle.card.files
    known = held_out(bundle, labels_of(knees), oof)
    scored = score(
        known.labels, known.probabilities.argmax(axis=1), known.probabilities, known.patients
    )
    told = fitted.card.out_of_fold
    assert told["qwk"] == pytest.approx(scored.qwk.to_dict())
    assert told["reliability"] == scored.to_dict()["reliability"]
    expected = fit_grade_sets(known.probabilities, known.labels, known.patients)
    assert fitted.card.grade_sets == expected
    assert fitted.card.naming == fit_naming(known)
    assert fitted.card.right_share("high") == pytest.approx(
        known.right[known.probabilities.max(axis=1) >= 0.75].mean(), abs=1e-4
    )
    shown = capsys.readouterr().out
    for one in expected.levels:
        assert f"{100 * one.level:g} % set" in shown
        assert f"{one.measured.coverage:.3f}" in shown


def test_without_members_their_disagreement_sets_no_limit(
    study: tuple[Bundle, list[Knee], Path], tmp_path: Path
) -> None:
    bundle, knees, oof = study
    for members, limited in ((None, False), (oof, True)):
        fitted = refitted(bundle, labels_of(knees), members, tmp_path / f"new-{limited}").card
        assert fitted.naming is not None
        assert (fitted.naming.most_disagreement is not None) == limited


def test_disagreement_is_of_the_backbones_of_the_vote(
    study: tuple[Bundle, list[Knee], Path],
) -> None:
    bundle, knees, oof = study
    known = held_out(bundle, labels_of(knees), oof)
    assert isinstance(known, HeldOut)
    assert known.disagreement is not None
    assert 0.005 < known.disagreement.mean() < 0.2


def test_a_bundle_without_its_table_is_refused(
    study: tuple[Bundle, list[Knee], Path], tmp_path: Path
) -> None:
    bare = make_bundle(tmp_path / "bare")
    with pytest.raises(BundleError, match=r"has no out_of_fold\.csv"):
        refitted(bare, labels_of(study[1]), None, tmp_path / "new")


def test_the_range_of_fine_detail_is_of_the_pictures_that_are_there(
    study: tuple[Bundle, list[Knee], Path], tmp_path: Path
) -> None:
    bundle, knees, _ = study
    assert refitted(bundle, labels_of(knees), None, tmp_path / "without").card.detail is None

    random = np.random.default_rng(5)
    there = [replace(knee, image=tmp_path / knee.image.name) for knee in knees]
    for at, knee in enumerate(there):
        if at < 20:
            grain = random.integers(0, 256, (random.integers(40, 90), 60), dtype=np.uint8)
            Image.fromarray(grain).save(knee.image)
        else:
            knee.image.hardlink_to(there[at % 20].image)
    fitted = refitted(bundle, labels_of(there), None, tmp_path / "with")
    expected = sorted(fine_detail(read_radiograph(knee.image).pixels) for knee in there[:20])
    assert fitted.card.detail is not None
    assert fitted.card.detail.knees == COUNT
    assert fitted.card.detail.low == pytest.approx(expected[0], abs=1e-4)
    assert fitted.card.detail.high == pytest.approx(expected[-1], abs=1e-4)

    kept = refitted(fitted, labels_of(knees), None, tmp_path / "kept").card
    assert kept.detail == fitted.card.detail
    for knee in there[20:]:
        knee.image.unlink()
    assert measured_range([knee.image for knee in there]) is None


@pytest.mark.parametrize("missing", ["table", "knees"])
def test_member_tables_must_tell_all_the_knees(
    study: tuple[Bundle, list[Knee], Path], tmp_path: Path, missing: str
) -> None:
    bundle, knees, oof = study
    (tmp_path / "oof").mkdir()
    for table in sorted(oof.iterdir())[: 1 if missing == "table" else 2]:
        (tmp_path / "oof" / table.name).write_bytes(table.read_bytes())
    if missing == "knees":
        told = calibrated_knees(COUNT)[0][:200]
        write_readings(knees[:200], told, tmp_path / "oof" / "tiny-1.csv.gz")
    with pytest.raises(InvalidPredictions, match=r"has no table tiny-1|tells 200 of .* 340"):
        refitted(bundle, labels_of(knees), tmp_path / "oof", tmp_path / "new")
