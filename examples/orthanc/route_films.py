#!/usr/bin/env python3
"""Send every new CR and DX film of an Orthanc to `kellgren listen`, and go on until it has it.

    python3 route_films.py --orthanc http://127.0.0.1:8042 --to kellgren --state FILE

Runs beside Orthanc, on Python 3.9 or later and nothing else. It reads Orthanc's log of changes and
keeps in one small file how far it has read and which films still wait, so neither its own death nor
Orthanc's nor the station's loses a film. A film that is sent twice is answered once: the station
knows it again. If Orthanc asks for a user, set ORTHANC_USER and ORTHANC_PASSWORD.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

FILMS = {"1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1"}  # CR, DX for presentation
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
LONGEST_TRANSFER_S = 300.0


class Orthanc:
    """Its REST interface."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.headers: dict[str, str] = {}
        if user := os.environ.get("ORTHANC_USER"):
            secret = f"{user}:{os.environ.get('ORTHANC_PASSWORD', '')}"
            self.headers["Authorization"] = f"Basic {base64.b64encode(secret.encode()).decode()}"

    def ask(self, path: str, body: dict[str, Any] | None = None) -> bytes:
        """GET, or POST of a body; raises OSError."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, self.headers)
        with urllib.request.urlopen(request, timeout=LONGEST_TRANSFER_S) as reply:
            return bytes(reply.read())

    def find(self, path: str) -> bytes | None:
        """GET; None if there is no such thing."""
        try:
            return self.ask(path)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None


class Memory:
    """How far the log of changes was read, and which films wait; on disk after every step."""

    def __init__(self, path: Path) -> None:
        self.path = path
        known = json.loads(path.read_text()) if path.exists() else {}
        self.since: int | None = known.get("since")
        self.waiting: list[str] = known.get("waiting", [])

    def save(self) -> None:
        """Replace the file, whole or not at all."""
        new = self.path.with_suffix(".new")
        with new.open("w") as stream:
            json.dump({"since": self.since, "waiting": self.waiting}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(self.path)


def note_new_films(orthanc: Orthanc, memory: Memory) -> None:
    """Read the log of changes to its end; at the very first start, from now on."""
    last = json.loads(orthanc.ask("/changes?last"))["Last"]
    if memory.since is None:
        memory.since = last
        memory.save()
    elif last < memory.since:
        tell("this is another archive than before: its films are read from the first")
        memory.since = 0
    is_done = False
    while not is_done:
        page = json.loads(orthanc.ask(f"/changes?since={memory.since}&limit=100"))
        for change in page["Changes"]:
            if change["ChangeType"] == "NewInstance":
                kind = orthanc.find(f"/instances/{change['ID']}/metadata/SopClassUid")
                if kind and kind.decode().strip() in FILMS and change["ID"] not in memory.waiting:
                    memory.waiting.append(change["ID"])
        is_done = page["Done"]
        if memory.since != page["Last"]:
            memory.since = page["Last"]
            memory.save()


def send_waiting(orthanc: Orthanc, station: str, memory: Memory) -> bool:
    """Send what waits, in order; whether all went well.

    The first failure ends the round, for most often the station is away. The film goes to the end
    of the line, so that one which is never taken holds up no other.
    """
    while memory.waiting:
        film = memory.waiting[0]
        try:
            orthanc.ask(f"/modalities/{station}/store", {"Resources": [film], "Synchronous": True})
        except OSError as error:
            if orthanc.find(f"/instances/{film}") is not None:
                memory.waiting.append(memory.waiting.pop(0))
                tell(f"{film[:8]} was not taken ({error}); films that wait: {len(memory.waiting)}")
                return False
            tell(f"{film[:8]} is gone from the archive")
        else:
            tell(f"{film[:8]} sent")
        memory.waiting.pop(0)
        memory.save()
    return True


def tell(line: str) -> None:
    """For the log, without anything of the patient."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Until it is stopped."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--orthanc", default="http://127.0.0.1:8042", help="address of its REST")
    parser.add_argument("--to", default="kellgren", help="the station's name in DicomModalities")
    parser.add_argument("--state", type=Path, required=True, help="file that remembers")
    parser.add_argument("--since", type=int, help="first start: read the log from here, 0 for all")
    chosen = parser.parse_args()
    orthanc, memory = Orthanc(chosen.orthanc), Memory(chosen.state)
    if memory.since is None:
        memory.since = chosen.since
    pause = SHORTEST_PAUSE_S
    while True:
        try:
            note_new_films(orthanc, memory)
            is_well = send_waiting(orthanc, chosen.to, memory)
        except OSError as error:
            tell(f"Orthanc does not answer ({error})")
            is_well = False
        pause = SHORTEST_PAUSE_S if is_well else min(2 * pause, LONGEST_PAUSE_S)
        time.sleep(pause)


if __name__ == "__main__":
    main()
