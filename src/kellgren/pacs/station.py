"""Receive, read, answer: threads that share nothing but the spool."""

from __future__ import annotations

import errno
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

from kellgren.ensemble import Ensemble
from kellgren.errors import KellgrenError
from kellgren.pacs.alone import ReadingFailed, read_alone
from kellgren.pacs.answering import read_film
from kellgren.pacs.callers import Access, Limits
from kellgren.pacs.receiver import Receiver
from kellgren.pacs.sender import DeliveryFailed, Peer, PeerUnreachable, deliver
from kellgren.pacs.spool import Spool, is_suspect

_MAX_PAUSE_S = 60.0
_LONGEST_SUSPICION_S = 600.0
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
        access: who may send films; everybody by default.
        limits: on what senders may take.
        tls: of this side, for those who send; ``None``: without.

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
        access: Access = Access(),  # noqa: B008 (frozen)
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._refusals = refusals
        self._ensemble, self._peer, self._ae_title, self._report = ensemble, peer, ae_title, report
        self._spool = Spool(folder, ensemble.model)
        self._stopping = threading.Event()
        self._claim_lock, self._suspect_is_read = threading.Lock(), False
        self._pauses: dict[str, tuple[float, float]] = {}
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
                access=access,
                limits=limits,
                tls=tls,
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
                    self._film_received.wait(self._shortest_pause())
                    self._film_received.clear()
            except OSError as error:  # of the disk: ending this loop would not help
                self._report(f"the spool cannot be used ({error.strerror}): next try in a minute")
                self._stopping.wait(_MAX_PAUSE_S)

    def _read_next(self) -> bool:
        """Read the film that has waited longest; whether there was one."""
        film, is_suspect = self._claimed()
        if film is None:
            return False
        try:
            self._read(film, alone=is_suspect)
        except ReadingFailed as error:
            self._report(f"reading {film.name[:8]} alone failed: {error}")
            self._retry(film, at_fault=error.at_fault)
        except Exception as error:  # one film must not end the station
            if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
                self._spool.release(film)
                raise
            self._report(f"reading {film.name[:8]} stopped with {type(error).__name__}")
            # Memory that is short may be taken by another film.
            self._retry(film, at_fault=not isinstance(error, MemoryError))
        finally:
            if is_suspect:
                self._suspect_is_read = False
                self._film_received.set()
        return True

    def _claimed(self) -> tuple[Path | None, bool]:
        """The film to be read next, and whether it is to be read alone: one at a time is."""
        with self._claim_lock:
            waiting = [film for film in self._spool.waiting() if self._may_be_read(film)]
            if not waiting:
                return None, False
            if len(waiting) > 1:
                self._film_received.set()  # wake another thread for the next
            suspect = is_suspect(waiting[0])
            self._suspect_is_read |= suspect
            return self._spool.claim(waiting[0]), suspect

    def _may_be_read(self, film: Path) -> bool:
        if not is_suspect(film):
            return True
        until, _ = self._pauses.get(film.name.partition(".")[0], (0.0, 0.0))
        return not self._suspect_is_read and time.monotonic() >= until

    def _retry(self, film: Path, *, at_fault: bool) -> None:
        """Leave a film to another attempt, ever later: it must hold up no other one."""
        key = film.name.partition(".")[0]
        with self._claim_lock:
            _, last = self._pauses.get(key, (0.0, _MIN_PAUSE_S / 2))
            pause = min(2 * last, _LONGEST_SUSPICION_S)
            self._pauses[key] = time.monotonic() + pause, pause
        self._spool.retry(film, at_fault=at_fault)

    def _shortest_pause(self) -> float:
        """Seconds until a film that was left to another attempt may be read, or the longest."""
        with self._claim_lock:
            left = [until - time.monotonic() for until, _ in self._pauses.values()]
        return min([max(pause, 0.05) for pause in left if pause > 0] or [_MAX_PAUSE_S])

    def _read(self, film: Path, *, alone: bool) -> None:
        name, folder = film.name[:8], self._spool.new_result_folder(film)
        if alone:
            outcome = read_alone(
                self._ensemble,
                film,
                folder,
                refusals=self._refusals,
                is_stopping=self._stopping.is_set,
            )
        else:
            outcome = read_film(self._ensemble, film, folder, refusals=self._refusals)
        self._pauses.pop(film.name.partition(".")[0], None)
        if outcome.refused:
            self._report(f"refused {name}: {outcome.refused.removeprefix('is refused: ')}")
        if outcome.text:
            self._report(f"{'no report of' if outcome.refused else 'read'} {name}: {outcome.text}")
        if outcome.objects:
            self._spool.post(film, folder, refused=outcome.refused)
            self._result_ready.set()
        else:
            self._spool.finish(film, "refused", reason=outcome.refused)

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
