"""The server's store without a server: blobs, cases and reads, also after interruptions."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kellgren.reading_schema import GradedRow, ModelRecord, ReadingRow, UngradedRow
from kellgren.web.storage.blobs import BlobStore
from kellgren.web.storage.cases import CaseStore
from kellgren.web.storage.messages import (
    Answer,
    AnswerHeader,
    Filter,
    InvalidMessage,
    KneePictures,
    QueueFull,
    Upload,
    decoded_answer,
    encoded_answer,
)
from kellgren.web.storage.studies import (
    UNGRADABLE,
    Read,
    StudyItem,
    StudyStore,
    consensus_grade,
)

MODEL = ModelRecord.model_validate(
    {
        **{"software": "kellgren 0.1.0", "name": "tiny", "checksum": "0" * 64},
        **{"engine": "onnxruntime", "precision": "fp32", "mirror": "off", "other_knee": "off"},
    }
)


def graded_row(grade: int = 2) -> GradedRow:
    words = ("none", "doubtful", "minimal", "moderate", "severe")
    return GradedRow.model_validate(
        {
            **{"image": "film.png", "side": "L", "grade": grade, "name": words[grade]},
            **{"probabilities": [0.1, 0.1, 0.6, 0.1, 0.1], "certainty": "moderate"},
            **{"likely": [grade, grade], "warnings": [], "mm_per_pixel": None, "region": None},
            **{"read_with": None, "checks": [], "model": MODEL, "note": ""},
        }
    )


def answer(*grades: int, name: bytes = b"") -> Answer:
    """One knee for each grade, with pictures of its own; none: a refusal."""
    refused = UngradedRow(image="film.png", side="", grade=None, note="shows no knee")
    rows: tuple[ReadingRow, ...] = tuple(map(graded_row, grades)) or (refused,)
    knees = tuple(
        KneePictures(
            *(grade, "moderate", b"p%d" % n + name, b"m%d" % n + name, b"o%d" % n + name),
            similar=((n, 0.5),),
        )
        for n, grade in enumerate(grades)
    )
    return Answer(
        state="graded" if grades else "refused",
        **{"rows": rows, "note": "" if grades else "shows no knee", "model": MODEL},
        **{"knees": knees, "report": b"report" + name if grades else None, "seconds": 0.5},
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CaseStore]:
    opened = CaseStore(tmp_path / "store")
    yield opened
    opened.close()


def upload(store: CaseStore, content: bytes, name: str = "9001234L.png") -> Upload:
    return Upload(*store.blobs.receive(io.BytesIO(content)), name, "")


def accept(store: CaseStore, content: bytes, name: str = "9001234L.png") -> str:
    (identifier,) = store.accept([upload(store, content, name)], most_open=99)
    return identifier


# --- blobs ---------------------------------------------------------------------------------------


def test_a_content_is_kept_once_under_its_hash(tmp_path: Path) -> None:
    contents = [b"", b"film", b"film", b"other", b"", b"film", bytes(2**20 + 1)]
    blobs = BlobStore(tmp_path)
    for number, content in enumerate(contents):
        if number % 2:
            assert blobs.write(content) == hashlib.sha256(content).hexdigest()
        else:
            path, digest, size = blobs.receive(io.BytesIO(content))
            assert size == len(content)
            blobs.commit(path, digest)
    wanted = {hashlib.sha256(content).hexdigest(): content for content in contents}
    assert sorted(blobs.digests()) == sorted(wanted)
    for digest, content in wanted.items():
        assert blobs.path(digest).read_bytes() == content
        blobs.remove(digest)
        blobs.remove(digest)
    assert list(blobs.digests()) == []


@pytest.mark.parametrize("digest", ["", "a" * 63, "A" * 64, "../" + "a" * 61, "a" * 64 + "\n"])
def test_what_is_no_hash_is_no_path(tmp_path: Path, digest: str) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        BlobStore(tmp_path).path(digest)


def test_what_never_arrived_whole_is_gone_at_the_next_start(tmp_path: Path) -> None:
    path, digest, _ = BlobStore(tmp_path).receive(io.BytesIO(b"half a fi"))
    again = BlobStore(tmp_path)
    assert not path.exists()
    assert digest not in set(again.digests())


# --- cases ---------------------------------------------------------------------------------------


def test_a_full_queue_takes_none_of_several(store: CaseStore) -> None:
    accept(store, b"one")
    both = [upload(store, b"two"), upload(store, b"three")]
    with pytest.raises(QueueFull):
        store.accept(both, most_open=2)
    assert store.count_open() == 1
    assert list(store.blobs.digests()) == [hashlib.sha256(b"one").hexdigest()]
    assert len(store.accept(both, most_open=3)) == 2


def test_cases_are_claimed_in_their_order_and_answered_once(store: CaseStore) -> None:
    first, second = accept(store, b"one"), accept(store, b"two")
    job = store.claim()
    assert job is not None
    assert (job.id, job.content.read_bytes()) == (first, b"one")
    store.release(first)
    claimed = [store.claim(), store.claim()]
    assert [job.id for job in claimed if job is not None] == [first, second]
    assert store.claim() is None
    assert store.finish(first, answer(3))
    assert not store.finish(first, answer(1, name=b"late"))
    case = store.case(first)
    assert case is not None
    assert [row.grade for row in case.rows] == [3]
    assert hashlib.sha256(b"p0late").hexdigest() not in set(store.blobs.digests())


def test_what_was_being_read_waits_again_after_a_restart(store: CaseStore) -> None:
    one = accept(store, b"one")
    store.claim()
    abandoned = store.blobs.write(b"picture of an answer that a kill cut in two")
    store.close()
    again = CaseStore(store.folder)
    job = again.claim()
    again.close()
    assert job is not None
    assert job.id == one
    assert abandoned not in set(again.blobs.digests())
    assert job.content.read_bytes() == b"one"


def test_a_deleted_case_takes_its_files_but_none_that_others_need(store: CaseStore) -> None:
    cases = [accept(store, b"same"), accept(store, b"same"), accept(store, b"other")]
    for number, _ in enumerate(cases):
        job = store.claim()
        assert job is not None
        store.finish(job.id, answer(2, name=b"" if number < 2 else b"x"))
    shared = {hashlib.sha256(c).hexdigest() for c in (b"same", b"p0", b"m0", b"o0", b"report")}
    assert store.delete(cases[0])
    assert shared <= set(store.blobs.digests())
    assert store.delete(cases[1])
    assert not shared & set(store.blobs.digests())
    assert len(set(store.blobs.digests())) == 5
    assert not store.delete(cases[1])
    assert store.picture(cases[2], 0, "map") is not None
    assert store.picture(cases[2], 1, "map") is None


def test_filters_and_revisions(store: CaseStore) -> None:
    wanted = {}
    for grades in ((0,), (4, 4), ()):
        wanted[grades] = accept(store, b"%d" % len(wanted))
        store.claim()
        before = store.revision()
        store.finish(wanted[grades], answer(*grades))
        assert store.revision() > before

    def found(**chosen: object) -> list[str]:
        cases, total = store.find(replace(Filter(), **chosen), limit=9)  # type: ignore[arg-type]
        assert total == len(cases)
        return [case.id for case in cases]

    assert found() == list(wanted.values())[::-1]
    assert found(grades=(4,)) == [wanted[4, 4]]
    assert found(grades=(0, 1)) == [wanted[0,]]
    assert found(states=("refused",)) == [wanted[()]]
    assert found(certainties=("high",)) == []
    assert found(after=store.revision() - 1) == [wanted[()]]
    cases, total = store.find(Filter(), limit=1, offset=1)
    assert ([case.id for case in cases], total) == ([wanted[4, 4]], 3)


# --- messages of graders -------------------------------------------------------------------------


@pytest.mark.parametrize("grades", [(), (0,), (1, 4)])
def test_an_answer_comes_back_from_the_wire(grades: tuple[int, ...]) -> None:
    sent = answer(*grades)
    line, _, rest = encoded_answer(sent).partition(b"\n")
    header = AnswerHeader.model_validate_json(line)
    stream = io.BytesIO(rest)
    files = [stream.read(size) for size in header.sizes]
    assert stream.read() == b""
    assert decoded_answer(header, files) == sent
    with pytest.raises(InvalidMessage, match="files for"):
        decoded_answer(header, [*files, b"more"])
    other = "refused" if grades else "graded"
    with pytest.raises(InvalidMessage, match=other):
        decoded_answer(header.model_copy(update={"state": other}), files)


# --- studies -------------------------------------------------------------------------------------


def test_the_first_grade_stays_and_the_final_one_follows(store: CaseStore) -> None:
    studies = StudyStore(store)
    assert studies.create("none", [], ["A"]) is None
    case = accept(store, b"film")
    store.claim()
    store.finish(case, answer(1, 3))
    identifier = studies.create("pilot", [case], ["A", "B"])
    assert identifier is not None
    study = studies.study(identifier)
    assert study is not None
    items, (reader, other) = studies.items(study), studies.readers(study)
    assert [item.reading.grade for item in items] == [1, 3]
    assert studies.count_items(study) == 2
    studies.save_read(reader, items[0].item, grade=2, seconds=4.0, comment="")
    studies.save_read(reader, items[0].item, grade=3, seconds=9.0, comment="revised")
    assert studies.reads(study) == {(reader.number, items[0].item): Read(2, 3, 4.0, "revised")}
    assert [one.done for one in studies.readers(study)] == [1, 0]
    assert studies.order(other, items) == studies.order(other, items)
    studies.adjudicate(items[1].item, 4)
    assert [item.adjudicated for item in studies.items(study)] == [None, 4]
    studies.delete(study)
    assert (studies.all(), studies.study(identifier)) == ([], None)
    assert store.case(case) is not None


@settings(deadline=None)
@given(st.lists(st.integers(UNGRADABLE, 4), min_size=1, max_size=4), st.none() | st.integers(0, 4))
def test_the_consensus(finals: list[int], adjudicated: int | None) -> None:
    item = StudyItem(1, adjudicated, 0, "c", "i", "p", "d", graded_row().reading)
    grade = consensus_grade(item, finals)
    if adjudicated is not None:
        assert grade == adjudicated
    elif grade is not None:
        assert set(finals) == {grade}
        assert grade != UNGRADABLE
    else:
        assert len(set(finals)) > 1 or finals[0] == UNGRADABLE
