"""Command line, HTTP API and `listen` agree on every kind of film, and say what is right of it."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

import drawn_films as drawn
from command_line import EXAMPLES
from dicom_factory import lut_item, write_dicom
from dicom_headers import DX, complete
from doors import Heard, from_the_archive, on_the_command_line, over_http
from kellgren.ensemble import Ensemble
from kellgren.imaging.radiograph import read_radiograph
from kellgren.knee import Plane
from web_room import opened

# pynetdicom leaves the sockets of connections that failed to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
KNEE = EXAMPLES / "9177337R.png"
STUDY = "1.2.826.0.1.3680043.8.498.91"
NO_SIDE = {"ImageLaterality": "B", "AnatomicRegionSequence": []}
UNWINDOWED = ("WindowCenter", "WindowWidth")


@dataclass(frozen=True, slots=True)
class Kind:
    """A film, and what is right of it.

    Attributes:
        pixels: ``(H, W)`` 0..1.
        sides: of the knees that are graded.
        refused: words in the reason of each joint that is not; one for a whole film.
        warned: words in the warnings.
        elements: of its header.
        drop: elements that it has not.
        stored: its stored values, where they are not ``pixels`` in 12 bits.
    """

    pixels: Plane
    sides: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    elements: dict[str, Any] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    stored: np.ndarray | None = None


def words(pixels: Plane) -> np.ndarray:
    return np.rint(pixels * 3000 + 300).astype(np.uint16)


def written(knee: np.ndarray) -> np.ndarray:
    """With a label at the container's largest value."""
    labelled = knee.copy()
    for number in range(6):
        labelled[8:20, 8 + 12 * number : 14 + 12 * number] = 65535
    return labelled


def erased(both: Plane) -> Plane:
    """The right knee, on the film's left, without a joint line."""
    pixels = both.copy()
    part = Image.fromarray(pixels[:, 60:290])
    pixels[:, 60:290] = np.asarray(part.resize((8, 5), Image.Resampling.BOX).resize(part.size))
    return pixels


@cache
def kinds() -> dict[str, Kind]:
    knee = read_radiograph(KNEE).pixels
    both = read_radiograph(Path(__file__).parents[1] / "frames" / "both.png").pixels
    three = np.pad(both[:, :320], ((0, 25), (0, 320)))
    squeezed = Image.fromarray(knee).resize((299, 200), Image.Resampling.LANCZOS)
    hot = words(knee)
    hot[30, 200] = 65535
    short = lut_item(np.arange(4096, dtype=np.uint16), first=0, bits=16)
    window = {"WindowCenter": "1800", "WindowWidth": "3000"}
    return {
        "a knee": Kind(knee, ("R",)),
        "both, as delivered": Kind(both, ("R", "L"), elements=NO_SIDE),
        "both, mirrored, the header says so": Kind(
            np.ascontiguousarray(both[:, ::-1]),
            ("L", "R"),
            warned=("mirrored",),
            elements=NO_SIDE | {"PatientOrientation": ["R", "F"]},
        ),
        "one of two is lost": Kind(
            erased(both), ("",), ("knee",), ("not graded",), {**NO_SIDE, "ImageLaterality": "U"}
        ),
        "three knees": Kind(
            np.concatenate([np.pad(both, ((0, 25), (0, 0))), three]),
            refused=("3 knee joints",) * 3,
            elements=NO_SIDE,
        ),
        "prosthesis": Kind(drawn.painted(knee, drawn.total_knee, 235), refused=("implant",)),
        "growth plates": Kind(drawn.growth_plates(knee), refused=("growth plates",)),
        "skyline": Kind(drawn.skyline(), refused=("",)),
        "slice of a head": Kind(drawn.head_slice(3), refused=("",)),
        "lateral view": Kind(
            knee, refused=("ViewPosition is LL",), elements={"ViewPosition": "LL"}
        ),
        "ultrasound": Kind(knee, refused=("Modality is US",), elements={"Modality": "US"}),
        "a child by its age": Kind(
            knee, refused=("below 18 years",), elements={"PatientAge": "009Y"}
        ),
        "for processing": Kind(
            knee, ("R",), (), ("for processing",), {"PresentationIntentType": "FOR PROCESSING"}
        ),
        "pixels that are not square": Kind(
            np.asarray(squeezed),
            ("R",),
            warned=("resampled",),
            elements={"PixelSpacing": ["0.2093", "0.14"], "ImagerPixelSpacing": ["0.2093", "0.14"]},
        ),
        "a hot pixel": Kind(knee, ("R",), warned=("hot pixel",), drop=UNWINDOWED, stored=hot),
        "a label at 65535": Kind(
            knee, ("R",), warned=("a label",), drop=UNWINDOWED, stored=written(words(knee))
        ),
        "a table of fewer bits than it says": Kind(
            knee, ("R",), (), ("VOILUTSequence",), {"VOILUTSequence": [short], **window}
        ),
    }


@pytest.fixture(scope="module")
def heard(
    tmp_path_factory: pytest.TempPathFactory, bundle: Path
) -> Iterator[dict[str, dict[str, Heard]]]:
    """What each door says of each kind."""
    folder = tmp_path_factory.mktemp("doors")
    ensemble, application = Ensemble.open(bundle), opened(bundle, folder)
    films = {}
    for number, (name, kind) in enumerate(kinds().items(), 1):
        stored = words(kind.pixels) if kind.stored is None else kind.stored
        own = {"StudyInstanceUID": f"{STUDY}.{number}", "SOPInstanceUID": f"{STUDY}.{number}.1"}
        header = {k: v for k, v in complete(DX).items() if k not in kind.drop}
        films[name] = write_dicom(
            folder / f"{number}.dcm", stored, bits=16, **header | own | kind.elements
        )
    listened = from_the_archive(list(films.values()), ensemble, folder)
    yield {
        name: {
            "command line": on_the_command_line(film, bundle, folder),
            "API": over_http(film, ensemble, application),
            "listen": listened[film],
        }
        for name, film in films.items()
    }
    application.store.close()
    gc.collect()


@pytest.mark.parametrize("door", ["command line", "API", "listen"])
@pytest.mark.parametrize("name", kinds())
def test_each_door_says_what_is_right(
    name: str, door: str, heard: dict[str, dict[str, Heard]]
) -> None:
    kind, said = kinds()[name], heard[name][door]
    assert said.sides == kind.sides
    assert all(text in said.warnings for text in kind.warned), said.warnings
    if door == "listen" and kind.sides:
        return  # its report is of the graded knees; what is refused beside them is a warning
    reasons = said.refused if door != "listen" else said.refused * len(kind.refused)
    assert len(reasons) == len(kind.refused)
    for reason, part in zip(reasons, kind.refused, strict=True):
        assert part in reason


RASTER = {
    "photo of a screen": "photo",
    "five diamonds": "",
    "no pixels": "holds no pixels",
}


@pytest.mark.parametrize("name", RASTER)
def test_pictures_that_no_archive_sends(name: str, tmp_path: Path, bundle: Path) -> None:
    stream = io.BytesIO()
    if name == "no pixels":
        film = write_dicom(tmp_path / "film.dcm", np.zeros((64, 64), np.uint16), PixelData=b"")
        assert "PixelData" in dcmread(film)
        stream.write(film.read_bytes())
    elif name == "five diamonds":
        drawn.diamonds().save(stream, "PNG")
    else:
        grey = read_radiograph(KNEE).pixels * 255
        tinted = np.stack([grey * 0.7, grey * 0.9, grey], axis=-1).astype(np.uint8)
        Image.fromarray(tinted).save(stream, "PNG")
    film = tmp_path / ("film.dcm" if name == "no pixels" else "film.png")
    film.write_bytes(stream.getvalue())
    application = opened(bundle, tmp_path)
    both = (
        on_the_command_line(film, bundle, tmp_path),
        over_http(film, Ensemble.open(bundle), application),
    )
    application.store.close()
    for said in both:
        found = said.warnings if said.sides else said.refused[0]
        assert bool(said.sides) is (name == "photo of a screen")
        assert RASTER[name] in found
