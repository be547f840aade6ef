"""Bundles of finals: one network of each backbone, for the vote was fitted on single networks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from bundle_factory import write_network
from command_line import EXAMPLES, command, finished, kellgren
from kellgren.data.audit import published_files
from kellgren.data.manifest import Knee, write_manifest
from kellgren.errors import TrainingError
from kellgren.evaluation import metrics
from kellgren.grades import Grade, Side
from kellgren.grading.bundle import CARD, default_bundle, open_bundle
from kellgren.grading.combiner import fit_combiner
from kellgren.grading.preprocess import Preprocess
from kellgren.grading.voting import softmax
from kellgren.training.selection.assemble import build_bundle
from kellgren.training.selection.cards.data_facts import (
    intended_use,
    pictures_of,
    scale_of,
    training_data,
)
from kellgren.training.selection.out_of_fold import (
    Run,
    find_finals,
    find_runs,
    read_out_of_fold,
)

KNEES, FOLDS = 80, 2
Campaign = tuple[Path, list[Knee]]


def lay_run(job: Path, backbone: str, fold: int | None, seed: int, **facts: object) -> None:
    """A finished run's files but its table, with a network of its own."""
    job.mkdir(parents=True)
    write_network(job, "member", seed)
    preprocess = Preprocess(size=64, mean=(0.5,) * 3, std=(0.25,) * 3)
    learnt = KNEES if fold is None else KNEES // FOLDS
    told: dict[str, object] = {
        **{"architecture": "tiny", "preprocess": preprocess.model_dump()},
        **{"recipe": {"name": backbone}, "recipe_hash": backbone, "held_out_fold": fold},
        **{"started_from": "random weights", "knees": learnt, "patients": learnt // 2},
        **{"sources": ["x"], "versions": {"kellgren": "0.1.0"}, "folds": FOLDS, "folds_hash": "2"},
    }
    (job / "member.json").write_text(json.dumps(told | facts))


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    """Backbones a and b on two folds; a has a final, b has none."""
    folder = tmp_path / "campaign"
    rng = np.random.default_rng(0)
    knees = []
    for number in range(KNEES):
        side = (Side.LEFT, Side.RIGHT)[number % 2]
        patient = f"{9000000 + number // 2}"
        image = folder / f"{patient}{side.value}.png"
        knees.append(Knee(image, patient, side, Grade(int(rng.integers(5))), "", "x"))
    for seed, backbone in enumerate(("a", "b")):
        for fold in range(FOLDS):
            job = folder / "jobs" / f"{backbone}-64-f{fold}-abc"
            lay_run(job, backbone, fold, 10 * seed + fold)
            lines = ["image,side,grade,p0,p1,p2,p3,p4,fold"]
            for position, knee in enumerate(knees):
                if position // 2 % FOLDS == fold:
                    seen = softmax(3 * np.eye(5)[int(knee.grade or 0)] + rng.normal(0, 1, 5))
                    shares = ",".join(f"{share:.6f}" for share in seen)
                    lines.append(f"{knee.image},{knee.side.value},{seen.argmax()},{shares},{fold}")
            (job / "oof.csv").write_text("\n".join(lines))
    lay_run(folder / "jobs" / "a-64-final-abc", "a", None, 99)
    return folder, knees


def test_finals_go_in_and_the_scores_are_the_folds(campaign: Campaign, tmp_path: Path) -> None:
    folder, knees = campaign
    bundle = build_bundle([folder], knees, tmp_path / "model", "ours", rules=("stacked",))
    members = {member.backbone: member for member in bundle.card.members}
    assert sorted(members) == ["a-64", "b-64"]
    assert members["a-64"].name == "a-64-final"
    assert members["a-64"].trained_folds == (0, 1)
    assert (members["a-64"].knees, members["a-64"].patients) == (KNEES, KNEES // 2)
    shipped = bundle.path(members["a-64"].model).read_bytes()
    assert shipped == (folder / "jobs" / "a-64-final-abc" / "member.onnx").read_bytes()
    # b has no final: its lowest fold's network, and the card says so
    assert members["b-64"].name == "b-64-f0"
    assert members["b-64"].trained_folds == (1,)
    assert members["b-64"].learnt_from(2) == "40 knees of 20 patients: folds 1 of 0 to 1"
    assert members["a-64"].learnt_from(2) == "80 knees of 40 patients: all 2 folds"
    assert (bundle.card.data.knees, bundle.card.data.patients) == (KNEES, KNEES // 2)
    assert bundle.card.out_of_fold["knees"] == KNEES
    assert bundle.card.out_of_fold["held_out_folds"] == [0, 1]

    shutil.rmtree(folder / "jobs" / "a-64-final-abc")
    without = build_bundle([folder], knees, tmp_path / "other", "ours", rules=("stacked",)).card
    assert without.out_of_fold == bundle.card.out_of_fold
    assert without.combiner == bundle.card.combiner
    assert (without.data.knees, without.data.patients) == (KNEES // 2, KNEES // 4)


def test_a_named_fold_goes_in_even_where_there_is_a_final(
    campaign: Campaign, tmp_path: Path
) -> None:
    folder, knees = campaign
    card = build_bundle([folder], knees, tmp_path / "model", "ours", fold=1).card
    assert {member.trained_folds for member in card.members} == {(0,)}


def test_choosing_and_publishing_take_a_campaign_with_finals(
    campaign: Campaign, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, knees = campaign
    labels = tmp_path / "knees.csv"
    write_manifest(knees, labels)
    assert [run.fold for run in find_runs([folder])] == [0, 1, 0, 1]
    assert list(find_finals([folder])) == ["a-64"]
    assert kellgren("train", "choose", folder, "--labels", labels) == 0
    assert "80 knees" in capsys.readouterr().out
    out = tmp_path / "results"
    assert kellgren("train", "publish", folder, "--labels", labels, "--out", out) == 0
    card = (out / "model_card.md").read_text()
    assert card.startswith("# results\n")
    assert "80 knees of 40 patients: all 2 folds" in card
    assert "The networks that learnt from all folds" in card


def test_held_out_knees_without_a_label_are_counted(campaign: Campaign) -> None:
    folder, knees = campaign
    runs = find_runs([folder])
    assert len(read_out_of_fold(runs, knees).knees) == KNEES
    with pytest.warns(RuntimeWarning, match="^6 of the knees that the runs held out have no label"):
        assert len(read_out_of_fold(runs, knees[6:]).knees) == KNEES - 6


def test_the_command_line_tells_of_them_in_one_plain_line(
    campaign: Campaign, tmp_path: Path
) -> None:
    folder, knees = campaign
    labels = tmp_path / "fewer.csv"
    write_manifest(knees[6:], labels)
    done = finished(command("train", "choose", folder, "--labels", labels))
    assert done.returncode == 0
    [said] = done.stderr.splitlines()
    assert said.startswith("warning: 6 of the knees that the runs held out have no label there")


def test_a_bundle_of_knees_of_one_grade_is_shown_without_its_kappa(
    campaign: Campaign, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, knees = campaign
    labels, model = tmp_path / "severe.csv", tmp_path / "model"
    write_manifest([replace(knee, grade=Grade.SEVERE) for knee in knees], labels)
    for table in folder.glob("jobs/*/oof.csv"):
        header, *lines = table.read_text().splitlines()
        severe = [",".join((*line.split(",")[:2], "4,0.1,0.1,0.1,0.1,0.6,0")) for line in lines]
        table.write_text("\n".join([header, *severe]))
    assert kellgren("bundle", "build", folder, "--labels", labels, "-o", model) == 0
    assert "out of fold: QWK undefined" in " ".join(capsys.readouterr().out.split())


def drop_table(folder: Path) -> None:
    (folder / "jobs" / "a-64-f1-abc" / "oof.csv").unlink()


def drop_facts(folder: Path) -> None:
    (folder / "jobs" / "a-64-final-abc" / "member.json").unlink()


@pytest.mark.parametrize(
    ("harm", "folds", "finals"), [(drop_table, 3, ["a-64"]), (drop_facts, 4, [])]
)
def test_unfinished_jobs_are_passed_over(
    campaign: Campaign, harm: Callable[[Path], None], folds: int, finals: list[str]
) -> None:
    folder, _ = campaign
    harm(folder)
    assert len(find_runs([folder])) == folds
    assert list(find_finals([folder])) == finals


def test_finals_that_do_not_belong_are_refused(campaign: Campaign, tmp_path: Path) -> None:
    folder, knees = campaign
    jobs = folder / "jobs"
    lay_run(tmp_path / "twin", "a", None, 5)
    lay_run(tmp_path / "recipe", "b", None, 5, recipe_hash="9")
    lay_run(tmp_path / "folds", "b", None, 5, folds_hash="9")
    for strange, words in (
        ("twin", "is a-64 with no fold held out, and so is"),
        ("recipe", "has another recipe than"),
        ("folds", "has other folds than"),
    ):
        with pytest.raises(TrainingError, match=words):
            build_bundle([folder, tmp_path / strange], knees, tmp_path / "model", "ours")
    with pytest.raises(TrainingError, match="held no knees out to calibrate"):
        build_bundle([jobs / "a-64-final-abc"], knees, tmp_path / "model", "ours")
    assert not (tmp_path / "model").exists()


# --- why one network of each ---------------------------------------------------------------------


def test_several_folds_are_refused_with_the_remedy(
    campaign: Campaign, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, knees = campaign
    labels = tmp_path / "knees.csv"
    write_manifest(knees, labels)
    words = ("bundle", "build", folder, "--labels", labels, "-o", tmp_path / "model")
    assert kellgren(*words, "--fold", "0", "--fold", "1") == 2
    output = " ".join(capsys.readouterr().err.split())
    assert "final networks" in output
    assert not (tmp_path / "model").exists()
    assert kellgren(*words, "--fold", "1") == 0
    assert "folds 0 of 0 to 1" in capsys.readouterr().out


def planted(
    rng: np.random.Generator, knees: int, networks: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Grades, and overconfident logits: what all networks see, and each one's own noise."""
    truth = rng.integers(0, 5, knees)
    shared = 1.5 * np.eye(5)[truth] + rng.normal(0, 0.7, (knees, 5))
    return truth, 3 * (shared + rng.normal(0, 0.5, (networks, knees, 5)))


def test_a_mean_of_fold_networks_is_miscalibrated_by_what_one_network_was_fitted_for() -> None:
    """What docs/decisions/0017 rests on: the vote fits one network, a final too, and no mean."""
    rng = np.random.default_rng(0)
    truth, folds = planted(rng, 20_000, 5)
    at = np.arange(len(truth))
    out_of_fold = softmax(folds[at % 5, at])
    combiner = fit_combiner("soft", ["only"], out_of_fold[None], truth)

    truth, networks = planted(rng, 20_000, 6)
    one, final = (combiner.combine(softmax(networks[k])[None]) for k in (0, 5))
    several = combiner.combine(softmax(networks[:5].mean(axis=0))[None])
    assert metrics.ece(truth, one) < 0.02
    assert metrics.ece(truth, final) < 0.02
    assert metrics.ece(truth, several) > 0.06
    assert metrics.overconfidence(truth, several) < -0.06  # righter than it says
    assert metrics.accuracy(truth, several.argmax(1)) > metrics.accuracy(truth, one.argmax(1))


# --- what the card says of the data --------------------------------------------------------------


def test_pictures_are_described_by_their_own_headers(tmp_path: Path) -> None:
    made = []
    for number, (kind, size) in enumerate(
        (("PNG", (30, 40)), ("JPEG", (20, 20)), ("JPEG", (20, 25)), ("", (0, 0)))
    ):
        path = tmp_path / f"{number}.png"  # the name says nothing
        if kind:
            Image.new("L", size).save(path, kind)
        made.append(Knee(path, str(number), Side.LEFT, Grade(0), "", "x"))
    words = [actual.words for actual in pictures_of(made)]
    assert words == [
        "2 JPEG of 20 x 20 to 25 pixels",
        "1 PNG of 30 x 40 pixels",
        "1 not read",
    ]


def test_the_card_owns_up_to_copies_and_to_imagenet(campaign: Campaign, tmp_path: Path) -> None:
    folder, knees = campaign
    for job in (folder / "jobs").iterdir():
        facts = json.loads((job / "member.json").read_text())
        facts |= {"sources": ["chen2018-299"], "started_from": "ImageNet weights from here (MIT)"}
        (job / "member.json").write_text(json.dumps(facts))
    for knee in knees:
        Image.new("L", (299, 299)).save(knee.image, "JPEG")
    card = build_bundle([folder], knees, tmp_path / "model", "ours").card
    assert [actual.words for actual in card.data.pictures] == ["80 JPEG of 299 x 299 pixels"]
    assert "ImageNet" in " ".join(card.data.notes)
    assert card.members[0].started_from.endswith("(MIT)")


def test_the_published_knees_bring_their_credit_and_own_up_to_copies(tmp_path: Path) -> None:
    published = [
        (Path(path).stem, grade)
        for (width, path), (grade, *_) in published_files().items()
        if width == "299" and path.startswith("train")
    ][::600]
    knees = [
        Knee(tmp_path / f"{stem}.jpg", stem[:-1], Side(stem[-1]), Grade(grade), "train", "chen2018")
        for stem, grade in published
    ]
    for knee in knees:
        Image.new("L", (299, 299)).save(knee.image, "JPEG")
    facts = {"knees": 9, "patients": 9, "folds": 5, "folds_hash": "2", "started_from": "chance"}
    data = training_data([Run(tmp_path, facts | {"sources": ["chen2018-299"]}, "tiny", 1)], knees)
    notes = " ".join(data.notes)
    assert "were JPEG copies; the data set publishes PNG" in notes
    assert "Osteoarthritis Initiative" in notes
    assert "ImageNet" not in notes
    assert data.licence == "CC BY 4.0"
    assert "Osteoarthritis Initiative" in scale_of(data)
    assert "Osteoarthritis Initiative" in intended_use(data)


def test_other_data_are_not_said_to_come_from_the_initiative(
    campaign: Campaign, tmp_path: Path
) -> None:
    folder, knees = campaign
    card = build_bundle([folder], knees, tmp_path / "model", "ours").card
    assert "Osteoarthritis" not in card.model_dump_json()
    assert "ImageNet" not in card.model_dump_json()
    assert "not stated" in card.scale


def test_the_packaged_bundle_reads_a_knee(capsys: pytest.CaptureFixture[str]) -> None:
    bundle = open_bundle(default_bundle())
    assert kellgren("grade", EXAMPLES / "9177337L.png") == 0
    assert kellgren("bundle", "show") == 0
    output = " ".join(capsys.readouterr().out.split())
    assert bundle.card.members[0].learnt_from(bundle.card.data.folds) in output


def test_a_card_of_format_3_says_nothing_of_pictures(campaign: Campaign, tmp_path: Path) -> None:
    folder, knees = campaign
    build_bundle([folder], knees, tmp_path / "model", "ours")
    card = json.loads((tmp_path / "model" / CARD).read_text())
    card |= {"format": 3, "seal": ""}
    card.pop("storage")
    for newer in ("pictures", "notes"):
        card["data"].pop(newer)
    for member in card["members"]:
        for newer in ("knees", "patients", "weights"):
            member.pop(newer)
    (tmp_path / "model" / CARD).write_text(json.dumps(card))
    old = open_bundle(tmp_path / "model").card
    assert (old.data.pictures, old.data.notes, old.storage) == ((), (), None)
    assert old.members[0].weights == "fp16"
    assert old.members[0].learnt_from(2) == "all 2 folds"
    assert kellgren("bundle", "show", tmp_path / "model") == 0
