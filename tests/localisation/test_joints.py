"""Every joint of a picture is accounted for; what surrounds a picture is no part of it."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import EXAMPLES, kellgren
from dicom_factory import full_range, write_dicom
from kellgren import Ensemble, Side
from kellgren.batch.journal import Journal
from kellgren.errors import NotAKneeFilm
from kellgren.imaging.radiograph import Radiograph, read_radiograph
from kellgren.knee import Plane
from kellgren.localisation.border import without_border
from kellgren.localisation.film import DetectedKnee, find_joints, find_knees
from kellgren.localisation.knee_detector import Localiser
from kellgren.localisation.laterality import side_statements
from kellgren.localisation.picture_gate import PictureGate
from kellgren.localisation.picture_scores import Scores
from kellgren.output.dicom.common import outline
from kellgren.output.dicom.source import Source
from kellgren.reading import FilmReadings
from kellgren.reading_schema import ModelRecord, UngradedRow
from made.batches import grade_batch

BOTH = Path(__file__).parents[1] / "frames" / "both.png"
KNEE = EXAMPLES / "9177337R.png"


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    return Ensemble.default(threads=1)


@pytest.fixture(scope="module")
def both() -> Plane:
    return read_radiograph(BOTH).pixels


def joints(pixels: Plane, localiser: Localiser, side: Side = Side.UNKNOWN) -> list[DetectedKnee]:
    film = Radiograph("film", np.asarray(pixels, np.float32), side, None, 8, "PNG", ())
    return find_joints(film, side_statements((), Side.UNKNOWN, side), localiser)


def damaged(both: Plane) -> Plane:
    """The film with its right knee's joint blurred away: a limb is there, and no joint line."""
    film = both.copy()
    part = Image.fromarray(film[:, 60:290])
    film[:, 60:290] = np.asarray(part.resize((8, 5), Image.Resampling.BOX).resize(part.size))
    return film


def several(both: Plane, count: int) -> Plane:
    """A composite: films of two knees below each other, with a margin."""
    films = [both] * (count // 2) + [both[:, : both.shape[1] // 2]] * (count % 2)
    width = both.shape[1]
    return np.concatenate([np.pad(f, ((0, 25), (0, width - f.shape[1]))) for f in films])


def saved(pixels: Plane, path: Path) -> Path:
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(path)
    return path


# --- which joints there are ------------------------------------------------------------------


def test_the_knee_that_is_refused_is_found_beside_the_one_that_is_not(
    both: Plane, localiser: Localiser
) -> None:
    found = joints(damaged(both), localiser)

    assert [bool(joint.refusal) for joint in found] == [True, False]
    refused, graded = found
    assert refused.crop.region is not None
    assert refused.crop.region.centre[0] < both.shape[1] / 2
    assert any(refused.refusal in warning for warning in graded.warnings)
    assert {check.name for check in graded.checks} >= {"joints"}


def test_two_knees_and_one_knee_say_nothing_of_others(both: Plane, localiser: Localiser) -> None:
    for pixels, count in ((both, 2), (read_radiograph(KNEE).pixels, 1)):
        found = joints(pixels, localiser)
        assert len(found) == count
        assert all(check.name != "joints" for joint in found for check in joint.checks)


@pytest.mark.parametrize("count", [3, 4])
def test_more_than_two_knees_are_no_film_of_one_patient(
    both: Plane, localiser: Localiser, count: int
) -> None:
    found = joints(several(both, count), localiser)

    assert len(found) == count
    assert all(f"{count} knee joints" in joint.refusal for joint in found)
    film = Radiograph("film", several(both, count), Side.UNKNOWN, None, 8, "PNG", ())
    with pytest.raises(NotAKneeFilm, match=f"{count} knee joints"):
        find_knees(film, (), localiser)
    assert len(find_knees(film, (), localiser, force=True)) == count


def test_two_knees_of_one_side_have_none(both: Plane, localiser: Localiser) -> None:
    """Below each other, so that no place tells, and the caller says the same of both."""
    half = both[:, : both.shape[1] // 2]
    column = np.concatenate([np.pad(half, ((0, 25), (0, 0)))] * 2)
    found = joints(column, localiser, Side.RIGHT)

    assert len(found) == 2
    assert {joint.crop.side for joint in found} == {Side.UNKNOWN}
    for joint in found:
        (check,) = (check for check in joint.checks if check.name == "side")
        assert check.verdict == "warning"
        assert check.evidence.startswith("side unknown")


# --- rows, pictures, exit codes --------------------------------------------------------------


def test_each_joint_is_a_row_in_every_table(
    both: Plane, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = saved(damaged(both), tmp_path / "film.png")
    table, document, pictures = tmp_path / "t.csv", tmp_path / "t.json", tmp_path / "pictures"

    given = ("grade", film, "--csv", table, "--json", document, "--overlay", pictures)
    assert kellgren(*given) == 1

    with table.open(newline="") as stream:
        graded, refused = csv.DictReader(stream)
    assert graded["grade"] in "01234"
    assert refused["grade"] == ""
    assert refused["note"].startswith("is refused")
    assert refused["note"].split("refused: ")[1].split(".")[0] in graded["warnings"]
    content = json.loads(document.read_text())
    assert content["counts"] == {"files": 1, "graded": 1, "not_graded": 1}
    entry = content["readings"][1]
    assert entry["region"]["centre"][0] < both.shape[1] / 2
    assert "refused" in {check["verdict"] for check in entry["checks"]}
    names = sorted(path.name for path in pictures.iterdir())
    assert names == ["film refused 1.png", "film.png"]
    assert "Not graded: 1" in capsys.readouterr().err
    assert kellgren("grade", film, "--force") == 0


def test_a_composite_has_a_row_for_each_joint_and_no_grade(both: Plane, tmp_path: Path) -> None:
    film = saved(several(both, 3), tmp_path / "composite.png")
    table = tmp_path / "t.csv"

    assert kellgren("grade", film, "--csv", table) == 4
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3
    assert all("3 knee joints" in row["note"] and not row["grade"] for row in rows)


def test_the_library_gives_what_was_refused(
    both: Plane, ensemble: Ensemble, tmp_path: Path
) -> None:
    film = saved(damaged(both), tmp_path / "film.png")
    readings = ensemble.read(film)

    assert isinstance(readings, FilmReadings)
    (graded,), (refused,) = readings, readings.refused
    assert graded.warnings
    assert refused.reason in repr(readings)
    assert refused.record().note.startswith("is refused")
    assert refused.overlay().startswith(b"\x89PNG")
    with pytest.raises(NotAKneeFilm, match="knee joints"):
        ensemble.read(saved(several(both, 3), tmp_path / "composite.png"))
    assert len(ensemble.read(film, force=True)) == 2


def test_a_resumed_batch_keeps_the_refused_joints(
    both: Plane, ensemble: Ensemble, tmp_path: Path
) -> None:
    film = str(saved(damaged(both), tmp_path / "film.png"))
    path, model = tmp_path / "journal", ModelRecord.model_validate(ensemble.model)
    first = grade_batch(ensemble, [film], Journal(path, resume=False, model=model))
    assert isinstance(first[1], UngradedRow)

    resumed = Journal(path, resume=True, model=model)
    assert resumed.rows == first
    resumed.close()
    text = path.read_text()
    for cut in (9, 120, len(text.splitlines()[1]) - 4):
        path.write_text(text[:-cut])
        half = Journal(path, resume=True, model=model)
        half.close()
        assert half.rows == []  # graded again, and no joint lost


def test_locate_shows_refused_joints_too(both: Plane, tmp_path: Path) -> None:
    film = saved(damaged(both), tmp_path / "film.png")
    table, pictures = tmp_path / "t.csv", tmp_path / "pictures"

    assert kellgren("locate", film, "--csv", table, "--overlay", pictures) == 1
    with table.open(newline="") as stream:
        refused, graded = csv.DictReader(stream)
    assert refused["note"].startswith("is refused")
    assert graded["note"] == ""
    assert float(refused["centre_x"]) < float(graded["centre_x"])
    assert (pictures / "film.png").is_file()


# --- borders ---------------------------------------------------------------------------------


Widths = tuple[tuple[int, int], tuple[int, int]]


def crop_within(widths: Widths, value: float, localiser: Localiser) -> DetectedKnee:
    """The joint of a padded crop, which must be the crop pixel by pixel, at its place."""
    knee = read_radiograph(KNEE).pixels
    (joint,) = joints(np.pad(knee, widths, constant_values=value), localiser)

    np.testing.assert_array_equal(joint.crop.pixels, knee)
    assert joint.crop.region is not None
    (top, _), (left, _) = widths
    middle = (left + knee.shape[1] / 2, top + knee.shape[0] / 2)
    assert joint.crop.region.centre == pytest.approx(middle)
    return joint


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("widths", [((36, 36), (36, 36)), ((7, 20), (60, 9))])
def test_a_border_around_a_crop_is_left_out_of_it(
    value: float, widths: Widths, localiser: Localiser
) -> None:
    assert not crop_within(widths, value, localiser).refusal


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("widths", [((0, 0), (60, 60)), ((70, 50), (0, 0)), ((0, 0), (0, 130))])
def test_a_crop_padded_to_another_shape_is_still_a_crop(
    value: float, widths: Widths, localiser: Localiser
) -> None:
    crop_within(widths, value, localiser)


def judged_by_the_gate(monkeypatch: pytest.MonkeyPatch) -> list[Plane]:
    """What the gate is asked about from now on; its answers stay what they are."""
    judged: list[Plane] = []
    scores = PictureGate.scores

    def noted(gate: PictureGate, knee: Plane) -> Scores:
        judged.append(knee)
        return scores(gate, knee)

    monkeypatch.setattr(PictureGate, "scores", noted)
    return judged


@pytest.mark.parametrize("widths", [((0, 0), (0, 0)), ((36, 36), (36, 36)), ((0, 0), (60, 60))])
def test_the_gate_judges_a_crop_once_padded_or_not(
    widths: Widths, localiser: Localiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged, knee = judged_by_the_gate(monkeypatch), read_radiograph(KNEE).pixels
    joints(np.pad(knee, widths), localiser)

    (once,) = judged
    np.testing.assert_array_equal(once, knee)


def test_the_gate_judges_each_of_two_knees_once(
    both: Plane, localiser: Localiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = judged_by_the_gate(monkeypatch)
    found = joints(np.pad(both, ((90, 60), (0, 0))), localiser)

    assert len(judged) == len(found) == 2


def test_knees_inside_a_frame_lie_where_they_are(both: Plane, localiser: Localiser) -> None:
    plain = joints(both, localiser)
    framed = joints(np.pad(both, ((30, 50), (80, 40)), constant_values=1), localiser)

    for one, other in zip(plain, framed, strict=True):
        np.testing.assert_array_equal(one.crop.pixels, other.crop.pixels)
        assert one.crop.region is not None
        assert other.crop.region is not None
        moved = np.subtract(other.crop.region.centre, one.crop.region.centre)
        assert moved == pytest.approx((80, 30))
        assert one.crop.side is other.crop.side


@pytest.mark.parametrize("widths", [((0, 0), (60, 60)), ((40, 40), (0, 0)), ((3, 3), (3, 3))])
def test_black_beside_a_limb_and_a_thin_edge_are_no_border(
    widths: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    knee = read_radiograph(KNEE)
    film = replace(knee, pixels=np.pad(knee.pixels, widths))
    same, offset = without_border(film)
    assert same is film
    assert offset is None


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.png")), ids=lambda path: path.stem)
def test_an_ordinary_crop_has_no_border(path: Path) -> None:
    film = read_radiograph(path)
    assert without_border(film)[0] is film


# --- pixels that are not square --------------------------------------------------------------


def test_a_knee_on_pixels_that_are_not_square_is_outlined_where_it_is_in_the_file(
    both: Plane, localiser: Localiser, tmp_path: Path
) -> None:
    grey = Image.fromarray(np.rint(both * 255).astype(np.uint8))
    halved = np.asarray(grey.resize((both.shape[1], both.shape[0] // 2)))
    path = write_dicom(tmp_path / "film.dcm", halved, **full_range(8), PixelAspectRatio=[2, 1])
    squared = find_joints(read_radiograph(path), (), localiser)
    plain = joints(both, localiser)

    assert len(squared) == len(plain) == 2
    header = read_source_of(halved)
    for one, other in zip(plain, squared, strict=True):
        assert one.crop.region is not None
        assert other.crop.region is not None
        apart = math.dist(one.crop.region.centre, other.crop.region.centre)
        assert apart < 0.05 * one.crop.region.width
        box = outline(other.crop, header)
        inside = np.clip(np.array(one.crop.region.corners()) / (1, 2), 0, halved.shape[::-1])
        assert np.abs(box.max(axis=0) - inside.max(axis=0)).max() < 12


def read_source_of(pixels: np.ndarray) -> Source:
    from pydicom import Dataset

    reference = Dataset()
    reference.Rows, reference.Columns = pixels.shape
    return Source(Dataset(), reference, None, "")
