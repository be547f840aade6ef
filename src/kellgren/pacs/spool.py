"""Queues of films and results on disk, so that a crash at any moment loses nothing.

A film moves forward only, and by one atomic rename at a time:

    received/KEY.N.dcm  acknowledged to its sender; N readings were begun and not ended
    reading/KEY.N.dcm   being read, for the N-th time
                        (KEY.N.F.dcm: F of these readings failed, and the film was the cause)
    outbox/KEY/         its answer, whole; an object that was delivered ends in .sent; its
                        reason lies beside the report of a refusal
    done/KEY.json       what became of it; the film and its answer are gone

KEY is a hash of the film's identifier and the model, and one of its content: no name from outside
reaches a path, a film that comes again is recognised wherever it is, and other content under a
known identifier is a film of its own. Later states win over earlier ones: what a crash leaves in
two places is cleaned up at the next start.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from kellgren.atomic_files import taken_alone, written_whole
from kellgren.errors import InvalidOption, KellgrenError

MAX_FAILURES = 2
"""Readings that a film itself brought to their end, after which it is given up."""
_REASON = "refused"
"""Beside the report of a refusal: the reason, for the record."""
_STAGES = ("received", "reading", "outbox", "done")


class SpoolInUse(KellgrenError):
    """Two stations on one spool would answer films twice."""


class Spool:
    """The folder of one station.

    Args:
        folder: made, readable by its owner alone, if it is not there.
        model: of the readings; a film that comes again under another model is graded again.

    Raises:
        SpoolInUse: another process has it.
    """

    def __init__(self, folder: Path, model: Mapping[str, str]) -> None:
        self.folder = folder
        self._model = _hash(json.dumps(model, sort_keys=True))
        self._receive_lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _locked(folder)
        for stage in _STAGES:
            (folder / stage).mkdir(exist_ok=True, mode=0o700)
        self._recover()
        self._identities = {
            _identity(place.name) for stage in _STAGES for place in (folder / stage).iterdir()
        }

    def close(self) -> None:
        """Release the spool for other processes."""
        self._lock.close()

    def key(self, identifier: str, content: str) -> str:
        """The name of a film in this spool, which begins with the SHA-256 of its identifier.

        So people find it who know the film, and the name tells nobody else of it.

        Args:
            identifier: of the film; anything at all.
            content: its hash, hexadecimal.
        """
        return f"{_hash(identifier)[:24]}{self._model[:8]}-{content[:32]}"

    def new_part(self) -> Path:
        """Where a film can be written while it arrives; what a crash leaves there is removed."""
        return self.folder / "received" / f".{secrets.token_hex(8)}.part"

    def receive(self, key: str, part: Path) -> bool:
        """Keep a film; when this returns it is on the disk.

        Args:
            key: of the film.
            part: that holds all of it, from `new_part`; it is gone when this returns.

        Returns:
            Whether it is new: one that waits, is being read, or was answered is not kept again.

        Raises:
            OSError: the disk is full, or broken.
        """
        path = self.folder / "received" / f"{key}.0.dcm"
        try:
            with part.open("rb+") as stream:
                os.fsync(stream.fileno())
            with self._receive_lock:  # two senders of one film
                if self._knows(key):
                    return False
                part.rename(path)
                self._identities.add(_identity(key))
        finally:
            part.unlink(missing_ok=True)
        _sync(path.parent)
        return True

    def knows_identity(self, key: str) -> bool:
        """Whether a film of this identifier came before, whatever its content was."""
        return _identity(key) in self._identities

    def waiting(self) -> list[Path]:
        """Films to be read, in the order of their arrival."""
        return _by_age((self.folder / "received").glob("[!.]*.dcm"))  # the others are being written

    def claim(self, film: Path) -> Path:
        """Begin to read a film; its new path."""
        return self._moved(film, "reading", readings=1)

    def retry(self, film: Path, *, at_fault: bool) -> None:
        """Leave a film whose reading was begun and not ended to another attempt.

        Args:
            film: that was being read.
            at_fault: it was itself the cause; after `MAX_FAILURES` of these it is given up.
        """
        if at_fault and _failures(film) + 1 >= MAX_FAILURES:
            self.finish(film, "refused", reason=f"reading it failed {MAX_FAILURES} times")
        else:
            self._moved(film, "received", failures=int(at_fault))

    def release(self, film: Path) -> None:
        """Leave a film whose reading failed through no fault of its own, as if it had not been."""
        self._moved(film, "received", readings=-1)

    def _moved(self, film: Path, stage: str, *, readings: int = 0, failures: int = 0) -> Path:
        failed = _failures(film) + failures
        name = f"{_key(film)}.{_readings(film) + readings}{f'.{failed}' if failed else ''}.dcm"
        with self._receive_lock:  # a film that moves back would be missed where one looks for it
            return film.rename(self.folder / stage / name)

    def new_result_folder(self, film: Path) -> Path:
        """An empty folder for the objects of a film's answer, to be posted when complete."""
        folder = self._answer_folder(film)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        return folder

    def _answer_folder(self, film: Path) -> Path:
        return self.folder / "reading" / f"{_key(film)}.answer"

    def post(self, film: Path, folder: Path, *, refused: str = "") -> None:
        """Put a whole answer into the outbox, and remove the film.

        Args:
            film: that is answered.
            folder: of the answer.
            refused: why the film was not graded, where the answer says that; empty: it was.
        """
        if refused:
            (folder / _REASON).write_text(refused, "utf-8")
        _sync(folder)
        folder.rename(self.folder / "outbox" / _key(film))
        _sync(self.folder / "outbox")
        film.unlink()

    def outgoing(self) -> list[Path]:
        """Folders of answers, in the order of their making."""
        return _by_age((self.folder / "outbox").iterdir())

    def delivered(self, folder: Path, count: int) -> None:
        """Note that the peer has an answer of so many objects, and remove it."""
        reason = folder / _REASON
        if reason.exists():
            self.finish(folder, "refused", reason=reason.read_text("utf-8"), objects=count)
        else:
            self.finish(folder, "answered", objects=count)

    def finish(self, place: Path, outcome: str, **facts: Any) -> None:
        """Note what became of a film, and remove it from the queues.

        Args:
            place: the film's path, or its answer's folder.
            outcome: ``answered`` or ``refused``.
            facts: for the record, without anything of the patient.
        """
        with written_whole(self.folder / "done" / f"{_key(place)}.json") as stream:
            json.dump({"outcome": outcome, **facts}, stream)
        _sync(self.folder / "done")
        _remove(place)
        shutil.rmtree(self._answer_folder(place), ignore_errors=True)

    def _knows(self, key: str) -> bool:
        # In the order in which films move, so that none is missed between two of these checks.
        return (
            any((self.folder / "received").glob(f"{key}.*.dcm"))
            or any((self.folder / "reading").glob(f"{key}.*.dcm"))
            or (self.folder / "outbox" / key).exists()
            or (self.folder / "done" / f"{key}.json").exists()
        )

    def _recover(self) -> None:
        """Undo what a crash left half done."""
        for stage in _STAGES:
            for part in (self.folder / stage).glob(".*"):
                part.unlink()
        for folder in (self.folder / "reading").glob("*.answer"):
            shutil.rmtree(folder)
        done = {_key(record) for record in (self.folder / "done").iterdir()}
        for answer in self.outgoing():
            if answer.name in done:
                shutil.rmtree(answer)
        beyond = done | {_key(answer) for answer in self.outgoing()}
        for film in [*self.waiting(), *(self.folder / "reading").glob("*.dcm")]:
            if _key(film) in beyond:
                film.unlink()
            elif film.parent.name == "reading":  # whatever ended the process, this proves nothing
                self.retry(film, at_fault=False)


def counts(folder: Path) -> dict[str, int]:
    """How many films of a spool wait, are being read, wait to be sent, and are done with.

    Needs no lock: it may be asked while a station runs.

    Raises:
        InvalidOption: there is no such folder; a spelling error would look like a station at rest.
    """
    if not folder.is_dir():
        raise InvalidOption(folder, "is no spool of a station", "Name the --spool that it has")
    outcomes = Counter(
        json.loads(record.read_text("utf-8"))["outcome"]
        for record in (folder / "done").glob("[!.]*.json")
    )
    return {
        "waiting": len([*(folder / "received").glob("[!.]*.dcm")]),
        "reading": len([*(folder / "reading").glob("[!.]*.dcm")]),
        "to send": len([*(folder / "outbox").glob("[!.]*")]),
        "answered": outcomes["answered"],
        "refused": outcomes["refused"],
    }


def is_suspect(film: Path) -> bool:
    """Whether a reading of this waiting film was begun before and did not end."""
    return _readings(film) > 0


def _locked(folder: Path) -> IO[bytes]:
    stream = taken_alone(folder / "lock")
    if stream is None:
        raise SpoolInUse(folder, "is in use by another process", "Name another --spool")
    return stream


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _key(place: Path) -> str:
    return place.name.partition(".")[0]


def _identity(name: str) -> str:
    return name.partition(".")[0].partition("-")[0]


def _readings(film: Path) -> int:
    return int(film.name.split(".")[1])


def _failures(film: Path) -> int:
    parts = film.name.split(".")
    return int(parts[2]) if len(parts) > 3 else 0


def _by_age(paths: Iterable[Path]) -> list[Path]:
    ages = {}
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # it moved on meanwhile
            ages[path] = path.stat().st_mtime_ns
    return sorted(ages, key=lambda path: ages[path])


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()


def _sync(folder: Path) -> None:
    """Make renames in a folder outlast a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
