"""Tables of knees: written whole or not at all, and what a table must have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kellgren.data.manifest import Knee, read_manifest, write_manifest
from kellgren.errors import InvalidManifest
from kellgren.grades import Grade, Side

KNEE = Knee(Path("9000001L.png"), "9000001", Side.LEFT, Grade.MINIMAL, "train", "mine")


def table(folder: Path, *lines: str) -> Path:
    path = folder / "knees.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_manifest_that_fails_halfway_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "knees.csv"
    write_manifest([KNEE], path)
    before = path.read_bytes()

    def knees() -> Iterator[Knee]:
        yield KNEE
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_manifest(knees(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_knees_to_be_graded_need_no_grade_but_a_given_one_must_be_one(tmp_path: Path) -> None:
    (found,) = read_manifest(table(tmp_path, "image", "a.png"), graded=False)
    assert (found.image, found.grade, found.source) == (tmp_path / "a.png", None, "knees")
    with pytest.raises(InvalidManifest, match="line 2: grade is '7'"):
        read_manifest(table(tmp_path, "image,grade", "a.png,7"), graded=False)
    with pytest.raises(InvalidManifest, match="no column image"):
        read_manifest(table(tmp_path, "grade", "1"), graded=False)


@pytest.mark.parametrize("text", ["image,grade\n", "image,grade\n\n", "\ufeffimage,grade\r\n"])
def test_a_table_without_rows_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "knees.csv"
    path.write_text(text, "utf-8", newline="")
    with pytest.raises(InvalidManifest, match=r"knees\.csv: lists no knee"):
        read_manifest(path)
