"""The server while something goes wrong: nothing lost, nothing answered twice, /health true.

Run by `serve_load.py --part full-disk | locked | lost-base | drip | hostile | grader-kills`. Films
come in for some seconds, then the fault begins and ends, then every accepted film must have its own
answer. /health must say so (503) within 5 s of the fault, and be 200 again within 5 s of its end,
or as soon as new graders have their model.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from serve_load import OPEN, Film, Ledger, Server, cut_off, make_films, slow_connection

TRUE_WITHIN_S, MOST_MB = 5.0, 200.0
BEFORE_S, FAULT_S, KILL_PAUSE_S = 4.0, 10.0, 4.0
_DRIP_S = 33.0  # a body but a film's must be whole within 30 s
_ANSWER_S, _QUEUE = 180.0, 12
_TMPFS_MB = 330  # 256 of which the server leaves free
# A disk of its own for the store, which a second process fills and empties as files tell it.
_ON_SMALL_DISK = f"""
mount -t tmpfs -o size={_TMPFS_MB}m tmpfs "$STORE" || exit 1
(while [ -e "$SIGNS/run" ]; do
  if [ -e "$SIGNS/fill" ]; then dd if=/dev/zero of="$STORE/ballast" bs=1M oflag=append conv=notrunc
  else rm -f "$STORE/ballast"; fi
  sleep 0.1
done) >/dev/null 2>&1 &
exec "$@"
"""


@dataclass
class Watch:
    """What /health said, five times a second."""

    server: Server
    said: list[tuple[float, int, str]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask until the end."""
        while not self.ended.wait(0.2):
            try:
                status, _, health = self.server.ask("GET", "/health", patience=TRUE_WITHIN_S)
                self.said.append((time.monotonic(), status, health["detail"]))
            except (OSError, HTTPException, ValueError) as error:
                self.said.append((time.monotonic(), 0, type(error).__name__))

    def first(self, since: float, status: int) -> tuple[float, str]:
        """Seconds from a moment to the first answer of a status, and its reason."""
        for when, found, detail in list(self.said):
            if when >= since and found == status:
                return when - since, detail
        return float("inf"), ""


def send(
    server: Server,
    films: list[Film],
    ended: threading.Event,
    ledger: Ledger,
    answers: Counter[int],
    seed: int,
) -> None:
    """Upload films whatever happens; what was accepted goes into the ledger."""
    rng = random.Random(seed)
    while not ended.wait(rng.uniform(0.1, 0.6)):
        film = rng.choice(films)
        try:
            status, _, answer = server.post(film.path)
        except (OSError, HTTPException, ValueError):
            answers[0] += 1
            continue
        answers[status] += 1
        if status == 202:
            ledger.accepted[answer["cases"][0]["url"]] = film


def settle(server: Server, ledger: Ledger) -> None:
    """Wait until all that was accepted is answered."""
    deadline = time.monotonic() + _ANSWER_S
    while time.monotonic() < deadline:
        _, _, health = server.ask("GET", "/health")
        if not health["waiting"]:
            break
        time.sleep(0.3)
    ledger.note(server)


def judged(server: Server, ledger: Ledger) -> bool:
    """Whether every accepted film has one answer, its own, that never changed."""
    cases = {url: server.get(url) for url in ledger.accepted}
    lost = sum(case is None for case in cases.values())
    is_open = sum(case["state"] in OPEN for case in cases.values() if case)
    blamed = sum(case["state"] == "failed" for case in cases.values() if case)
    wrong = sum(
        [knee["reading"]["probabilities"] for knee in case["knees"]]
        != [ledger.accepted[url].probabilities]
        for url, case in cases.items()
        if case and case["state"] not in (*OPEN, "failed")
    )
    print(
        f"{len(cases)} accepted: {lost} lost, {is_open} unanswered, {blamed} blamed, "
        f"{wrong} with another answer, {ledger.changed_answers} answers changed"
    )
    return bool(cases) and not (lost or is_open or blamed or wrong or ledger.changed_answers)


@contextmanager
def life(server: Server, films: list[Film], ledger: Ledger) -> Iterator[Watch]:
    """Two clients and a watch beside the block."""
    watch, ended, answers = Watch(server), threading.Event(), Counter[int]()
    threads = [threading.Thread(target=watch.run)] + [
        threading.Thread(target=send, args=(server, films, ended, ledger, answers, n))
        for n in range(2)
    ]
    for thread in threads:
        thread.start()
    try:
        time.sleep(BEFORE_S)
        yield watch
    finally:
        ended.set()
        watch.ended.set()
        for thread in threads:
            thread.join()
        print(f"answers to uploads by status: {dict(answers)}")


def told(watch: Watch, began: float, over: float) -> bool:
    """Whether /health was true soon after the beginning and the end of a fault."""
    began_s, detail = watch.first(began, 503)
    over_s, _ = watch.first(over, 200)
    print(f"/health 503 after {began_s:.1f} s ({detail}); 200 again {over_s:.1f} s after the end")
    return began_s <= TRUE_WITHIN_S and over_s <= TRUE_WITHIN_S


def locked(films: list[Film], folder: Path, workers: int, seconds: float) -> bool:
    """Another program holds the database's write lock for some seconds."""
    ledger = Ledger()
    with closing(Served(folder / "store", workers)) as served:
        server = served.server
        with life(server, films, ledger) as watch:
            with closing(sqlite3.connect(folder / "store" / "cases.sqlite")) as other:
                other.execute("BEGIN IMMEDIATE")
                began = time.monotonic()
                time.sleep(seconds)
            over = time.monotonic()
            time.sleep(TRUE_WITHIN_S)
        settle(server, ledger)
        return judged(server, ledger) and told(watch, began, over)


def full_disk(films: list[Film], folder: Path, workers: int) -> bool:
    """The disk is filled to its last byte, and freed again."""
    store, ledger = folder / "store", Ledger()
    store.mkdir()
    (folder / "run").touch()
    prefix = ["unshare", "--map-root-user", "--mount", "sh", "-c", _ON_SMALL_DISK, "sh"]
    os.environ |= {"STORE": str(store), "SIGNS": str(folder)}
    with closing(Served(store, workers, prefix)) as served:
        server = served.server
        with life(server, films, ledger) as watch:
            (folder / "fill").touch()
            began = time.monotonic()
            time.sleep(FAULT_S)
            (folder / "fill").unlink()
            over = time.monotonic()
            time.sleep(TRUE_WITHIN_S)
        settle(server, ledger)
        kept = judged(server, ledger) and told(watch, began, over)
        (folder / "run").unlink()
    return kept


def lost_base(films: list[Film], folder: Path, workers: int) -> bool:
    """The database is removed while the server runs, which is then killed and started again."""
    store, ledger = folder / "store", Ledger()
    with closing(Served(store, workers)) as served:
        with life(served.server, films, ledger):
            for path in store.glob("cases.sqlite*"):
                path.unlink()
            began = time.monotonic()
            while not (store / "cases.sqlite").exists():
                if time.monotonic() - began > FAULT_S:
                    print("the database was not written anew")
                    return False
                time.sleep(0.05)
            print(f"the database was written anew after {time.monotonic() - began:.1f} s")
            time.sleep(FAULT_S / 2)
        ledger.note(served.server)
        served.restart(signal.SIGKILL)
        settle(served.server, ledger)
        return judged(served.server, ledger) and time.monotonic() > began


def grader_kills(films: list[Film], folder: Path, workers: int) -> bool:
    """All graders are killed, again and again, while they read."""
    ledger, times = Ledger(), []
    with closing(Served(folder / "store", workers)) as served:
        server = served.server
        with life(server, films, ledger) as watch:
            for _ in range(3):
                for grader in server.graders():
                    os.kill(grader, signal.SIGKILL)
                times.append(time.monotonic())
                time.sleep(KILL_PAUSE_S)
        settle(server, ledger)
        noticed = [watch.first(when, 503)[0] for when in times]
        print(f"/health 503 after {', '.join(f'{s:.1f}' for s in noticed)} s")
        ready, _, _ = server.ask("GET", "/health")
        return judged(server, ledger) and max(noticed) <= TRUE_WITHIN_S and ready == 200


def silent_json(port: int) -> socket.socket:
    """A client that owes nearly all of a small body."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    head = f"POST /api/v1/studies HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    kind = "Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n{"
    connection.sendall((head + kind).encode())
    return connection


def drip(films: list[Film], folder: Path, workers: int, count: int) -> bool:
    """Many clients that send a byte now and then; films of others are answered meanwhile."""
    ledger = Ledger()
    with closing(Served(folder / "store", workers)) as served:
        server = served.server
        with life(server, films, ledger) as watch:
            began = time.monotonic()
            opened = [
                slow_connection(server.port, n % 3) if n % 4 else silent_json(server.port)
                for n in range(count)
            ]
            left = list(opened)
            while time.monotonic() - began < _DRIP_S:
                for connection in list(left):
                    try:
                        connection.send(b" ")
                    except OSError:
                        left.remove(connection)
                time.sleep(1.0)
        closed = cut_off(opened)
        print(f"{closed} of {count} dripping connections were closed", end=" ")
        print(f"within {time.monotonic() - began:.0f} s; HTTP {server.memory_mb()[0]:.0f} MB")
        for connection in opened:
            connection.close()
        settle(server, ledger)
        bad = [one for one in watch.said if one[1] != 200]
        print(f"/health: asked {len(watch.said)} times, not 200: {len(bad)}")
        return judged(server, ledger) and not bad and closed == count


def hostile_body(port: int, kind: int, size: int) -> int:
    """Send a body that is too large, without a token; the bytes that the server took of it."""
    head = f"POST /api/v1/studies HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    length = f"Content-Length: {size}" if kind else "Transfer-Encoding: chunked"
    block = bytes(2**20)
    chunk = block if kind else b"100000\r\n" + block + b"\r\n"
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\n{length}\r\n\r\n".encode())
        try:
            while sent < size:
                connection.sendall(chunk)
                sent += len(block)
        except OSError:  # cut off
            pass
    return sent


def hostile(films: list[Film], folder: Path, workers: int, count: int) -> bool:
    """A gigabyte of bodies that are too large, eight at a time; films are answered meanwhile."""
    ledger, each = Ledger(), 2**30 // count
    with closing(Served(folder / "store", workers)) as served:
        server = served.server
        before = server.memory_mb()[0]
        with life(server, films, ledger) as watch, ThreadPoolExecutor(8) as pool:
            began = time.monotonic()
            kinds = [n % 2 for n in range(count)]
            taken = sum(pool.map(lambda kind: hostile_body(server.port, kind, each), kinds))
        after = server.memory_mb()[0]
        print(
            f"{count} bodies of {each / 2**20:.0f} MB in {time.monotonic() - began:.0f} s, of which"
        )
        print(
            f"{taken / 2**20:.0f} MB were taken; HTTP {before:.0f} MB before, {after:.0f} MB after"
        )
        settle(server, ledger)
        bad = [one for one in watch.said if one[1] != 200]
        return judged(server, ledger) and not bad and after < MOST_MB


class Served:
    """A server that is ready, and that can be started again."""

    def __init__(self, store: Path, workers: int, prefix: list[str] | None = None) -> None:
        self._store, self._workers, self._prefix = store, workers, prefix or []
        self.server = self._start()
        self.server.await_graders(workers)

    def _start(self) -> Server:
        return Server(self._store, self._workers, _QUEUE, self._prefix)

    def restart(self, how: signal.Signals) -> None:
        """End it, and start it again."""
        graders = self.server.graders()
        self.server.stop(how)
        while any(Path(f"/proc/{pid}").exists() for pid in graders):
            time.sleep(0.05)
        self.server = self._start()
        self.server.await_graders(self._workers)

    def close(self) -> None:
        """End it."""
        if self.server.process.poll() is None:
            self.server.stop()


def run(part: str, workers: int, slow: int, fault_s: float = FAULT_S) -> bool:
    """One fault; whether every promise was kept."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        films = make_films(folder, [0.5, 1, 1.5, 2])
        parts = {
            "full-disk": lambda: full_disk(films, folder, workers),
            "locked": lambda: locked(films, folder, workers, fault_s),
            "lost-base": lambda: lost_base(films, folder, workers),
            "hostile": lambda: hostile(films, folder, workers, slow),
            "drip": lambda: drip(films, folder, workers, slow),
            "grader-kills": lambda: grader_kills(films, folder, workers),
        }
        kept = parts[part]()
    print(json.dumps({"part": part, "kept": kept}))
    return kept
