"""Many files: bad ones never stop a batch, an interrupted one goes on, and no name leaks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle_factory import make_bundle
from command_line import EXAMPLES, PATIENCE, command, environment, kellgren, rows
from dicom_factory import full_range, write_dicom
from kellgren.batch.batch import grade_files
from kellgren.batch.collecting import collect
from kellgren.batch.journal import Journal
from kellgren.batch.picture_folder import OverlayFolder, distinct_names
from kellgren.ensemble import Ensemble
from kellgren.reading_schema import ModelRecord
from kellgren.reading_tables import csv_text
from made.batches import grade_batch

KNEES = sorted(EXAMPLES.glob("*.png"))
BATCH = 64


@pytest.fixture(scope="module")
def ensemble(bundle: Path) -> Ensemble:
    return Ensemble.open(bundle, threads=1)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of many knees, every eighth of them damaged."""
    folder = tmp_path_factory.mktemp("batch")
    for number, knee in enumerate(islice(cycle(KNEES), BATCH)):
        content = knee.read_bytes()
        (folder / f"{number:04}.png").write_bytes(content[:999] if number % 8 == 5 else content)
    return folder


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(KNEES[0])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated.png": (lambda path: path.write_bytes(KNEES[0].read_bytes()[:3000]), "damaged"),
    "text.png": (lambda path: path.write_text("Dear colleague,\n"), "text file"),
    "empty.png": (lambda path: path.touch(), "empty"),
    "zipped.png": (zipped, "ZIP archive"),
    "blank.png": (lambda path: Image.new("L", (99, 99), 7).save(path), "blank"),
    "colours.jpg": (lambda path: path.write_bytes(b"\xff\xd8\xff" + bytes(300)), "damaged"),
    "headless.dcm": (lambda path: path.write_bytes(bytes(128) + b"DICM" + bytes(9)), "DICOM"),
    "vanished.png": (lambda path: path.symlink_to("nowhere.png"), "does not exist"),
}


def test_bad_files_are_listed_and_the_rest_is_graded(
    tmp_path: Path, bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study"
    shutil.copytree(EXAMPLES, study)
    for name, (spoil, _) in DAMAGES.items():
        spoil(study / name)
    given = sorted(str(path) for path in study.iterdir() if path.suffix in (".png", ".jpg", ".dcm"))
    table = tmp_path / "grades.csv"

    assert kellgren("grade", *given, "--csv", table, "--model", bundle) == 1

    said = capfd.readouterr().err
    found = {Path(row["image"]).name: row for row in rows(table)}
    assert len(found) == len(given)
    assert all(found[knee.name]["grade"] for knee in KNEES)
    assert f"Not graded: {len(DAMAGES)}" in said
    for name, (_, reason) in DAMAGES.items():
        assert found[name]["grade"] == ""
        assert reason in found[name]["note"]
        assert f"{study / name}: {found[name]['note']}" in said


def test_workers_change_neither_order_nor_numbers(
    batch: Path, ensemble: Ensemble, tmp_path: Path
) -> None:
    images = collect([str(batch)]).images[:16][::-1]
    tables = []
    for workers in (1, 2, 5):
        found = [row for o in grade_files(ensemble, images, workers=workers) for row in o.rows()]
        assert [row.image for row in found] == images
        tables.append(csv_text(found))

    assert tables[0] == tables[1] == tables[2]


def killed_after(
    lines: int, journal: Path, words: list[str], how: signal.Signals = signal.SIGKILL
) -> tuple[int, str]:
    """Start a batch and end it as soon as its journal holds so many lines; exit code and stderr."""
    process = subprocess.Popen(words, env=environment(), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + PATIENCE
    try:
        while not journal.exists() or journal.read_bytes().count(b"\n") < lines:
            assert process.poll() is None, "the batch ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.send_signal(how)
        _, said = process.communicate(timeout=PATIENCE)
    return process.returncode, said


def test_a_killed_batch_goes_on_as_if_nothing_had_happened(
    batch: Path, bundle: Path, tmp_path: Path
) -> None:
    whole, table = tmp_path / "whole.csv", tmp_path / "table.csv"
    journal = tmp_path / ".table.csv.journal"
    arguments = ("grade", batch, "--model", bundle, "--workers", "2", "--csv")
    assert kellgren(*arguments, whole) == 1
    regraded: list[int] = []

    for moment in (1, 12):
        _, said = killed_after(moment, journal, command(*arguments, table, "--resume"))
        assert "leaked" not in said  # semaphores: no error of this batch
        assert not table.exists()  # a table is there whole or not at all
        regraded.append(journal.read_bytes().count(b"\n"))
    with journal.open("ab") as stream:
        stream.write(b'{"image": "cut short in the midd')  # as a crash in the write leaves it
    first = batch / "0000.png"
    kept = first.read_bytes()
    first.write_bytes(b"")  # graded before the crash: not looked at again
    os.utime(journal, (time.time() + 60,) * 2)  # else it was replaced after the crash
    try:
        assert kellgren(*arguments, table, "--resume") == 1
    finally:
        first.write_bytes(kept)

    assert regraded == sorted(regraded)
    assert table.read_bytes() == whole.read_bytes()
    assert len({row["image"] for row in rows(table)}) == len(rows(table)) == BATCH
    assert not journal.exists()


def test_ctrl_c_keeps_what_is_done_and_says_so(batch: Path, bundle: Path, tmp_path: Path) -> None:
    journal = tmp_path / ".table.csv.journal"
    words = command("grade", batch, "--model", bundle, "--csv", tmp_path / "table.csv")

    code, said = killed_after(3, journal, words, signal.SIGINT)

    assert code == 130
    assert "the same command with --resume goes on" in said
    assert "Traceback" not in said
    assert journal.read_bytes().count(b"\n") >= 3


def test_a_journal_of_another_model_or_setting_is_not_taken_over(
    batch: Path, bundle: Path, ensemble: Ensemble, tmp_path: Path
) -> None:
    images = collect([str(batch)]).images[:4]
    path = tmp_path / ".grades.csv.journal"
    grade_batch(
        ensemble,
        images,
        Journal(path, resume=False, model=ModelRecord.model_validate(ensemble.model)),
    )
    other = Ensemble.open(make_bundle(tmp_path / "other", seed=1).folder, threads=1)
    unmirrored = Ensemble.open(bundle, threads=1, mirror=False)

    def taken_over(reader: Ensemble) -> set[str]:
        copy = tmp_path / "copy.journal"
        shutil.copy(path, copy)
        journal = Journal(copy, resume=True, model=ModelRecord.model_validate(reader.model))
        journal.close()
        return journal.done

    assert taken_over(ensemble) == set(images)
    assert taken_over(other) == set()
    assert taken_over(unmirrored) == set()


def test_a_damaged_journal_costs_its_lines_only(
    batch: Path, ensemble: Ensemble, tmp_path: Path
) -> None:
    images = collect([str(batch)]).images[:3]
    path = tmp_path / "journal"
    grade_batch(
        ensemble,
        images,
        Journal(path, resume=False, model=ModelRecord.model_validate(ensemble.model)),
    )
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"\xff\x00\n5\n[]\n{}\n" + second[:80] + b"\n" + third[:-9])

    journal = Journal(path, resume=True, model=ModelRecord.model_validate(ensemble.model))

    assert journal.done == {images[0]}
    journal.discard()
    assert not path.exists()


def test_a_resumed_batch_gives_overlays_the_same_names(tmp_path: Path, ensemble: Ensemble) -> None:
    images = [str(tmp_path / folder / "1.png") for folder in "ab"]
    for image, knee in zip(images, KNEES, strict=False):
        Path(image).parent.mkdir()
        shutil.copy(knee, image)
    pictures = tmp_path / "pictures"
    (first,), (second,) = (ensemble.read(image) for image in images)
    places = {image: "1.png" for image in images}
    OverlayFolder(pictures).save([first], name=distinct_names(places)[images[0]])
    # another process, after a crash
    OverlayFolder(pictures).save([second], name=distinct_names(places)[images[1]])

    assert (pictures / "1.png").read_bytes() == first.overlay()
    assert (pictures / "1-2.png").read_bytes() == second.overlay()


CANARIES = {
    "PatientName": "CANARY^NAME",
    "PatientID": "CANARY-ID",
    "PatientBirthDate": "19010203",
    "AccessionNumber": "CANARY-ACC",
    "InstitutionName": "CANARY-HOSPITAL",
    "ImageComments": "CANARY-COMMENT",
    "StudyDescription": "CANARY-STUDY",
}


@pytest.mark.parametrize("damage", ["none", "side", "pixels", "cut", "syntax", "colour", "numbers"])
def test_no_patient_leaves_the_header(
    tmp_path: Path, bundle: Path, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    knee = np.asarray(Image.open(KNEES[0]).convert("L"))
    odd: dict[str, dict[str, object]] = {
        "side": {"ImageLaterality": "CANARY"},
        "pixels": {"PixelData": b"CANARY" * 11},
        "colour": {"PhotometricInterpretation": "CANARY"},
        "numbers": {"WindowCenter": "100", "PixelSpacing": [99, 99]},
    }
    path = write_dicom(
        tmp_path / "knee.dcm", knee, **{**full_range(8), **CANARIES, **odd.get(damage, {})}
    )
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    if damage == "syntax":
        path.write_bytes(content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.CANARY.19010203."))
    out = tmp_path / "out"
    common = ("grade", path, "--model", bundle)
    code = kellgren(
        *common, *("--csv", out / "g.csv", "--json", out / "g.json", "--overlay", out / "pictures")
    )
    kellgren(*common, "--json", "-")

    assert code == (0 if damage in ("none", "side", "numbers") else 4)
    said = capfd.readouterr()
    written = [file.read_bytes() for file in out.rglob("*") if file.is_file()]
    assert len(written) == (3 if code == 0 else 2)
    for text in (said.out.encode(), said.err.encode(), *written):
        assert b"CANARY" not in text.upper()
        assert b"19010203" not in text
    assert json.loads((out / "g.json").read_text())["readings"][0]["image"] == str(path)
    assert os.sep in rows(out / "g.csv")[0]["image"]
