"""Decoded knees on disk: made once, whole or not at all, and noticed when damaged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from command_line import environment
from kellgren.data.manifest import Knee
from kellgren.errors import TrainingError, UnreadableRadiograph
from kellgren.grading.preprocess import Preprocess
from kellgren.home import cache_folder
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.crop import whole_knee
from kellgren.training.input import decoding, loading
from kellgren.training.input.cache import Store, cached_store, memory_store
from kellgren.training.input.loading import FEW, load_planes, load_store

SEEN = Preprocess(size=48, mean=(0.5,) * 3, std=(0.5,) * 3)
Told = list[tuple[int, int]]

CHILD = """
import sys
from pathlib import Path
from kellgren.grades import Grade, Side
from kellgren.data.manifest import Knee
from kellgren.grading.preprocess import Preprocess
from kellgren.training.input.cache import cached_store

folder, *images = map(Path, sys.argv[1:])
knees = [Knee(i, i.stem[:-1], Side(i.stem[-1]), Grade(0), "", "x") for i in images]
seen = Preprocess(size=48, mean=(0.5,) * 3, std=(0.5,) * 3)
told = []
cached_store(knees, seen, folder, lambda *at: told.append(at) or print("one", flush=True), 2)
print("decoded" if told else "mapped")
"""


def stored(knees: Sequence[Knee], folder: Path, processes: int = 1) -> tuple[Store, Told]:
    told: Told = []
    actual = cached_store(knees, SEEN, folder, lambda *at: told.append(at), processes)
    return actual, told


def files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix != ".lock"]


def child(folder: Path, knees: Sequence[Knee]) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", CHILD, str(folder), *(str(knee.image) for knee in knees)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment())


@pytest.fixture
def many(knees: list[Knee]) -> list[Knee]:
    return (knees * 6)[: FEW + 3]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KELLGREN_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "cache"


# --- what is in it -------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 3])
def test_processes_decode_what_this_one_does(
    knees: list[Knee], tmp_path: Path, processes: int
) -> None:
    actual, told = stored(knees, tmp_path, processes)
    expected = memory_store(knees, SEEN)
    np.testing.assert_array_equal(actual.planes, expected.planes)
    np.testing.assert_array_equal(actual.rest, expected.rest)
    assert told == [(n + 1, len(knees)) for n in range(len(knees))]


@pytest.mark.parametrize("level", [False, True])
def test_both_bytes_together_are_what_grading_sees(knees: list[Knee], level: bool) -> None:
    seen = SEEN.model_copy(update={"level": level, "size": 51})
    actual = memory_store(knees[:4], seen)
    for knee, plane, exact in zip(knees, actual.planes, actual.exact(slice(None)), strict=False):
        graded = seen.plane(whole_knee(read_radiograph(knee.image), knee.side))
        assert np.abs(exact - graded).max() < 2.4e-5
        np.testing.assert_array_equal(plane, np.rint(graded * 255))


def test_the_map_of_a_file_can_be_written_without_changing_it(
    knees: list[Knee], tmp_path: Path
) -> None:
    actual, _ = stored(knees, tmp_path)
    before = actual.planes.copy()
    actual.planes[:] = 7
    np.testing.assert_array_equal(stored(knees, tmp_path)[0].planes, before)


# --- once ----------------------------------------------------------------------------------------


def test_what_is_cached_is_not_decoded_again(knees: list[Knee], tmp_path: Path) -> None:
    first, _ = stored(knees, tmp_path)
    second, told = stored(knees, tmp_path)
    assert not told
    np.testing.assert_array_equal(first.planes, second.planes)


def test_processes_that_ask_at_the_same_time_decode_once(knees: list[Knee], tmp_path: Path) -> None:
    asking = [child(tmp_path, knees) for _ in range(3)]
    output = [process.communicate(timeout=120)[0].split() for process in asking]
    assert sorted(words[-1] for words in output) == ["decoded", "mapped", "mapped"]
    assert sum(words.count("one") for words in output) == len(knees)
    assert len(files(tmp_path)) == 1


def test_other_knees_sizes_and_images_have_files_of_their_own(
    knees: list[Knee], tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    copied = [_copy(knee, tmp_path / "images") for knee in knees]
    stored(copied, folder)
    assert stored(copied[::-1], folder)[1]
    other = SEEN.model_copy(update={"mirror_left": False})
    cached_store(copied, other, folder, lambda *_: None, 1)
    assert len(files(folder)) == 3
    copied[3].image.write_bytes(copied[4].image.read_bytes())
    os.utime(copied[3].image, ns=(0, 1))
    actual, told = stored(copied, folder)
    assert told
    np.testing.assert_array_equal(actual.planes, memory_store(copied, SEEN).planes)


def _copy(knee: Knee, folder: Path) -> Knee:
    folder.mkdir(exist_ok=True)
    image = folder / knee.image.name
    image.write_bytes(knee.image.read_bytes())
    return Knee(image, knee.patient, knee.side, knee.grade, knee.split, knee.source)


# --- whole or not at all -------------------------------------------------------------------------


def test_a_killed_builder_leaves_no_half_file_and_its_draft_is_cleaned_up(
    knees: list[Knee], tmp_path: Path
) -> None:
    many = knees * 40
    builder = child(tmp_path, many)
    assert builder.stdout is not None
    assert builder.stdout.readline() == "one\n"
    builder.kill()
    builder.communicate()
    left = files(tmp_path)
    assert [path.name.startswith(".planes-48-") for path in left] == [True]

    actual, told = stored(many, tmp_path)
    assert len(told) == len(many)
    assert left[0] not in files(tmp_path)
    np.testing.assert_array_equal(actual.planes[: len(knees)], memory_store(knees, SEEN).planes)


@pytest.fixture(scope="module")
def sound(knees: list[Knee], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that is whole; tests damage copies of it."""
    folder = tmp_path_factory.mktemp("sound")
    stored(knees, folder)
    (path,) = files(folder)
    return path


@pytest.mark.parametrize("damage", ["cut", "flipped", "plane", "rest", "header", "empty", "long"])
def test_a_damaged_file_is_made_anew(
    knees: list[Knee], sound: Path, tmp_path: Path, damage: str
) -> None:
    path = Path(shutil.copy(sound, tmp_path))
    expected, told = stored(knees, tmp_path)
    assert not told
    kept = expected.exact(slice(None))
    content = bytearray(path.read_bytes())
    block = len(knees) * 48 * 48
    if damage == "cut":
        del content[-1:]
    elif damage == "flipped":
        content[-block - 5000 - 1] ^= 1 << 6
    elif damage == "plane":
        content[4096 : 4096 + 48 * 48] = bytes(48 * 48)
    elif damage == "rest":
        content[-9] ^= 1
    elif damage == "header":
        content[3] ^= 1
    elif damage == "empty":
        content.clear()
    else:
        content += b"0"
    del expected
    path.write_bytes(content)
    actual, told = stored(knees, tmp_path)
    assert len(told) == len(knees)
    np.testing.assert_array_equal(actual.exact(slice(None)), kept)
    assert not stored(knees, tmp_path)[1]


def test_a_file_of_a_version_that_saw_knees_otherwise_is_made_anew(
    knees: list[Knee], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(knees, tmp_path)
    before = Preprocess.plane
    monkeypatch.setattr(Preprocess, "plane", lambda self, crop: before(self, crop) * 0.5)
    assert len(stored_or_none(knees, tmp_path)) == len(knees)


def stored_or_none(knees: Sequence[Knee], folder: Path) -> Told:
    """What was decoded; the processes are of the version that is installed, so nothing fits."""
    told: Told = []
    with pytest.raises(OSError, match="not what is read back"):
        cached_store(knees, SEEN, folder, lambda *at: told.append(at), 1)
    return told


def test_a_file_that_nobody_used_for_long_is_deleted(knees: list[Knee], tmp_path: Path) -> None:
    stored(knees, tmp_path)
    (old,) = files(tmp_path)
    stored(knees[:6], tmp_path)
    assert old.exists()
    os.utime(old, (time.time() - 15 * 86400,) * 2)
    stored(knees[:5], tmp_path)
    assert not old.exists()
    assert len(files(tmp_path)) == 2


# --- what goes wrong -----------------------------------------------------------------------------


def test_an_unreadable_image_is_named_and_nothing_is_kept(
    knees: list[Knee], tmp_path: Path
) -> None:
    bad = [_copy(knee, tmp_path / "images") for knee in knees]
    bad[7].image.write_bytes(b"no picture")
    with pytest.raises(UnreadableRadiograph, match=bad[7].image.name):
        stored(bad, tmp_path / "cache")
    bad[7].image.unlink()
    with pytest.raises(UnreadableRadiograph, match=r"does not exist"):
        stored(bad, tmp_path / "cache")
    assert not files(tmp_path / "cache")


@pytest.mark.parametrize("processes", [0, 1, 3])
def test_all_unreadable_images_are_told_at_once(
    many: list[Knee], tmp_path: Path, processes: int
) -> None:
    """0 processes: into memory."""
    bad = [replace(knee, image=tmp_path / f"{n}.png") for n, knee in enumerate(many[:12])]
    bad[5].image.write_bytes(b"no picture")
    knees = [*many[:20], *bad]
    with pytest.raises(UnreadableRadiograph) as refused:
        memory_store(knees, SEEN) if not processes else stored(knees, tmp_path / "c", processes)
    assert refused.value.subject == "12 of 32 pictures"
    named = [refused.value.problem.find(f"{knee.image} (") for knee in bad]
    assert named[:10] == sorted(named[:10])
    assert min(named[:10]) > 0
    assert named[10:] == [-1, -1]
    assert refused.value.problem.endswith("; and 2 more")


def test_a_process_that_dies_is_told(
    knees: list[Knee], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_PROGRAM", "kellgren.no_such_program")
    with pytest.raises(TrainingError, match="a process ended with code 1"):
        stored(knees, tmp_path)
    assert not files(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits there")
def test_where_no_file_can_grow_memory_serves_and_says_so(many: list[Knee], home: Path) -> None:
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))\n"
        + CHILD.split("told = []")[0]
        + "from kellgren.training.input.loading import load_planes\n"
        + "print(load_planes(knees, seen).shape)"
    )
    words = [sys.executable, "-c", code, str(home), *(str(knee.image) for knee in many)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout.strip() == f"({len(many)}, 48, 48)"
    assert f"{home}: decoded knees cannot be kept there (File too large)" in done.stderr
    assert not files(home)


def test_few_knees_leave_no_file_and_many_leave_one(
    knees: list[Knee], many: list[Knee], home: Path
) -> None:
    assert cache_folder() == home
    load_planes(knees, SEEN)
    assert not home.exists()
    told: Told = []
    planes = load_planes(many, SEEN, lambda *at: told.append(at))
    assert planes.shape == (len(many), 48, 48)
    assert planes.dtype == np.uint8
    assert len(told) == len(many)
    assert len(files(home)) == 1
    load_store(many, SEEN, lambda *_: pytest.fail("decoded again"))


def test_threads_of_one_process_share_one_file(many: list[Knee], home: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        actual = list(pool.map(lambda _: load_planes(many, SEEN), range(3)))
    assert len(files(home)) == 1
    for planes in actual[1:]:
        np.testing.assert_array_equal(planes, actual[0])


def test_planes_that_do_not_fit_in_memory_are_said(
    knees: list[Knee], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Store:
        raise MemoryError

    monkeypatch.setattr(loading, "memory_store", full)
    with pytest.raises(TrainingError, match="do not fit in memory"):
        load_planes(knees, SEEN)
