"""Bundles: whatever was damaged, lost or forged is refused; what is built says whence it comes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle_factory import make_bundle
from command_line import EXAMPLES, kellgren
from kellgren.bundle import CARD, FORMAT, Bundle, open_bundle, write_bundle
from kellgren.errors import BundleError, InvalidPredictions, TrainingError
from kellgren.grades import Grade, Side
from kellgren.manifest import Knee
from kellgren.preprocess import Preprocess
from kellgren.training.assemble import build_bundle

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
    edit(copy, lambda card: card.update(temperature=2.0), sealed=True)


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


def an_unknown_key(copy: Path) -> None:
    edit(copy, lambda card: card.update(colour="blue"))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda copy: (copy / MODEL).unlink(), f"is incomplete: {MODEL} is missing"),
        (lambda copy: (copy / HEAD).unlink(), f"is incomplete: {HEAD} is missing"),
        (lambda copy: (copy / CARD).unlink(), f"is no bundle: it has no {CARD}"),
        (shutil.rmtree, f"is no bundle: it has no {CARD}"),
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


# --- writing -------------------------------------------------------------------------------------


def test_nothing_is_written_over(intact: Bundle, tmp_path: Path) -> None:
    files = {name: intact.path(name) for name in (MODEL, HEAD)}
    (tmp_path / "note").write_text("mine")
    for place in (tmp_path, tmp_path / "note"):
        with pytest.raises(BundleError, match="is not empty"):
            write_bundle(intact.card, files, place)
    assert [path.name for path in tmp_path.iterdir()] == ["note"]
    assert (tmp_path / "note").read_text() == "mine"


def test_the_card_comes_last(intact: Bundle, tmp_path: Path) -> None:
    files = {MODEL: intact.path(MODEL), HEAD: tmp_path / "lost"}
    with pytest.raises(FileNotFoundError):
        write_bundle(intact.card, files, tmp_path / "half")
    assert (tmp_path / "half" / MODEL).is_file()
    with pytest.raises(BundleError, match="is no bundle"):
        open_bundle(tmp_path / "half")


def test_an_empty_folder_will_do(intact: Bundle, tmp_path: Path) -> None:
    files = {name: intact.path(name) for name in (MODEL, HEAD)}
    assert write_bundle(intact.card, files, tmp_path).checksum == intact.checksum


# --- building ------------------------------------------------------------------------------------


def finished_run(folder: Path, intact: Bundle, **facts: object) -> list[Knee]:
    """Lay a finished run's files down, and return the knees it held out."""
    folder.mkdir()
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
        image, truth = folder / f"90000{number:02}L.png", number % 5
        seen = truth if number % 4 else (truth + 1) % 5  # three of four are right
        row = 0.02 + 0.9 * np.eye(5)[seen]
        lines.append(f"{image},L,{seen},{','.join(f'{p:.6f}' for p in row)},1")
        knees.append(Knee(image, f"90000{number:02}", Side.LEFT, Grade(truth), "", "x"))
    (folder / "oof.csv").write_text(os.linesep.join(lines))
    return knees


def test_what_is_built_says_whence_it_comes(intact: Bundle, tmp_path: Path) -> None:
    knees = finished_run(tmp_path / "run", intact)
    card = build_bundle(tmp_path / "run", knees, tmp_path / "model", "ours").card

    assert card.name == "ours"
    assert card.data.licence == "CC BY 4.0"
    assert "Chen P." in card.data.credit
    assert "10.17632/56rmx5bjcr.1" in card.data.credit
    assert (card.data.knees, card.data.patients, card.data.folds_hash) == (80, 60, "2")
    assert card.members[0].trained_folds == (0, 2, 3, 4)
    assert card.members[0].started_from == "random weights"
    assert "Not a medical device" in card.intended_use
    assert intact.card.files.items() <= card.files.items()
    table = (tmp_path / "model" / "out_of_fold.csv").read_text()
    assert str(tmp_path) not in table
    assert len(table.splitlines()) == 1 + len(knees)


def test_other_data_get_no_credit_that_is_not_theirs(intact: Bundle, tmp_path: Path) -> None:
    knees = finished_run(tmp_path / "run", intact, sources=["chen2018-299", "clinic"])
    data = build_bundle(tmp_path / "run", knees, tmp_path / "model", "ours").card.data
    assert data.name == "chen2018-299, clinic"
    assert data.licence == data.credit == "not stated"


def test_calibration_is_honest(intact: Bundle, tmp_path: Path) -> None:
    knees = finished_run(tmp_path / "run", intact)
    card = build_bundle(tmp_path / "run", knees, tmp_path / "model", "ours").card

    # 92 % sure and right three times in four: the temperature that says 75 % has a closed form
    assert card.temperature == pytest.approx(np.log(0.92 / 0.02) / np.log(0.75 / 0.0625), abs=1e-3)
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
        build_bundle(tmp_path / "run", knees, tmp_path / "model", "ours")
    (tmp_path / "run" / "member.json").unlink()
    with pytest.raises(TrainingError, match=r"the run is not finished.*--resume"):
        build_bundle(tmp_path / "run", knees, tmp_path / "model", "ours")
    assert not (tmp_path / "model").exists()


def test_a_run_that_held_nothing_out_cannot_be_scored(intact: Bundle, tmp_path: Path) -> None:
    knees = finished_run(tmp_path / "run", intact, held_out_fold=None)
    with pytest.raises(TrainingError, match="held no knees out"):
        build_bundle(tmp_path / "run", knees, tmp_path / "model", "ours")
