"""TLS from those who send to the station, by dcmtk where it is installed, and to the archive."""

from __future__ import annotations

import gc
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle_factory import make_bundle
from command_line import EXAMPLES, kellgren
from kellgren.ensemble import Ensemble
from kellgren.pacs.limits import Limits
from kellgren.pacs.sender import Peer
from kellgren.pacs.spool import counts
from kellgren.pacs.station import Station
from kellgren.pacs.tls import client_context, server_context
from pacs_network import AnswerPeer, eventually, free_port, send, write_films

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed"),
]
KINDS = ["OT", "PR", "SEG", "SR"]


@dataclass(frozen=True)
class Identity:
    """A certificate and its key."""

    certificate: Path
    key: Path


@pytest.fixture(scope="module", autouse=True)
def _leave_no_socket_to_others() -> Iterator[None]:
    yield
    gc.collect()


def signed(folder: Path, name: str, authority: Identity | None = None) -> Identity:
    """A certificate for a name on this machine, signed by an authority or by itself."""
    made = Identity(folder / f"{name}.pem", folder / f"{name}.key")
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", made.key]  # type: ignore[list-item]
    words += ["-out", made.certificate]  # type: ignore[list-item]
    if authority is not None:
        words += ["-CA", authority.certificate, "-CAkey", authority.key]  # type: ignore[list-item]
        words += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:archive.example"]
        words += ["-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(words, check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Identity:
    return signed(folder, "authority")


@pytest.fixture(scope="module")
def station_identity(folder: Path, authority: Identity) -> Identity:
    return signed(folder, "station", authority)


@pytest.fixture(scope="module")
def archive_identity(folder: Path, authority: Identity) -> Identity:
    return signed(folder, "archive", authority)


@pytest.fixture(scope="module")
def stranger(folder: Path) -> Identity:
    return signed(folder, "stranger")


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Ensemble:
    return Ensemble(make_bundle(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    knee = np.asarray(Image.open(EXAMPLES / "9177337R.png")).astype(np.uint16) * 16
    return write_films(tmp_path_factory.mktemp("films"), knee, 2)


@contextmanager
def tls_archive(identity: Identity, authority: Identity) -> Iterator[AnswerPeer]:
    """An archive that asks for certificates."""
    archive = AnswerPeer(server_context(identity.certificate, identity.key, authority.certificate))
    yield archive
    archive.close()


def answering(archive: AnswerPeer, authority: Identity, own: Identity) -> Peer:
    context = client_context(authority.certificate, own.certificate, own.key)
    return replace(Peer.parse(archive.address), tls=context)


def storescu(port: int, films: list[Path], *more: str | Path) -> subprocess.CompletedProcess[str]:
    """Send films by dcmtk."""
    words = ["storescu", *more, "127.0.0.1", str(port), *films]  # type: ignore[list-item]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.skipif(not shutil.which("storescu"), reason="dcmtk is not installed")
def test_films_come_and_answers_go_by_tls_with_certificates_on_both_sides(
    tmp_path: Path,
    ensemble: Ensemble,
    films: list[Path],
    authority: Identity,
    station_identity: Identity,
    archive_identity: Identity,
    stranger: Identity,
) -> None:
    events: list[str] = []
    own = server_context(station_identity.certificate, station_identity.key, authority.certificate)
    with (
        tls_archive(archive_identity, authority) as archive,
        Station(
            ensemble,
            tmp_path / "spool",
            answering(archive, authority, station_identity),
            address=("127.0.0.1", 0),
            report=events.append,
            tls=own,
        ) as station,
    ):
        trusted = "+cf", authority.certificate
        as_archive = "+tls", archive_identity.key, archive_identity.certificate
        sent = storescu(station.port, films, *as_archive, *trusted)
        assert sent.returncode == 0, sent.stdout + sent.stderr
        assert eventually(lambda: counts(tmp_path / "spool")["answered"] == 2)
        assert sorted(kind for _, kind, _, _ in archive.got) == sorted(KINDS * 2)

        as_stranger = "+tls", stranger.key, stranger.certificate
        assert storescu(station.port, films, *as_stranger, *trusted).returncode != 0
        assert storescu(station.port, films, "+tla", *trusted).returncode != 0
        assert storescu(station.port, films).returncode != 0
        no_tls = "refused a connection from 127.0.0.1: no TLS ("
        assert eventually(lambda: sum(line.startswith(no_tls) for line in events) == 3)
    assert sum(counts(tmp_path / "spool").values()) == 2


def test_one_who_says_nothing_in_tls_holds_up_nobody(
    tmp_path: Path,
    ensemble: Ensemble,
    films: list[Path],
    authority: Identity,
    station_identity: Identity,
) -> None:
    events: list[str] = []
    own = server_context(station_identity.certificate, station_identity.key)
    with Station(
        ensemble,
        tmp_path / "spool",
        Peer("127.0.0.1", free_port(), "ARCHIVE"),
        address=("127.0.0.1", 0),
        report=events.append,
        limits=Limits(opening_s=2.0),
        tls=own,
    ) as station:
        silent = [socket.create_connection(("127.0.0.1", station.port)) for _ in range(12)]
        began = time.monotonic()
        tls = client_context(authority.certificate), "127.0.0.1"
        assert send(station.port, films[:1], tls) == [0]
        took = time.monotonic() - began
        ended = "ended a connection from 127.0.0.1: no association within 2 s"
        assert eventually(lambda: events.count(ended) == 12)
        assert took < 60
        for wire in silent:
            wire.close()


def test_an_archive_that_cannot_prove_itself_gets_nothing(
    tmp_path: Path,
    ensemble: Ensemble,
    films: list[Path],
    authority: Identity,
    archive_identity: Identity,
    station_identity: Identity,
    stranger: Identity,
) -> None:
    events: list[str] = []
    said = "no TLS: its certificate is not accepted"
    with tls_archive(archive_identity, authority) as archive:
        trusted = answering(archive, authority, station_identity)
        unknown = replace(trusted, tls=client_context(stranger.certificate))
        misnamed = replace(trusted, name="elsewhere.example")
        for number, peer in enumerate((unknown, misnamed)):
            with Station(
                ensemble,
                tmp_path / str(number),
                peer,
                address=("127.0.0.1", 0),
                report=events.append,
            ) as station:
                assert send(station.port, films[:1]) == [0]
                assert eventually(lambda: sum(said in line for line in events) == 1)
            assert counts(tmp_path / str(number))["to send"] == 1
            events.clear()
        assert archive.got == []
        named = replace(trusted, name="archive.example")
        with Station(ensemble, tmp_path / "0", named, address=("127.0.0.1", 0)):
            assert eventually(lambda: counts(tmp_path / "0")["answered"] == 1)


def test_neither_side_speaks_an_old_version(station_identity: Identity) -> None:
    for context in (
        server_context(station_identity.certificate, station_identity.key),
        client_context(station_identity.certificate),
    ):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_files_that_are_no_certificates_are_named(
    tmp_path: Path,
    station_identity: Identity,
    archive_identity: Identity,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    certificate, key = station_identity.certificate, station_identity.key
    given = ["listen", "--answer-to", "127.0.0.1:104/A", "--spool", tmp_path / "none"]
    for more, named in (
        (["--tls-certificate", certificate, "--tls-key", archive_identity.key], "station.pem"),
        (["--tls-certificate", text, "--tls-key", key], "text.pem"),
        (["--tls-certificate", certificate, "--tls-key", key, "--tls-clients", text], "text.pem"),
        (["--answer-ca", text], "text.pem"),
        (["--tls-certificate", certificate], "--tls-key"),
        (["--answer-certificate", certificate], "--answer-ca"),
    ):
        assert kellgren(*given, *more) == 2
        assert named in capsys.readouterr().err.replace("\n", "")
    assert not (tmp_path / "none").exists()
