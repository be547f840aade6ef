"""Canaries in headers: nothing but an answer in DICOM may ever name a patient."""

from __future__ import annotations

import base64
import re
import subprocess
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import config, dcmread
from pydicom.dataset import Dataset

from bundle_factory import make_bundle
from command_line import EXAMPLES, command, environment, kellgren, rows
from dicom_factory import write_dicom
from dicom_headers import CANARIES, DX, complete, sparse
from kellgren.grading.bundle import Bundle
from kellgren.imaging.radiograph import read_radiograph
from kellgren.output.dicom.source import read_source
from kellgren.output.pseudonym import InvalidKey, Pseudonyms
from kellgren.pacs.spool import counts
from pacs_network import Listening, eventually, free_port, send
from web_room import hand_in, reading_room

KEY = "a key of more than sixteen characters"
# Values that their elements cannot hold, of two films: libraries like to quote such in warnings.
BROKEN = (
    {
        **{"PatientName": "CANARYNAME" * 20, "PatientAge": "CANARYAGE"},
        **{"AccessionNumber": "CANARYACCESSION1", "StudyDate": "CANARYDAY"},
    },
    {
        **{"PatientBirthDate": "CANARYDATE", "PatientSex": "CANARYSEX"},
        **{"ViewPosition": "canaryposition", "WindowCenter": "CANARYWINDOW"},
    },
)
# A number, for the file to be written; it is as long as the value that comes in its place.
HOLDERS = {"WindowCenter": "1234567890.5"}
EXTRA = {
    "StudyID": "CANARYSTUDY",
    "PatientComments": "CANARY comments",
    "OtherPatientNames": "CANARY^Other",
    "PatientAddress": "CANARY street",
    "InstitutionName": "CANARY hospital",
    "OperatorsName": "CANARY^Operator",
    "SeriesDescription": "CANARY series",
    "ProtocolName": "CANARY protocol",
}
UIDS = {
    "StudyInstanceUID": "1.2.840.99999.7741.1",
    "SeriesInstanceUID": "1.2.840.99999.7741.2",
    "SOPInstanceUID": "1.2.840.99999.7741.3",
}
CANARY_WORDS = (
    *("CANARY", "canary", *CANARIES.values(), "Kanarienvogel", "Ännchen"),
    *("99999.7741", "CanaryCreator"),
)
Channel = Callable[[Path, Bundle, Path], bytes]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good film, broken ones, a cut one and a coloured one, full of canaries."""
    folder = tmp_path_factory.mktemp("films")
    whole = complete(DX) | EXTRA | UIDS
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")  # of the writing of what must not be written
        patch.setattr(config.settings, "_writing_validation_mode", config.IGNORE)
        good: Dataset = dcmread(write_dicom(folder / "good.dcm", knee(), bits=12, **whole))
        own = good.private_block(0x0021, "CanaryCreator", create=True)
        own.add_new(1, "LO", "CANARY private")
        order = Dataset()
        order.RequestedProcedureDescription = "CANARY order"
        good.RequestAttributesSequence = [order]
        good.save_as(folder / "good.dcm")
        for number, values in enumerate(BROKEN):
            path = folder / f"broken{number}.dcm"
            held = values | {name: held for name, held in HOLDERS.items() if name in values}
            sop = {"SOPInstanceUID": f"{UIDS['SOPInstanceUID']}.{number}"}
            write_dicom(path, knee(), bits=12, **whole | sop | held)
            for name, value in values.items():
                path.write_bytes(path.read_bytes().replace(held[name].encode(), value.encode()))
        colour = whole | {"PhotometricInterpretation": "PALETTE COLOR"}
        colour["SOPInstanceUID"] += ".99"
        write_dicom(folder / "colour.dcm", knee(), bits=12, **colour)
    content = (folder / "good.dcm").read_bytes()
    (folder / "cut.dcm").write_bytes(content[: len(content) // 2])
    return folder


def knee() -> np.ndarray:
    return np.asarray(Image.open(EXAMPLES / "9177337R.png")).astype(np.uint16) * 16


def ran(*words: Path | str) -> bytes:
    """All that a `kellgren` in a process of its own says, its libraries' warnings included."""
    done = subprocess.run(
        command(*words),
        capture_output=True,
        env=environment(PYTHONWARNINGS="always"),
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr.decode()
    return done.stdout + done.stderr


def written(folder: Path) -> bytes:
    """Names and contents of all files, and what pictures hold beside their pixels."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found += [str(path).encode(), path.read_bytes()]
        if path.suffix in (".png", ".jpg"):
            with Image.open(path) as picture:
                found.append(repr(picture.info).encode())
        if path.suffix == ".html":
            shown = re.findall(r"base64,([A-Za-z0-9+/=]+)", path.read_text("utf-8"))
            found += [base64.b64decode(picture) for picture in shown]
    return b"\n".join(found)


def by_grade(films: Path, bundle: Bundle, out: Path) -> bytes:
    given = ["grade", films, "--model", bundle.folder, "--pseudonym", KEY, "--json", "-"]
    given += ["--csv", out / "t.csv", "--fhir", out / "fhir", "--overlay", out / "overlays"]
    said = ran(*given, "--dicom-out", out.parent / "answers")
    assert len([*(out / "overlays").iterdir()]) == len([*(out / "fhir").iterdir()]) == 3
    answers = written(out.parent / "answers")
    assert CANARIES["PatientID"].encode() in answers  # the search can find what is there
    return said + written(out)


def by_grade_to_a_table(films: Path, bundle: Bundle, out: Path) -> bytes:
    return ran("grade", films, "--model", bundle.folder, "--csv", "-", "--json", out / "t.json")


def by_locate(films: Path, bundle: Bundle, out: Path) -> bytes:
    given = ["locate", films, "--csv", "-", "--json", out / "t.json", "--overlay", out / "overlays"]
    return ran(*given) + written(out)


def by_evaluate(films: Path, bundle: Bundle, out: Path) -> bytes:
    known = [films / "good.dcm", *sorted(films.glob("broken*.dcm"))]
    lines = ["image,patient,grade"]
    lines += [f"{path},{number},{number % 5}" for number, path in enumerate(known)]
    labels, table = out / "labels.csv", out / "t.csv"
    out.mkdir()
    labels.write_text("\n".join(lines) + "\n")
    said = ran("grade", *known, "--model", bundle.folder, "--csv", table)
    given = ["evaluate", table, "--labels", labels, "--model", bundle.folder, "--resamples", "100"]
    said += ran(*given, "--html", out / "report.html", "--json", out / "scores.json")
    assert b"data:image/jpeg" in (out / "report.html").read_bytes()
    return said + written(out)


@pytest.mark.filterwarnings("ignore")  # of the sending of what must not be sent
def by_listen(films: Path, bundle: Bundle, out: Path) -> bytes:
    """The station's log, the records of its spool, and the names of all that waits there."""
    port, away = free_port(), f"127.0.0.1:{free_port()}/AWAY"
    with Listening(out, away, port, "--model", str(bundle.folder)) as station:
        known = [path for path in sorted(films.iterdir()) if path.stem != "cut"]
        sent = [dcmread(path) for path in known]
        send(port, sent)
        assert eventually(lambda: counts(out)["to send"] == 3)
        assert eventually(lambda: any("next try" in line for line in station.lines))
        station.stop()
    records = [path.read_text() for path in out.rglob("*.json")]
    assert len(records) == 1  # the coloured one
    names = [str(path) for path in out.rglob("*")]
    return "\n".join([*station.lines, *records, *names]).encode()


def by_serve(films: Path, bundle: Bundle, out: Path) -> bytes:
    out.mkdir()
    found = []
    with reading_room(out / "room", bundle.folder) as room, room.client() as client:
        cases = hand_in(client, *sorted(films.iterdir()))
        assert {case["state"] for case in cases} == {"graded", "refused"}
        paths = ["/api/v1/cases", "/metrics", "/health"]
        for case in cases:
            paths += [case["url"], f"{case['url']}/readings.json", f"{case['url']}/readings.csv"]
            paths += [knee[kind] for knee in case["knees"] for kind in ("picture", "overlay")]
        for path in paths:
            answer = client.get(path)
            found += [path.encode(), str(answer.headers).encode(), answer.content]
    found.append(room.log.read_bytes())
    return b"\n".join(found)


def by_exceptions(films: Path, bundle: Bundle, out: Path) -> bytes:
    """Whole tracebacks of a film cut at many places, and of one with single bytes changed."""
    out.mkdir()
    whole = (films / "good.dcm").read_bytes()
    header = whole.index(b"CANARY private") + 2000
    chance = np.random.default_rng(0)
    damaged = [whole[:end] for end in range(140, header, header // 40)]
    for place in chance.integers(132, header, 60):
        changed = bytearray(whole)
        changed[place] ^= 0xFF
        damaged.append(bytes(changed))
    told = []
    for content in damaged:
        (out / "film.dcm").write_bytes(content)
        for read in (read_radiograph, read_source, Pseudonyms(KEY).of):
            try:
                read(out / "film.dcm")
            except Exception as error:
                told += traceback.format_exception(error)
    assert len(told) > 40
    return "".join(told).encode()


@pytest.mark.parametrize(
    "channel",
    [
        *(by_grade, by_grade_to_a_table, by_locate, by_evaluate, by_listen, by_serve),
        by_exceptions,
    ],
)
def test_no_name_leaves_the_header(
    films: Path, bundle: Bundle, tmp_path: Path, channel: Channel
) -> None:
    shown = channel(films, bundle, tmp_path / "out")

    for canary in CANARY_WORDS:
        for encoding in ("utf-8", "latin-1"):
            assert canary.encode(encoding) not in shown, canary
    if channel in (by_grade, by_grade_to_a_table, by_locate, by_evaluate):
        assert b"good.dcm" in shown  # a file's name is its giver's


def test_no_name_is_drawn(tmp_path: Path, bundle: Bundle) -> None:
    for name, header in (("named", complete(DX) | EXTRA), ("nameless", sparse(DX))):
        (tmp_path / name).mkdir()
        greys = {"WindowCenter": "2048", "WindowWidth": "4096", "ImageLaterality": "R"}
        write_dicom(tmp_path / name / "film.dcm", knee(), bits=12, **header | greys)
        given = ["grade", tmp_path / name, "--model", bundle.folder]
        assert kellgren(*given, "--overlay", tmp_path / name / "out", "--csv", "-") == 0
    named, nameless = (
        (tmp_path / name / "out" / "film.png").read_bytes() for name in ("named", "nameless")
    )
    assert named == nameless


def test_a_pseudonym_is_stable_and_belongs_to_its_key(tmp_path: Path, bundle: Bundle) -> None:
    def film(name: str, **elements: Any) -> Path:
        return write_dicom(tmp_path / f"{name}.dcm", knee(), bits=12, **complete(DX) | elements)

    films = [film("a"), film("b", PatientName="Other^Name"), film("c", PatientID="CANARY-2")]
    key_file = tmp_path / "key"
    key_file.write_text(KEY + "\n")
    table = tmp_path / "t.csv"
    given = [*films, EXAMPLES / "9177337R.png", "--model", bundle.folder, "--csv", table]

    assert kellgren("grade", *given, "--pseudonym", f"@{key_file}") == 0

    first, second, third, png = (row["patient"] for row in rows(table))
    assert first == second == Pseudonyms(KEY).of(films[0])
    assert len({first, third, Pseudonyms(KEY + "!").of(films[0])}) == 3
    assert len(first) == 32
    assert png == ""
    assert kellgren("grade", *given) == 0
    assert {row["patient"] for row in rows(table)} == {""}


def test_a_key_that_keeps_no_secret_is_refused(tmp_path: Path) -> None:
    for option in ("short", f"@{tmp_path / 'none'}"):
        with pytest.raises(InvalidKey):
            Pseudonyms.from_option(option)
    assert kellgren("grade", EXAMPLES, "--pseudonym", "short") == 2
