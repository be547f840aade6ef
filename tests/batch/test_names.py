"""Which files a batch takes, how its pictures are called, and which names state a patient."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kellgren.batch.collecting import collect
from kellgren.batch.picture_folder import distinct_names
from kellgren.file_names import patient_and_side
from kellgren.grades import Side
from made.batches import in_pairs

STEMS = st.sampled_from(("a", "A", "a-2", "a knee 1", "A knee 2", "a knee 1-2", "b", "é"))
PATHS = st.lists(
    st.builds("{}/{}.{}".format, st.sampled_from("xyz"), STEMS, st.sampled_from(("png", "dcm"))),
    unique=True,
)


def by_name(images: list[str]) -> dict[str, str]:
    """As for files that are given one by one."""
    return {image: Path(image).name for image in images}


@settings(deadline=None)
@given(PATHS)
def test_no_picture_of_a_batch_replaces_another(images: list[str]) -> None:
    """Of one knee or of both, on disks that tell upper from lower case and on those that do not."""
    names = distinct_names(by_name(images))
    assert list(names) == images
    files = [
        {name.casefold(), f"{name} knee 1".casefold(), f"{name} knee 2".casefold()}
        for name in names.values()
    ]
    assert len(set().union(*files)) == sum(map(len, files))
    assert all(names[image].startswith(Path(image).stem) for image in images)


@settings(deadline=None)
@given(PATHS)
def test_a_name_does_not_hang_on_the_files_that_follow(images: list[str]) -> None:
    """So a resumed batch with more files writes over no picture of the first."""
    names = distinct_names(by_name(images))
    for end in range(len(images)):
        assert distinct_names(by_name(images[:end])) == {
            image: names[image] for image in images[:end]
        }


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.png", "a.DCM", "sub/c.jpeg", "sub/.hidden.png", "notes.txt", "x[1].png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ([], []),
        (["."], ["a.DCM", "b.png", "sub/c.jpeg", "x[1].png"]),
        (["*.png"], ["b.png", "x[1].png"]),  # not the folder of that name
        (["**/*.jpeg"], ["sub/c.jpeg"]),
        (["x[1].png"], ["x[1].png"]),  # a file before a pattern
        (["z*.png", "none.png"], ["z*.png", "none.png"]),  # to be reported as unreadable
        (["notes.txt"], ["notes.txt"]),
        (["b.png", "*.png", "."], ["b.png", "x[1].png", "a.DCM", "sub/c.jpeg"]),
    ],
)
def test_paths_stand_for_files(tree: Path, given: list[str], found: list[str]) -> None:
    assert collect(given).images == found


def test_a_disk_of_an_archive_is_read_by_content(tmp_path: Path) -> None:
    """Files without a suffix or with a UID's, the disk's directory beside them."""
    dicom = bytes(128) + b"DICM"
    contents = dicom + b"\x02\0\x02\0UI\x14\x001.2.840.10008.1.3.10"
    (tmp_path / "DICOMDIR").write_bytes(contents)
    for name in ("DICOM/IM000001", "DICOM/1.2.840.1", "scan.IMA"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(dicom)
    (tmp_path / "README").write_bytes(b"text")
    (tmp_path / "DICOM" / "short").write_bytes(b"DICM")

    found = [
        Path(path).relative_to(tmp_path).as_posix() for path in collect([str(tmp_path)]).images
    ]
    assert found == ["DICOM/1.2.840.1", "DICOM/IM000001", "scan.IMA"]


@settings(deadline=None)
@given(st.text())
@example(".")
@example("")
def test_a_name_states_patient_and_side_or_counts_as_one_patient(stem: str) -> None:
    stem = stem.replace("/", "").replace("\\", "")
    patient, side = patient_and_side(f"folder/{stem}.png")
    if side is Side.UNKNOWN:
        is_dots = not stem.strip(".")  # whether a suffix follows them, Python's versions disagree
        assert patient == stem or (is_dots and patient == f"{stem}.png")
    else:
        assert stem.startswith(patient)
        assert stem.upper().endswith(side.value)


@pytest.mark.parametrize(
    ("name", "patient", "side"),
    [
        ("9001L.png", "9001", Side.LEFT),
        ("9001234R.nii.gz", "9001234R.nii", Side.UNKNOWN),
        ("901L.png", "901L", Side.UNKNOWN),  # too short for a patient's number
        ("9001l.png", "9001", Side.LEFT),
        ("9001L\n.png", "9001L\n", Side.UNKNOWN),
        ("x9001L.png", "x9001L", Side.UNKNOWN),
        ("9001L", "9001", Side.LEFT),
    ],
)
def test_only_whole_names_state_a_patient(name: str, patient: str, side: Side) -> None:
    assert patient_and_side(name) == (patient, side)


def test_a_table_is_believed_before_the_names() -> None:
    images = ["9001L.png", "9001R.png", "x.png", "y.png"]
    known = {
        "9001L.png": ("A", Side.LEFT),
        "9001R.png": ("B", Side.RIGHT),
        "x.png": ("A", Side.RIGHT),
        "y.png": ("B", Side.UNKNOWN),
    }
    assert in_pairs(images, known) == [("9001L.png", "x.png"), ("9001R.png",), ("y.png",)]
    part = {"x.png": ("9001", Side.RIGHT)}  # now two right knees of one patient: none is sure
    assert in_pairs(images[:3], part) == [
        ("9001L.png", "9001R.png", "x.png")[n : n + 1] for n in range(3)
    ]


@settings(deadline=None)
@given(st.integers(2, 6), st.permutations(range(6)))
def test_a_pair_is_one_left_and_one_right_knee_of_one_patient(
    patients: int, order: list[int]
) -> None:
    images = [f"{9000 + n // 2 % patients}{'LR'[n % 2]}.png" for n in order]
    for unit in in_pairs(images):
        stated = [patient_and_side(image) for image in unit]
        assert len({patient for patient, _ in stated}) == 1
        assert len({side for _, side in stated}) == len(unit)
