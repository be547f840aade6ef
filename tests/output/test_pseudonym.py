"""Pseudonyms: the same for a patient under a key, never without one, whatever the header holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from command_line import EXAMPLES
from dicom_factory import write_dicom
from kellgren.output.pseudonym import MIN_KEY_LENGTH, InvalidKey, Pseudonyms

KEY = "0123456789abcdef"
PIXELS = np.arange(64, dtype=np.uint16).reshape(8, 8)


def film(folder: Path, patient: str | None, name: str = "film") -> Path:
    path = folder / f"{name}.dcm"
    if patient is None:
        return write_dicom(path, PIXELS, bits=12, drop=("PatientID",))
    return write_dicom(path, PIXELS, bits=12, PatientID=patient)


@settings(deadline=None, max_examples=25)
@given(
    keys=st.lists(st.text(min_size=MIN_KEY_LENGTH), min_size=2, max_size=2, unique=True),
    patients=st.lists(
        st.text("ABCxyz0189-", min_size=1, max_size=20), min_size=2, max_size=2, unique=True
    ),
)
def test_a_pseudonym_is_of_the_key_and_the_patient_alone(
    tmp_path_factory: pytest.TempPathFactory, keys: list[str], patients: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("films")
    films = [film(folder, patient, str(n)) for n, patient in enumerate(patients)]
    found = [Pseudonyms(key).of(path) for key in keys for path in films]
    assert len(set(found)) == 4
    assert found == [Pseudonyms(key).of(str(path)) for key in keys for path in films]
    for pseudonym in found:
        assert len(pseudonym) == 32
        assert set(pseudonym) <= set("0123456789abcdef")


def test_padding_is_no_part_of_a_patient_s_number(tmp_path: Path) -> None:
    padded = [film(tmp_path, text, str(n)) for n, text in enumerate(("A1", " A1", "A1  ", "A1\0"))]
    assert len({Pseudonyms(KEY).of(path) for path in padded}) == 1
    assert Pseudonyms(KEY).of(film(tmp_path, "A 1")) != Pseudonyms(KEY).of(padded[0])


@pytest.mark.parametrize("patient", [None, "", "   "])
def test_a_file_that_states_no_patient_has_no_pseudonym(
    tmp_path: Path, patient: str | None
) -> None:
    assert Pseudonyms(KEY).of(film(tmp_path, patient)) == ""


def test_what_is_no_dicom_file_has_no_pseudonym(tmp_path: Path) -> None:
    (tmp_path / "text.dcm").write_text("Dear colleague,\n")
    for path in (EXAMPLES / "9177337R.png", tmp_path / "text.dcm", tmp_path / "none", tmp_path):
        assert Pseudonyms(KEY).of(path) == ""


def test_a_key_has_a_least_length() -> None:
    assert Pseudonyms("k" * MIN_KEY_LENGTH)
    with pytest.raises(InvalidKey, match=f"fewer than {MIN_KEY_LENGTH} characters.*@FILE"):
        Pseudonyms("k" * (MIN_KEY_LENGTH - 1))


def test_a_key_may_lie_in_a_file_whose_last_line_end_does_not_count(tmp_path: Path) -> None:
    path = film(tmp_path, "A1")
    for text in (KEY, f"{KEY}\n", f" {KEY}\r\n"):
        (tmp_path / "key").write_text(text)
        assert Pseudonyms.from_option(f"@{tmp_path / 'key'}").of(path) == Pseudonyms(KEY).of(path)
    (tmp_path / "key").write_text(KEY[1:] + "\n" * 9)
    with pytest.raises(InvalidKey, match="fewer than"):
        Pseudonyms.from_option(f"@{tmp_path / 'key'}")


@pytest.mark.parametrize("content", [None, b"\xff\xfe" * 16])
def test_a_key_file_that_cannot_be_read_is_named_and_the_key_is_not(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidKey) as caught:
        Pseudonyms.from_option(f"@{path}")
    assert str(path) in caught.value.problem
    with pytest.raises(InvalidKey) as caught:
        Pseudonyms.from_option("secret")
    assert "secret" not in str(caught.value)
