"""Bundle, knee detector and index of similar knees open alike: checked, or refused in one way."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from kellgren.artefacts import MOST_CARD_BYTES, MOST_FILE_BYTES, ArtefactKind, file_checksum
from kellgren.errors import BundleError
from kellgren.explanation.similar import SimilarKnees
from kellgren.grading.bundle import default_bundle, open_bundle
from kellgren.grading.panel import Panel
from kellgren.localisation.knee_detector import Localiser

MODELS = default_bundle().parent
ARTEFACTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "localiser": (Localiser, "card.json", "side.onnx"),
    "similar": (SimilarKnees.open, "similar.json", "codes.npz"),
    "default": (open_bundle, "card.json", "lite2-256-f0.head.npz"),
}
NAMES = {"localiser": "knee detector", "similar": "index of similar knees", "default": "bundle"}


def edit(path: Path, **fields: object) -> None:
    """Change a card; without its seal, where it has one, it is read as written by hand."""
    content = json.loads(path.read_text("utf-8"))
    changed = content | fields | ({"seal": ""} if "seal" in content else {})
    path.write_text(json.dumps(changed), "utf-8")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def larger_than_any(path: Path, most: int) -> None:
    os.truncate(path, most + 1)  # sparse: takes no room, and would take long to read


def checksums(card: Path, **more: str) -> dict[str, str]:
    return {**json.loads(card.read_text("utf-8"))["files"], **more}


HARMS: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "no card": (lambda card, file: card.unlink(), "is no {name}: it has no {card}"),
    "no JSON": (lambda card, file: card.write_text("{"), "{card}: is damaged (JSONDecodeError)"),
    "no object": (lambda card, file: card.write_text("[1]"), "is damaged (not a JSON object)"),
    "card too large": (
        lambda card, file: larger_than_any(card, MOST_CARD_BYTES),
        f"is damaged: it has {MOST_CARD_BYTES + 1} bytes",
    ),
    "another field": (lambda card, file: edit(card, colour="blue"), "is damaged at colour"),
    "file outside": (
        lambda card, file: edit(card, files=checksums(card, **{"../x": "0" * 64})),
        "names a file outside itself ('../x')",
    ),
    "file missing": (lambda card, file: file.unlink(), "is incomplete: {file} is missing"),
    "file cut": (
        lambda card, file: cut(file),
        "{file}: is damaged: its checksum does not fit the card",
    ),
    "file too large": (
        lambda card, file: larger_than_any(file, MOST_FILE_BYTES),
        f"is damaged: it has {MOST_FILE_BYTES + 1} bytes, {MOST_FILE_BYTES} are the most possible",
    ),
    "a pipe": (lambda card, file: (file.unlink(), os.mkfifo(file)), "{file} is missing"),
    "file off the list": (
        lambda card, file: edit(
            card, files={n: c for n, c in checksums(card).items() if n != file.name}
        ),
        "has no checksum for {file}",
    ),
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("kind", ARTEFACTS)
def test_damage_is_refused_in_the_same_words(kind: str, harm: str, tmp_path: Path) -> None:
    opened, card, file = ARTEFACTS[kind]
    folder = Path(shutil.copytree(MODELS / kind, tmp_path / kind))
    opened(folder)
    damage, words = HARMS[harm]
    damage(folder / card, folder / file)
    with pytest.raises(BundleError) as refusal:
        opened(folder)
    assert words.format(name=NAMES[kind], card=card, file=file) in str(refusal.value)
    assert "nstall the package again." in refusal.value.remedy


KIND = ArtefactKind("thing", "thing.json", "Make it again")


class Colour(BaseModel):
    model_config = ConfigDict(extra="forbid")

    shades: list[int]


@pytest.mark.parametrize("name", ["../x", "..", ".", "", "a/b", "/etc/passwd", "a/../b", "a/"])
def test_a_name_that_leads_out_of_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    assert KIND.files(tmp_path, {"a": "0" * 64}).folder == tmp_path
    with pytest.raises(BundleError, match="names a file outside itself") as refusal:
        KIND.files(tmp_path, {"a": "0" * 64, name: "0" * 64})
    assert (refusal.value.subject, refusal.value.remedy) == (str(tmp_path), "Make it again.")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "JSONDecodeError"),
        (b"{} {}", "JSONDecodeError"),
        (b"\xff", "UnicodeDecodeError"),
        (b"\xef\xbb\xbf{}", "JSONDecodeError"),
        (b"[" * 100_000, "RecursionError"),
        (b"null", "not a JSON object"),
        (b'"{}"', "not a JSON object"),
    ],
)
def test_a_card_that_is_no_object_names_its_file(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "thing.json"
    path.write_bytes(b'{"shades": [1]}')
    assert KIND.content(tmp_path) == ('{"shades": [1]}', {"shades": [1]})
    path.write_bytes(content)
    with pytest.raises(BundleError) as refusal:
        KIND.content(tmp_path)
    assert (refusal.value.subject, refusal.value.problem) == (str(path), f"is damaged ({reason})")


@pytest.mark.parametrize(
    ("content", "place"),
    [({}, "shades"), ({"shades": [1, "x"]}, "shades.1"), ({"shades": [], "hue": 1}, "hue")],
)
def test_a_card_that_does_not_fit_names_the_place(
    content: dict[str, object], place: str, tmp_path: Path
) -> None:
    assert KIND.parsed(tmp_path, {"shades": [1]}, Colour) == Colour(shades=[1])
    with pytest.raises(BundleError, match=f"thing.json: is damaged at {place}: "):
        KIND.parsed(tmp_path, content, Colour)


def test_a_file_is_checked_whenever_it_is_read(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode())
    files = KIND.files(tmp_path, {name: file_checksum(tmp_path / name) for name in "ab"})
    files.verify()
    assert files.read("a") == b"a"
    with pytest.raises(BundleError, match="has no checksum for c"):
        files.read("c")
    (tmp_path / "b").write_bytes(b"a")
    assert files.read("a") == b"a"
    for checked in (files.verify, lambda: files.read("b")):
        with pytest.raises(BundleError, match="its checksum does not fit the card") as refusal:
            checked()
        assert refusal.value.subject == str(tmp_path / "b")
    (tmp_path / "b").unlink()
    (tmp_path / "b").mkdir()
    with pytest.raises(BundleError, match="is incomplete: b is missing"):
        files.verify()


def test_what_runs_is_what_was_checked(tmp_path: Path) -> None:
    """A file that is exchanged after the bundle was opened does not run."""
    folder = Path(shutil.copytree(MODELS / "default", tmp_path / "bundle"))
    bundle = open_bundle(folder)
    [first, second] = [member.model for member in bundle.card.members]
    shutil.copyfile(folder / first, folder / second)
    with pytest.raises(BundleError, match=f"{second}: is damaged: its checksum does not fit"):
        Panel(bundle)
