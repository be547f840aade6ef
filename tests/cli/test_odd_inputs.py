"""Folders as archives export them, names of any bytes, own pictures among the inputs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle_factory import make_bundle
from command_line import EXAMPLES, command, environment, kellgren, rows
from dicom_factory import write_dicom
from dicom_headers import DX, complete
from kellgren.grading.bundle import fast_bundle, open_bundle

KNEE = EXAMPLES / "9177337L.png"
BYTES = b"kn\xe9e \xff.png"  # as Windows of the nineties wrote it
SHOWN = "kn\\udce9e \\udcff.png"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("models") / "tiny").folder


@pytest.fixture(autouse=True)
def tiny_model(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    monkeypatch.setenv("KELLGREN_MODEL", str(bundle))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small export, with the working directory beside it."""
    folder = tmp_path / "study"
    (folder / "ST0").mkdir(parents=True)
    pixels = np.asarray(Image.open(KNEE).convert("L")).astype(np.uint16)
    write_dicom(folder / "ST0" / "IM000001", pixels, bits=8)
    write_dicom(folder / "ST0" / "1.2.840.7", pixels, bits=8)
    shutil.copy(KNEE, folder / KNEE.name)
    (folder / "report.txt").write_text("All is well.")
    monkeypatch.chdir(tmp_path)
    return folder


def test_an_export_is_graded_and_what_is_skipped_is_named(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kellgren("grade", "study", "--csv", "g.csv", "--overlay", "pictures") == 0
    said = capsys.readouterr().err
    assert "skipped, files of other kinds: 1 (study/report.txt)" in said
    table = rows(Path("g.csv"))
    assert [row["image"] for row in table] == [
        "study/9177337L.png",
        "study/ST0/1.2.840.7",
        "study/ST0/IM000001",
    ]
    # The pictures lie as the files do, and the table says where.
    assert [row["overlay"] for row in table] == [
        "pictures/9177337L.png",
        "pictures/ST0/1.2.840.7.png",
        "pictures/ST0/IM000001.png",
    ]
    assert all(Path(row["overlay"]).is_file() for row in table)


def test_what_may_not_be_read_is_a_row(study: Path, bundle: Path) -> None:
    """Also where tests run as root, without its right to read everything."""
    weakened = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    if os.name != "posix" or (os.geteuid() == 0 and shutil.which("setpriv") is None):
        pytest.skip("this user may read everything")
    (study / "closed").mkdir()
    shutil.copy(KNEE, study / "closed" / KNEE.name)
    shutil.copy(KNEE, study / "closed.png")
    for name in ("closed", "closed.png"):
        (study / name).chmod(0)
    words = [*(weakened if os.geteuid() == 0 else []), *command("grade", study, "--csv", "g.csv")]
    env = environment(KELLGREN_MODEL=str(bundle))
    try:
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    finally:
        (study / "closed").chmod(0o700)
    assert done.returncode == 1, done.stderr
    notes = {Path(row["image"]).name: row["note"] for row in rows(Path("g.csv"))}
    assert len(notes) == 5
    assert notes["closed"].startswith("is a folder that may not be read by this user")
    assert notes["closed.png"].startswith("may not be read by this user")


def test_own_pictures_are_no_input(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert kellgren("grade", "study", "--csv", "1.csv", "--overlay", "study/pictures") == 0
    assert kellgren("locate", "study", "--overlay", "study/boxes", "--csv", "l.csv") == 0
    capsys.readouterr()
    assert kellgren("grade", ".", "--csv", "2.csv", "--json", "2.json") == 0
    said = capsys.readouterr().err
    assert "skipped, pictures and objects that kellgren wrote itself: 6 (" in said
    assert len(rows(Path("2.csv"))) == 3
    assert "overlay" not in rows(Path("2.csv"))[0]

    assert kellgren("grade", "study/pictures/9177337L.png") == 4
    assert "itself: 1 (study/pictures/9177337L.png)" in capsys.readouterr().err


def test_own_objects_are_no_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.asarray(Image.open(KNEE).convert("L")).astype(np.uint16)
    (tmp_path / "films").mkdir()
    write_dicom(tmp_path / "films" / "film.dcm", pixels * 16, bits=12, **complete(DX))
    answers = tmp_path / "films" / "answers"
    assert kellgren("grade", tmp_path / "films", "--dicom-out", answers) == 0
    written = len(list(answers.iterdir()))
    assert written >= 3
    capsys.readouterr()
    table = tmp_path / "g.csv"
    assert kellgren("grade", tmp_path / "films", "--csv", table) == 0
    assert f"kellgren wrote itself: {written} (" in capsys.readouterr().err
    assert len(rows(table)) == 1


def test_a_foreign_picture_is_never_replaced_by_an_overlay(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("pictures").mkdir()
    photo = Path("pictures") / KNEE.name
    photo.write_bytes(b"a photograph")
    for _ in range(2):  # own pictures are replaced
        assert kellgren("grade", KNEE, "study/ST0", "--csv", "g.csv", "--overlay", "pictures") == 0
        assert photo.read_bytes() == b"a photograph"
        first, *others = rows(Path("g.csv"))
        assert first["overlay"] == ""
        assert "was not drawn by kellgren" in first["warnings"]
        assert all(row["overlay"] for row in others)
        assert not any("was not drawn" in row["warnings"] for row in others)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have only Unicode names")
def test_a_name_that_is_no_utf8_is_a_row_like_any_other(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(KNEE, os.fsencode(study) + b"/" + BYTES)
    names = [f"study/{name}" for name in ("9177337L.png", "ST0/1.2.840.7", "ST0/IM000001", SHOWN)]
    arguments = ("study", "--csv", "g.csv", "--json", "g.json")
    assert kellgren("grade", *arguments, "--overlay", "pictures") == 0
    assert f"study/{SHOWN}" in capsys.readouterr().out
    assert [row["image"] for row in rows(Path("g.csv"))] == names
    readings = json.loads(Path("g.json").read_text())["readings"]
    assert [reading["image"] for reading in readings] == names
    assert os.path.exists(b"pictures/" + BYTES)

    # A journal of it is taken over: what was graded is not looked at again.
    lines = [
        json.dumps(reading | {"model": json.loads(Path("g.json").read_text())["model"]})
        for reading in readings
    ]
    Path(".g.csv.journal").write_text("\n".join(lines) + "\n")
    os.truncate(os.fsencode(study) + b"/" + BYTES, 0)
    before = Path("g.csv").read_bytes()
    assert kellgren("grade", *arguments, "--overlay", "pictures", "--resume") == 0
    assert Path("g.csv").read_bytes() == before


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have only Unicode names")
def test_locate_and_data_take_such_names_too(study: Path, tmp_path: Path) -> None:
    (tmp_path / "set" / "3").mkdir(parents=True)
    shutil.copy(KNEE, os.fsencode(tmp_path) + b"/set/3/" + BYTES)
    assert kellgren("locate", "set", "--csv", "l.csv", "--json", "l.json", "--overlay", "b") == 0
    assert [row["image"] for row in rows(Path("l.csv"))] == [f"set/3/{SHOWN}"]
    assert os.path.exists(b"b/3/" + BYTES)
    assert kellgren("data", "index", "set", "-o", "m.csv") == 0
    assert kellgren("grade", "m.csv", "--csv", "g.csv") == 0
    assert [row["image"] for row in rows(Path("g.csv"))] == [f"set/3/{SHOWN}"]
    assert kellgren("evaluate", "g.csv", "--labels", "set", "--resamples", "100") == 0


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_terminals_of_other_encodings_show_everything(
    study: Path, bundle: Path, encoding: str
) -> None:
    shutil.copy(KNEE, study / "膝.png")
    env = environment(PYTHONIOENCODING=encoding, PYTHONUTF8="0", KELLGREN_MODEL=str(bundle))

    def said(*words: Path | str) -> str:
        done = subprocess.run(command(*words), env=env, capture_output=True, check=True)
        return (done.stdout + done.stderr).decode(encoding)

    told = said("grade", study)
    assert "\\u819d" in told
    assert "\\u2581" not in told  # bars are drawn with plain signs
    assert "kellgren grade" in said("grade", "--help")


def test_the_patient_of_a_manifest_stands_in_the_table(study: Path) -> None:
    Path("m.csv").write_text("image;patient;side\nstudy/ST0/IM000001;p7;L\nstudy/9177337L.png;;\n")
    assert (
        kellgren("grade", "m.csv", "study/ST0/1.2.840.7", "--csv", "g.csv", "--json", "g.json") == 0
    )
    named, by_name, unknown = rows(Path("g.csv"))
    assert (named["patient"], named["side"]) == ("p7", "L")
    assert by_name["patient"] == "9177337"
    assert unknown["patient"] == ""
    readings = json.loads(Path("g.json").read_text())["readings"]
    assert [reading.get("patient") for reading in readings] == ["p7", "9177337", None]

    assert kellgren("grade", "m.csv", "--fhir", "f.json") == 0
    assert "p7" not in Path("f.json").read_text()

    key = ("--pseudonym", "a key of more than sixteen characters")
    assert kellgren("grade", "m.csv", "--csv", "p.csv", *key) == 0
    named, by_name = rows(Path("p.csv"))
    assert len(named["patient"]) == len(by_name["patient"]) == 32
    assert "p7" not in Path("p.csv").read_text().replace("p0,p1", "")


def test_two_sides_for_one_file_are_those_of_a_film_and_tell_none(study: Path) -> None:
    Path("m.csv").write_text("image,side\nstudy/9177337L.png,R\nstudy/9177337L.png,L\n")
    assert kellgren("grade", "m.csv", "--csv", "t.csv") == 0
    assert [row["side"] for row in rows(Path("t.csv"))] == ["L"]  # by its name alone


def test_a_name_as_long_as_names_may_be_has_its_pictures(study: Path) -> None:
    """And so have others that are like it for as long as a picture's name may be."""
    ends = ("a.png", "b.png", "\N{LATIN SMALL LETTER E WITH ACUTE}.png")
    for end in ends:
        shutil.copy(KNEE, study / ("n" * (255 - len(end.encode())) + end))
    assert kellgren("grade", "study", "--csv", "g.csv", "--overlay", "pictures") == 0
    drawn = {row["overlay"] for row in rows(Path("g.csv")) if len(row["image"]) > 200}
    assert len(drawn) == len(ends)
    assert all(Path(path).is_file() for path in drawn)
    assert kellgren("locate", "study", "--overlay", "found") == 0
    assert len(list(Path("found").rglob("nnn*.png"))) == len(ends)


def test_a_name_is_shown_and_not_obeyed(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    title = "\x1b]0;title\x07\x1b[2K\r\u202egnp.png"
    shutil.copy(KNEE, study / title)
    (study / ("empty" + title)).touch()
    assert kellgren("grade", "study", "--csv", "g.csv") == 1
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert "\\x1b]0;title" in text
        assert "\\x1b[2K" in text
        assert "\\u202egnp.png" in text
        assert not set("\x1b\x07\r\u202e") & set(text)
    assert "study/" + title.replace("\r", "\n") in [row["image"] for row in rows(Path("g.csv"))]
    assert kellgren("locate", "missing" + title) == 4
    assert "\x1b" not in capsys.readouterr().err
    assert kellgren("bundle", "show", "missing" + title) == 3
    assert "\x1b" not in capsys.readouterr().err


def test_a_list_that_is_no_list_of_paths_stops_no_file(study: Path) -> None:
    Path("list.txt").write_bytes(b"study/9177337L.png\0\nst*\0dy/[a]\nstudy/9177337L.png\n")
    assert kellgren("grade", "--list", "list.txt", "--csv", "g.csv", "--overlay", "o") == 1
    table = Path("g.csv").read_text("utf-8")
    assert table.count("cannot be opened") == 2
    assert list(Path("o").iterdir()) == [Path("o/9177337L.png")]


@pytest.mark.skipif(os.name == "nt", reason="a shell closes the streams")
def test_closed_streams_are_no_error_and_get_into_no_file(study: Path, bundle: Path) -> None:
    words = command("grade", "study", "study/none.png", "--json", "g.json")
    closing = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *words]
    closed = subprocess.run(closing, env=environment(KELLGREN_MODEL=str(bundle)), check=False)
    assert closed.returncode == 1
    assert len(json.loads(Path("g.json").read_text())["readings"]) >= 3


@pytest.fixture
def begun(study: Path) -> Path:
    """The journal of a batch that was interrupted when all was graded but not written."""
    Path("t.csv").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kellgren.cli.inputs.refuse_inputs", lambda *_, **__: None)
        patch.setattr(
            "kellgren.cli.grade_command.grade_targets.refuse_inputs", lambda *_, **__: None
        )
        assert kellgren("grade", "study", "--csv", "t.csv") == 5
    Path("t.csv").rmdir()
    return Path(".t.csv.journal")


def resumed(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    capsys.readouterr()
    assert kellgren("grade", "study", "--csv", "t.csv", "--resume", *options) == 0
    assert sorted(os.listdir()) == ["study", "t.csv"]
    return capsys.readouterr().err


def test_a_batch_goes_on_with_what_was_asked_for_only(
    begun: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows of another side, frame, strictness or model are not made anew, perhaps for weeks."""
    kept = begun.read_bytes()
    words = ("grade", "study", "--csv", "t.csv", "--resume")
    for option, said in (
        (("--side", "R"), "another --side, --frame or --force"),
        (("--no-mirror",), "mirror averaged, not off"),
        (("--model", str(fast_bundle())), f"name {open_bundle(bundle).card.name}, not fast"),
    ):
        assert kellgren(*words, *option) == 2
        assert f"a batch that was begun otherwise ({said}" in capsys.readouterr().err
        assert begun.read_bytes() == kept
    begun.unlink()
    assert kellgren(*words, "--side", "R") == 0
    assert "L" not in {row["side"] for row in rows(Path("t.csv"))}


def test_a_batch_goes_on_with_the_sides_that_a_manifest_states_now(
    begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert begun.is_file()
    Path("k.csv").write_text("image,side\nstudy/9177337L.png,R\n")
    assert kellgren("grade", "k.csv", "--csv", "t.csv", "--resume") == 0
    assert "rows of the interrupted batch that are not taken over: 3" in capsys.readouterr().err
    assert [row["side"] for row in rows(Path("t.csv"))] == [""]  # the name says otherwise


def test_a_batch_goes_on_into_more_tables(begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert begun.is_file()
    assert kellgren("grade", "study", "--csv", "more.csv", "--json", "t.csv", "--resume") == 0
    assert "3 files taken over" in capsys.readouterr().err
    assert sorted(os.listdir()) == ["more.csv", "study", "t.csv"]
    assert kellgren("grade", "study", "--csv", "more.csv", "--resume") == 0
    said = capsys.readouterr().err
    assert "no interrupted batch lies beside more.csv: begun from the start" in said
    assert "taken over" not in said


def test_a_batch_goes_on_where_nothing_changed(
    begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert begun.is_file()
    killed_in_the_middle = (".t.0123abcd.csv", "..t.csv.89abcdef.journal")
    for name in killed_in_the_middle:  # of a file that was being written
        Path(name).touch()
    said = resumed(capsys)
    assert "3 files taken over" in said
    assert "s a file" not in said  # none was graded


def test_a_picture_that_was_replaced_is_graded_again(
    begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also by a copy that keeps its time."""
    other = EXAMPLES / "9866738R.png"
    shutil.copy(other, "study/9177337L.png")
    os.utime("study/9177337L.png", (1e9, 1e9))
    said = resumed(capsys)
    assert "rows of the interrupted batch that are not taken over: 1" in said
    assert "2 files taken over" in said
