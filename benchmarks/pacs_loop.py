"""A whole loop with a real Orthanc: films in, answers out, and kill -9 in the middle.

    apt-get install -y orthanc
    python benchmarks/pacs_loop.py [--films 200] [--kills 5] [--kill-all] [--tls] [--model BUNDLE]

Films are stored in Orthanc, `examples/orthanc/route_films.py` sends them to `kellgren listen`, and
`kellgren listen` sends its answers to Orthanc, all set up as docs/how-to/connect-a-pacs.md has it.
The station is killed at random moments while it works, with --kill-all the route and Orthanc too,
and each is started again. All the time some connections drip: each sends the station a byte now and
then, and comes again when it is closed. With --tls both ways are encrypted, with certificates on
both sides. Then Orthanc is asked what it holds for every study.
Exit code 0: one answer each, none twice, within the time limit.
"""

from __future__ import annotations

import argparse
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from kellgren.pacs.spool import counts  # noqa: E402
from pacs_network import (  # noqa: E402
    Identities,
    Listening,
    Orthanc,
    Routing,
    free_port,
    has_orthanc,
    write_films,
)

ANSWER = Counter(["SR", "OT", "SEG", "PR"])
PROGRESS_S = 10
AHEAD = 20  # films stored and not yet answered


def films(folder: Path, number: int) -> list[Path]:
    """Films of the ten example knees, each of its own patient's study."""
    knees = sorted((ROOT / "examples").glob("*.png"))
    pictures = [np.asarray(Image.open(knee).convert("L")).astype(np.uint16) * 16 for knee in knees]
    written = []
    for one in range(number):
        (path,) = write_films(folder / str(one), pictures[one % len(pictures)], 1, **uids(one))
        written.append(path)
    return written


def uids(one: int) -> dict[str, str]:
    study = f"1.2.826.0.1.3680043.8.498.78.{one}"
    return {
        "StudyInstanceUID": study,
        "SeriesInstanceUID": f"{study}.1",
        "SOPInstanceUID": f"{study}.1.1",
    }


class Dripping:
    """Connections that send a byte now and then, of a request whose end never comes."""

    def __init__(self, port: int, number: int) -> None:
        self._port, self._wires = port, [None] * number
        self.opened = 0
        threading.Thread(target=self._drip, daemon=True).start()

    def _drip(self) -> None:
        while True:
            self._wires = [self._one_byte(wire) for wire in self._wires]
            time.sleep(0.2)

    def _one_byte(self, wire: socket.socket | None) -> socket.socket | None:
        try:
            if wire is None:
                wire = socket.create_connection(("127.0.0.1", self._port), timeout=5)
                self.opened += 1
                wire.sendall(b"\x01\x00\x00\x01\x00\x00")
            wire.sendall(b"\x00")
        except OSError:  # closed, or the station is away
            return None
        return wire


class Hospital:
    """Orthanc, the route and the station, each of which can die and be started again."""

    def __init__(self, folder: Path, more: list[str], *, drips: int, tls: bool) -> None:
        self.spool, self.port = folder / "spool", free_port()
        self._state, self._more = folder / "route.json", more
        identities = Identities(folder / "tls") if tls else None
        if identities is not None:
            self._more = [*more, *identities.options]
        self.archive = Orthanc(folder / "orthanc", self.port, identities)
        self.dripping = Dripping(self.port, drips)
        self.deaths: Counter[str] = Counter()
        self.lines: list[str] = []
        self.start_station()
        self.route = Routing(self.archive.url, self._state)

    def start_station(self) -> None:
        """Start the station, or start it again."""
        answer_to = f"127.0.0.1:{self.archive.dicom_port}/ORTHANC"
        self.station = Listening(self.spool, answer_to, self.port, *self._more)

    def kill(self, victim: str, away_s: float) -> None:
        """Kill one of the three by SIGKILL, and start it again after a while."""
        self.deaths[victim] += 1
        {"station": self.station, "route": self.route, "archive": self.archive}[victim].kill()
        print(f"killed the {victim}: {counts(self.spool)}", file=sys.stderr, flush=True)
        time.sleep(away_s)
        if victim == "station":
            self.lines += self.station.lines
            self.start_station()
        elif victim == "route":
            self.route = Routing(self.archive.url, self._state)
        else:
            self.archive.start()

    def upload(self, made: list[Path]) -> None:
        """Store films in Orthanc, no faster than they are answered: some are always on the way."""
        for number, film in enumerate(made):
            while number - counts(self.spool)["answered"] > AHEAD:
                time.sleep(0.05)
            while True:
                try:
                    self.archive.upload(film)
                    break
                except OSError:
                    time.sleep(0.2)

    def close(self) -> None:
        """End all three."""
        self.route.stop()
        self.station.stop()
        self.lines += self.station.lines
        self.archive.close()


def wait(spool: Path, wanted: int, end: float) -> bool:
    """Until so many films are done with, with a line of progress now and then."""
    reported = time.monotonic()
    while (current := counts(spool))["answered"] + current["refused"] < wanted:
        time.sleep(0.05)
        if time.monotonic() > end:
            return False
        if time.monotonic() - reported > PROGRESS_S:
            reported = time.monotonic()
            print(f"{end - reported:.0f} s left: {current}", file=sys.stderr, flush=True)
    return True


def loop(
    folder: Path,
    number: int,
    victims: list[str],
    seconds: float,
    more: list[str],
    *,
    drips: int,
    tls: bool,
) -> bool:
    chance = random.Random(0)
    made = films(folder / "films", number)
    hospital = Hospital(folder, more, drips=drips, tls=tls)
    try:
        began = time.monotonic()
        threading.Thread(target=hospital.upload, args=[made], daemon=True).start()
        moments = sorted(chance.sample(range(number // 20, number), len(victims)))
        for moment, victim in zip(moments, chance.sample(victims, len(victims)), strict=True):
            if wait(hospital.spool, moment, began + seconds):
                time.sleep(chance.uniform(0, 1))  # in the middle of whatever it does
                hospital.kill(victim, chance.uniform(0, 2))
        in_time = wait(hospital.spool, number, began + seconds)
        took = time.monotonic() - began
        held = hospital.archive.identifiers()
    finally:
        hospital.close()
    return report(number, hospital, held, took) and in_time


def report(
    number: int, hospital: Hospital, held: dict[str, list[tuple[str, str]]], took: float
) -> bool:
    kinds = [Counter(kind for kind, _ in objects) - Counter(["DX"]) for objects in held.values()]
    once = sum(kind == ANSWER for kind in kinds)
    twice = sum(any(count > 1 for count in kind.values()) for kind in kinds)
    again = sum(line.startswith("received") and "again" in line for line in hospital.lines)
    print(f"deaths by kill -9: {dict(hospital.deaths)}")
    print(f"films sent to Orthanc: {number}, held by it: {len(held)}")
    print(f"acknowledged by the station: {sum(counts(hospital.spool).values())}")
    print(f"answered once {once}, twice {twice}, never {number - once - twice}")
    print(f"films that came again and were known: {again}")
    print(f"connections that dripped: {hospital.dripping.opened}")
    print(f"{took:.0f} s, starts included: {60 * number / took:.0f} films a minute")
    return once == number and twice == 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--films", type=int, default=200)
    parser.add_argument("--kills", type=int, default=5, help="of the station, at random moments")
    parser.add_argument("--kill-all", action="store_true", help="the route and Orthanc as well")
    parser.add_argument("--seconds", type=float, default=900, help="time limit")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--drips", type=int, default=12, help="connections that drip")
    parser.add_argument("--tls", action="store_true", help="DICOM over TLS, both ways")
    parser.add_argument("--model", help="folder of a bundle; the default one otherwise")
    chosen = parser.parse_args()
    if not has_orthanc():
        sys.exit("Orthanc is not installed: apt-get install -y orthanc")
    victims = ["station"] * chosen.kills + ["route", "archive"] * chosen.kill_all
    more = ["--workers", str(chosen.workers), *(["--model", chosen.model] if chosen.model else [])]
    with tempfile.TemporaryDirectory() as scratch:
        given = Path(scratch), chosen.films, victims, chosen.seconds, more
        passed = loop(*given, drips=chosen.drips, tls=chosen.tls)
        sys.exit(not passed)
