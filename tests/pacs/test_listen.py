"""The station: what it acknowledged is answered, once, whatever happens to it in between."""

from __future__ import annotations

import ctypes
import errno
import gc
import hashlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from bundle_factory import make_bundle
from command_line import EXAMPLES, kellgren
from dicom_factory import write_dicom
from dicom_headers import CANARIES, CR, DX, complete
from documented_commands import parse
from kellgren.ensemble import Ensemble
from kellgren.errors import KellgrenError
from kellgren.grading.bundle import Bundle
from kellgren.imaging.dicom import stored_values
from kellgren.output.dicom.answer import write_object
from kellgren.pacs import answering, receiver
from kellgren.pacs import station as station_module
from kellgren.pacs.sender import InvalidPeer, Peer
from kellgren.pacs.spool import MAX_FAILURES, Spool, SpoolInUse, counts
from kellgren.pacs.station import Station
from pacs_network import (
    ORTHANC_EXAMPLES,
    AnswerPeer,
    Listening,
    Routing,
    eventually,
    free_port,
    has_orthanc,
    orthanc,
    received,
    send,
    write_films,
)

# pynetdicom leaves the sockets of connections that failed to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", autouse=True)
def _leave_no_socket_to_others() -> Iterator[None]:
    yield
    gc.collect()


KINDS = ["OT", "PR", "SEG", "SR"]
MODEL = {"name": "test"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def ensemble(bundle: Bundle) -> Ensemble:
    return Ensemble(bundle)


@pytest.fixture
def peer() -> Iterator[AnswerPeer]:
    archive = AnswerPeer()
    yield archive
    archive.close()


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def station(
    tmp_path: Path, ensemble: Ensemble, peer: AnswerPeer, events: list[str]
) -> Iterator[Station]:
    answer_to = Peer.parse(peer.address)
    with Station(
        ensemble, tmp_path / "spool", answer_to, address=("127.0.0.1", 0), report=events.append
    ) as running:
        yield running


@pytest.fixture(scope="module")
def knee() -> np.ndarray:
    return np.asarray(Image.open(EXAMPLES / "9177337R.png")).astype(np.uint16) * 16


def test_a_film_is_answered_once_however_often_it_comes(
    tmp_path: Path, station: Station, peer: AnswerPeer, knee: np.ndarray, events: list[str]
) -> None:
    films = write_films(tmp_path / "films", knee, 2)

    assert send(station.port, [*films, *films]) == [0, 0, 0, 0]

    assert eventually(lambda: counts(tmp_path / "spool")["answered"] == 2)
    assert send(station.port, films) == [0, 0]
    assert counts(tmp_path / "spool") == {
        "waiting": 0,
        "reading": 0,
        "to send": 0,
        "answered": 2,
        "refused": 0,
    }
    assert sorted(kind for _, kind, _, _ in peer.got) == sorted(KINDS * 2)
    assert len({identifier for _, _, identifier, _ in peer.got}) == 8
    for made in peer.kept:
        assert made.PatientName == CANARIES["PatientName"]
    left = [path for path in (tmp_path / "spool").rglob("*") if path.is_file()]
    assert {path.suffix for path in left} == {".json", ""}  # records and the lock
    everything = "\n".join([*events, *(p.read_text() for p in left), *map(str, left)])
    for canary in [*CANARIES.values(), "CANARY", "Kanarienvogel"]:
        assert canary not in everything


def test_what_is_no_film_is_acknowledged_and_dropped(
    tmp_path: Path, station: Station, peer: AnswerPeer, knee: np.ndarray, events: list[str]
) -> None:
    (film,) = write_films(tmp_path / "films", knee, 1)
    send(station.port, [film])
    assert eventually(lambda: counts(tmp_path / "spool")["answered"] == 1)
    answers = []
    for number, made in enumerate(peer.kept):  # our own answers, as a router may send them back
        made.file_meta = dcmread(film).file_meta
        made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        path = tmp_path / f"{number}.dcm"
        made.save_as(path, enforce_file_format=True)
        answers.append(path)

    assert send(station.port, answers) == [0, 0, 0, 0]

    assert events.count("ignored: no film") == 4
    assert sum(counts(tmp_path / "spool").values()) == 1


def test_a_refused_film_has_a_reason_and_no_answer(
    tmp_path: Path, station: Station, peer: AnswerPeer, knee: np.ndarray, events: list[str]
) -> None:
    blank = write_dicom(tmp_path / "blank.dcm", np.zeros_like(knee), bits=12, **complete(CR))

    assert send(station.port, [blank]) == [0]

    assert eventually(lambda: counts(tmp_path / "spool")["refused"] == 1)
    assert eventually(lambda: any("is blank" in line for line in events))
    assert peer.got == []


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_no_identifier_from_the_wire_becomes_a_path(
    tmp_path: Path, station: Station, peer: AnswerPeer, knee: np.ndarray
) -> None:
    (film,) = write_films(tmp_path / "films", knee, 1)
    before = {p for p in tmp_path.rglob("*") if "spool" not in p.parts}
    hostile: Dataset = dcmread(film)
    hostile.SOPInstanceUID = "../../../escaped"

    assert send(station.port, [hostile]) == [0]

    assert eventually(lambda: sum(counts(tmp_path / "spool").values()) == 1)
    assert {p for p in tmp_path.rglob("*") if "spool" not in p.parts} == before
    assert not any("escaped" in str(path) for path in tmp_path.rglob("*"))


def test_it_answers_an_echo(station: Station) -> None:
    caller = AE("CALLER")
    caller.add_requested_context(Verification)
    association = caller.associate("127.0.0.1", station.port)
    assert association.send_c_echo().Status == 0
    association.release()


def test_a_longer_unit_than_anyone_needs_ends_the_connection(station: Station) -> None:
    with socket.create_connection(("127.0.0.1", station.port), timeout=60) as wire:
        wire.sendall(struct.pack(">BBL", 1, 0, 2**32 - 1))  # a request of 4 GB
        assert wire.recv(1) in (b"", b"\x07")  # closed, or aborted first


def test_answers_wait_for_a_peer_that_is_away(
    tmp_path: Path, ensemble: Ensemble, knee: np.ndarray, events: list[str]
) -> None:
    away = Peer("127.0.0.1", free_port(), "ARCHIVE")
    films = write_films(tmp_path / "films", knee, 2)
    with Station(
        ensemble, tmp_path / "spool", away, address=("127.0.0.1", 0), report=events.append
    ) as station:
        send(station.port, films)
        assert eventually(lambda: counts(tmp_path / "spool")["to send"] == 2)
        # It tries ever more rarely, and says when and why.
        assert eventually(lambda: any("next try in 2 s" in line for line in events))
    reason = f"answers that wait: 2; {away}: no connection: Connection refused; next try in "
    assert any(line.startswith(reason) for line in events)
    peer = AnswerPeer()
    back = Peer.parse(peer.address)
    with Station(ensemble, tmp_path / "spool", back, address=("127.0.0.1", 0)):
        assert eventually(lambda: counts(tmp_path / "spool")["answered"] == 2)
    peer.close()
    assert len({identifier for _, _, identifier, _ in peer.got}) == len(peer.got) == 8


def test_a_peer_that_knows_another_title_is_told_in_the_log(
    tmp_path: Path, ensemble: Ensemble, peer: AnswerPeer, knee: np.ndarray, events: list[str]
) -> None:
    peer.ask_for_its_title()
    wrong = replace(Peer.parse(peer.address), title="WRONG")
    films = write_films(tmp_path / "films", knee, 1)
    with Station(
        ensemble, tmp_path / "spool", wrong, address=("127.0.0.1", 0), report=events.append
    ) as station:
        send(station.port, films)
        assert eventually(lambda: any("Called AE title not recognised" in line for line in events))
    assert counts(tmp_path / "spool")["to send"] == 1


def test_a_full_disk_costs_no_film_an_attempt(
    tmp_path: Path,
    station: Station,
    knee: np.ndarray,
    events: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(station_module, "_MAX_PAUSE_S", 0.1)
    is_full = True

    def write_if_there_is_room(made: Dataset, path: Path) -> None:
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_object(made, path)

    monkeypatch.setattr(answering, "write_object", write_if_there_is_room)
    send(station.port, write_films(tmp_path / "films", knee, 1))
    full = "the spool cannot be used (No space left on device): next try in a minute"
    assert eventually(lambda: events.count(full) > MAX_FAILURES)
    is_full = False
    assert eventually(lambda: counts(tmp_path / "spool")["answered"] == 1)
    assert not any(str(tmp_path) in line for line in events)


def test_what_is_offered_is_what_is_read() -> None:
    assert set(receiver.TRANSFER_SYNTAXES) == {
        *(stored_values._NATIVE | stored_values._DECODERS.keys()),
        uid.DeflatedExplicitVRLittleEndian,
    }


def test_a_kill_in_the_middle_loses_nothing_and_doubles_nothing(
    tmp_path: Path, bundle: Bundle, peer: AnswerPeer, knee: np.ndarray
) -> None:
    films = write_films(tmp_path / "films", knee, 3)
    spool, port, model = tmp_path / "spool", free_port(), ("--model", str(bundle.folder))
    with Listening(spool, peer.address, port, *model) as first:
        acknowledged = send(port, films[:2])
        assert acknowledged == [0] * 2
        assert eventually(lambda: len(peer.got) >= 5)
        first.kill()
    with Listening(spool, peer.address, port, *model) as second:
        assert send(port, films) == [0] * 3  # a sender that saw no answer sends again
        assert eventually(lambda: counts(spool)["answered"] == 3)
        assert second.stop() == 0

    kinds = Counter((film, kind) for film, kind, _, _ in set(peer.got))
    assert set(kinds.values()) == {1}
    assert len(kinds) == 3 * len(KINDS)
    # Only the one object under way at the kill may come again, byte for byte the same.
    assert len(peer.got) - len(set(peer.got)) <= 1
    assert "stopping: films that are being graded are finished first" in second.lines


@pytest.mark.skipif(not has_orthanc(), reason="Orthanc is not installed")
def test_orthanc_gets_answers_to_its_films_although_the_station_was_away(
    tmp_path: Path, bundle: Bundle, knee: np.ndarray
) -> None:
    port = free_port()
    films = write_films(tmp_path / "films", knee, 2)
    with orthanc(tmp_path / "orthanc", port) as server:
        answer_to = f"127.0.0.1:{server.dicom_port}/ORTHANC"
        model = ("--model", str(bundle.folder))
        with Routing(server.url, tmp_path / "state.json") as route:
            server.upload(films[0])
            assert eventually(lambda: any("was not taken" in line for line in route.lines))
            with Listening(tmp_path / "spool", answer_to, port, *model) as listening:
                server.upload(films[1])
                assert eventually(lambda: counts(tmp_path / "spool")["answered"] == 2)
                assert listening.stop() == 0
        studies = server.identifiers()
    assert len(studies) == 2
    for found in studies.values():
        assert sorted(kind for kind, _ in found) == ["DX", *KINDS]


@pytest.mark.skipif(not has_orthanc(), reason="Orthanc is not installed")
def test_a_film_that_is_never_taken_holds_up_no_other(
    tmp_path: Path, peer: AnswerPeer, knee: np.ndarray
) -> None:
    films = write_films(tmp_path / "films", knee, 3)
    identifiers = [str(dcmread(film).SOPInstanceUID) for film in films]
    peer.refused.add(identifiers[0])
    with orthanc(tmp_path / "orthanc", Peer.parse(peer.address).port) as server:
        for film in films:
            server.upload(film)
        with Routing(server.url, tmp_path / "state.json") as route:
            assert eventually(lambda: {it for _, _, it, _ in peer.got} == set(identifiers[1:]))
            route.kill()
        peer.refused.clear()
        with Routing(server.url, tmp_path / "state.json"):
            assert eventually(lambda: {it for _, _, it, _ in peer.got} == set(identifiers))


def test_the_services_call_what_exists() -> None:
    units = sorted(ORTHANC_EXAMPLES.glob("*.service"))
    starts = [re.search(r"^ExecStart=(\S+)(.*)$", unit.read_text(), re.M) for unit in units]
    listen, route = (start.groups() for start in starts if start)
    assert listen[0] == "/opt/kellgren/bin/kellgren"
    parse("kellgren" + listen[1])
    script = ORTHANC_EXAMPLES / "route_films.py"
    told = subprocess.run([sys.executable, script, "--help"], capture_output=True, check=True)
    assert route[1].split()[0] == "/opt/kellgren/route_films.py"
    for option in re.findall(r"--\w+", route[1]):
        assert option.encode() in told.stdout


@pytest.mark.parametrize("place", ["reading", "outbox", "done"])
def test_what_a_death_leaves_in_two_places_is_tidied_up(tmp_path: Path, place: str) -> None:
    spool = Spool(tmp_path, MODEL)
    received(spool, "k" * 32, b"film")
    film = spool.claim(*spool.waiting())
    folder = spool.new_result_folder(film)
    (folder / "01.dcm").write_bytes(b"answer")
    if place != "reading":
        content = film.read_bytes()
        spool.post(film, folder)
        film.write_bytes(content)  # as if death had come before it was removed
    if place == "done":
        (answer,) = spool.outgoing()
        spool.finish(answer, "answered")
        answer.mkdir()
    spool.close()

    again = Spool(tmp_path, MODEL)

    assert len(again.waiting()) == (place == "reading")
    assert len(again.outgoing()) == (place == "outbox")
    assert not received(again, "k" * 32, b"film")
    assert [*(tmp_path / "reading").iterdir()] == []
    again.close()


def test_films_that_arrive_or_leave_while_one_looks_disturb_nobody(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MODEL)
    received(spool, "k" * 32, b"film")
    (tmp_path / "received" / f".{'j' * 32}.0.half.dcm").write_bytes(b"half a fi")
    (tmp_path / "received" / f"{'i' * 32}.0.dcm").symlink_to("claimed since it was listed")

    assert [path.name for path in spool.waiting()] == [f"{'k' * 32}.0.dcm"]
    spool.close()


def test_many_senders_and_readers_meet_in_one_spool(tmp_path: Path) -> None:
    spool, claims, read = Spool(tmp_path, MODEL), threading.Lock(), []
    keys = [f"{number:032x}" for number in range(120)]

    def reader() -> None:
        while len(read) < len(keys):
            with claims:
                film = next(iter(spool.waiting()), None)
                claimed = None if film is None else spool.claim(film)
            if claimed is not None:
                read.append(claimed.name)
                spool.finish(claimed, "refused", reason="test")

    with ThreadPoolExecutor(6) as pool:
        readers = [pool.submit(reader) for _ in range(2)]
        sent = [pool.map(lambda key: received(spool, key, b"film"), keys[n::4]) for n in range(4)]
        assert all(is_new for part in sent for is_new in part)
        for one in readers:
            one.result(60)
    assert sorted(read) == [f"{key}.1.dcm" for key in keys]
    spool.close()


def test_a_spool_has_one_station(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MODEL)
    with pytest.raises(SpoolInUse):
        Spool(tmp_path, MODEL)
    spool.close()
    Spool(tmp_path, MODEL).close()


def test_another_model_is_another_question(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "a", MODEL)
    other = Spool(tmp_path / "b", {"name": "other"})
    keys = spool.key("1.2.3", "0"), other.key("1.2.3", "0"), other.key("1.2.4", "0")
    assert len(set(keys)) == 3
    named = hashlib.sha256(b"1.2.3").hexdigest()[:24]  # as the how-to has people look for it
    assert [key.startswith(named) for key in keys] == [True, True, False]
    spool.close()
    other.close()


@pytest.mark.parametrize("text", ["host", "host:0/AET", "host:70000/AET", "host:104", "a b:1/AET"])
def test_a_peer_is_written_in_one_way(text: str) -> None:
    with pytest.raises(InvalidPeer) as caught:
        Peer.parse(text)
    assert isinstance(caught.value, KellgrenError)
    assert Peer.parse("[::1]:104/ARCHIVE 1") == Peer("::1", 104, "ARCHIVE 1")


def test_the_command_line_counts_and_asks_for_a_peer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Spool(tmp_path / "idle", MODEL).close()
    assert kellgren("listen", "--status", "--spool", tmp_path / "idle") == 0
    assert "waiting 0" in capsys.readouterr().out
    assert kellgren("listen", "--status", "--spool", tmp_path / "none") == 2
    assert "none: is no spool of a station. Name the --spool" in capsys.readouterr().err
    assert kellgren("listen", "--spool", tmp_path / "idle") == 2
    assert "--answer-to" in capsys.readouterr().err
    assert kellgren("listen", "--answer-to", "nowhere") == 2
    assert DX not in capsys.readouterr().err


@pytest.mark.parametrize("title", ["", " ", "A" * 17, "A\\B", "Ü"])
def test_a_title_that_is_none_is_refused(title: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["listen", "--answer-to", "127.0.0.1:104/ARCHIVE", "--ae-title", title]
    assert kellgren(*given) == 2
    assert "--ae-title has 1 to 16" in capsys.readouterr().err
    with pytest.raises(InvalidPeer):
        Peer.parse(f"127.0.0.1:104/{title}")


def test_a_port_that_is_taken_is_named(
    tmp_path: Path, bundle: Bundle, peer: AnswerPeer, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = str(Peer.parse(peer.address).port)
    given = ["listen", "--answer-to", peer.address, "--port", taken, "--spool", tmp_path / "spool"]
    assert kellgren(*given, "--model", bundle.folder) == 2
    said = capsys.readouterr().err
    assert f"127.0.0.1:{taken}: cannot be listened at: Address already in use" in said
    assert "Name another --port" in said


def test_a_signal_that_another_thread_gets_ends_the_station_too(
    tmp_path: Path, bundle: Bundle, peer: AnswerPeer
) -> None:
    model = ("--model", str(bundle.folder))
    with Listening(tmp_path / "spool", peer.address, free_port(), *model) as station:
        process = station._process.pid
        other = next(int(t) for t in os.listdir(f"/proc/{process}/task") if int(t) != process)
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.tgkill(process, other, signal.SIGTERM) == 0
        assert station._end() == 0
