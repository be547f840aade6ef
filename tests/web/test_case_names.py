"""Names of uploads on the server show nothing of the given one but side and suffix."""

from __future__ import annotations

from pathlib import PurePosixPath

from hypothesis import given, settings
from hypothesis import strategies as st

from kellgren.imaging.picture import SUFFIXES
from kellgren.web.storage.case_names import MAX_NAME_LENGTH, case_name, patient_number, printable

SECRET = b"s" * 32


@settings(deadline=None)
@given(st.text())
def test_a_file_s_name_shows_nothing_of_the_given_one_but_side_and_suffix(given_name: str) -> None:
    name = case_name(given_name, SECRET, keep=False)
    assert name.shown == name.file
    assert name.file.isascii()
    assert "/" not in name.file
    suffix = PurePosixPath(name.file).suffix
    assert suffix in {"", *SUFFIXES}
    assert name.file.removesuffix(suffix).rstrip("LR") == name.patient
    assert len(name.patient) == 12
    assert name.patient.isdecimal()
    kept = case_name(given_name, SECRET, keep=True).shown
    assert not {"/", "\\", "\n", "\0"} & set(kept)
    assert 0 < len(kept) <= MAX_NAME_LENGTH


@settings(deadline=None)
@given(st.text())
def test_printable_text_stays_as_it_is(text: str) -> None:
    assert printable(printable(text)) == printable(text).strip()
    assert printable(text).isprintable() or any(c.isspace() for c in printable(text))


def test_both_knees_of_a_patient_share_a_number_that_hangs_on_the_secret() -> None:
    left, right = (case_name(f"x/9001234{side}.png", SECRET, keep=False) for side in "LR")
    assert left.patient == right.patient == patient_number(SECRET, "9001234")
    assert (left.file[-5:], right.file[-5:]) == ("L.png", "R.png")
    assert patient_number(b"t" * 32, "9001234") != left.patient != patient_number(SECRET, "9001235")
    unnamed = {case_name("film.png", SECRET, keep=False).patient for _ in range(8)}
    assert len(unnamed) == 8  # never by chance of one patient
