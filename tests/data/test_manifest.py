from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kellgren.batch.collecting import collect
from kellgren.data.knee_folders import looks_like_auto_test
from kellgren.data.manifest import (
    COLUMNS,
    Knee,
    for_training,
    index,
    read_manifest,
    write_manifest,
)
from kellgren.errors import InvalidManifest
from kellgren.exchange.csv_text import rounded_by_spreadsheet, whole_number
from kellgren.file_names import patient_and_side
from kellgren.grades import Grade, Side
from kellgren.imaging.picture import SUFFIXES
from kellgren.imaging.search import Skipped


def touch(root: Path, *names: str) -> Path:
    """Empty files: an index looks at names, never into files."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def table(folder: Path, *lines: str, name: str = "knees.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def knee(name: str = "9000001L.png", grade: int | None = 2, split: str = "train") -> Knee:
    patient, side = patient_and_side(name)
    return Knee(Path(name), patient, side, None if grade is None else Grade(grade), split, "mine")


# --- layouts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", ["kneeKL224", "kneeKL299"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG"])
def test_the_published_layout(tmp_path: Path, resolution: str, suffix: str) -> None:
    root = touch(
        tmp_path / resolution,
        f"train/0/9000001L{suffix}",
        f"val/4/9000002R{suffix}",
        f"test/3/9000003L{suffix}",
        f"auto_test/3/9000003_1{suffix}",
        "train/0/notes.txt",
        "train/0/._9000001L.png",
    )
    knees = {knee.split: knee for knee in index(root)}
    source = f"chen2018-{resolution[6:]}"
    image = root / f"train/0/9000001L{suffix}"
    assert knees["train"] == Knee(image, "9000001", Side.LEFT, Grade.NONE, "train", source)
    assert (knees["val"].grade, knees["val"].side) == (Grade.SEVERE, Side.RIGHT)
    recrop = knees["auto_test"]
    assert (recrop.patient, recrop.side) == (knees["test"].patient, Side.UNKNOWN)
    assert len(index(root)) == 4


def test_the_folder_above_the_published_layout_is_as_good(tmp_path: Path) -> None:
    touch(tmp_path, "kneeKL299/train/1/9000001L.png", "kneeKL224.zip")
    assert index(tmp_path) == index(tmp_path / "kneeKL299")


def test_one_split_alone_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "test/1/9000001L.png")
    assert [knee.split for knee in index(tmp_path / "test")] == ["test"]
    monkeypatch.chdir(tmp_path / "test")
    assert [knee.split for knee in index(Path("."))] == ["test"]


@pytest.mark.parametrize("folder", ["2", "KL2", "kl-2", "grade 2", "Grade_2", "2 minimal", "2-x"])
def test_one_folder_per_grade(tmp_path: Path, folder: str) -> None:
    touch(
        tmp_path / "clinic", f"{folder}/visit/9000001L.png", f"{folder}/other.dcm", "readme/a.png"
    )
    named, other = index(tmp_path / "clinic")[::-1]
    assert (named.patient, named.side, named.grade) == ("9000001", Side.LEFT, Grade.MINIMAL)
    assert (other.patient, other.side) == ("other", Side.UNKNOWN)
    assert {knee.split for knee in (named, other)} == {""}
    assert {knee.source for knee in (named, other)} == {"clinic"}


def test_what_lies_beside_grades_and_splits_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "mine/2/a.png", "mine/5/b.png", "mine/c.png", "mine/.cache/d.png")
    touch(tmp_path, "theirs/train/0/a.png", "theirs/train/x/b.png", "theirs/holdout/1/c.png")
    told: list[Skipped] = []
    for folder in ("mine", "theirs"):
        assert [knee.image.name for knee in index(tmp_path / folder, told.extend)] == ["a.png"]
    assert [(str(Path(it.path).relative_to(tmp_path)), it.why[:25]) for it in told] == [
        ("mine/.cache", "hidden files and folders"),
        ("mine/5", "beside the folders named "),
        ("mine/c.png", "beside the folders named "),
        ("theirs/train/x", "beside the folders named "),
        ("theirs/holdout", "beside the folders train,"),
    ]


@pytest.mark.parametrize("folder", ["5", "12", "grade", "grade 20", "x2"])
def test_other_folders_are_no_grades(tmp_path: Path, folder: str) -> None:
    touch(tmp_path, f"{folder}/9000001L.png")
    with pytest.raises(InvalidManifest, match="one folder per grade"):
        index(tmp_path)


def test_a_folder_named_like_a_picture_is_no_knee_but_may_hold_some(tmp_path: Path) -> None:
    root = touch(tmp_path / "mine", "2/9000001L.dcm/scan.png")
    (root / "3/empty.png").mkdir(parents=True)
    assert [knee.image for knee in index(root)] == [root / "2/9000001L.dcm/scan.png"]


def test_both_resolutions_side_by_side_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "kneeKL224/train/1/9000001L.png", "kneeKL299/train/1/9000001L.png")
    with pytest.raises(InvalidManifest, match="kneeKL224, kneeKL299"):
        index(tmp_path)


def test_nothing_found_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match="does not exist"):
        index(tmp_path / "nowhere")
    with pytest.raises(InvalidManifest, match="one folder per grade"):
        index(touch(tmp_path, "train/3/notes.txt"))
    with pytest.raises(InvalidManifest, match="lists no knee"):
        index(table(tmp_path, "image,grade"))


# --- tables ----------------------------------------------------------------------------------


def test_a_table_of_two_columns_suffices(tmp_path: Path) -> None:
    path = table(tmp_path, "\ufeffgrade,image", "3,sub/9000001R.png", ",/far/knee.png")
    first, second = index(path)
    image = tmp_path / "sub/9000001R.png"
    assert first == Knee(image, "9000001", Side.RIGHT, Grade.MODERATE, "", "knees")
    assert second == Knee(Path("/far/knee.png"), "knee", Side.UNKNOWN, None, "", "knees")


@pytest.mark.parametrize(
    ("written", "side"),
    [("L", Side.LEFT), ("r", Side.RIGHT), ("left", Side.LEFT), ("Right", Side.RIGHT)],
)
def test_a_table_of_all_columns_overrules_the_file_name(
    tmp_path: Path, written: str, side: Side
) -> None:
    path = table(tmp_path, ",".join(COLUMNS), f" 9000001L.png , p7 ,{written}, 4 ,val,clinic")
    assert read_manifest(path) == [
        Knee(tmp_path / "9000001L.png", "p7", side, Grade.SEVERE, "val", "clinic")
    ]


names = st.text("abcdefghij0123456789LR_-=+@;,\"' äß", min_size=1, max_size=12).map(str.strip)
knees = st.builds(
    Knee,
    image=st.tuples(st.sampled_from(["", "a", "b/c"]), names.filter(bool)).map(
        lambda parts: Path(parts[0]) / f"x{parts[1]}.png"
    ),
    # Not what a spreadsheet has rounded, such as 0e0, nor decimals: see test_travelled_tables.py.
    patient=names.filter(
        lambda name: name == whole_number(name) != "" and not rounded_by_spreadsheet(name)
    ),
    side=st.sampled_from([Side.LEFT, Side.RIGHT]),
    grade=st.none() | st.sampled_from(Grade),
    split=st.sampled_from(["", "train", "val", "test", "auto_test"]),
    source=names.filter(bool),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(knees, min_size=1, max_size=5, unique_by=lambda knee: knee.image))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, listed: list[Knee]
) -> None:
    folder = tmp_path_factory.mktemp("round")
    placed = [Knee(folder / k.image, k.patient, k.side, k.grade, k.split, k.source) for k in listed]
    write_manifest(placed, folder / "knees.csv")
    assert read_manifest(folder / "knees.csv") == placed


def test_image_paths_are_relative_to_the_manifest(tmp_path: Path) -> None:
    images = touch(tmp_path / "data", "2/9000001L.png")
    write_manifest(index(images), tmp_path / "tables/knees.csv")
    assert str(tmp_path) not in (tmp_path / "tables/knees.csv").read_text("utf-8")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "data").rename(moved / "data")
    (tmp_path / "tables").rename(moved / "tables")
    (found,) = read_manifest(moved / "tables/knees.csv")
    assert found.image.resolve() == (moved / "data/2/9000001L.png").resolve()
    assert found.image.exists()


@pytest.mark.parametrize(
    ("row", "column"),
    [
        (",,,3,,", "image"),
        ("a.png,,,5,,", "grade"),
        ("a.png,,,-1,,", "grade"),
        ("a.png,,,3.5,,", "grade"),
        ("a.png,,,three,,", "grade"),
        ("a.png,,lateral,3,,", "side"),
        ("a.png,,B,3,,", "side"),
        ("a.png,,L,3,Train,", "split"),
        ("  ,,,3,,", "image"),
        ("a.png,,,03,,", "grade"),
        ("a.png,,RL,3,,", "side"),
        ("a.png,,,3,training,", "split"),
    ],
)
def test_a_bad_row_is_told_with_its_line(tmp_path: Path, row: str, column: str) -> None:
    good = 'b.png,p,L,1,train,"a source\nof two lines"'
    path = table(tmp_path, ",".join(COLUMNS), good, "", row, good)
    with pytest.raises(InvalidManifest, match=f"line 5: {column} is") as caught:
        read_manifest(path)
    assert caught.value.subject == str(path)


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match=r"no column image and .* grade; .* are file\|kl"):
        read_manifest(table(tmp_path, "file|KL", "a.png|3"))
    with pytest.raises(InvalidManifest, match="no column grade"):
        read_manifest(table(tmp_path, "image", "a.png"))
    (tmp_path / "empty.csv").touch()
    with pytest.raises(InvalidManifest, match="no column"):
        read_manifest(tmp_path / "empty.csv")


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "knee.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    with pytest.raises(InvalidManifest, match="cannot be read as a table"):
        index(tmp_path / "knee.png")
    with pytest.raises(InvalidManifest, match="cannot be read as a table"):
        read_manifest(tmp_path / "nowhere.csv")


# --- what may be trained on ------------------------------------------------------------------


def test_the_test_splits_stay_shut(tmp_path: Path) -> None:
    listed = [knee(split=split) for split in ("train", "val", "test", "auto_test", "")]
    kept = for_training(listed, tmp_path)
    assert [knee.split for knee in kept] == ["train", "val", ""]
    with pytest.raises(InvalidManifest, match="no knee of train or val"):
        for_training([knee(split="test"), knee("9000001_1.png", split="auto_test")], tmp_path)


def test_an_ungraded_knee_is_refused_where_it_would_be_trained_on(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match=re.escape("1 knees have no grade, such as b.png")):
        for_training([knee(), knee("b.png", grade=None)], tmp_path)
    assert for_training([knee(), knee("b.png", grade=None, split="test")], tmp_path) == [knee()]


@pytest.mark.parametrize("image", ["mine/9003175_1.png", "9003175_2.jpg", "auto_test/3/x.png"])
@pytest.mark.parametrize("split", ["train", "val", ""])
def test_recropped_test_knees_are_refused_in_any_disguise(
    tmp_path: Path, image: str, split: str
) -> None:
    path = table(tmp_path, "image,grade,split", "9000001L.png,2,train", f"{image},3,{split}")
    with pytest.raises(InvalidManifest, match="would leak the test set"):
        for_training(index(path), path)


@pytest.mark.parametrize("image", ["9003175L.png", "9003175_3.png", "900317_1.png", "a_1.png"])
def test_other_names_are_no_recrops(image: str) -> None:
    assert not looks_like_auto_test(Path("train/3") / image)


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "patient", "side"),
    [
        ("a/b/9001234L.png", "9001234", Side.LEFT),
        ("1234R.dcm", "1234", Side.RIGHT),
        ("9001234l.png", "9001234", Side.LEFT),
        ("9001234_L.png", "9001234", Side.LEFT),
        ("9001234-r.png", "9001234", Side.RIGHT),
        (r"C:\knees\9001234R.jpg", "9001234", Side.RIGHT),
        (r"a\b/c\other.jpg", "other", Side.UNKNOWN),
        ("9001234LR.png", "9001234LR", Side.UNKNOWN),
        ("123L.png", "123L", Side.UNKNOWN),
        ("9001234L_copy.png", "9001234L_copy", Side.UNKNOWN),
        ("IMG_0001.JPG", "IMG_0001", Side.UNKNOWN),
    ],
)
def test_what_a_name_says(name: str, patient: str, side: Side) -> None:
    assert patient_and_side(name) == (patient, side)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_a_folder_is_searched_for_the_same_suffixes_as_a_batch(tmp_path: Path, suffix: str) -> None:
    root = touch(tmp_path, f"2/9000001L{suffix}", f"2/9000002L{suffix}x")
    assert [str(knee.image) for knee in index(root)] == collect([str(root)]).images


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("image,grade,Grade\na.png,1,3\n", "line 1: has twice the column grade"),
        ('image,grade\n"a.png,1\nb.png,2\n', "line 3: unexpected end"),
        ('image,grade\n"a.png,1\nb.png,2\n"c.png",3\n', "line 4: "),
        ("image,grade\nknee.png,1,5 mm\n", "line 2: has more cells than there are columns"),
    ],
)
def test_a_table_whose_cells_moved_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    """Of two columns the last one would win, and an open quotation mark would swallow knees."""
    table = tmp_path / "knees.csv"
    table.write_text(text)
    with pytest.raises(InvalidManifest, match=problem):
        read_manifest(table)


def test_empty_cells_behind_the_last_column_are_none(tmp_path: Path) -> None:
    table = tmp_path / "knees.csv"
    table.write_text("image,grade,,\na.png,1,,\nb.png,2, ,,\n")
    assert [knee.grade for knee in read_manifest(table)] == [1, 2]
