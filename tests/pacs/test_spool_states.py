"""Films in a spool: in order, kept whole, given up at last, and what a crash leaves is undone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kellgren.pacs.spool import MAX_FAILURES, Spool, counts, is_suspect
from pacs_network import received

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
    assert received(spool, KEY, b"film")
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
    assert received(spool, KEY, b"film")
    if steps > 0:
        film = spool.claim(*spool.waiting())
    if steps > 1:
        answer = answered(spool, film)
    if steps > 2:
        spool.finish(answer, "answered")
    before = states(spool)
    assert not received(spool, KEY, b"film again")
    assert states(spool) == before
    assert received(spool, "j" * 32, b"another film")


def test_films_wait_in_the_order_of_their_arrival(spool: Spool) -> None:
    keys = [letter * 32 for letter in "cab"]
    for age, key in enumerate(keys):
        received(spool, key, b"film")
        os.utime(spool.folder / "received" / f"{key}.0.dcm", (age, age))
    assert [film.name[:32] for film in spool.waiting()] == keys
    first = spool.claim(spool.waiting()[0])
    spool.release(first)
    assert [film.name[:32] for film in spool.waiting()] == keys  # it did not lose its place


def test_a_reading_that_failed_through_no_fault_of_the_film_costs_no_attempt(spool: Spool) -> None:
    received(spool, KEY, b"film")
    for _ in range(9):
        spool.release(spool.claim(*spool.waiting()))
    assert [film.name for film in spool.waiting()] == [f"{KEY}.0.dcm"]


def test_a_film_that_fails_so_often_is_refused_with_the_reason(spool: Spool) -> None:
    received(spool, KEY, b"film")
    failures = 0
    while waiting := spool.waiting():
        spool.retry(spool.claim(*waiting), at_fault=True)
        failures += 1
    assert failures == MAX_FAILURES
    assert states(spool) == {"refused": 1}
    record = json.loads((spool.folder / "done" / f"{KEY}.json").read_text("utf-8"))
    assert f"{MAX_FAILURES}" in record["reason"]


def test_deaths_that_prove_nothing_cost_a_film_nothing(spool: Spool) -> None:
    received(spool, KEY, b"film")
    for attempt in range(20):
        (film,) = spool.waiting()
        assert is_suspect(film) == (attempt > 0)
        spool.retry(spool.claim(film), at_fault=False)
    spool.retry(spool.claim(*spool.waiting()), at_fault=True)
    for _ in range(20):
        claimed = spool.claim(*spool.waiting())
        assert claimed.exists()
        spool = restarted(spool)
    (film,) = spool.waiting()
    assert is_suspect(film)
    spool.retry(spool.claim(film), at_fault=True)  # the failure before was not forgotten
    assert states(spool) == {"refused": 1}
    spool.close()


def test_other_content_under_a_known_identifier_is_another_film(spool: Spool) -> None:
    key, other = spool.key("1.2.3", "0" * 64), spool.key("1.2.3", "1" * 64)
    assert not spool.knows_identity(key)
    assert received(spool, key, b"film")
    spool.finish(spool.claim(*spool.waiting()), "answered")
    again = restarted(spool)
    assert again.knows_identity(other)
    assert not received(again, key, b"film")
    assert received(again, other, b"other")
    assert not again.knows_identity(again.key("1.2.4", "0" * 64))
    assert states(again) == {"answered": 1, "waiting": 1}
    again.close()


@pytest.mark.parametrize("stage", ["received", "reading", "outbox", "done"])
def test_a_write_that_was_interrupted_leaves_nothing(spool: Spool, stage: str) -> None:
    received(spool, KEY, b"film")
    half = spool.folder / stage / f".{'j' * 32}.0.1a2b3c4d.dcm"
    half.write_bytes(b"half a fi")
    spool.new_part().write_bytes(b"half a fi")
    assert states(spool) == {"waiting": 1}
    again = restarted(spool)
    assert not half.exists()
    assert states(again) == {"waiting": 1}
    assert received(again, "j" * 32, b"the whole film")
    again.close()


def test_an_answer_that_was_interrupted_is_begun_anew(spool: Spool) -> None:
    received(spool, KEY, b"film")
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
    is_there = False
    for event in events:
        reading = [*(spool.folder / "reading").glob("*.dcm")]
        if event == "receive":
            assert received(spool, KEY, b"film") != is_there
            is_there = True
        elif event == "claim" and spool.waiting():
            spool.claim(*spool.waiting())
        elif event == "post" and reading:
            answered(spool, *reading)
        elif event == "finish" and spool.outgoing():
            spool.finish(*spool.outgoing(), "answered")
        elif event == "crash":
            spool = restarted(spool)
        assert sum(states(spool).values()) == is_there
    spool.close()


def test_a_spool_is_its_owner_s_alone(spool: Spool) -> None:
    modes = {path.stat().st_mode & 0o077 for path in (spool.folder, *spool.folder.glob("*/"))}
    assert modes == {0}


def test_counts_of_a_folder_that_is_no_spool_are_zero(tmp_path: Path) -> None:
    assert set(counts(tmp_path).values()) == {0}
