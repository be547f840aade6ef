"""Packs: what goes in comes out, byte for byte; what is missing, damaged or hostile is refused."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from command_line import EXAMPLES, kellgren
from kellgren.archives import archive_bytes, describe, is_safe_name, write_pack
from kellgren.errors import InvalidPack
from kellgren.training.campaign import Campaign, all_jobs, finished_jobs
from kellgren.training.campaign.pack import Packed, pack_campaign
from kellgren.training.runners.runner import run_campaign
from tiny_training import GRADES, ONE_CYCLE, copied_knees, tiny_recipe, tiny_world

CAMPAIGN = Campaign(
    "tiny", 2, 0, tuple(tiny_recipe(ONE_CYCLE, epochs=(1,), name=name) for name in ("a", "b"))
)


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def pieces(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.part"))


def manifest(folder: Path) -> Path:
    (actual,) = folder.glob("*.pack.json")
    return actual


# --- knees ---------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Published layout: six knees to learn from, and two of the test split."""
    root = tmp_path / "kneeKL299"
    for number, knee in enumerate(sorted(EXAMPLES.glob("*.png"))[:8]):
        folder = root / ("test" if number > 5 else "train") / str(number % 5)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(knee, folder / knee.name)
    return root


def test_knees_travel_byte_for_byte(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed, again, there = (tmp_path / name for name in ("packed", "again", "there"))
    for out in (packed, again):
        assert kellgren("data", "pack", tree, "-o", out, "--piece-mb", "0.1") == 0
    assert content(packed) == content(again)
    assert [path.stat().st_size for path in pieces(packed)][:-1] == [100_000] * 3
    assert pieces(packed)[0].name.endswith("-001-of-004.part")

    loose = [*reversed(pieces(packed)[1:]), manifest(packed)]
    assert kellgren("data", "unpack", *loose, "-o", there) == 0
    assert content(there) == content(tree)

    (there / "train" / "0" / "9103968L.png").unlink()
    capsys.readouterr()
    assert kellgren("data", "unpack", packed, "-o", there) == 0
    assert "1 files written, 7 were there" in capsys.readouterr().out
    assert content(there) == content(tree)
    assert kellgren("data", "pack", tree, "-o", packed) == 2
    assert "is not empty" in capsys.readouterr().err


def test_the_test_split_may_stay_at_home(tree: Path, tmp_path: Path) -> None:
    assert kellgren("data", "pack", tree, "-o", tmp_path / "packed", "--training-only") == 0
    assert kellgren("data", "unpack", tmp_path / "packed", "-o", tmp_path / "there") == 0
    assert content(tmp_path / "there" / "train") == content(tree / "train")
    assert not (tmp_path / "there" / "test").exists()


def test_a_manifest_travels_with_its_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kellgren("data", "pack", EXAMPLES / "grades.csv", "-o", tmp_path / "packed") == 0
    assert kellgren("data", "unpack", tmp_path / "packed", "-o", tmp_path / "there") == 0
    actual = content(tmp_path / "there")
    assert len(actual) == 11
    assert actual == {name: (EXAMPLES / name).read_bytes() for name in actual}

    (tmp_path / "deep").mkdir()
    table = tmp_path / "deep" / "knees.csv"
    for outside in ("../there/9103968L.png", str(EXAMPLES / "9103968L.png")):
        table.write_text(f"image,grade\n{outside},1\n")
        assert kellgren("data", "pack", table, "-o", tmp_path / "no") == 2
        assert "9103968L.png" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_plain_tar_opens_the_joined_pieces(tree: Path, tmp_path: Path) -> None:
    assert kellgren("data", "pack", tree, "-o", tmp_path / "packed", "--piece-mb", "0.1") == 0
    joined = b"".join(path.read_bytes() for path in pieces(tmp_path / "packed"))
    with tarfile.open(fileobj=io.BytesIO(joined)) as archive:
        archive.extractall(tmp_path / "there", filter="data")
    assert content(tmp_path / "there") == content(tree)


def test_a_differing_file_is_refused_before_any_is_written(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kellgren("data", "pack", tree, "-o", tmp_path / "packed") == 0
    ours = tmp_path / "there" / "train" / "3" / "9511862L.png"
    ours.parent.mkdir(parents=True)
    ours.write_text("ours")
    assert kellgren("data", "unpack", tmp_path / "packed", "-o", tmp_path / "there") == 2
    assert "is another file than the pack's (1 differ)" in capsys.readouterr().err
    assert content(tmp_path / "there") == {"train/3/9511862L.png": b"ours"}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (lambda folder: pieces(folder)[1].unlink(), "missing: {1}"),
        (lambda folder: flip(pieces(folder)[2]), "damaged: {2}"),
        (lambda folder: pieces(folder)[3].write_bytes(b"short"), "damaged: {3}"),
        (lambda folder: manifest(folder).unlink(), "has no manifest"),
        (lambda folder: manifest(folder).write_text("{"), "is not a pack's manifest"),
    ],
)
def test_a_missing_or_damaged_piece_is_named(
    tree: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    harm: Callable[[Path], Any],
    problem: str,
) -> None:
    packed = tmp_path / "packed"
    assert kellgren("data", "pack", tree, "-o", packed, "--piece-mb", "0.1") == 0
    names = [path.name for path in pieces(packed)]
    harm(packed)
    assert kellgren("data", "unpack", packed, "-o", tmp_path / "there") == 2
    assert problem.format(*names) in capsys.readouterr().err
    assert not (tmp_path / "there").exists()


# --- hostile packs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/../../x", "a\\..\\x", "C:/x", "C:x", "", ".", "a//b", "a/./b", "a\0"]
)
def test_names_that_leave_their_folder_are_refused(name: str) -> None:
    assert not is_safe_name(name)
    assert is_safe_name("train/3/9001234L.png")


def forged(folder: Path, entries: list[tarfile.TarInfo], listed: dict[str, bytes]) -> Path:
    """A pack whose checksums are right and whose archive is an adversary's."""
    folder.mkdir()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for entry in entries:
            archive.addfile(entry, io.BytesIO(b"x" * entry.size))
    archive_bytes = stream.getvalue()
    (folder / "p.part").write_bytes(archive_bytes)

    def digest(data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()

    files = [
        {"name": name, "bytes": len(data), "sha256": digest(data)} for name, data in listed.items()
    ]
    piece = {"name": "p.part", "bytes": len(archive_bytes), "sha256": digest(archive_bytes)}
    about = {"kind": "knees", "name": "k", "files": files, "pieces": [piece]}
    (folder / "p.pack.json").write_text(json.dumps(about))
    return folder


def entry(name: str, size: int = 3, **changes: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size = size
    for key, value in changes.items():
        setattr(made, key, value)
    return made


@pytest.mark.parametrize(
    ("entries", "listed"),
    [
        ([entry("../a")], {"../a": b"xxx"}),
        ([entry("../a")], {"a": b"xxx"}),
        ([entry("a", 0, type=tarfile.SYMTYPE, linkname="..")], {"a": b""}),
        ([entry("a", 0, type=tarfile.LNKTYPE, linkname="p.part")], {"a": b""}),
        ([entry("a"), entry("b")], {"a": b"xxx"}),
        ([entry("a")], {"a": b"xxx", "b": b"xxx"}),
        ([entry("a", 4)], {"a": b"xxx"}),
        ([entry("a")], {"a": b"xyz"}),
        ([entry("a")], {"a": b"x" * 100_000}),
    ],
)
def test_an_archive_that_is_not_as_listed_writes_nothing(
    tmp_path: Path, entries: list[tarfile.TarInfo], listed: dict[str, bytes]
) -> None:
    pack = forged(tmp_path / "pack", entries, listed)
    before = content(tmp_path)
    assert kellgren("data", "unpack", pack, "-o", tmp_path / "there") == 2
    assert content(tmp_path) == before


def test_a_file_that_changes_while_it_is_packed_leaves_no_pack(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for before, after in (("one", "two"), ("one", "longer"), ("one", "-")):
        path.write_text(before)
        described = describe("a.txt", path)
        path.write_text(after)
        with pytest.raises(InvalidPack, match="changed while it was packed"):
            write_pack("files", "a", [(described, path)], tmp_path / "out", 10_000)
        assert list((tmp_path / "out").iterdir()) == []


# --- campaigns -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four finished jobs: two members, two folds."""
    folder = tmp_path_factory.mktemp("campaign")
    with tiny_world():
        run_campaign(CAMPAIGN, copied_knees(folder / "knees"), folder / "whole")
    return folder / "whole"


def runs(campaign: Path) -> dict[str, bytes]:
    """The files of a campaign's jobs that matter elsewhere."""
    actual = content(campaign / "jobs")
    left = (".safetensors", ".png")
    return {name: data for name, data in actual.items() if not name.endswith(left)}


def pack(campaign: Path, out: Path, **options: Any) -> Packed:
    return pack_campaign(campaign, out, options.pop("piece_bytes", 20_000), **options)


def merged(*packs: Path, out: Path) -> int:
    return kellgren("train", "merge", *packs, "--out", out)


def test_a_campaign_travels_without_its_checkpoints(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("train", "pack", whole, "-o", tmp_path / "packed", "--piece-mb", "0.05")
    assert kellgren(*words) == 0
    assert "4 jobs whole" in capsys.readouterr().out
    assert all(path.stat().st_size <= 50_000 for path in (tmp_path / "packed").iterdir())
    target = tmp_path / "target"
    assert merged(tmp_path / "packed", out=target) == 0
    assert "4 taken over, 0 were finished here" in capsys.readouterr().out
    assert runs(target) == runs(whole)
    assert content(target / "jobs") == runs(target)
    assert (target / "folds.json").read_bytes() == (whole / "folds.json").read_bytes()

    before = content(target)
    assert merged(tmp_path / "packed", out=target) == 0
    assert "0 taken over, 4 were finished here" in capsys.readouterr().out
    assert content(target) == before


def test_packs_of_several_machines_merge(whole: Path, tmp_path: Path) -> None:
    for number, parity in (("one", 0), ("two", 1)):
        shutil.copytree(whole, tmp_path / number)
        for job in all_jobs(tmp_path / number)[parity::2]:
            shutil.rmtree(job.run)
        actual = pack(tmp_path / number, tmp_path / f"packed-{number}")
        assert (len(actual.whole), len(actual.unfinished)) == (2, 2)
    assert merged(tmp_path / "packed-one", tmp_path / "packed-two", out=tmp_path / "all") == 0
    assert runs(tmp_path / "all") == runs(whole)


def test_tables_alone_are_no_finished_jobs_until_their_members_come(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    actual = pack(whole, tmp_path / "tables", tables_only=True)
    names = tuple(job.name for job in all_jobs(whole))
    assert (actual.whole, actual.without_member) == ((), names)
    target = tmp_path / "target"
    assert merged(tmp_path / "tables", out=target) == 0
    output = capsys.readouterr()
    assert "0 taken over" in output.out
    assert all(f"kept in incomplete/: {name}" in output.err for name in names)
    assert finished_jobs(target) == []
    labels = whole.parent / "labels.csv"
    grades = "\n".join(f"knees/90000{n:02}{side},{GRADES[n]}" for n, side in numbered(whole.parent))
    labels.write_text(f"image,grade\n{grades}\n")
    assert kellgren("train", "choose", *(target / "incomplete").iterdir(), "--labels", labels) == 0

    second = pack(whole, tmp_path / "members", after=[manifest(tmp_path / "tables")])
    assert second.whole == names
    sent = {file.name for file in second.contents.packed if file.name.startswith("jobs/")}
    assert {name.split("/")[2] for name in sent} == {"member.onnx", "member.json"}
    assert merged(tmp_path / "members", out=target) == 0
    assert "4 taken over" in capsys.readouterr().out
    assert runs(target) == runs(whole)
    assert list((target / "incomplete").iterdir()) == []


def numbered(folder: Path) -> list[tuple[int, str]]:
    """Number and rest of the name of each of the copied knees."""
    return [(int(p.stem[5:7]), p.name[7:]) for p in sorted((folder / "knees").iterdir())]


def test_a_member_never_joins_the_tables_of_another_run(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, other = tmp_path / "target", tmp_path / "other"
    shutil.copytree(whole, other)
    job = all_jobs(other)[0]
    (job.run / "oof.csv").write_bytes((job.run / "oof.csv").read_bytes() + b"\n")
    pack(whole, tmp_path / "tables", tables_only=True)
    pack(other, tmp_path / "other-tables", tables_only=True)
    members = pack(other, tmp_path / "rest", after=[manifest(tmp_path / "other-tables")])
    assert job.name in members.whole
    assert merged(tmp_path / "tables", out=target) == 0
    assert merged(tmp_path / "rest", out=target) == 0
    output = capsys.readouterr()
    assert "3 taken over" in output.out
    assert f"a part of another run than in incomplete/, left out: {job.name}" in output.err
    assert [path.name for path in (target / "incomplete").iterdir()] == [job.name]


def test_what_has_no_room_is_left_out_and_said_the_tables_coming_first(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = pack(whole, tmp_path / "tables", tables_only=True)
    names = [job.name for job in all_jobs(whole)]
    member = describe("m", all_jobs(whole)[0].run / "member.onnx")
    room = archive_bytes([*tables.contents.packed, member])
    words = ("train", "pack", whole, "--pieces-most", "2", "--piece-mb")
    assert kellgren(*words, str(room / 1e6), "-o", tmp_path / "a") == 0
    output = capsys.readouterr()
    without = re.findall(r"without its member \(ONNX\): (\S+)", output.err)
    assert 0 < len(without) < 4
    assert without == names[-len(without) :]
    assert f"{4 - len(without)} jobs whole" in output.out
    assert sorted(path.stat().st_size <= room for path in (tmp_path / "a").iterdir()) == [True] * 2
    assert merged(tmp_path / "a", out=tmp_path / "target") == 0
    assert [job.name for job in finished_jobs(tmp_path / "target")] == names[: -len(without)]

    assert kellgren(*words, str((room - 20_480) / 1e6), "-o", tmp_path / "b") == 0
    assert f"left out, as there is no room: {names[-1]}" in capsys.readouterr().err

    assert kellgren(*words, "0.005", "-o", tmp_path / "c") == 2
    assert "have no room" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_a_campaign_without_a_finished_job_is_not_packed(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("campaign.json", "folds.json"):
        shutil.copy(whole / name, bare / name)
    assert kellgren("train", "pack", bare, "-o", tmp_path / "out") == 2
    assert "has no finished job yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    [
        "jobs/a-64-f0-00000000/member.json",  # not in the plan
        "jobs/../campaign.json",
        "locks/plan.lock",
        "jobs/{job}/.hidden.json",
        "jobs/{job}/run.py",
        "jobs/{job}/deep/member.json",
        "jobs/{job}/checkpoint.safetensors",
    ],
)
def test_a_pack_brings_files_of_runs_of_its_plan_and_nothing_else(
    whole: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / "odd.json"
    odd.write_text("{}")
    name = name.format(job=all_jobs(whole)[0].name)
    files = [
        (describe(path, whole / path), whole / path) for path in ("campaign.json", "folds.json")
    ]
    described = describe("odd.json", odd).model_copy(update={"name": name})
    write = [*files, (described, odd)]
    if ".." in name:
        with pytest.raises(ValueError, match="would not stay inside a folder"):
            write_pack("campaign", "tiny", write, tmp_path / "packed", 50_000)
        return
    write_pack("campaign", "tiny", write, tmp_path / "packed", 50_000)
    assert merged(tmp_path / "packed", out=tmp_path / "target") == 2
    assert "Make it with train pack" in capsys.readouterr().err
    assert not (tmp_path / "target").exists()


def test_a_campaign_that_does_not_fit_leaves_no_folder(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "other")
    facts = all_jobs(tmp_path / "other")[0].run / "member.json"
    facts.write_text(facts.read_text().replace('"held_out_fold": 0', '"held_out_fold": 1'))
    for source in ("other", "nowhere"):
        assert merged(tmp_path / source, out=tmp_path / "new" / "target") == 2
        assert not (tmp_path / "new").exists()


def test_packs_of_knees_and_campaigns_are_told_apart(
    whole: Path, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack(whole, tmp_path / "packed")
    assert kellgren("data", "unpack", tmp_path / "packed", "-o", tmp_path / "there") == 2
    assert "is a pack of campaign" in capsys.readouterr().err
    assert kellgren("data", "pack", tree, "-o", tmp_path / "knees") == 0
    assert merged(tmp_path / "knees", out=tmp_path / "target") == 2
    assert "is a pack of knees" in capsys.readouterr().err
