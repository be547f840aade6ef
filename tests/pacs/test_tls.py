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
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle_factory import make_bundle
from command_line import EXAMPLES, kellgren
from kellgren.ensemble import Ensemble
from kellgren.pacs.callers import Limits
from kellgren.pacs.sender import Peer
from kellgren.pacs.spool import counts
from kellgren.pacs.station import Station
from kellgren.pacs.tls import client_context, failure, server_context
from pacs_network import (
    AnswerPeer,
    Identities,
    Identity,
    Listening,
    Routing,
    eventually,
    free_port,
    has_orthanc,
    orthanc,
    send,
    signed,
    write_films,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed"),
]
KINDS = ["OT", "PR", "SEG", "SR"]


@pytest.fixture(scope="module", autouse=True)
def _leave_no_socket_to_others() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Identities:
    return Identities(tmp_path_factory.mktemp("certificates") / "made")


@pytest.fixture(scope="module")
def authority(identities: Identities) -> Identity:
    return identities.authority


@pytest.fixture(scope="module")
def station_identity(identities: Identities) -> Identity:
    return identities.station


@pytest.fixture(scope="module")
def archive_identity(identities: Identities) -> Identity:
    return identities.archive


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return signed(tmp_path_factory.mktemp("certificates"), "stranger")


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
        no_tls = "refused a connection from 127.0.0.1: no TLS: "
        assert eventually(lambda: sum(line.startswith(no_tls) for line in events) == 3)
    reasons = [line.removeprefix(no_tls) for line in events if line.startswith(no_tls)]
    assert reasons[0].startswith("its certificate is not accepted: ")
    assert reasons[1:] == ["peer did not return a certificate", "what it sends is no TLS"]
    assert sum(counts(tmp_path / "spool").values()) == 2


@pytest.mark.skipif(not has_orthanc(), reason="Orthanc is not installed")
def test_a_loop_with_orthanc_by_tls(
    tmp_path: Path, ensemble: Ensemble, films: list[Path], identities: Identities
) -> None:
    port = free_port()
    with orthanc(tmp_path / "orthanc", port, identities) as server:
        answer_to = f"127.0.0.1:{server.dicom_port}/ORTHANC"
        more = "--model", str(ensemble.bundle.folder), *identities.options
        server.upload(films[0])
        with (
            Listening(tmp_path / "spool", answer_to, port, *more) as listening,
            Routing(server.url, tmp_path / "state.json"),
        ):
            assert eventually(lambda: counts(tmp_path / "spool")["answered"] == 1)
            assert listening.stop() == 0
        (found,) = server.identifiers().values()
    assert sorted(kind for kind, _ in found) == ["DX", *KINDS]


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


def test_a_certificate_that_callers_will_refuse_is_named_at_the_start(
    tmp_path: Path, station_identity: Identity, capsys: pytest.CaptureFixture[str]
) -> None:
    own, key, old = station_identity.certificate, station_identity.key, tmp_path / "old.pem"
    made = ["openssl", "x509", "-in", own, "-signkey", key, "-days", "-1", "-out", old]
    subprocess.run(made, check=True, capture_output=True)
    given = ["listen", "--answer-to", "127.0.0.1:104/A", "--model", tmp_path / "none"]
    for certificate, said in ((own, ""), (old, f"warning: {old}: certificate has expired; ")):
        assert kellgren(*given, "--tls-certificate", certificate, "--tls-key", key) == 3
        told = capsys.readouterr().err
        assert ("warning" in told, said in told) == (bool(said), True)


def test_a_caller_that_objects_is_understood() -> None:
    assert failure(ssl.SSLError(1, "x")) == "x"
    alert = ssl.SSLError(1, "x")
    alert.reason = "SSLV3_ALERT_CERTIFICATE_EXPIRED"
    assert failure(alert) == "it objects: certificate expired"


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
        (["--answer-ca", tmp_path / "missing.pem"], "missing.pem"),
        (["--tls-certificate", certificate], "--tls-key"),
        (["--answer-certificate", certificate], "--answer-ca"),
    ):
        assert kellgren(*given, *more) == 2
        assert named in capsys.readouterr().err.replace("\n", "")
    assert not (tmp_path / "none").exists()
