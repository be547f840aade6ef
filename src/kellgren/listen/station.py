"""Receive, read, answer: three loops side by side that meet only in the spool."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path

from kellgren.dicom_output.answer import answer, write_object
from kellgren.dicom_output.source import read_source
from kellgren.ensemble import Ensemble
from kellgren.errors import KellgrenError
from kellgren.listen.receiver import Receiver
from kellgren.listen.sender import Peer, PeerAway, Undelivered, deliver
from kellgren.listen.spool import Spool

_LONGEST_PAUSE_S = 60.0
_SHORTEST_PAUSE_S = 0.5
# Not the film's fault: it keeps its attempts, and waits until there is room again.
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
Tell = Callable[[str], None]


class Station:
    """A running station; leave its context to stop it.

    Args:
        ensemble: reads.
        folder: of the spool.
        peer: gets the answers.
        address: host and port to listen at.
        ae_title: of this station.
        workers: films read at a time.
        tell: for one line about each event, without anything of the patient.

    Raises:
        SpoolInUse: another station has the spool.
        CannotListen: the address is taken, or of no use.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        folder: Path,
        peer: Peer,
        *,
        address: tuple[str, int],
        ae_title: str = "KELLGREN",
        workers: int = 1,
        tell: Tell = lambda line: None,
    ) -> None:
        self._ensemble, self._peer, self._ae_title, self._tell = ensemble, peer, ae_title, tell
        self._spool = Spool(folder, ensemble.model)
        self._stopping = threading.Event()
        self._claims = threading.Lock()
        self._work, self._mail = threading.Event(), threading.Event()
        loops = [self._send_all, *[self._read_all] * workers]
        self._threads = [threading.Thread(target=loop, daemon=True) for loop in loops]
        try:
            self._receiver = Receiver(
                self._spool, address, ae_title=ae_title, arrived=self._work.set, tell=tell
            )
        except KellgrenError:
            self._spool.close()
            raise
        for thread in self._threads:
            thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._receiver.port

    def __enter__(self) -> Station:
        return self

    def __exit__(self, *_: object) -> None:
        """Take nothing more, end what was begun, and let go of the spool."""
        self._receiver.close()
        self._stopping.set()
        self._work.set()
        self._mail.set()
        for thread in self._threads:
            thread.join()
        self._spool.close()

    def _read_all(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self._read_next():
                    self._work.wait(_LONGEST_PAUSE_S)
                    self._work.clear()
            except OSError as error:  # the disk's fault, and a dead loop would mend nothing
                self._tell(f"the spool cannot be used ({error.strerror}): next try in a minute")
                self._stopping.wait(_LONGEST_PAUSE_S)

    def _read_next(self) -> bool:
        """Read the film that has waited longest; whether there was one."""
        film = self._claimed()
        if film is None:
            return False
        try:
            self._read(film)
        except Exception as error:  # one film must not end the station
            if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
                self._spool.unclaim(film)
                raise
            self._tell(f"reading {film.name[:8]} stopped with {type(error).__name__}")
            self._spool.give_back(film)
        return True

    def _claimed(self) -> Path | None:
        with self._claims:
            waiting = self._spool.waiting()
            if len(waiting) > 1:
                self._work.set()  # there is more, for whoever sleeps
            return self._spool.claim(waiting[0]) if waiting else None

    def _read(self, film: Path) -> None:
        name = film.name[:8]
        try:
            readings = self._ensemble.read(film)
            made = answer(readings, read_source(film)) if readings else []
        except KellgrenError as error:
            self._spool.finish(film, "refused", reason=error.reason)
            self._tell(f"refused {name}: {error.reason}")
            return
        if not made:
            self._spool.finish(film, "refused", reason="no knee was found")
            self._tell(f"refused {name}: no knee was found")
            return
        folder = self._spool.build(film)
        for number, part in enumerate(made, start=1):
            write_object(part, folder / f"{number:02}.dcm")
        self._spool.post(film, folder)
        self._tell(f"read {name}: {len(readings)} knee{'s' * (len(readings) > 1)}")
        self._mail.set()

    def _send_all(self) -> None:
        pause = _SHORTEST_PAUSE_S
        while not self._stopping.is_set():
            trouble = self._send_round()
            if not trouble:
                pause = _SHORTEST_PAUSE_S
                self._mail.wait(_LONGEST_PAUSE_S)
                self._mail.clear()
                continue
            waiting = len(self._spool.outgoing())
            self._tell(f"answers that wait: {waiting}; {trouble}; next try in {pause:g} s")
            self._stopping.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _send_round(self) -> str:
        """Try every answer that waits; what went wrong last, or nothing."""
        trouble = ""
        for folder in self._spool.outgoing():
            if self._stopping.is_set():
                break
            try:
                objects = deliver(folder, self._peer, self._ae_title, self._tell)
                self._spool.finish(folder, "answered", objects=objects)
                self._tell(f"answered {folder.name[:8]}: {objects} objects")
            except PeerAway as error:
                return f"{self._peer}: {error}"
            except Undelivered as error:
                trouble = f"{self._peer} takes no {folder.name[:8]}: {error}"
            except OSError as error:
                trouble = f"the spool cannot be used ({error.strerror})"
            except Exception as error:  # one answer must not end this loop
                trouble = f"sending {folder.name[:8]} stopped with {type(error).__name__}"
        return trouble
