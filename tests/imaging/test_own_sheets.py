"""What this software drew is not graded: skipped in folders, refused where it is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from bundle_factory import make_bundle
from command_line import EXAMPLES, kellgren
from kellgren.batch.collecting import collect
from kellgren.batch.locate import locate_file
from kellgren.ensemble import Ensemble
from kellgren.errors import UnreadableRadiograph
from kellgren.grades import Side
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.knee_detector import Localiser

KNEE = EXAMPLES / "9177337L.png"
FIRST_PAPER, FIRST_SIZE = (16, 19, 24), (1018, 712)  # of the sheets of version 0.1: no mark


@pytest.fixture(scope="module")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    bundle = make_bundle(tmp_path_factory.mktemp("bundle"))
    return Ensemble(bundle, threads=1).read(KNEE)[0].overlay()


def test_a_sheet_is_refused_under_any_name(sheet: bytes, tmp_path: Path) -> None:
    path = tmp_path / "knee.png"
    path.write_bytes(sheet)
    for source in (path, sheet, locate_file(str(KNEE), Side.LEFT, Localiser()).picture()):
        with pytest.raises(UnreadableRadiograph, match="by kellgren"):
            read_radiograph(source)


def test_a_sheet_without_the_mark_is_known_by_its_paper(sheet: bytes, tmp_path: Path) -> None:
    path = tmp_path / "old.png"
    old = Image.new("RGB", FIRST_SIZE, FIRST_PAPER)
    old.paste(Image.open(KNEE).resize((440, 440)), (28, 104))
    old.save(path)
    with pytest.raises(UnreadableRadiograph, match="by kellgren"):
        read_radiograph(path)
    old.convert("L").save(path)  # grey: any picture may be as large
    assert read_radiograph(path).pixels.shape == FIRST_SIZE[::-1]


def test_a_second_run_over_the_same_folder_grades_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "knee.png").write_bytes(KNEE.read_bytes())
    tables = []
    for name in ("first.csv", "second.csv"):
        assert kellgren("grade", ".", "--overlay", "out", "--csv", tmp_path / name) == 0
        tables.append((tmp_path / name).read_text())
    assert tables[0] == tables[1]
    assert "kellgren wrote itself: 1 (out/knee.png)" in capsys.readouterr().err

    collected = collect(["out", "**/*.png", "out/knee.png"])
    assert collected.images == ["knee.png"]
    assert [file.path for file in collected.skipped] == ["out/knee.png"]
