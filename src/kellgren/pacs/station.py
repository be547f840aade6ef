"""Receive, read, answer: threads that share nothing but the spool."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path

from kellgren.ensemble import Ensemble
from kellgren.errors import KellgrenError
from kellgren.output.dicom.answer import answer, write_object
from kellgren.output.dicom.source import read_source
from kellgren.output.dicom.structured_report import refusal_report
from kellgren.pacs.receiver import Receiver
from kellgren.pacs.sender import DeliveryFailed, Peer, PeerUnreachable, deliver
from kellgren.pacs.spool import Spool

_MAX_PAUSE_S = 60.0
_MIN_PAUSE_S = 0.5
# Not caused by the film: its attempts do not count, and it waits until there is space again.
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
Report = Callable[[str], None]


class Station:
    """A running station; leave its context to stop it.

    Args:
        ensemble: that grades.
        folder: of the spool.
        peer: to send the answers to.
        address: host and port to listen at.
        ae_title: of this station.
        workers: films read at a time.
        refusals: answer a film that is refused with a report that says so and why; otherwise it
            gets no answer.
        report: called with a line on each event, without anything of the patient.

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
        refusals: bool = False,
        report: Report = lambda line: None,
    ) -> None:
        self._refusals = refusals
        self._ensemble, self._peer, self._ae_title, self._report = ensemble, peer, ae_title, report
        self._spool = Spool(folder, ensemble.model)
        self._stopping = threading.Event()
        self._claim_lock = threading.Lock()
        self._film_received, self._result_ready = threading.Event(), threading.Event()
        loops = [self._send_all, *[self._read_all] * workers]
        self._threads = [threading.Thread(target=loop, daemon=True) for loop in loops]
        try:
            self._receiver = Receiver(
                self._spool,
                address,
                ae_title=ae_title,
                on_film=self._film_received.set,
                report=report,
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
        """Accept nothing more, finish what was begun, and release the spool."""
        self._receiver.close()
        self._stopping.set()
        self._film_received.set()
        self._result_ready.set()
        for thread in self._threads:
            thread.join()
        self._spool.close()

    def _read_all(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self._read_next():
                    self._film_received.wait(_MAX_PAUSE_S)
                    self._film_received.clear()
            except OSError as error:  # of the disk: ending this loop would not help
                self._report(f"the spool cannot be used ({error.strerror}): next try in a minute")
                self._stopping.wait(_MAX_PAUSE_S)

    def _read_next(self) -> bool:
        """Read the film that has waited longest; whether there was one."""
        film = self._claimed()
        if film is None:
            return False
        try:
            self._read(film)
        except Exception as error:  # one film must not end the station
            if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
                self._spool.release(film)
                raise
            self._report(f"reading {film.name[:8]} stopped with {type(error).__name__}")
            self._spool.retry(film)
        return True

    def _claimed(self) -> Path | None:
        with self._claim_lock:
            waiting = self._spool.waiting()
            if len(waiting) > 1:
                self._film_received.set()  # wake another thread for the next
            return self._spool.claim(waiting[0]) if waiting else None

    def _read(self, film: Path) -> None:
        name = film.name[:8]
        try:
            readings = self._ensemble.read(film)
            refused = "".join(f"; not graded: {joint.reason}" for joint in readings.refused)
            objects = answer(readings, read_source(film)) if readings else []
        except KellgrenError as error:
            self._refuse(film, error)
            return
        if not objects:
            self._spool.finish(film, "refused", reason="no knee was found")
            self._report(f"refused {name}: no knee was found")
            return
        folder = self._spool.new_result_folder(film)
        for number, part in enumerate(objects, start=1):
            write_object(part, folder / f"{number:02}.dcm")
        self._spool.post(film, folder)
        self._report(f"read {name}: {len(readings)} knee{'s' * (len(readings) > 1)}{refused}")
        self._result_ready.set()

    def _refuse(self, film: Path, error: KellgrenError) -> None:
        """Note the reason, and post a report of it where that is wanted and can be made."""
        self._report(f"refused {film.name[:8]}: {error.reason}")
        try:
            source = read_source(film) if self._refusals else None
        except KellgrenError as unanswerable:
            self._report(f"no report of {film.name[:8]}: the film {unanswerable.problem}")
            source = None
        if source is None:
            self._spool.finish(film, "refused", reason=error.reason)
            return
        folder = self._spool.new_result_folder(film)
        made = refusal_report(error.problem, source, self._ensemble.model)
        write_object(made, folder / "01.dcm")
        self._spool.post(film, folder, refused=error.reason)
        self._result_ready.set()

    def _send_all(self) -> None:
        pause = _MIN_PAUSE_S
        while not self._stopping.is_set():
            failure = self._send_round()
            if not failure:
                pause = _MIN_PAUSE_S
                self._result_ready.wait(_MAX_PAUSE_S)
                self._result_ready.clear()
                continue
            waiting = len(self._spool.outgoing())
            self._report(f"answers that wait: {waiting}; {failure}; next try in {pause:g} s")
            self._stopping.wait(pause)
            pause = min(2 * pause, _MAX_PAUSE_S)

    def _send_round(self) -> str:
        """Try every answer that waits; what went wrong last, or nothing."""
        failure = ""
        for folder in self._spool.outgoing():
            if self._stopping.is_set():
                break
            try:
                count = deliver(folder, self._peer, self._ae_title, self._report)
                self._spool.delivered(folder, count)
                self._report(f"answered {folder.name[:8]}: {count} objects")
            except PeerUnreachable as error:
                return f"{self._peer}: {error}"
            except DeliveryFailed as error:
                failure = f"{self._peer} takes no {folder.name[:8]}: {error}"
            except OSError as error:
                failure = f"the spool cannot be used ({error.strerror})"
            except Exception as error:  # one answer must not end this loop
                failure = f"sending {folder.name[:8]} stopped with {type(error).__name__}"
        return failure
