"""Films by path or URL: found by the machine that gives the command, read by the nodes."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from kellgren.batch.collecting import Found, found_files
from kellgren.errors import ClusterError, InvalidOption, UnreadableRadiograph
from kellgren.imaging.picture import (
    MAX_FILE_BYTES,
    SUFFIXES,
    RejectedPicture,
    check_file_size,
    check_length,
    file_content,
)
from kellgren.imaging.search import HIDDEN, OTHER, Skipped

_SCHEME = re.compile(r"[a-z][a-z0-9+.:-]*://", re.IGNORECASE)


def is_url(path: str) -> bool:
    """Whether it names a file by a scheme, as ``s3://bucket/film.dcm`` does."""
    return _SCHEME.match(path) is not None


class NamedBytes(io.BytesIO):
    """The bytes of a film under the name that was given for it."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def opened(name: str, place: str) -> NamedBytes:
    """Read a film in full, after a look at its size.

    Args:
        name: as it was given, for results and messages.
        place: a URL, or an absolute path.

    Raises:
        UnreadableRadiograph: it is missing, larger than `MAX_FILE_BYTES`, or cannot be read.
    """
    try:
        return NamedBytes(_fetched(place) if is_url(place) else file_content(place), name)
    except RejectedPicture as rejected:
        raise UnreadableRadiograph(name, rejected.problem, rejected.remedy) from None


def _fetched(url: str) -> bytes:
    try:
        system, path = _file_system(url)
        size = system.info(path).get("size")
        if size is not None:
            check_file_size(size)
        with system.open(path, "rb") as stream:
            return check_length(_bounded(stream))
    except RejectedPicture:
        raise
    except FileNotFoundError:
        raise RejectedPicture("does not exist", "Check the spelling of the URL.") from None
    except PermissionError:
        raise RejectedPicture(
            "may not be read from this node", "Give every node the permission."
        ) from None
    except ImportError as error:
        raise RejectedPicture(
            f"needs a library that a node lacks ({_one_line(error)})", "Install it on every node."
        ) from None
    except Exception as error:
        # Every storage raises errors of its own, whose messages may quote credentials.
        raise RejectedPicture(
            f"cannot be fetched ({type(error).__name__})", "Check the URL and the network."
        ) from None


def _bounded(stream: IO[bytes]) -> bytes:
    """At most one byte more than may be read: a file may have grown, or hide its size."""
    data = bytearray()
    while len(data) <= MAX_FILE_BYTES:
        block = stream.read(MAX_FILE_BYTES + 1 - len(data))
        if not block:
            break
        data += block
    return bytes(data)


def _file_system(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    system, path = url_to_fs(url)
    return system, path


def place_of(path: str) -> str:
    """Where nodes find what was given here: they work in other folders than this process."""
    return path if is_url(path) else os.path.abspath(path)


def found_anywhere(paths: Iterable[str], *, urls: bool = True) -> Iterator[Found | Skipped]:
    """What `found_files` finds, and the files that each URL of a folder or pattern stands for.

    The content of a folder of paths is looked into; files behind a URL are chosen by their names
    alone: those with the suffix of a radiograph, with none, or with a number as UIDs have it.

    Args:
        paths: files, folders, patterns and URLs.
        urls: whether these may be among them: pseudonyms are made of files that this machine reads.

    Raises:
        ClusterError: a storage cannot be listed, or needs a library that is not installed.
        InvalidOption: a URL holds a password, chains several storages, or may not be given.
    """
    for path in paths:
        if not is_url(path):
            yield from found_files([path])
            continue
        _check_url(path)
        if not urls:
            raise InvalidOption(
                "--pseudonym",
                f"reads headers on this machine, not at {path}",
                "Name films by paths",
            )
        listed, chosen = _listed_or_refused(path)
        for url in listed:
            why = "" if chosen else _why_skipped(url, path)
            yield Skipped(url, why) if why else Found(url, PurePosixPath(url).name)


def _listed_or_refused(url: str) -> tuple[list[str], bool]:
    try:
        return _listed(url)
    except ImportError as error:
        raise ClusterError(
            url, f"needs a library ({_one_line(error)})", "Install it here and on every node"
        ) from None
    except Exception as error:
        raise ClusterError(
            url,
            f"cannot be listed ({type(error).__name__})",
            "Check the URL, the network and this machine's credentials",
        ) from None


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.password is not None:
        raise InvalidOption(
            f"{parts.scheme}://", "holds a password", "Give credentials by the environment"
        )
    if "::" in url:
        raise InvalidOption(url, "chains storages with ::", "Give one URL")


def _listed(url: str) -> tuple[list[str], bool]:
    """The files of a URL in order, and whether it names them: a file, a pattern, or nothing."""
    system, path = _file_system(url)
    is_pattern = any(sign in path for sign in "*?[")
    if not is_pattern and PurePosixPath(path).suffix.lower() in SUFFIXES:
        return [url], True  # the storage is not asked, which would take longer than to grade it
    if is_pattern and not system.exists(path):
        matches = [match for match in sorted(system.glob(path)) if not system.isdir(match)]
        return [system.unstrip_protocol(match) for match in matches] or [url], True
    if system.isdir(path):
        return [system.unstrip_protocol(name) for name in sorted(system.find(path))], False
    return [url], True


def _why_skipped(url: str, folder: str) -> str:
    name = PurePosixPath(url)
    below = PurePosixPath(url.removeprefix(folder) if url.startswith(folder) else name.name)
    if any(part.startswith(".") for part in below.parts):
        return HIDDEN
    suffix = name.suffix.lower()
    known = suffix in SUFFIXES or suffix in ("", ".") or suffix[1:].isdigit()
    return "" if known else OTHER


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
