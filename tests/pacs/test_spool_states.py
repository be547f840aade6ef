"""Films in a spool: in order, kept whole, given up at last, and what a crash leaves is undone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kellgren.pacs.spool import MAX_ATTEMPTS, Spool, counts

MODEL = {"name": "tiny"}
KEY = "k" * 32


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool", MODEL)
    yield opened
    opened.close()


def restarted(spool: Spool) -> Spool:
    spool.close()
    return Spool(spool.folder, MODEL)


def states(spool: Spool) -> dict[str, int]:
    return {name: count for name, count in counts(spool.folder).items() if count}


def answered(spool: Spool, film: Path) -> Path:
    """The film's answer, in the outbox."""
    folder = spool.new_result_folder(film)
    (folder / "01.dcm").write_bytes(b"answer")
    spool.post(film, folder)
    (answer,) = spool.outgoing()
    return answer


def test_a_film_goes_from_state_to_state(spool: Spool) -> None:
    assert spool.receive(KEY, b"film")
    assert states(spool) == {"waiting": 1}
    (film,) = spool.waiting()
    assert film.read_bytes() == b"film"
    claimed = spool.claim(film)
    assert (spool.waiting(), states(spool)) == ([], {"reading": 1})
    answer = answered(spool, claimed)
    assert states(spool) == {"to send": 1}
    assert (answer / "01.dcm").read_bytes() == b"answer"
    spool.finish(answer, "answered", objects=1)
    assert states(spool) == {"answered": 1}
    record = json.loads((spool.folder / "done" / f"{KEY}.json").read_text("utf-8"))
    assert record == {"outcome": "answered", "objects": 1}


@pytest.mark.parametrize("steps", range(4))
def test_a_film_is_known_in_every_state(spool: Spool, steps: int) -> None:
    assert spool.receive(KEY, b"film")
    if steps > 0:
        film = spool.claim(*spool.waiting())
    if steps > 1:
        answer = answered(spool, film)
    if steps > 2:
        spool.finish(answer, "answered")
    before = states(spool)
    assert not spool.receive(KEY, b"film again")
    assert states(spool) == before
    assert spool.receive("j" * 32, b"another film")


def test_films_wait_in_the_order_of_their_arrival(spool: Spool) -> None:
    keys = [letter * 32 for letter in "cab"]
    for age, key in enumerate(keys):
        spool.receive(key, b"film")
        os.utime(spool.folder / "received" / f"{key}.0.dcm", (age, age))
    assert [film.name[:32] for film in spool.waiting()] == keys
    first = spool.claim(spool.waiting()[0])
    spool.release(first)
    assert [film.name[:32] for film in spool.waiting()] == keys  # it did not lose its place


def test_a_reading_that_failed_through_no_fault_of_the_film_costs_no_attempt(spool: Spool) -> None:
    spool.receive(KEY, b"film")
    for _ in range(3 * MAX_ATTEMPTS):
        spool.release(spool.claim(*spool.waiting()))
    assert [film.name for film in spool.waiting()] == [f"{KEY}.0.dcm"]


def test_a_film_has_so_many_attempts_and_is_then_refused_with_the_reason(spool: Spool) -> None:
    spool.receive(KEY, b"film")
    attempts = 0
    while waiting := spool.waiting():
        spool.retry(spool.claim(*waiting))
        attempts += 1
    assert attempts == MAX_ATTEMPTS
    assert states(spool) == {"refused": 1}
    record = json.loads((spool.folder / "done" / f"{KEY}.json").read_text("utf-8"))
    assert f"{MAX_ATTEMPTS}" in record["reason"]


@pytest.mark.parametrize("stage", ["received", "reading", "outbox", "done"])
def test_a_write_that_was_interrupted_leaves_nothing(spool: Spool, stage: str) -> None:
    spool.receive(KEY, b"film")
    half = spool.folder / stage / f".{'j' * 32}.0.1a2b3c4d.dcm"
    half.write_bytes(b"half a fi")
    assert states(spool) == {"waiting": 1}
    again = restarted(spool)
    assert not half.exists()
    assert states(again) == {"waiting": 1}
    assert again.receive("j" * 32, b"the whole film")
    again.close()


def test_an_answer_that_was_interrupted_is_begun_anew(spool: Spool) -> None:
    spool.receive(KEY, b"film")
    film = spool.claim(*spool.waiting())
    (spool.new_result_folder(film) / "01.dcm").write_bytes(b"half an ans")
    again = restarted(spool)
    assert [*(again.folder / "reading").iterdir()] == []
    film = again.claim(*again.waiting())
    folder = again.new_result_folder(film)
    assert [*folder.iterdir()] == []
    (folder / "01.dcm").write_bytes(b"left over")
    assert [*again.new_result_folder(film).iterdir()] == []
    again.close()


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from(("receive", "claim", "post", "finish", "crash")), max_size=12))
def test_whatever_happens_a_film_is_in_one_state(
    tmp_path_factory: pytest.TempPathFactory, events: list[str]
) -> None:
    spool = Spool(tmp_path_factory.mktemp("spool"), MODEL)
    received = False
    for event in events:
        reading = [*(spool.folder / "reading").glob("*.dcm")]
        if event == "receive":
            assert spool.receive(KEY, b"film") != received
            received = True
        elif event == "claim" and spool.waiting():
            spool.claim(*spool.waiting())
        elif event == "post" and reading:
            answered(spool, *reading)
        elif event == "finish" and spool.outgoing():
            spool.finish(*spool.outgoing(), "answered")
        elif event == "crash":
            spool = restarted(spool)
        assert sum(states(spool).values()) == received
    spool.close()


def test_a_spool_is_its_owner_s_alone(spool: Spool) -> None:
    modes = {path.stat().st_mode & 0o077 for path in (spool.folder, *spool.folder.glob("*/"))}
    assert modes == {0}


def test_counts_of_a_folder_that_is_no_spool_are_zero(tmp_path: Path) -> None:
    assert set(counts(tmp_path).values()) == {0}
