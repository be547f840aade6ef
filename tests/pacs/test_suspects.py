"""Films whose reading did not end: read alone, and given up on proof and on nothing less."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from bundle_factory import make_bundle
from command_line import EXAMPLES
from kellgren.ensemble import Ensemble
from kellgren.pacs import alone
from kellgren.pacs import station as station_module
from kellgren.pacs.alone import ReadingFailed, read_alone
from kellgren.pacs.answering import Outcome, read_film
from kellgren.pacs.sender import Peer
from kellgren.pacs.spool import Spool, counts
from kellgren.pacs.station import Station
from pacs_network import AnswerPeer, eventually, free_port, received, send, write_films

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.skipif(sys.platform == "win32", reason="signals"),
]


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    yield Ensemble(make_bundle(tmp_path_factory.mktemp("models") / "tiny"))
    gc.collect()


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    knee = np.asarray(Image.open(EXAMPLES / "9177337R.png")).astype(np.uint16) * 16
    return write_films(tmp_path_factory.mktemp("films"), knee, 2)


def test_a_process_of_its_own_reads_what_this_one_reads(
    tmp_path: Path, ensemble: Ensemble, films: list[Path]
) -> None:
    ensemble = Ensemble(ensemble.bundle, level=0.8, always_grade=True, mirror=False)
    outcomes = []
    for name in ("here", "alone"):
        (tmp_path / name).mkdir()
    outcomes.append(read_film(ensemble, films[0], tmp_path / "here", refusals=False))
    outcomes.append(
        read_alone(
            ensemble, films[0], tmp_path / "alone", refusals=False, is_stopping=lambda: False
        )
    )
    assert outcomes == [Outcome("1 knee", 4)] * 2
    written = [sorted(path.name for path in (tmp_path / it).iterdir()) for it in ("here", "alone")]
    assert written[0] == written[1] == ["01.dcm", "02.dcm", "03.dcm", "04.dcm"]
    identifiers = [
        [str(dcmread(path).SOPInstanceUID) for path in sorted((tmp_path / it).iterdir())]
        for it in ("here", "alone")
    ]
    assert identifiers[0] == identifiers[1]


class Child:
    """Stands in for the program that reads: whatever a shell does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.script = folder / "child.sh"
        monkeypatch.setattr(alone.sys, "executable", str(self.script))

    def does(self, commands: str) -> None:
        self.script.write_text(f"#!/bin/sh\n{commands}\n")
        self.script.chmod(0o700)


@pytest.mark.parametrize(
    ("commands", "at_fault", "said"),
    [
        ("echo reading; kill -SEGV $$", True, "signal 11"),
        ("echo reading; kill -ABRT $$", True, "signal 6"),
        ("echo reading; exit 1", True, "exit code 1"),
        ("exit 1", False, "ended before it"),
        ("echo reading; kill -KILL $$", False, "killed from outside"),
        ("echo reading; kill -TERM $$", False, "killed from outside"),
        ("echo reading; exec sleep 60", True, "took longer"),
        ("exec sleep 60", False, "did not begin"),
    ],
)
def test_only_what_proves_something_speaks_against_a_film(
    tmp_path: Path,
    ensemble: Ensemble,
    films: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    commands: str,
    at_fault: bool,
    said: str,
) -> None:
    monkeypatch.setattr(alone, "_START_S", 1.0)
    Child(monkeypatch, tmp_path).does(f"read task; {commands}")
    with pytest.raises(ReadingFailed) as caught:
        read_alone(
            ensemble, films[0], tmp_path, refusals=False, is_stopping=lambda: False, seconds=1.0
        )
    assert caught.value.at_fault == at_fault
    assert said in str(caught.value)


def test_trouble_with_the_disk_is_nobodys_fault(
    tmp_path: Path, ensemble: Ensemble, films: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    Child(monkeypatch, tmp_path).does("read task; echo reading; echo '[28, \"No space\"]'; exit 75")
    with pytest.raises(OSError, match="No space"):
        read_alone(ensemble, films[0], tmp_path, refusals=False, is_stopping=lambda: False)


def interrupted(folder: Path, ensemble: Ensemble, films: list[Path], times: int) -> None:
    """A spool as a station leaves it that was killed so often while it read the films."""
    for number in range(times):
        spool = Spool(folder, ensemble.model)
        if number == 0:
            for film in films:
                received(spool, spool.key(film.name, "0"), film.read_bytes())
        for film in spool.waiting():
            spool.claim(film)
        spool.close()


def test_a_film_that_was_read_at_ten_kills_is_answered(
    tmp_path: Path, ensemble: Ensemble, films: list[Path]
) -> None:
    interrupted(tmp_path / "spool", ensemble, films[:1], 10)
    archive = AnswerPeer()
    with Station(
        ensemble,
        tmp_path / "spool",
        Peer.parse(archive.address),
        address=("127.0.0.1", 0),
    ):
        assert eventually(lambda: counts(tmp_path / "spool")["answered"] == 1)
    archive.close()
    assert len({identifier for _, _, identifier, _ in archive.got}) == len(archive.got) == 4


def test_a_film_that_ends_its_process_is_given_up_and_holds_up_no_other(
    tmp_path: Path, ensemble: Ensemble, films: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(tmp_path / "spool", ensemble, films[:1], 1)
    Child(monkeypatch, tmp_path).does("read task; echo reading; kill -SEGV $$")
    away, events = Peer("127.0.0.1", free_port(), "ARCHIVE"), list[str]()
    with Station(
        ensemble, tmp_path / "spool", away, address=("127.0.0.1", 0), report=events.append
    ) as station:
        assert send(station.port, films[1:]) == [0]
        assert eventually(lambda: counts(tmp_path / "spool")["refused"] == 1)
        assert eventually(lambda: counts(tmp_path / "spool")["to send"] == 1)
    (record,) = (tmp_path / "spool" / "done").glob("*.json")
    assert json.loads(record.read_text())["reason"] == "reading it failed 2 times"
    assert sum("alone failed: its process ended with signal 11" in line for line in events) == 2


def test_a_film_whose_process_is_killed_from_outside_is_never_given_up(
    tmp_path: Path, ensemble: Ensemble, films: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(station_module, "_LONGEST_SUSPICION_S", 0.05)
    interrupted(tmp_path / "spool", ensemble, films[:1], 1)
    child = Child(monkeypatch, tmp_path)
    child.does("read task; echo reading; kill -KILL $$")
    away, events = Peer("127.0.0.1", free_port(), "ARCHIVE"), list[str]()
    with Station(
        ensemble, tmp_path / "spool", away, address=("127.0.0.1", 0), report=events.append
    ):
        killed = "alone failed: its process was killed from outside"
        assert eventually(lambda: sum(killed in line for line in events) > 10)
        outcome = '{"text": "", "objects": 0, "refused": "by a shell"}'
        child.does(f"read task; echo reading; echo '{outcome}'")
        assert eventually(lambda: counts(tmp_path / "spool")["refused"] == 1)
    assert "refused" in events[-1]
    assert "by a shell" in events[-1]


def test_a_station_that_stops_ends_the_process_and_blames_nobody(
    tmp_path: Path, ensemble: Ensemble, films: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(tmp_path / "spool", ensemble, films[:1], 1)
    Child(monkeypatch, tmp_path).does(f"echo $$ > {tmp_path}/pid; echo reading; exec sleep 600")
    away = Peer("127.0.0.1", free_port(), "ARCHIVE")
    with Station(ensemble, tmp_path / "spool", away, address=("127.0.0.1", 0)):
        assert eventually((tmp_path / "pid").exists)
        assert eventually(lambda: (tmp_path / "pid").read_text() != "")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
    (waiting,) = (tmp_path / "spool" / "received").glob("*.dcm")
    assert waiting.name.endswith(".2.dcm")
