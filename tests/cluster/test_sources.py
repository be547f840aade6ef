"""Films by URL: listed, measured and read through fsspec, with plain words where that fails."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from command_line import EXAMPLES
from kellgren.batch.collecting import Found
from kellgren.cluster.sources import found_anywhere, opened, place_of
from kellgren.errors import ClusterError, InvalidOption, UnreadableRadiograph
from kellgren.imaging import picture
from kellgren.imaging.search import Skipped

pytestmark = pytest.mark.skipif(find_spec("fsspec") is None, reason="needs the extra cluster")
KNEE = EXAMPLES / "9177337L.png"


def list_all(paths: list[str]) -> None:
    for _ in found_anywhere(paths):
        pass


@pytest.fixture
def bucket() -> Iterator[Any]:
    """Storage in memory: two films, a text, a hidden file and an object named by a UID."""
    from fsspec import filesystem

    system = filesystem("memory")
    for name in ("a/2.png", "a/b/1.DCM", "a/notes.txt", "a/.hidden.png", "a/1.2.840.3", "a/plain"):
        system.pipe(f"/study/{name}", KNEE.read_bytes())
    yield system
    system.rm("/study", recursive=True)


def test_a_folder_is_listed_by_names_and_a_pattern_or_a_file_is_taken_as_it_is(bucket: Any) -> None:
    listed = list(found_anywhere(["memory://study", "elsewhere.png"]))
    assert [one.path for one in listed if isinstance(one, Found)] == [
        *("memory:///study/a/1.2.840.3", "memory:///study/a/2.png", "memory:///study/a/b/1.DCM"),
        *("memory:///study/a/plain", "elsewhere.png"),
    ]
    assert {one.path for one in listed if isinstance(one, Skipped)} == {
        "memory:///study/a/.hidden.png",
        "memory:///study/a/notes.txt",
    }
    named = ["memory:///study/a/n*.txt", "memory:///study/a/notes.txt", "memory:///study/none"]
    assert [one.path for one in found_anywhere(named)] == [named[1], *named[1:]]  # twice, as given


def test_of_a_url_with_the_suffix_of_a_radiograph_no_storage_is_asked(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of a million of them would be a million questions over the network."""
    for question in ("exists", "isdir", "info", "find", "glob"):
        monkeypatch.setattr(type(bucket), question, lambda *_, **__: pytest.fail("it was asked"))
    urls = [f"memory:///study/a/{name}" for name in ("2.png", "b/1.DCM", "none.jpg")]
    assert [one.path for one in found_anywhere(urls)] == urls


def test_a_film_keeps_its_url_as_its_name(bucket: Any) -> None:
    url = "memory:///study/a/2.png"
    film = opened(url, place_of(url))
    assert (film.name, film.read()) == (url, KNEE.read_bytes())
    local = opened("2.png", KNEE.as_uri())
    assert (local.name, local.read()) == ("2.png", KNEE.read_bytes())


def test_paths_are_made_absolute_and_read_with_the_words_of_one_machine(tmp_path: Path) -> None:
    assert place_of("study/1.png") == str(Path.cwd() / "study" / "1.png")
    with pytest.raises(UnreadableRadiograph, match=r"^1\.png: does not exist\. Check the spelling"):
        opened("1.png", str(tmp_path / "1.png"))


def test_a_large_object_is_refused_before_it_is_read(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "MAX_FILE_BYTES", 2**20)
    bucket.pipe("/study/large.png", bytes(2**20 + 1))
    monkeypatch.setattr(type(bucket), "open", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(UnreadableRadiograph, match="larger than 1 MB"):
        opened("large.png", "memory:///study/large.png")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("memory:///study/none.png", "does not exist"),
        ("nowhere://bucket/1.png", r"cannot be fetched \(ValueError\)"),
        ("memory:///study/a", "cannot be fetched|does not exist"),
    ],
)
def test_what_cannot_be_fetched_is_told_in_words(bucket: Any, url: str, words: str) -> None:
    with pytest.raises(UnreadableRadiograph, match=words):
        opened("film", url)


def test_a_url_with_a_password_or_a_chain_or_of_an_unknown_storage_is_refused() -> None:
    with pytest.raises(InvalidOption, match="holds a password") as told:
        list_all(["https://me:secret@host/1.png"])
    assert "secret" not in str(told.value)
    with pytest.raises(InvalidOption, match="chains storages"):
        list_all(["simplecache::memory://study/1.png"])
    with pytest.raises(ClusterError, match="cannot be listed"):
        list_all(["nowhere://bucket"])
