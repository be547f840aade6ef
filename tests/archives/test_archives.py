"""The archive itself: sizes to the byte, empty files, equal bytes, and what is refused by name."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kellgren.archives import (
    Contents,
    PackedFile,
    archive_bytes,
    describe,
    draft_in,
    extract,
    find_packs,
    is_pack,
    read_contents,
    verify,
    write_pack,
)
from kellgren.archives.hashed import Hashed
from kellgren.atomic_files import CannotWrite
from kellgren.errors import InvalidPack

NOTHING = hashlib.sha256(b"").hexdigest()
Files = dict[str, bytes]


def packed(folder: Path, files: Files, piece_bytes: int = 20_480, name: str = "p") -> Contents:
    """Write files into ``folder / "in"`` and pack them into ``folder / "out"``."""
    described = []
    for file, content in files.items():
        path = folder / "in" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        described.append((describe(file, path), path))
    return write_pack("files", name, described, folder / "out", piece_bytes)


def unpacked(folder: Path, wanted: set[str] | None = None) -> Files:
    (pack,) = find_packs([folder / "out"], "files")
    verify(pack)
    with draft_in(folder) as draft:
        extract(pack, draft, wanted)
        paths = [path for path in draft.rglob("*") if path.is_file()]
        return {path.relative_to(draft).as_posix(): path.read_bytes() for path in paths}


def sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in sorted((folder / "out").glob("*.part"))]


# --- what goes in comes out ----------------------------------------------------------------------

NAMES = st.text(st.sampled_from("abé/-. 7"), min_size=1, max_size=6).map(lambda t: f"d/{t}x")
ANY_FILES = st.dictionaries(
    NAMES.filter(lambda name: not {"", ".", ".."} & set(name.split("/"))),
    st.sampled_from([0, 1, 511, 512, 513, 3000]).map(lambda size: bytes(range(251)) * 12 * size)
    | st.binary(max_size=40),
    max_size=4,
)


@settings(max_examples=8, deadline=None)
@given(ANY_FILES, st.sampled_from([5_000, 10_240, 10_241]))
def test_any_files_come_back_from_pieces_of_any_size(files: Files, piece_bytes: int) -> None:
    files = {name: content[:30_000] for name, content in files.items()}
    parents = {parent for name in files for parent in Path(name).parents}
    assume(not {Path(name) for name in files} & parents)  # no name is a file and a folder
    with tempfile.TemporaryDirectory() as folder:
        contents = packed(Path(folder), files, piece_bytes)
        *full, last = sizes(Path(folder))
        assert set(full) <= {piece_bytes}
        assert 0 < last <= piece_bytes
        assert sum(full) + last == archive_bytes(contents.files)
        assert unpacked(Path(folder)) == files


@pytest.mark.parametrize("difference", [-1, 0, 1])
def test_pieces_end_where_the_archive_does(tmp_path: Path, difference: int) -> None:
    """An archive of 20 480 bytes, in pieces of half of it, and of one byte less or more."""
    contents = packed(tmp_path, {"a": b"a" * 10_000}, 10_240 + difference)
    assert archive_bytes(contents.files) == 20_480
    expected = {-1: [10_239, 10_239, 2], 0: [10_240, 10_240], 1: [10_241, 10_239]}
    assert sizes(tmp_path) == [piece.bytes for piece in contents.pieces] == expected[difference]
    count = len(contents.pieces)
    assert all(f"-of-{count:03}.part" in piece.name for piece in contents.pieces)


def test_empty_files_are_packed(tmp_path: Path) -> None:
    contents = packed(tmp_path, {"empty": b"", "also/empty": b"", "full": b"1"})
    assert [(file.bytes, file.sha256 == NOTHING) for file in contents.files] == [
        (0, True),
        (0, True),
        (1, False),
    ]
    assert unpacked(tmp_path) == {"empty": b"", "also/empty": b"", "full": b"1"}


def test_no_file_at_all_is_a_pack_too(tmp_path: Path) -> None:
    assert packed(tmp_path, {}).files == ()
    assert unpacked(tmp_path) == {}


def test_equal_files_make_equal_packs_and_others_have_another_name(tmp_path: Path) -> None:
    def made(name: str, content: bytes, piece_bytes: int = 20_480) -> dict[str, bytes]:
        packed(tmp_path / name, {"a": content}, piece_bytes)
        return {path.name: path.read_bytes() for path in (tmp_path / name / "out").iterdir()}

    one = made("one", b"x")
    assert made("two", b"x") == one
    assert not made("three", b"y").keys() & one.keys()
    assert not made("four", b"x", 30_000).keys() & one.keys()


def test_only_wanted_files_are_written(tmp_path: Path) -> None:
    packed(tmp_path, {"a": b"1", "b": b"2", "c": b"3"})
    assert unpacked(tmp_path, {"b", "no such"}) == {"b": b"2"}


def test_a_file_may_be_listed_without_being_packed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"here")
    apart = PackedFile(name="apart", bytes=9**9, sha256="0" * 64, packed=False)
    files = [(describe("a", path), path), (apart, tmp_path / "nowhere")]
    contents = write_pack("files", "p", files, tmp_path / "out", 20_480)
    assert contents.packed == [files[0][0]]
    assert unpacked(tmp_path) == {"a": b"here"}
    (pack,) = find_packs([tmp_path / "out"], "files")
    assert pack.contents.files[1] == apart


def test_progress_is_told_in_bytes_up_to_all_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a" * 5000)
    told: list[tuple[int, int]] = []
    files = [(describe(name, path), path) for name in ("a", "b")]
    write_pack("files", "p", files, tmp_path / "out", 50_000, lambda *at: told.append(at))
    assert {of for _, of in told} == {archive_bytes(file for file, _ in files)}
    (pack,) = find_packs([tmp_path / "out"], "files")
    told.clear()
    with draft_in(tmp_path) as draft:
        extract(pack, draft, set(), lambda *at: told.append(at))
    assert told == [(5000, 10_000), (10_000, 10_000)]


# --- what is refused -----------------------------------------------------------------------------


def test_a_folder_that_is_not_empty_is_not_packed_into(tmp_path: Path) -> None:
    packed(tmp_path, {"a": b"1"})
    before = sorted((tmp_path / "out").iterdir())
    with pytest.raises(InvalidPack, match="out: is not empty"):
        packed(tmp_path, {"a": b"1"})
    assert sorted((tmp_path / "out").iterdir()) == before


def test_a_list_larger_than_a_piece_is_refused_and_nothing_left(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidPack, match=r"the list of 9 files takes \d+ bytes, more than a piece"
    ):
        packed(tmp_path, {f"{number}": b"" for number in range(9)}, 600)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_name_that_cannot_be_packed_names_its_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidPack, match="x: has a name that cannot be packed"):
        describe("../x", tmp_path / "x")


def test_a_pack_of_another_kind_says_which(tmp_path: Path) -> None:
    packed(tmp_path, {"a": b"1"})
    with pytest.raises(InvalidPack, match=r"is a pack of files. Name a pack of knees"):
        find_packs([tmp_path / "out"], "knees")


def test_a_piece_of_no_manifest_is_told(tmp_path: Path) -> None:
    packed(tmp_path, {"a": b"1"})
    stray = tmp_path / "out" / "stray.part"
    stray.write_bytes(b"1")
    with pytest.raises(InvalidPack, match=r"stray.part: has no manifest"):
        find_packs([tmp_path / "out"], "files")


def test_pieces_may_lie_apart_from_their_manifest(tmp_path: Path) -> None:
    packed(tmp_path, {"a": b"a" * 30_000})
    first, *_ = sorted((tmp_path / "out").glob("*.part"))
    moved = first.rename(tmp_path / first.name)
    (manifest,) = (tmp_path / "out").glob("*.json")
    with pytest.raises(InvalidPack, match=f"missing: {first.name}"):
        find_packs([manifest], "files")
    (pack,) = find_packs([manifest, moved], "files")
    assert pack.pieces[0] == moved
    verify(pack)


def test_what_looks_like_a_pack(tmp_path: Path) -> None:
    packed(tmp_path, {"a": b"1"})
    assert is_pack(tmp_path / "out")
    assert all(is_pack(path) for path in (tmp_path / "out").iterdir())
    assert not any(map(is_pack, (tmp_path, tmp_path / "in", tmp_path / "in/a", tmp_path / "no")))


def listed(*files: dict[str, object], **other: object) -> str:
    piece = {"name": "p.part", "bytes": 100, "sha256": NOTHING}
    return json.dumps({"kind": "files", "name": "p", "files": files, "pieces": [piece], **other})


A = {"name": "a", "bytes": 1, "sha256": NOTHING}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (listed(A, A), "a file is listed twice"),
        (listed(A | {"name": "../a"}), "'../a' would not stay inside a folder"),
        (listed(A | {"bytes": 101}), "its files are larger than its pieces"),
        (listed(A | {"bytes": -1}), "greater than or equal to 0"),
        (listed(A | {"sha256": "0"}), "String should match pattern"),
        (listed(A, format=2), "Input should be 1"),
        (listed(A, kind="music"), "'campaign', 'knees' or 'files'"),
        (listed(A, colour=1), "Extra inputs are not permitted"),
        (listed(A, pieces=[{"name": "../p", "bytes": 1, "sha256": NOTHING}]), "match pattern"),
        ("[" * 10_000, "is not a pack's manifest"),
        ("\udcff", "is not a pack's manifest"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "p.pack.json"
    path.write_text(listed(A))
    assert [file.name for file in read_contents(path).files] == ["a"]
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InvalidPack, match="is not a pack's manifest") as refusal:
        read_contents(path)
    assert refusal.value.subject == str(path)
    assert problem in refusal.value.problem


def test_a_manifest_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "no.pack.json", tmp_path):
        with pytest.raises(InvalidPack, match="cannot be read") as refusal:
            read_contents(path)
        assert refusal.value.subject == str(path)


def test_a_manifest_without_an_end_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pack.json")
    for path in (tmp_path / "pipe.pack.json", Path("/dev/zero")):
        with pytest.raises(InvalidPack, match="cannot be read"):
            read_contents(path)


def test_an_archive_cut_short_is_told_even_with_the_right_checksums(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("a")
    entry.size = 1000
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(entry, io.BytesIO(b"a" * 1000))
    half = stream.getvalue()[:1200]  # the header of 512 bytes, and 688 of the file's 1000
    (tmp_path / "p.part").write_bytes(half)
    piece = {"name": "p.part", "bytes": 1200, "sha256": hashlib.sha256(half).hexdigest()}
    whole = {"name": "a", "bytes": 1000, "sha256": hashlib.sha256(b"a" * 1000).hexdigest()}
    (tmp_path / "p.pack.json").write_text(listed(whole, pieces=[piece]))
    (pack,) = find_packs([tmp_path], "files")
    verify(pack)
    with (
        draft_in(tmp_path) as draft,
        pytest.raises(InvalidPack, match="its archive cannot be read"),
    ):
        extract(pack, draft)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.pack.json", "p.part"]


# --- streams that are hashed ---------------------------------------------------------------------


@given(st.binary(max_size=60), st.lists(st.integers(0, 20)))
def test_a_hash_is_of_what_was_read(content: bytes, blocks: list[int]) -> None:
    hashed = Hashed(io.BytesIO(content))
    read = b"".join(hashed.read(size) for size in blocks)
    assert content.startswith(read)
    assert hashed.digest == hashlib.sha256(read).hexdigest()
    assert read + hashed.read() == content
    assert hashed.digest == hashlib.sha256(content).hexdigest()


@pytest.mark.skipif(os.name == "nt", reason="the size of files cannot be limited")
def test_a_disk_that_is_full_is_named_by_the_file(tmp_path: Path) -> None:
    import resource

    packed(tmp_path / "pack", {"knee.png": os.urandom(50_000)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(CannotWrite, match=r"knee\.png: cannot be written"):
            unpacked(tmp_path / "pack")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
