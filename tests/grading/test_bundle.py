"""Bundles: whatever was damaged, lost or forged is refused; what is built says whence it comes."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle_factory import make_bundle
from command_line import EXAMPLES, kellgren, rows
from kellgren.cli.bundle import unstated
from kellgren.cli.training import choice_shown
from kellgren.data.audit import published_files
from kellgren.data.manifest import Knee, write_manifest
from kellgren.ensemble import Ensemble
from kellgren.errors import BundleError, InvalidPredictions, TrainingError
from kellgren.grades import Grade, Side
from kellgren.grading.bundle import CARD, FORMAT, Bundle, open_bundle, write_bundle
from kellgren.grading.preprocess import Preprocess
from kellgren.grading.voting import softmax
from kellgren.reading_tables import COLUMNS
from kellgren.training.selection.assemble import build_bundle
from kellgren.training.selection.cards.data_facts import StatedData

MODEL, HEAD = "member.onnx", "member.head.npz"
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("models") / "intact")


@pytest.fixture
def copy(intact: Bundle, tmp_path: Path) -> Path:
    """A bundle that may be damaged."""
    return Path(shutil.copytree(intact.folder, tmp_path / "copy"))


@pytest.fixture(scope="module")
def victim(intact: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that is damaged many times, and mended after each."""
    return Path(shutil.copytree(intact.folder, tmp_path_factory.mktemp("models") / "victim"))


def edit(folder: Path, change: Change, *, sealed: bool = False) -> None:
    """Change a card; unsealed, it is read as one written by hand."""
    card = json.loads((folder / CARD).read_text("utf-8"))
    change(card)
    (folder / CARD).write_text(json.dumps(card if sealed else card | {"seal": ""}), "utf-8")


def test_a_bundle_opens_as_it_was_written(intact: Bundle) -> None:
    again = open_bundle(intact.folder)
    assert again.card == intact.card
    assert again.checksum == intact.checksum
    assert set(again.card.files) == {MODEL, HEAD}
    assert again.path(MODEL).is_file()


def test_equal_contents_have_equal_names_and_others_do_not(intact: Bundle, tmp_path: Path) -> None:
    assert make_bundle(tmp_path / "twin").checksum == intact.checksum
    assert make_bundle(tmp_path / "other", seed=1).checksum != intact.checksum


# --- damage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [MODEL, HEAD, CARD])
@settings(max_examples=60, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_is_noticed(victim: Path, name: str, where: float, bit: int) -> None:
    path = victim / name
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[int(where * len(whole))] ^= 1 << bit
    path.write_bytes(damaged)
    try:
        with pytest.raises(BundleError):
            open_bundle(victim)
    finally:
        path.write_bytes(whole)
    open_bundle(victim)


@pytest.mark.parametrize("name", [MODEL, HEAD, CARD])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_file_cut_short_is_noticed(copy: Path, name: str, share: float) -> None:
    whole = (copy / name).read_bytes()
    (copy / name).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(BundleError, match=rf"{name}.*damaged"):
        open_bundle(copy)


def another_temperature(copy: Path) -> None:
    edit(copy, lambda card: card["combiner"].update(temperature=2.0), sealed=True)


def a_newer_format(copy: Path) -> None:
    edit(copy, lambda card: card.update(format=FORMAT + 1, something_new=[]))


def a_file_outside(copy: Path) -> None:
    (copy.parent / "x").write_bytes(b"")
    edit(copy, lambda card: card["files"].update({"../x": "0" * 64}))


def an_absolute_file(copy: Path) -> None:
    edit(copy, lambda card: card["files"].update({str(copy / MODEL): card["files"][MODEL]}))


def a_member_outside(copy: Path) -> None:
    edit(copy, lambda card: card["members"][0].update(model="../x"))


def a_member_off_the_list(copy: Path) -> None:
    edit(copy, lambda card: card["files"].pop(HEAD))


def no_members(copy: Path) -> None:
    edit(copy, lambda card: card.update(members=[]))


def four_grades(copy: Path) -> None:
    edit(copy, lambda card: card["grades"].pop())


def a_vote_of_nobody(copy: Path) -> None:
    edit(copy, lambda card: card["combiner"].update(members=["someone"]))


def a_vote_by_show_of_hands(copy: Path) -> None:
    edit(copy, lambda card: card["combiner"].update(rule="hard"))


def an_unknown_key(copy: Path) -> None:
    edit(copy, lambda card: card.update(colour="blue"))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda copy: (copy / MODEL).unlink(), f"is incomplete: {MODEL} is missing"),
        (lambda copy: (copy / HEAD).unlink(), f"is incomplete: {HEAD} is missing"),
        (lambda copy: (copy / CARD).unlink(), f"is no bundle: it has no {CARD}"),
        (shutil.rmtree, "does not exist"),
        (lambda copy: (copy / CARD).write_text("[]"), "is damaged"),
        (lambda copy: (copy / CARD).write_text("[" * 100_000), "is damaged"),
        (lambda copy: (copy / CARD).write_text('{"format": 1e999}'), "is damaged"),
        (lambda copy: (copy / CARD).write_bytes(b"\xff\xfe"), "is damaged"),
        (another_temperature, "does not fit its seal"),
        (a_newer_format, f"has format {FORMAT + 1}, this version reads up to {FORMAT}"),
        (a_file_outside, "names a file outside itself ('../x')"),
        (an_absolute_file, "names a file outside itself"),
        (a_member_outside, "has no checksum for ../x"),
        (a_member_off_the_list, f"has no checksum for {HEAD}"),
        (no_members, "is damaged at members"),
        (four_grades, "is damaged at grades"),
        (a_vote_of_nobody, "the combiner's members are not the backbones"),
        (a_vote_by_show_of_hands, "is damaged at combiner.rule"),
        (an_unknown_key, "is damaged at colour"),
    ],
)
def test_a_bad_bundle_is_refused_in_one_line_with_exit_code_3(
    copy: Path, harm: Callable[[Path], object], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    harm(copy)
    with pytest.raises(BundleError) as refusal:
        open_bundle(copy)
    assert words in refusal.value.problem

    assert kellgren("grade", EXAMPLES, "--model", copy) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"error: {refusal.value}\n"
    assert kellgren("bundle", "show", copy) == 3


def test_a_newer_bundle_asks_for_an_update(copy: Path) -> None:
    a_newer_format(copy)
    with pytest.raises(BundleError, match="pip install -U kellgren"):
        open_bundle(copy)


def test_a_card_without_a_seal_is_read(copy: Path) -> None:
    edit(copy, lambda card: card.pop("seal"))
    assert open_bundle(copy).card.seal == ""


def test_a_card_of_format_1_grades_as_it_always_did(copy: Path) -> None:
    """The card in the package was written in format 1: one member, its calibration beside it."""
    bias = [-0.2, 0.0, 0.1, 0.2, -0.1]

    def age(card: dict[str, Any]) -> None:
        card.update(format=1, temperature=0.69, bias=bias, voting="soft")
        for newer in ("combiner", "both_knees", "out_of_fold_paired"):
            card.pop(newer)
        card["members"][0].pop("backbone")

    edit(copy, age)
    card = open_bundle(copy).card
    assert card.format == FORMAT
    assert card.combiner.members == (card.members[0].backbone,) == (card.members[0].name,)
    assert card.both_knees is None
    for logits in np.random.default_rng(0).normal(0, 4, (50, 5)):
        then = softmax(logits, 0.69, bias)
        np.testing.assert_allclose(card.combiner.combine([softmax(logits)]), then, atol=1e-12)


def test_a_card_of_format_2_levels_nothing(copy: Path) -> None:
    def age(card: dict[str, Any]) -> None:
        card.update(format=2)
        for member in card["members"]:
            member["preprocess"].pop("level", None)

    edit(copy, age)
    assert not any(member.preprocess.level for member in open_bundle(copy).card.members)


# --- writing -------------------------------------------------------------------------------------


def test_nothing_is_written_over(intact: Bundle, tmp_path: Path) -> None:
    files = {name: intact.path(name) for name in (MODEL, HEAD)}
    (tmp_path / "note").write_text("mine")
    for place in (tmp_path, tmp_path / "note"):
        with pytest.raises(BundleError, match="is not empty"):
            write_bundle(intact.card, files, place)
    assert [path.name for path in tmp_path.iterdir()] == ["note"]
    assert (tmp_path / "note").read_text() == "mine"


def test_what_cannot_be_written_whole_is_not_written(intact: Bundle, tmp_path: Path) -> None:
    files = {MODEL: intact.path(MODEL), HEAD: tmp_path / "lost"}
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        with pytest.raises(FileNotFoundError):
            write_bundle(intact.card, files, tmp_path / name)
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_a_filled_folder_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("mine")
    with pytest.raises(BundleError, match="is not empty"):
        build_bundle([tmp_path / "no run"], [], tmp_path, "mine")


def test_an_empty_folder_will_do(intact: Bundle, tmp_path: Path) -> None:
    files = {name: intact.path(name) for name in (MODEL, HEAD)}
    assert write_bundle(intact.card, files, tmp_path).checksum == intact.checksum


# --- building ------------------------------------------------------------------------------------


def published_names() -> list[str]:
    """Twenty knees of the published set, of the grades 0, 1, 2, 3, 4, 0 and so on."""
    named: dict[int, list[str]] = {}
    for (width, path), (grade, *_) in published_files().items():
        if width == "299" and not path.startswith(("test", "auto")):
            named.setdefault(grade, []).append(Path(path).stem)
    return [named[number % 5][number] for number in range(20)]


def finished_run(
    folder: Path, intact: Bundle, *, names: Sequence[str] = (), **facts: object
) -> list[Knee]:
    """Lay a finished run's files down, and return the knees it held out."""
    folder.mkdir()
    names = names or [f"90000{number:02}L" for number in range(20)]
    for name in (MODEL, HEAD):
        shutil.copy(intact.path(name), folder / name)
    preprocess = Preprocess(size=64, mean=(0.5,) * 3, std=(0.25,) * 3)
    told: dict[str, object] = {
        **{"architecture": "tiny", "preprocess": preprocess.model_dump()},
        **{"recipe": {"name": "tiny"}, "recipe_hash": "1", "started_from": "random weights"},
        **{"held_out_fold": 1, "knees": 80, "patients": 60, "sources": ["chen2018-299"]},
        **{"versions": {"kellgren": "0.1.0"}, "folds": 5, "folds_hash": "2"},
    }
    (folder / "member.json").write_text(json.dumps(told | facts))
    lines = ["image,side,grade,p0,p1,p2,p3,p4,fold"]
    knees = []
    for number in range(20):
        image, truth = folder / f"{names[number]}.png", number % 5
        seen = truth if number % 4 else (truth + 1) % 5  # three of four are right
        row = 0.02 + 0.9 * np.eye(5)[seen]
        side = image.stem[-1]
        lines.append(f"{image},{side},{seen},{','.join(f'{p:.6f}' for p in row)},1")
        knees.append(Knee(image, image.stem[:-1], Side(side), Grade(truth), "", "x"))
    (folder / "oof.csv").write_text(os.linesep.join(lines))
    return knees


def test_what_is_built_says_whence_it_comes(intact: Bundle, tmp_path: Path) -> None:
    knees = finished_run(tmp_path / "run", intact, names=published_names())
    card = build_bundle([tmp_path / "run"], knees, tmp_path / "model", "ours").card

    assert card.name == "ours"
    assert card.data.licence == "CC BY 4.0"
    assert "Chen P." in card.data.credit
    assert "10.17632/56rmx5bjcr.1" in card.data.credit
    assert (card.data.knees, card.data.patients, card.data.folds_hash) == (80, 60, "2")
    assert card.members[0].trained_folds == (0, 2, 3, 4)
    assert card.members[0].started_from == "random weights"
    assert "Not a medical device" in card.intended_use
    assert "Osteoarthritis Initiative" in card.data.population
    stored = {
        name: card.files[f"tiny-64-f1{name.removeprefix('member')}"] for name in (MODEL, HEAD)
    }
    assert stored == intact.card.files
    for name in ("out_of_fold.csv", "out_of_fold_paired.csv"):
        table = (tmp_path / "model" / name).read_text()
        assert str(tmp_path) not in table
        assert table.splitlines()[0] == ",".join(COLUMNS)
        assert len(table.splitlines()) == 1 + len(knees)


def test_other_data_get_no_credit_that_is_not_theirs(intact: Bundle, tmp_path: Path) -> None:
    knees = finished_run(tmp_path / "run", intact, sources=["chen2018-299", "clinic"])
    data = build_bundle([tmp_path / "run"], knees, tmp_path / "model", "ours").card.data
    assert data.name == "chen2018-299, clinic"
    assert data.licence == data.credit == "not stated"


def test_knees_in_folders_like_the_published_ones_are_not_the_published_ones(
    intact: Bundle, tmp_path: Path
) -> None:
    """A layout proves nothing: a hospital's knees may lie in train/0 to train/4 too."""
    knees = finished_run(tmp_path / "run", intact)
    card = build_bundle([tmp_path / "run"], knees, tmp_path / "model", "ours").card
    assert card.data.name == "chen2018-299"
    said = (card.data.licence, card.data.credit, card.data.population, card.data.limits)
    assert said == ("not stated",) * 4
    text = card.model_dump_json()
    assert not any(word in text for word in ("Osteoarthritis", "Initiative", "OAI", "Chen P"))


def test_published_names_with_other_grades_are_other_data(intact: Bundle, tmp_path: Path) -> None:
    names = published_names()
    knees = finished_run(tmp_path / "run", intact, names=names[1:] + names[:1])
    card = build_bundle([tmp_path / "run"], knees, tmp_path / "model", "ours").card
    assert card.data.licence == "not stated"


def test_what_the_owner_states_stands_in_the_card(intact: Bundle, tmp_path: Path) -> None:
    knees = finished_run(tmp_path / "run", intact, sources=["clinic"])
    stated = StatedData("Knees of a clinic", "", "A. Reader", "adults, one town", "no implants")
    card = build_bundle([tmp_path / "run"], knees, tmp_path / "model", "ours", stated=stated).card
    data = card.data
    assert (data.name, data.credit) == ("Knees of a clinic", "A. Reader")
    assert (data.population, data.limits) == ("adults, one town", "no implants")
    assert data.licence == "not stated"
    assert "adults, one town" in card.intended_use
    assert "no implants" in card.intended_use
    assert "which reading protocol the labels follow is not stated" in card.scale
    assert unstated(card).endswith("state it with --licence")


def test_calibration_is_honest(intact: Bundle, tmp_path: Path) -> None:
    knees = finished_run(tmp_path / "run", intact)
    card = build_bundle([tmp_path / "run"], knees, tmp_path / "model", "ours").card

    # 92 % sure and right three times in four: the temperature that says 75 % has a closed form
    assert card.combiner.temperature == pytest.approx(
        np.log(0.92 / 0.02) / np.log(0.75 / 0.0625), abs=1e-3
    )
    found = card.out_of_fold
    assert found["held_out_folds"] == [1]
    assert found["accuracy"]["value"] == pytest.approx(0.75)
    words = found["certainty"]
    assert sum(words[word]["knees"] for word in words) == 20
    assert all((words[w]["knees"] == 0) == (words[w]["accuracy"] is None) for w in words)


def test_an_unfinished_run_is_no_bundle_yet(intact: Bundle, tmp_path: Path) -> None:
    knees = finished_run(tmp_path / "run", intact)
    (tmp_path / "run" / "oof.csv").unlink()
    with pytest.raises(InvalidPredictions, match=r"oof\.csv"):
        build_bundle([tmp_path / "run"], knees, tmp_path / "model", "ours")
    (tmp_path / "run" / "member.json").unlink()
    with pytest.raises(TrainingError, match=r"the run is not finished.*--resume"):
        build_bundle([tmp_path / "run"], knees, tmp_path / "model", "ours")
    assert not (tmp_path / "model").exists()


def test_a_run_that_held_nothing_out_cannot_be_scored(intact: Bundle, tmp_path: Path) -> None:
    knees = finished_run(tmp_path / "run", intact, held_out_fold=None)
    with pytest.raises(TrainingError, match="held no knees out"):
        build_bundle([tmp_path / "run"], knees, tmp_path / "model", "ours")


# --- an ensemble ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def campaign(intact: Bundle, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Knee]]:
    """Two backbones, two folds each, of 160 patients whose knees are alike; and an unfinished job.

    The second backbone tells the grades apart better than the first.
    """
    folder = tmp_path_factory.mktemp("campaign")
    rng = np.random.default_rng(0)
    for name in ("campaign.json", "folds.json"):
        (folder / name).write_text('{"name": "toy"}')
    (folder / "jobs" / "begun").mkdir(parents=True)
    grades = np.where(rng.random((160, 2)) < 0.9, rng.integers(0, 5, (160, 1)), 2)
    knees = [
        Knee(folder / f"{9000000 + p}{side.value}.png", f"{9000000 + p}", side, Grade(g), "", "x")
        for p, pair in enumerate(grades)
        for side, g in zip((Side.LEFT, Side.RIGHT), pair, strict=True)
    ]
    for backbone, skill in (("weak", 1.0), ("strong", 2.0)):
        for fold in (0, 1):
            run = folder / "jobs" / f"{backbone}-64-f{fold}-abc"
            finished_run(
                run,
                intact,
                recipe={"name": backbone},
                recipe_hash=backbone,
                held_out_fold=fold,
                folds=2,
                sources=["x"],
                knees=160,
                patients=80,
            )
            lines = ["image,side,grade,p0,p1,p2,p3,p4,fold"]
            for position, knee in enumerate(knees):
                if position // 2 % 2 == fold:
                    seen = softmax(skill * np.eye(5)[int(knee.grade or 0)] + rng.normal(0, 1, 5))
                    shares = ",".join(f"{share:.6f}" for share in seen)
                    lines.append(f"{knee.image},{knee.side.value},{seen.argmax()},{shares},{fold}")
            (run / "oof.csv").write_text("\n".join(lines))
    return folder, knees


def test_a_campaign_becomes_an_ensemble(campaign: tuple[Path, list[Knee]], tmp_path: Path) -> None:
    folder, knees = campaign
    bundle = build_bundle([folder], knees, tmp_path / "model", "ours", rules=("weighted",))
    card = bundle.card

    assert card.combiner.members == ("strong-64", "weak-64")
    assert card.combiner.weights[0] > card.combiner.weights[1]
    assert {member.name for member in card.members} == {"weak-64-f0", "strong-64-f0"}
    assert card.out_of_fold["knees"] == card.out_of_fold_paired["knees"] == 320
    assert card.out_of_fold["held_out_folds"] == [0, 1]
    assert (card.data.knees, card.data.patients) == (160, 80)
    assert card.both_knees is not None  # knees that are so alike
    assert card.out_of_fold_paired["gain"]["qwk"]["low"] > 0
    paired = rows(bundle.path("out_of_fold_paired.csv"))
    assert paired[0]["image"] == "9000000L.png"
    assert paired[0]["read_with"] == "9000000R.png"
    assert rows(bundle.path("out_of_fold.csv"))[0]["read_with"] == ""
    found = score_of(bundle.path("out_of_fold_paired.csv"), knees)
    assert found == pytest.approx(card.out_of_fold_paired["accuracy"]["value"])

    read = Ensemble(bundle).read(EXAMPLES / "9177337L.png")
    assert len(read) == 1


def score_of(table: Path, knees: list[Knee]) -> float:
    truth = {knee.image.name: int(knee.grade or 0) for knee in knees}
    return float(np.mean([truth[row["image"]] == int(row["grade"]) for row in rows(table)]))


def test_one_fold_of_each_may_be_shipped_and_the_scores_are_still_of_all(
    campaign: tuple[Path, list[Knee]], tmp_path: Path
) -> None:
    folder, knees = campaign
    card = build_bundle([folder], knees, tmp_path / "model", "ours", fold=1).card
    assert {member.trained_folds for member in card.members} == {(0,)}
    assert card.out_of_fold["knees"] == 320
    assert card.data.knees == 160
    with pytest.raises(TrainingError, match=r"has no network of fold 4, only of 0, 1"):
        build_bundle([folder], knees, tmp_path / "other", "ours", fold=4)


def test_runs_that_do_not_belong_together_are_refused(
    campaign: tuple[Path, list[Knee]], tmp_path: Path
) -> None:
    folder, knees = campaign
    one = folder / "jobs" / "weak-64-f0-abc"

    def changed(name: str, **facts: object) -> Path:
        copied = Path(shutil.copytree(one, tmp_path / name))
        told = json.loads((copied / "member.json").read_text())
        (copied / "member.json").write_text(json.dumps(told | facts))
        return copied

    for strange, words in (
        (changed("twin"), "and so is"),
        (changed("folds", held_out_fold=1, folds_hash="9"), "has other folds than"),
        (changed("recipe", held_out_fold=1, recipe_hash="9"), "has another recipe than"),
        (changed("again", held_out_fold=1), "held out 9000000L.png, and so did another fold"),
    ):
        with pytest.raises(TrainingError, match=words):
            build_bundle([one, strange], knees, tmp_path / "model", "ours")
    (tmp_path / "empty" / "jobs").mkdir(parents=True)
    with pytest.raises(TrainingError, match="holds no finished run"):
        build_bundle([tmp_path / "empty"], knees, tmp_path / "model", "ours")
    assert not (tmp_path / "model").exists()


def test_knees_that_only_some_backbones_held_out_are_left_out(
    campaign: tuple[Path, list[Knee]],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, knees = campaign
    labels = tmp_path / "knees.csv"
    write_manifest(knees, labels)
    show, shown = choice_shown.show_choice, []
    monkeypatch.setattr(
        choice_shown, "show_choice", lambda *seen: (shown.append(seen), show(*seen))
    )
    jobs = folder / "jobs"
    runs = [jobs / "weak-64-f0-abc", jobs / "strong-64-f0-abc", jobs / "strong-64-f1-abc"]
    outputs = {name: tmp_path / f"choice.{name}" for name in ("csv", "json", "png")}
    assert (
        kellgren(
            *("train", "choose", *runs, "--labels", labels, "--csv", outputs["csv"]),
            *("--json", outputs["json"], "--picture", outputs["png"]),
        )
        == 0
    )
    said = capsys.readouterr().out
    assert "160 knees, 160 held out by some only" in said
    assert "optimism" in said
    told = json.loads(outputs["json"].read_text())
    assert told["knees"] == 160
    assert told["optimism"] == pytest.approx(told["naive"] - told["nested"]["qwk"]["value"])
    assert len(told["candidates"]) == len(rows(outputs["csv"])) == 2 + 3 + 2
    best = max(float(row["qwk"]) for row in rows(outputs["csv"]))
    assert best == pytest.approx(told["naive"], abs=1e-6)
    assert outputs["png"].read_bytes().startswith(b"\x89PNG")

    for width in (40, 60, 80, 120, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        show(*shown[0])
        said = capsys.readouterr().out
        assert max(map(len, said.splitlines())) <= width
        assert {f"{float(row['qwk']):.4f}" for row in rows(outputs["csv"])} <= set(said.split())
        assert ("  members: " in said) == (width == 40)


def test_the_papers_protocol_and_ours_on_the_same_test_knees(
    campaign: tuple[Path, list[Knee]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, knees = campaign
    rng = np.random.default_rng(1)
    copied = Path(shutil.copytree(folder, tmp_path / "campaign"))
    tests = [
        Knee(
            tmp_path / f"{8000000 + n}L.png", f"{8000000 + n}", Side.LEFT, Grade(n % 5), "test", "x"
        )
        for n in range(100)
    ]
    for run in sorted((copied / "jobs").glob("*-abc")):
        lines = ["image,side,grade,p0,p1,p2,p3,p4"]
        for knee in tests:
            seen = softmax(np.eye(5)[int(knee.grade or 0)] + rng.normal(0, 1, 5))
            shares = ",".join(f"{share:.6f}" for share in seen)
            lines.append(f"{knee.image.name},L,{seen.argmax()},{shares}")
        (run / "test.csv").write_text("\n".join(lines))
    write_manifest(knees, tmp_path / "knees.csv")
    write_manifest(tests, tmp_path / "tests.csv")
    words = ("train", "choose", copied, "--labels", tmp_path / "knees.csv", "--test", "test.csv")
    assert kellgren(*words, "--test-labels", tmp_path / "tests.csv", "--by", "accuracy") == 0
    assert "100 test knees, accuracy: chosen on them 0." in capsys.readouterr().out
    assert kellgren(*words) == 2
    assert kellgren(*words, "--test-labels", tmp_path / "knees.csv") == 2
    assert "of patients that runs learnt from" in capsys.readouterr().err


def test_what_is_published_is_the_same_to_the_last_byte(
    campaign: tuple[Path, list[Knee]], tmp_path: Path
) -> None:
    folder, knees = campaign
    labels = tmp_path / "knees.csv"
    write_manifest(knees, labels)
    for out in ("one", "two"):
        words = (
            "train",
            "publish",
            folder,
            "--labels",
            labels,
            "--out",
            tmp_path / out,
            "--name",
            "same",
        )
        assert kellgren(*words) == 0
    one, two = (
        {p.relative_to(tmp_path / out).as_posix(): p.read_bytes() for p in found if p.is_file()}
        for out in ("one", "two")
        for found in [sorted((tmp_path / out).rglob("*"))]
    )
    assert one == two
    assert set(one) == {
        *("campaign.json", "folds.json", "model_card.md", "oof/weak-64.csv.gz"),
        *("oof/strong-64.csv.gz", "oof/ensemble.csv.gz", "oof/ensemble_paired.csv.gz"),
    }
    table = gzip.decompress(one["oof/ensemble.csv.gz"]).decode()
    assert table.splitlines()[0] == ",".join(COLUMNS)
    assert len(table.splitlines()) == 321
    assert str(tmp_path) not in table
    for name in ("ensemble", "ensemble_paired", "weak-64", "strong-64"):  # others can score them
        published = tmp_path / "one" / "oof" / f"{name}.csv.gz"
        few = ("--resamples", "100", "--json", tmp_path / "scores.json")
        assert kellgren("evaluate", published, "--labels", labels, *few) == 0
        assert json.loads((tmp_path / "scores.json").read_text())["knees"] == 320
    card = one["model_card.md"].decode()
    assert "Not a medical device" in card
    assert "| strong-64 | tiny | 64 | 160 knees of 80 patients: folds 1 of 0 to 1 |" in card
