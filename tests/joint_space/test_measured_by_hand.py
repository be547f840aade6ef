"""Joint spaces measured by hand: blind sheets with a true ruler, notes that must be whole."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import drawn_joints
import joint_space_agreement
import marks_on_steps
import measure_joint_space as tool
import numpy as np
import pytest
from joint_space_sheets import enlarged
from PIL import Image

from kellgren.errors import InvalidManifest, InvalidOption


@pytest.fixture(scope="module")
def knees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten drawn knees, two a grade, of ten patients; left and right in turn."""
    folder = tmp_path_factory.mktemp("knees")
    rows = []
    for number in range(10):
        name = f"{9000000 + number}{'LR'[number % 2]}.png"
        pixels, _, _ = drawn_joints.drawn(np.random.default_rng(number))
        Image.fromarray(pixels).save(folder / name)
        rows.append((name, 9000000 + number, "LR"[number % 2], number // 2))
    table = folder / "knees.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", "patient", "side", "grade"), *rows])
    return table


def run(knees: Path, task: str, output: Path, *options: str, turn: int = 1) -> None:
    words = [task, str(knees), "--pass", str(turn), "--each", "1", "-o", str(output), *options]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["measure_joint_space.py", *words])
        tool.main()


@pytest.fixture(scope="module")
def drawn(knees: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `draw` leaves of five of them."""
    folder = tmp_path_factory.mktemp("pass") / "one"
    run(knees, "draw", folder)
    return folder


def noted(drawn: Path, path: Path, **changed: str) -> Path:
    """The table that `draw` left, filled alike for all knees, and ``changed`` for the first."""
    with (drawn / "notes.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    values = (60, 170, 60, 180, 220, 171, 221, 186, 30, 140, 270, 141)
    filled = dict(zip(tool.NOTED[1:-1], map(str, values), strict=True))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, tool.NOTED)
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, **filled, **(changed if row["number"] == "1" else {})})
    return path


def test_sheets_tell_neither_name_nor_grade_and_have_an_order_of_each_pass(
    knees: Path, drawn: Path
) -> None:
    names = sorted(path.name for path in drawn.iterdir())
    assert names == [*(f"0{number}.png" for number in range(1, 6)), "notes.csv"]
    assert (drawn / "notes.csv").read_text().splitlines()[1].startswith("1,,,")
    chosen = tool.chosen(tool.index(knees), 2, 20)
    assert sorted(int(knee.grade) for knee in chosen) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    first, second = (tool.shuffled(chosen, 20, turn) for turn in (1, 2))
    assert first != second
    assert sorted(first, key=str) == sorted(second, key=str)


def test_a_second_set_takes_no_patient_of_the_first(
    knees: Path, drawn: Path, tmp_path: Path
) -> None:
    run(knees, "collect", tmp_path / "1.csv", "--notes", str(noted(drawn, tmp_path / "notes.csv")))
    with (tmp_path / "1.csv").open(newline="") as stream:
        first = {row["image"] for row in csv.DictReader(stream)}
    left = tool.others(tool.index(knees), tmp_path / "1.csv")
    assert len(first) == len(left) == 5
    assert first.isdisjoint(knee.image.name for knee in left)
    with pytest.raises(InvalidOption, match="grade 4 has 1 knees"):
        tool.chosen(left, 2, 20)
    (tmp_path / "other.csv").write_text("image,pass\n77L.png,1\n")
    with pytest.raises(InvalidManifest, match="names no knee of the data"):
        tool.others(tool.index(knees), tmp_path / "other.csv")


def test_a_data_set_with_too_few_knees_of_a_grade_is_refused(knees: Path) -> None:
    with pytest.raises(InvalidOption, match="grade 4 has 2 knees"):
        tool.chosen(tool.index(knees), 3, 20)


def test_the_ruler_names_the_pixel_that_is_drawn_there() -> None:
    pixels = np.zeros((60, 80), np.uint8)
    pixels[33, 47] = 255
    picture = np.asarray(enlarged(pixels, (40, 20, 60, 50), 8, 5, lines=False).convert("L"))
    bright = np.argwhere(picture[18:, 34:] > 200)
    down, across = bright.mean(axis=0)
    assert (across + 0.5) / 8 + 40 - 0.5 == pytest.approx(47, abs=0.05)
    assert (down + 0.5) / 8 + 20 - 0.5 == pytest.approx(33, abs=0.05)


def test_a_disguise_is_taken_off_again(knees: Path) -> None:
    shown = tool.disguised(tool.index(knees)[0], 20, 3)
    assert (shown.pixels() == tool.Shown(shown.knee).pixels()[:, ::-1]).all()
    assert shown.start != tool.disguised(tool.index(knees)[1], 20, 3).start
    across, down = shown.start
    noted_points = {
        "left_femur": (60 + across, 170 + down),
        "right_end": (200.5 + across, 9 + down),
    }
    assert shown.true(noted_points) == {"right_femur": (238, 170), "left_end": (97.5, 9)}


def test_points_are_collected_by_image_and_side(knees: Path, drawn: Path, tmp_path: Path) -> None:
    notes = noted(drawn, tmp_path / "notes.csv")
    run(knees, "check", tmp_path / "marks", "--notes", str(notes))
    assert sorted(path.name for path in (tmp_path / "marks").iterdir()) == [
        "01-03.png",
        "04-05.png",
    ]
    run(knees, "collect", tmp_path / "1.csv", "--notes", str(notes))
    with (tmp_path / "1.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 15
    for row in rows:
        left = (row["part"] == "medial") == row["image"].endswith("L.png")
        expected = ("60.0", "180.0") if left else ("221.0", "186.0")
        if row["part"] != "condyles":
            assert (row["x2"], row["y2"]) == expected


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"left_femur_y": ""}, "number 1 has no left_femur"),
        ({"left_femur_y": "nan"}, "number 1 has no left_femur"),
        ({"right_tibia_x": "400"}, "number 1: right_tibia is outside"),
        ({"right_tibia_y": "150"}, "the tibia lies above the femur"),
        ({"number": "2"}, "misses or repeats numbers"),
        ({"left_femur_x": "", "left_femur_y": "", "remark": "overlap"}, "has one point"),
        ({"left_end_x": "", "left_end_y": "", "remark": "cut off"}, "has no left_end"),
    ],
)
def test_notes_that_are_not_whole_are_refused(
    knees: Path, drawn: Path, tmp_path: Path, changed: dict[str, str], problem: str
) -> None:
    notes = noted(drawn, tmp_path / "notes.csv", **changed)
    with pytest.raises(InvalidManifest, match=problem):
        run(knees, "collect", tmp_path / "1.csv", "--notes", str(notes))
    assert not (tmp_path / "1.csv").exists()


def test_a_compartment_without_points_needs_a_remark_which_is_kept(
    knees: Path, drawn: Path, tmp_path: Path
) -> None:
    empty = {f"left_{bone}_{axis}": "" for bone in ("femur", "tibia") for axis in "xy"}
    notes = noted(drawn, tmp_path / "notes.csv", **empty, remark="margins overlap")
    run(knees, "collect", tmp_path / "1.csv", "--notes", str(notes))
    with (tmp_path / "1.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if not row["x1"]]
    assert [row["remark"] for row in rows] == ["margins overlap"]


def test_nothing_is_overwritten(
    knees: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1.csv").write_text("mine")
    with pytest.raises(SystemExit):
        run(knees, "draw", tmp_path / "1.csv")
    assert "nothing is overwritten" in capsys.readouterr().err
    assert (tmp_path / "1.csv").read_text() == "mine"


def test_agreement_is_that_of_bland_and_altman() -> None:
    rng = np.random.default_rng(3)
    keys = [(f"{9000000 + n}R.jpg", "medial") for n in range(40)]
    one = dict(zip(keys, rng.uniform(2, 20, 40), strict=True))
    other = {key: width + 0.5 + rng.normal(0, 0.4) for key, width in one.items()}
    found = joint_space_agreement.agreement(keys, one, other)
    difference = np.array([other[key] - one[key] for key in keys])
    assert found.difference.value == pytest.approx(difference.mean())
    assert found.difference.low < difference.mean() < found.difference.high
    assert found.high.value - found.low.value == pytest.approx(2 * 1.96 * difference.std(ddof=1))
    assert found.variation.value == pytest.approx(np.sqrt((difference**2).mean() / 2) / found.width)
    assert 0.98 < found.icc.value < 1
    alike = joint_space_agreement.agreement(keys, one, dict(one))
    assert (alike.difference.value, alike.icc.value) == (0, pytest.approx(1))


def test_widths_of_drawn_joints_are_those_that_are_drawn() -> None:
    pixels, left, right = drawn_joints.drawn(np.random.default_rng(5))
    assert pixels.shape == (299, 299)
    for width, columns in ((left, slice(64, 126)), (right, slice(173, 235))):
        dark = (pixels[:, columns] < 115)[150:205].sum(axis=0)
        assert dark.min() == pytest.approx(width, abs=1.5)


@pytest.mark.parametrize("bone", [1, -1])
def test_a_mark_is_told_from_the_half_way_of_its_step_and_none_where_a_rim_lies_before_it(
    bone: int,
) -> None:
    rows = np.arange(41.0)
    step = 60 + 100 / (1 + np.exp(-bone * (rows - 20.25) / 0.6))
    pixels = np.repeat(step[:, None], 5, axis=1)
    away = marks_on_steps.from_half_way(pixels, 2.0, 20.25 - bone * 0.3, bone)
    assert away == pytest.approx(0.3, abs=0.06)
    rim = pixels + 40 / (1 + np.exp(-bone * (rows - (20.25 - bone * 3.3)) / 0.3))[:, None]
    assert marks_on_steps.from_half_way(rim, 2.0, 20.25, bone) is None
    assert marks_on_steps.from_half_way(np.full((41, 5), 80.0), 2.0, 20.0, bone) is None
