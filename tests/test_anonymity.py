"""Canaries in headers: nothing but an answer in DICOM may ever name a patient."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import config

from bundle_factory import make_bundle
from command_line import EXAMPLES, command, environment, kellgren, rows
from dicom_factory import write_dicom
from dicom_headers import CANARIES, DX, complete, sparse
from kellgren.bundle import Bundle
from kellgren.pseudonym import InvalidKey, Pseudonyms

KEY = "a key of more than sixteen characters"
# Values that their elements cannot hold: libraries like to quote such in warnings.
BROKEN = {
    "PatientName": "CANARYNAME" * 20,
    "PatientBirthDate": "CANARYDATE",
    "PatientSex": "CANARYSEX",
    "AccessionNumber": "CANARYACCESSION1",
    "StudyDate": "CANARYDAY",
    "PatientAge": "CANARYAGE",
    "ViewPosition": "canaryposition",
    "WindowCenter": "CANARYWINDOW",
}
EXTRA = {
    "PatientComments": "CANARY comments",
    "OtherPatientNames": "CANARY^Other",
    "PatientAddress": "CANARY street",
    "InstitutionName": "CANARY hospital",
    "OperatorsName": "CANARY^Operator",
    "SeriesDescription": "CANARY series",
    "ProtocolName": "CANARY protocol",
}
CANARY_WORDS = ("CANARY", "canary", *CANARIES.values(), "Kanarienvogel", "Ännchen")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("models") / "tiny")


def knee() -> np.ndarray:
    return np.asarray(Image.open(EXAMPLES / "9177337R.png")).astype(np.uint16) * 16


@pytest.mark.filterwarnings("ignore")  # of the writing of what must not be written
def test_no_name_leaves_the_header(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config.settings, "_writing_validation_mode", config.IGNORE)
    films = tmp_path / "films"
    films.mkdir()
    write_dicom(films / "good.dcm", knee(), bits=12, **complete(DX) | EXTRA)
    for number, (keyword, value) in enumerate(BROKEN.items()):
        path = films / f"broken{number}.dcm"
        holder = value if keyword not in ("WindowCenter",) else "1234567890.5"
        write_dicom(path, knee(), bits=12, **complete(DX) | EXTRA | {keyword: holder})
        if holder != value:
            path.write_bytes(path.read_bytes().replace(holder.encode(), value.encode()))
    good = (films / "good.dcm").read_bytes()
    (films / "cut.dcm").write_bytes(good[: len(good) // 2])
    colour = complete(DX) | EXTRA | {"PhotometricInterpretation": "PALETTE COLOR"}
    write_dicom(films / "colour.dcm", knee(), bits=12, **colour)
    out = tmp_path / "out"

    done = subprocess.run(
        [
            *command("grade", films, "--model", bundle.folder, "--pseudonym", KEY),
            *("--csv", out / "t.csv", "--json", out / "t.json", "--fhir", out / "t.fhir.json"),
            *("--overlay", out / "overlays", "--dicom-out", tmp_path / "answers"),
        ],
        capture_output=True,
        env=environment(PYTHONWARNINGS="always"),
        check=False,
    )

    assert done.returncode == 1  # the cut one and the coloured one
    written = [path for path in out.rglob("*") if path.is_file()]
    assert len(written) == 3 + 9
    shown = b"\n".join([done.stdout, done.stderr, *(path.read_bytes() for path in written)])
    for canary in CANARY_WORDS:
        for encoding in ("utf-8", "latin-1"):
            assert canary.encode(encoding) not in shown, canary
    answers = b"\n".join(path.read_bytes() for path in (tmp_path / "answers").iterdir())
    assert CANARIES["PatientID"].encode() in answers  # the search can find what is there


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


def test_observations_are_of_the_rows(tmp_path: Path, bundle: Bundle) -> None:
    write_dicom(tmp_path / "film.dcm", knee(), bits=12, **complete(DX))
    given = ["grade", tmp_path / "film.dcm", "--model", bundle.folder, "--pseudonym", KEY]
    given += ["--json", tmp_path / "t.json"]

    assert kellgren(*given, "--fhir", tmp_path / "all.json") == 0
    assert kellgren(*given, "--fhir", tmp_path / "each") == 0

    (row,) = json.loads((tmp_path / "t.json").read_text())["readings"]
    collection = json.loads((tmp_path / "all.json").read_text())
    assert (collection["resourceType"], collection["type"]) == ("Bundle", "collection")
    (entry,) = collection["entry"]
    one = entry["resource"]
    (path,) = (tmp_path / "each").iterdir()
    assert json.loads(path.read_text()) == one
    assert path.stem == one["id"] == entry["fullUrl"].removeprefix("urn:uuid:")
    assert (one["resourceType"], one["status"]) == ("Observation", "preliminary")
    assert one["code"]["coding"][0]["code"] == "KL"
    assert one["valueCodeableConcept"]["coding"][0]["code"] == f"KL{row['grade']}"
    assert one["bodySite"]["coding"][0]["code"] == "6757004"
    assert one["subject"]["identifier"]["value"] == row["patient"]
    shares = [part["valueQuantity"]["value"] for part in one["component"][:5]]
    assert shares == row["probabilities"]
    assert "not a medical device" in one["note"][0]["text"]


def test_fhir_and_dicom_speak_of_the_same_scheme() -> None:
    from kellgren.dicom_output.vocabulary import SCHEME_UID
    from kellgren.fhir import SYSTEM

    assert f"urn:oid:{SCHEME_UID}" == SYSTEM
