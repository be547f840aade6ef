"""What clients send stays out of the server's memory, however many they are and however it ends."""

from __future__ import annotations

import gc
import re
import socket
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

import pytest
from fastapi import HTTPException
from test_http_connection import CHUNKED, FIELD, FILMS, FORM, HOST, STUDY, UPLOAD, answers
from test_http_connection import app as app  # a fixture

from kellgren.web import http_connection
from kellgren.web.api.film_form import FilmForm
from kellgren.web.app import Application
from kellgren.web.settings import Limits
from kellgren.web.storage.blobs import BlobStore
from web_room import reading_room

LENGTH = STUDY.replace(CHUNKED, b"Content-Length: %d\r\n\r\n")
PART = b'--y\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
END = b"\r\n--y--\r\n"
CLIENTS, FEW_BYTES = 12, 2**19


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What only the collector of garbage frees is not freed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    "sent",
    [
        (b"\0\1\2\r\n\r\n" + bytes(300_000),),
        (STUDY + b"zz\r\n" + bytes(300_000),),
        (LENGTH % 2_000_000 + bytes(2_000_000),),
        (UPLOAD.replace(CHUNKED, b"Content-Length: 400000\r\n\r\n") + b"\r\n--" * 100_000,),
    ],
    ids=["no HTTP", "no chunk", "too large", "no form"],
)
@pytest.mark.usefixtures("no_collector")
def test_an_ended_connection_keeps_nothing_that_came(
    app: Application, sent: tuple[bytes, ...]
) -> None:
    """Exceptions refer to themselves through their tracebacks, and some held 256 kB each."""
    tracemalloc.start()
    try:
        answers(app, *[sent] * CLIENTS)
        traces = tracemalloc.take_snapshot().traces
    finally:
        tracemalloc.stop()
    large = [trace.size for trace in traces if trace.size > 2**14]
    assert sum(large) < FEW_BYTES


def test_many_connections_share_what_is_read_at_a_time(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connection, "ARRIVING_BYTES", 9000)
    read, taken = [], http_connection.BoundedConnection.data_received

    def data_received(self: http_connection.BoundedConnection, data: bytes) -> None:
        read.append(len(data))
        taken(self, data)

    monkeypatch.setattr(http_connection.BoundedConnection, "data_received", data_received)
    form = PART + bytes(200_000) + END
    film = FILMS + FORM + b"Content-Length: %d\r\n\r\n" % len(form) + form
    found = answers(app, (film,), (film,), (film,))
    assert [answer[9:12] for answer in found] == [b"202"] * 3
    assert max(read) == 9000
    assert max(read[-20:]) <= 3000


def test_a_request_has_few_headers(app: Application) -> None:
    """Three thousand of them took a megabyte for as long as their request lasted."""
    few, many = (b"".join(b"X%d: a\r\n" % n for n in range(count)) for count in (90, 200))
    begun = b"GET /health HTTP/1.1\r\n" + HOST
    found = answers(app, (begun + few + b"\r\n",), (begun + many + b"\r\n",))
    assert [answer[9:12] for answer in found] == [b"200", b"400"]


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_a_form_is_the_same_in_whatever_pieces_it_comes(tmp_path: Path, size: int) -> None:
    films = [b"", b"film", b"\r\n--", bytes(9000), b"\r\n--x--\r\n" * 300]
    content = b"\r\n".join(PART + film for film in films) + b"\r\n" + FIELD + b"L" + END
    form = received(BlobStore(tmp_path), content, size)
    uploads = form.uploads()
    assert [upload.path.read_bytes() for upload in uploads] == films
    assert [upload.digest for upload in uploads] == [sha256(film).hexdigest() for film in films]
    assert {(upload.name, upload.side) for upload in uploads} == {("a.png", "L")}
    form.abandon()
    assert not any((tmp_path / "arriving").iterdir())


def test_a_form_that_is_cut_leaves_nothing(tmp_path: Path) -> None:
    content = PART + b"film\r\n" + PART + bytes(9000) + END
    for end in range(0, len(content) - 3, 97):
        form = received(BlobStore(tmp_path), content[:end], 1000)
        with pytest.raises(HTTPException) as refused:
            form.uploads()
        assert refused.value.status_code == 400
        form.abandon()
        assert not any((tmp_path / "arriving").iterdir())


def received(blobs: BlobStore, content: bytes, size: int) -> FilmForm:
    form = FilmForm("multipart/form-data; boundary=y", blobs, Limits(free_bytes=0))
    for start in range(0, len(content), size):
        form.write(content[start : start + size])
    return form


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_forms_of_many_small_files_take_little_memory(bundle: Path, tmp_path: Path) -> None:
    """Each of 64 files in a form had 64 kB of memory: 4 MB a client, as long as it liked."""
    form = (PART + bytes(60_000) + b"\r\n") * 64
    head = FILMS + FORM + b"Content-Length: %d\r\n\r\n" % (len(form) + 9)
    arriving = tmp_path / "store" / "contents" / "arriving"
    with reading_room(tmp_path / "store", bundle, "--workers", "1") as room, ExitStack() as held:
        before = resident_mb(room.process.pid)
        host, _, port = room.url.removeprefix("http://").rpartition(":")
        for _ in range(20):
            wire = held.enter_context(socket.create_connection((host, int(port)), timeout=30))
            wire.sendall(head.replace(b"localhost", f"{host}:{port}".encode()) + form)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and len(list(arriving.glob("*"))) < 20 * 64:
            time.sleep(0.05)
        grown = resident_mb(room.process.pid) - before
    assert grown < 40


def resident_mb(process: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1]) / 1024
