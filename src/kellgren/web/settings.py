"""Options of the server at its start, and its limits."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
MIN_TOKEN_LENGTH = 16

RETRY_SECONDS = 5
"""After which a client for whom there is no room now is told to try again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that hold before anything is decoded.

    Attributes:
        file_bytes: of one upload; counted as it streams, whatever its header claims.
        request_bytes: of all files of one request together.
        files: of one request.
        queue: cases that wait or are being read; beyond it new ones are sent away for a while.
        uploads: requests that may stream their files in at the same time.
        idle_seconds: without a byte from a client that owes some.
        body_seconds: for any other request's body.
        upload_seconds: for one request's files.
        case_seconds: for one case, in its grader.
        grader_bytes: address space of one grader.
        free_bytes: that uploads leave on the disk.
    """

    file_bytes: int = 64 * 2**20
    request_bytes: int = 256 * 2**20
    files: int = 64
    queue: int = 512
    uploads: int = 1024
    idle_seconds: float = 15.0
    body_seconds: float = 30.0
    upload_seconds: float = 300.0
    case_seconds: float = 120.0
    grader_bytes: int = 6 * 2**30
    free_bytes: int = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Settings:
    """How one server runs.

    Attributes:
        store: folder of all state.
        hosts: the exact values of the Host header that are answered.
        token: that every request must show; ``None``: none is asked for.
        workers: grader processes.
        model: folder of a bundle; ``None``: the default one.
        keep_names: keep the names of uploaded files; otherwise a number stands for the patient.
        root_path: path below which a proxy shows the server, such as ``/knees``; empty: none.
        keep_days: after which answered cases are deleted; ``None``: they are kept.
        max_bytes: of all films and pictures; the oldest answered cases make room for new ones.
        limits: see `Limits`.
    """

    store: Path
    hosts: frozenset[str]
    token: str | None = None
    workers: int = 1
    model: Path | None = None
    keep_names: bool = False
    root_path: str = ""
    keep_days: float | None = None
    max_bytes: int | None = None
    limits: Limits = field(default_factory=Limits)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address to listen on."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def answered_hosts(host: str, port: int, named: list[str]) -> frozenset[str]:
    """The Host headers to answer: the address itself, loopback names, and those named in addition.

    A name without a port also stands for itself with the server's own port.
    """
    address = f"[{host}]" if ":" in host else host
    names = {*LOOPBACK_NAMES, address, *(name.lower() for name in named)}
    return frozenset(names | {f"{name}:{port}" for name in names})
