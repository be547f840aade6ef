"""A folder as an archive exports it: radiographs by their content, and a word on all the rest."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import EXAMPLES
from dicom_factory import write_dicom
from kellgren.data.manifest import index
from kellgren.explanation.overlay import png_bytes
from kellgren.imaging import search as searching
from kellgren.imaging.picture import SUFFIXES
from kellgren.imaging.search import search

KNEE = EXAMPLES / "9177337L.png"
EXPORTED = ("DICOM/ST000000/IM000001", "1.2.840.113619.2.55.3", "scan.IMA", "scan.dic", "a.bin")
SAVED = {"knee.jfif": "JPEG", "knee.jpe": "JPEG", "knee": "TIFF", "knee.tmp": "PNG"}


@pytest.fixture
def cd(tmp_path: Path) -> Path:
    """Radiographs under the names of archives and browsers, beside what else lies on a disc."""
    pixels = np.asarray(Image.open(KNEE).convert("L")).astype(np.uint16)
    for name in EXPORTED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_dicom(tmp_path / name, pixels, bits=8)
    for name, file_format in SAVED.items():
        Image.open(KNEE).convert("L").save(tmp_path / name, file_format)
    contents = b"\0" * 128 + b"DICM" + b"\x02\0\x02\0UI\x14\x001.2.840.10008.1.3.10"
    (tmp_path / "DICOMDIR").write_bytes(contents)
    (tmp_path / "own.png").write_bytes(png_bytes(Image.open(KNEE)))
    (tmp_path / "README.TXT").write_text("View with any viewer.")
    (tmp_path / "viewer.exe").write_bytes(b"MZ" + bytes(range(256)))
    (tmp_path / "._knee.png").write_bytes(KNEE.read_bytes())
    (tmp_path / ".thumbnails" / "large").mkdir(parents=True)
    (tmp_path / ".thumbnails" / "large" / "knee.png").write_bytes(KNEE.read_bytes())
    (tmp_path / "damaged.png").write_bytes(b"no picture")
    (tmp_path / "empty.dcm").touch()
    return tmp_path


def test_radiographs_are_found_by_content_and_the_rest_is_named(cd: Path) -> None:
    found = search(cd)
    names = {str(path.relative_to(cd)) for path in found.images}
    assert names == {*EXPORTED, *SAVED, "damaged.png", "empty.dcm"}
    assert list(found.images) == sorted(found.images)
    assert Counter(file.why for file in found.skipped) == {
        searching.OTHER: 2,
        searching.DIRECTORY: 1,
        searching.OWN: 1,
        searching.HIDDEN: 2,
    }
    assert len(search(cd / ".thumbnails").images) == 1, "a hidden folder that is named is meant"
    assert len(found.images) + len(found.skipped) == sum(p.is_file() for p in cd.rglob("*"))


@pytest.mark.skipif(os.name != "posix", reason="pipes and links are POSIX")
def test_pipes_loops_and_links_end_no_search(tmp_path: Path) -> None:
    shutil.copy(KNEE, tmp_path / "knee")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    (tmp_path / "gone").symlink_to("nowhere")
    found = search(tmp_path)
    assert [path.name for path in found.images] == ["knee", "self.png"]  # reported one by one
    assert {Path(file.path).name: file.why for file in found.skipped} == {
        "pipe.png": searching.SPECIAL,
        "loop": searching.LINKED,
        "gone": searching.BROKEN,
    }


def test_a_folder_that_cannot_be_listed_is_reported(
    cd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests may run as a user who may read everything, so the system is made to refuse."""
    scandir = os.scandir

    def refused(path: str) -> object:
        if str(path).endswith("DICOM"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert cd / "DICOM" in search(cd).images


def test_a_data_set_is_searched_in_the_same_way(cd: Path) -> None:
    (cd / "set").mkdir()
    for path in [path for path in cd.iterdir() if path.name != "set"]:
        (cd / "set" / "3").mkdir(exist_ok=True)
        path.rename(cd / "set" / "3" / path.name)
    skipped: list[object] = []
    knees = index(cd / "set", skipped.extend)
    assert [knee.image for knee in knees] == list(search(cd / "set").images)
    assert len(skipped) == 6


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_a_damaged_file_is_taken_by_its_suffix(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"knee{suffix.upper()}").write_bytes(b"no picture")
    (tmp_path / f"knee{suffix}x").write_bytes(b"no picture")
    assert [path.name for path in search(tmp_path).images] == [f"knee{suffix.upper()}"]
