from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples_truth import EXAMPLES, GRADES
from kellgren.data import audit as audit_module
from kellgren.data.audit import Audit, Finding, audit, count_grades, published_files
from kellgren.data.manifest import Knee, index
from kellgren.grades import Grade, Side


def copies(root: Path, split: str = "val") -> Path:
    """The ten examples in the published layout."""
    for name, grade in GRADES.items():
        folder = root / split / str(grade)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(EXAMPLES / f"{name}.png", folder)
    return root


def example(name: str, split: str = "val", **changes: object) -> Knee:
    whole = Knee(
        EXAMPLES / f"{name}.png", name[:-1], Side(name[-1]), Grade(GRADES[name]), split, "mine"
    )
    return dataclasses.replace(whole, **changes)  # type: ignore[arg-type]


def titled(found: Audit, words: str) -> Finding:
    """The one finding whose title has these words."""
    (finding,) = [finding for finding in found.findings if words in finding.title]
    return finding


def errors(found: Audit) -> list[str]:
    return [finding.title for finding in found.findings if finding.severity == "error"]


# --- the published list ----------------------------------------------------------------------


def test_the_published_counts_are_those_of_the_paper() -> None:
    published = audit([example("9511862L")]).published_counts
    assert published["train"] == {0: 2286, 1: 1046, 2: 1516, 3: 757, 4: 173}
    assert published["val"] == {0: 328, 1: 153, 2: 212, 3: 106, 4: 27}
    assert published["test"] == {0: 639, 1: 296, 2: 447, 3: 223, 4: 51}
    sums = {split: sum(grades.values()) for split, grades in published.items()}
    assert sums == {"train": 5778, "val": 826, "test": 1656, "auto_test": 1526}


def test_each_published_file_is_listed_once_with_its_grade() -> None:
    listed = published_files()
    assert {resolution for resolution, _ in listed} == {"224", "299"}
    assert all(int(path.split("/")[1]) == grade for (_, path), (grade, _, _) in listed.items())
    hashes = [pixels for _, _, pixels in listed.values()]
    assert len(set(hashes)) == len(listed) == 9786 + 8260


def test_knees_are_counted_by_split_and_grade() -> None:
    listed = [
        example("9511862L"),
        example("9589486L"),
        example("9522615L", split=""),
        example("9177337L", split="test", grade=None),
    ]
    assert count_grades(listed) == {"no split": {1: 1}, "test": {-1: 1}, "val": {0: 2}}


# --- an honest set ---------------------------------------------------------------------------


def test_the_examples_are_honest_and_have_the_published_pixels(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    found = audit(index(copies(tmp_path)), lambda done, of: told.append((done, of)))
    assert found.honest
    amiss = [finding.title for finding in found.findings if finding.severity != "fine"]
    assert amiss == ["val: 10 knees, published 826"]
    assert titled(found, "have the published pixels").title.startswith("10 files")
    assert titled(found, "can be read").title == "all 10 files can be read"
    assert found.counts == {"val": {0: 2, 1: 2, 2: 2, 3: 2, 4: 2}}
    assert told == [(done, 10) for done in range(1, 11)]


def test_the_findings_are_plain_values_for_json(tmp_path: Path) -> None:
    found = audit(index(copies(tmp_path)))
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["honest"] is True
    assert plain["counts"]["val"]["4"] == 2
    assert plain["findings"][0] == {
        "severity": "fine",
        "title": "all 10 files can be read",
        "examples": [],
    }


def test_a_warning_leaves_a_set_honest() -> None:
    found = audit([example("9511862L"), example("9522615L")])
    assert titled(found, "no knee has grade 2, 3, 4").severity == "warning"
    assert found.honest


# --- what makes a set dishonest --------------------------------------------------------------


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "note.png").write_text("no picture")
    whole = (EXAMPLES / "9511862L.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    bad = [
        example("9589486L", image=tmp_path / name) for name in ("note.png", "cut.png", "gone.png")
    ]
    found = audit([*bad, example("9511862L")])
    finding = titled(found, "cannot be read")
    assert finding.title == "3 files cannot be read"
    assert [Path(line.split(": ")[0]).name for line in finding.examples] == [
        "cut.png",
        "gone.png",
        "note.png",
    ]
    assert "is a text file" in finding.examples[2]
    assert errors(found) == [finding.title]
    assert not found.honest


def test_a_knee_without_a_grade_is_an_error() -> None:
    found = audit([example("9511862L", grade=None)])
    assert errors(found) == ["1 knees have no grade"]


def test_a_patient_in_two_splits_is_an_error() -> None:
    found = audit([example("9511862L", split="train"), example("9511862R", split="val")])
    assert errors(found) == ["1 patients are in two splits"]
    assert titled(found, "in two splits").examples == ("9511862",)


def test_recrops_belong_to_the_test_split() -> None:
    recrop = example("9511862R", split="auto_test")
    test = audit([example("9511862L", split="test"), recrop])
    assert titled(test, "is in two splits").severity == "fine"
    train = audit([example("9511862L", split="train"), recrop])
    assert titled(train, "are in two splits").severity == "error"


@pytest.mark.parametrize("split", ["train", "val", "test", ""])
def test_recrops_under_another_split_are_an_error(tmp_path: Path, split: str) -> None:
    shutil.copy(EXAMPLES / "9511862L.png", tmp_path / "9511862_1.png")
    posing = example("9511862L", image=tmp_path / "9511862_1.png", split=split)
    assert errors(audit([posing])) == ["1 re-crops of test knees pose as others"]
    left_out = audit([dataclasses.replace(posing, split="auto_test")])
    assert titled(left_out, "left out of training").severity == "fine"
    assert left_out.honest


@pytest.mark.parametrize(
    "second",
    [
        {"patient": "7", "split": "train"},
        {"patient": "7"},
        {"split": "train"},
    ],
)
def test_equal_pixels_of_several_patients_or_splits_are_an_error(
    tmp_path: Path, second: dict[str, str]
) -> None:
    twin = tmp_path / "copy.png"
    Image.open(EXAMPLES / "9511862L.png").save(twin, optimize=True, compress_level=1)
    assert twin.read_bytes() != (EXAMPLES / "9511862L.png").read_bytes()
    found = audit([example("9511862L"), example("9511862L", image=twin, **second)])
    finding = titled(found, "several patients or splits")
    assert finding.severity == "error"
    assert finding.examples == (f"{EXAMPLES / '9511862L.png'} = {twin}",)


def test_one_picture_with_two_grades_is_an_error() -> None:
    found = audit([example("9511862L"), example("9511862L", grade=Grade.MODERATE)])
    assert errors(found) == ["1 pictures have two grades"]
    assert "(0)" in titled(found, "two grades").examples[0]
    assert "(3)" in titled(found, "two grades").examples[0]


def test_the_same_knee_listed_twice_is_a_warning() -> None:
    found = audit([example("9511862L"), example("9511862L")])
    assert titled(found, "occur more than once").severity == "warning"
    assert found.honest


def test_published_test_knees_are_known_by_their_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The examples are of val, so the list is changed to have them in test."""
    listed = {
        (resolution, path.replace("val/", "test/")): facts
        for (resolution, path), facts in published_files().items()
        if path.startswith("val/")
    }
    monkeypatch.setattr(audit_module, "published_files", lambda: listed)
    Image.open(EXAMPLES / "9177337R.png").save(tmp_path / "mine.bmp.png", compress_level=1)
    renamed = example("9177337R", image=tmp_path / "mine.bmp.png", patient="me", split="train")
    assert errors(audit([renamed])) == ["1 published test pictures pose as others"]
    assert audit([example("9177337R", split="test")]).honest


# --- compared with the published files -------------------------------------------------------


def test_a_split_that_is_not_whole_is_told_for_the_published_set_alone() -> None:
    listed = [example("9511862L"), example("9522615L")]
    assert not [f for f in audit(listed).findings if "826" in f.title]
    ours = [dataclasses.replace(knee, source="chen2018-299") for knee in listed]
    assert titled(audit(ours), "826").title == "val: 2 knees, published 826"


def test_a_new_grade_is_told_with_the_published_one(tmp_path: Path) -> None:
    root = copies(tmp_path)
    (root / "val/2/9637958L.png").rename(root / "val/3/9637958L.png")
    found = audit(index(root))
    finding = titled(found, "another grade than published")
    assert (finding.severity, finding.title[:2]) == ("warning", "1 ")
    assert finding.examples[0].endswith("9637958L.png: 3, published 2")


def test_a_picture_saved_anew_without_loss_still_has_the_published_pixels(tmp_path: Path) -> None:
    root = copies(tmp_path)
    path = root / "val/0/9511862L.png"
    Image.open(path).convert("RGB").save(path, compress_level=1)
    assert titled(audit(index(root)), "have the published pixels").title.startswith("10 ")


def test_a_changed_picture_is_told(tmp_path: Path) -> None:
    root = copies(tmp_path)
    path = root / "val/0/9511862L.png"
    pixels = np.array(Image.open(path))
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(path)
    found = audit(index(root))
    assert titled(found, "differ from the published").examples == (str(path),)
    assert titled(found, "have the published pixels").title.startswith("9 ")
    assert found.honest


def test_a_jpeg_of_a_published_picture_is_told_as_such(tmp_path: Path) -> None:
    root = copies(tmp_path)
    for name in ("0/9511862L", "4/9511862R"):
        path = root / f"val/{name}.png"
        Image.open(path).save(path.with_suffix(".jpg"), quality=90)
        path.unlink()
    found = audit(index(root))
    assert titled(found, "saved anew as JPEG").title == "2 files were saved anew as JPEG"
    assert titled(found, "have the published pixels").title.startswith("8 ")
    assert found.honest


def test_at_most_five_examples_are_shown(tmp_path: Path) -> None:
    found = audit([example(name, image=tmp_path / f"{name}.png") for name in GRADES])
    assert titled(found, "cannot be read").title.startswith("10 ")
    assert len(titled(found, "cannot be read").examples) == 5
