"""One call from a file to a reading: what the record holds, whose knee it is, and in which file."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicom_factory import full_range, write_dicom
from kellgren import Ensemble, Grade, KellgrenError, KneeReading, Side
from kellgren.exchange.own_output import PNG_KEYWORD, PNG_TEXT
from kellgren.explanation.overlay import Caption

EXAMPLES = Path(__file__).parents[1] / "examples"
LEFT, RIGHT = EXAMPLES / "9177337L.png", EXAMPLES / "9177337R.png"


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    return Ensemble.default(threads=1)


@pytest.fixture(scope="module")
def left(ensemble: Ensemble) -> KneeReading:
    (reading,) = ensemble.read(LEFT)
    return reading


def nameless(folder: Path, pixels: np.ndarray, suffix: str = "png", name: str = "knee") -> Path:
    path = folder / f"{name}.{suffix}"
    Image.fromarray(pixels).save(path)
    return path


def grey(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"))


def dicom(path: Path, **elements: object) -> Path:
    return write_dicom(path, grey(LEFT), **full_range(8), **elements)


def test_a_reading_is_whole_and_agrees_with_itself(left: KneeReading, ensemble: Ensemble) -> None:
    record = json.loads(json.dumps(left.to_dict(), allow_nan=False))

    assert record["image"] == str(LEFT)
    assert record["side"] == "L"
    assert len(record["probabilities"]) == 5
    assert sum(record["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert all(0 <= p <= 1 for p in record["probabilities"])
    assert record["grade"] == int(np.argmax(record["probabilities"]))
    assert record["name"] == Grade(record["grade"]).label
    held = record["grade_set"]
    assert held["lowest"] <= record["grade"] <= held["highest"]
    card = ensemble.bundle.card
    assert card.grade_sets is not None
    assert (held["level"], held["coverage"]) == (0.9, card.grade_sets.at(0.9).measured.coverage)
    assert record["right_share"] == card.right_share(record["certainty"])
    assert record["named"] == (not record["doubts"])
    assert record["certainty"] in ("high", "moderate", "low")
    assert record["warnings"] == []
    assert record["mm_per_pixel"] is None
    assert record["model"]["checksum"] == ensemble.bundle.checksum
    assert (record["model"]["engine"], record["model"]["precision"]) == ("onnxruntime", "fp32")
    assert left.activation.ndim == 2
    assert np.isfinite(left.activation).all()


def test_the_picture_is_a_png_of_both_views(left: KneeReading) -> None:
    data = left._repr_png_()

    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "PNG"
        assert picture.mode == "RGB"
        assert min(picture.size) > 500
        assert picture.info == {PNG_KEYWORD: PNG_TEXT}  # nothing travels but pixels and the mark
        assert len(np.unique(np.asarray(picture))) > 100
    assert data == left.overlay()


def test_nothing_on_the_picture_can_name_the_patient(
    left: KneeReading, ensemble: Ensemble, tmp_path: Path
) -> None:
    assert {field.name for field in dataclasses.fields(Caption)} == {
        *("grade", "side", "probabilities", "certainty", "right_share", "grade_set", "model"),
        *("named", "doubts", "beyond", "mapped", "with_other", "mapping", "forced"),
        "calibrated_to",
    }
    (renamed,) = ensemble.read(nameless(tmp_path, grey(LEFT), name="someone-else"), Side.LEFT)

    assert renamed.overlay() == left.overlay()


@pytest.mark.parametrize(
    ("header", "name", "caller", "expected"),
    [
        ("", "knee", "", ""),
        ("L", "knee", "", "L"),
        ("", "9177337R", "", "R"),
        ("", "knee", "R", "R"),
        ("L", "9177337L", "L", "L"),
        ("L", "9177337R", "", None),
        ("L", "knee", "R", None),
        ("", "9177337L", "R", None),
        ("R", "9177337L", "L", None),
        ("R", "9177337R", "L", None),
    ],
)
def test_the_side_is_agreed_upon_or_unknown(
    ensemble: Ensemble, tmp_path: Path, header: str, name: str, caller: str, expected: str | None
) -> None:
    elements = {"ImageLaterality": header} if header else {}
    (reading,) = ensemble.read(dicom(tmp_path / f"{name}.dcm", **elements), Side(caller))

    contradictions = [w for w in reading.warnings if w.startswith("side unknown")]
    assert reading.side == Side(expected or "")
    assert len(contradictions) == (expected is None)
    if contradictions:
        assert "left" in contradictions[0]
        assert "right" in contradictions[0]


@pytest.mark.parametrize("source", [LEFT, RIGHT])
def test_a_mirror_image_of_the_other_side_is_the_same_knee(
    ensemble: Ensemble, tmp_path: Path, source: Path
) -> None:
    mirrored = nameless(tmp_path, np.ascontiguousarray(grey(source)[:, ::-1]))
    (plain,) = ensemble.read(source)
    other_side = Side.RIGHT if plain.side is Side.LEFT else Side.LEFT
    (other,) = ensemble.read(mirrored, other_side)

    assert other.side is other_side
    assert other.probabilities == pytest.approx(plain.probabilities, abs=1e-3)
    assert other.activation[:, ::-1] == pytest.approx(plain.activation, abs=1e-2)


@pytest.mark.parametrize("form", ["png8", "png16", "tiff8", "tiff16", "dicom8", "dicom16"])
def test_the_same_knee_reads_the_same_from_every_format(
    ensemble: Ensemble, left: KneeReading, tmp_path: Path, form: str
) -> None:
    pixels = grey(LEFT)
    deep = pixels.astype(np.uint16) * 257
    paths = {
        "png8": lambda: nameless(tmp_path, pixels),
        "png16": lambda: nameless(tmp_path, deep),
        "tiff8": lambda: nameless(tmp_path, pixels, "tiff"),
        "tiff16": lambda: nameless(tmp_path, deep, "tif"),
        "dicom8": lambda: dicom(tmp_path / "knee.dcm"),
        "dicom16": lambda: write_dicom(tmp_path / "knee.dcm", deep, **full_range(16)),
    }
    (reading,) = ensemble.read(paths[form](), Side.LEFT)

    assert reading.probabilities == pytest.approx(left.probabilities, abs=1e-3)
    assert reading.grade is left.grade


def test_spacing_reaches_the_reading_and_names_do_not(ensemble: Ensemble, tmp_path: Path) -> None:
    path = dicom(tmp_path / "knee.dcm", PixelSpacing=[0.2, 0.2], PatientName="CANARY^Name")
    (reading,) = ensemble.read(path)

    assert reading.mm_per_pixel == pytest.approx(0.2)
    assert "CANARY" not in json.dumps(reading.to_dict())
    assert b"CANARY" not in reading.overlay()


def test_what_cannot_be_read_says_which_file_why_and_what_to_do(
    ensemble: Ensemble, tmp_path: Path
) -> None:
    with pytest.raises(KellgrenError, match="does not exist") as caught:
        ensemble.read(tmp_path / "nowhere.png")

    assert str(tmp_path / "nowhere.png") in str(caught.value)
    assert caught.value.remedy.endswith(".")
