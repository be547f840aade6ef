"""The reading room under load: does it answer, keep its memory, and give each its own answer.

    python benchmarks/serve_load.py --part load   [--clients 64] [--seconds 180]
    python benchmarks/serve_load.py --part slow   [--slow 500]
    python benchmarks/serve_load.py --part kills  [--kills 50]
    python benchmarks/serve_load.py --part full-disk | lost-base | grader-kills
    python benchmarks/serve_load.py --part locked  [--lock-seconds 40]
    python benchmarks/serve_load.py --part drip | hostile  [--slow 500]

Everything happens on 127.0.0.1, against a server that this program starts with the default model
and ends again. Films are 16-bit TIFF files of 1 to 20 MB, each an example knee enlarged and with a
contrast of its own, so that no two are answered alike; every answer is compared with what
`Ensemble` says of the same file. Ends with 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kellgren import Ensemble

KNEES = sorted((Path(__file__).parents[1] / "examples").glob("*.png"))
OPEN = ("waiting", "working")
HEALTH_S, POLL_S, REFUSAL_S = 1.0, 0.5, 0.1


@dataclass
class Film:
    """One file, and the answer expected for it."""

    path: Path
    probabilities: list[float]


def make_films(folder: Path, megabytes: list[float]) -> list[Film]:
    """A film of each size, and the readings of `Ensemble`."""
    ensemble = Ensemble.default(threads=1)
    films = []
    for number, size in enumerate(megabytes):
        knee = KNEES[number % len(KNEES)]
        side = round((size * 2**20 / 2) ** 0.5)
        with Image.open(knee) as picture:
            grey = np.asarray(picture.convert("F").resize((side, side), Image.Resampling.BICUBIC))
        contrast = 0.85 + 0.3 * number / len(megabytes)
        deep = np.clip(grey / 255, 0, 1) ** contrast * 65535
        path = folder / f"{1000 + number}{knee.stem[-1]}.tiff"
        Image.fromarray(deep.astype(np.uint16)).save(path)
        [reading] = ensemble.read(path)
        films.append(Film(path, [round(p, 6) for p in reading.probabilities]))
    return films


class Server:
    """One `kellgren serve` on a port of its own."""

    def __init__(self, store: Path, workers: int, queue: int, prefix: Sequence[str] = ()) -> None:
        words = ["serve", "--port", "0", "--store", str(store), "--workers", str(workers)]
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "kellgren", *words, "--queue", str(queue)],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        match = None
        while match is None:
            line = self.process.stderr.readline()
            if not line:
                raise SystemExit("the server did not start")
            match = re.search(r"http://[\w.]+:(\d+)", line)
        self.port = int(match[1])
        self.lines: list[str] = []
        threading.Thread(target=self.lines.extend, args=[self.process.stderr], daemon=True).start()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        kind: str = "",
        patience: float = 60,
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers and JSON of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience)
        try:
            connection.request(method, path, body, {"Content-Type": kind} if kind else {})
            answer = connection.getresponse()
            text = answer.read()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, headers, json.loads(text) if text else None
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """What a path answers; ``None`` for 404."""
        status, _, content = self.ask("GET", path)
        return content if status == 200 else None

    def health(self) -> Any:
        """What /health answers, ready or not."""
        return self.ask("GET", "/health")[2]

    def post(self, film: Path, wait: float = 0) -> tuple[int, dict[str, str], Any]:
        """Upload a film."""
        head = (
            f'--y\r\nContent-Disposition: form-data; name="files"; filename="{film.name}"\r\n\r\n'
        )
        body = head.encode() + film.read_bytes() + b"\r\n--y--\r\n"
        kind = "multipart/form-data; boundary=y"
        return self.ask("POST", f"/api/v1/cases?wait={wait}", body, kind, patience=300)

    def await_graders(self, count: int) -> None:
        """Until graders are ready."""
        while self.health()["graders"] < count:
            time.sleep(0.2)

    def graders(self) -> list[int]:
        """Process identifiers of the graders."""
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for path in children for pid in path.read_text().split()]

    def memory_mb(self) -> tuple[float, float]:
        """Resident memory of the HTTP process, and of all graders together."""
        sizes = []
        for pid in (self.process.pid, *self.graders()):
            try:
                match = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
            except OSError:
                continue
            sizes.append(int(match[1]) / 1024 if match else 0.0)
        return sizes[0], sum(sizes[1:])

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        self.process.send_signal(how)
        self.process.wait()


@contextmanager
def serving(store: Path, workers: int, queue: int) -> Iterator[Server]:
    """A server until the block ends."""
    server = Server(store, workers, queue)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


@dataclass
class Tally:
    """What clients saw."""

    counts: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str, seconds: float | None = None) -> None:
        """One more of something."""
        with self.lock:
            self.counts[what] += 1
            if seconds is not None:
                self.seconds.append(seconds)

    def broke(self, what: str) -> None:
        """A promise was broken."""
        with self.lock:
            self.broken[what] += 1

    def compare(self, film: Film, case: dict[str, Any], seconds: float) -> None:
        """Count an answer as right or wrong."""
        probabilities = [knee["reading"]["probabilities"] for knee in case["knees"]]
        if probabilities == [film.probabilities]:
            self.count("answers that belong to their film", seconds)
        else:
            self.broke(f"another answer than the film's ({case['state']})")


def client(server: Server, films: list[Film], end: float, seed: int, tally: Tally) -> None:
    """Upload films and follow each to its answer, until the time is over."""
    rng = random.Random(seed)
    while time.monotonic() < end:
        film, began = rng.choice(films), time.monotonic()
        try:
            status, headers, answer = server.post(film.path, wait=60)
            if status == 503:
                wait = headers.get("retry-after")
                tally.count("503")
                if not wait:
                    tally.broke("503 without Retry-After")
                with tally.lock:
                    tally.refusals.append(time.monotonic() - began)
                time.sleep(rng.uniform(0.5, 1) * float(wait or 1))
                continue
            if status not in (200, 202):
                tally.broke(f"answered {status}")
                continue
            [case] = answer["cases"]
            while case["state"] in OPEN:
                time.sleep(POLL_S)
                case = server.get(case["url"])
        except OSError as error:
            tally.broke(f"connection lost: {type(error).__name__}")
            continue
        tally.compare(film, case, time.monotonic() - began)


def watch(server: Server, until: float, lines: int) -> list[float]:
    """Ask /health five times a second, print the curve of memory; the seconds of each answer."""
    began, asked, next_line = time.monotonic(), [], 0.0
    print(f"{'s':>5} {'HTTP MB':>9} {'graders MB':>11} {'waiting':>8} {'slowest /health':>16}")
    while (now := time.monotonic()) < until:
        waiting = server.health()["waiting"]
        asked.append(time.monotonic() - now)
        if now - began >= next_line:
            web, graders = server.memory_mb()
            print(
                f"{next_line:5.0f} {web:9.0f} {graders:11.0f} {waiting:8} {max(asked):14.3f} s",
                flush=True,
            )
            next_line += (until - began) / lines
        time.sleep(0.2)
    return asked


def report(tally: Tally, health: list[float]) -> bool:
    """Print what was seen; whether every promise was kept."""
    print(
        f"/health: asked {len(health)} times, median {statistics.median(health):.3f} s, "
        f"slowest {max(health):.3f} s"
    )
    if tally.seconds:
        print(
            f"film sent to answer: median {statistics.median(tally.seconds):.1f} s, "
            f"slowest {max(tally.seconds):.1f} s"
        )
    if tally.refusals:
        refused = statistics.median(tally.refusals)
        print(f"503: median {refused:.3f} s after the upload began")
        if refused > REFUSAL_S:
            tally.broke(f"half of the refusals took over {REFUSAL_S:g} s")
    for what, count in sorted(tally.counts.items()):
        print(f"{what}: {count}")
    for what, count in sorted(tally.broken.items()):
        print(f"BROKEN: {what}: {count}")
    kept = max(health) < HEALTH_S and not tally.broken
    print("kept" if kept else "NOT KEPT")
    return kept


def load(clients: int, seconds: float, workers: int, queue: int) -> bool:
    """Many clients at a time, each with films of its own."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        films = make_films(folder, [1 + 19 * n / 23 for n in range(24)])
        with serving(folder / "store", workers, queue) as server:
            server.await_graders(workers)
            end = time.monotonic() + seconds
            threads = [
                threading.Thread(target=client, args=(server, films, end, n, tally), daemon=True)
                for n in range(clients)
            ]
            for thread in threads:
                thread.start()
            health = watch(server, end, lines=12)
            for thread in threads:
                thread.join(timeout=300)
            web, graders = server.memory_mb()
            print(f"after  {web:8.0f} {graders:11.0f}")
            counts = server.get("/api/v1/cases?limit=1")["counts"]
    print(f"{clients} clients, {seconds:.0f} s, {workers} graders, queue of {queue}")
    print(f"cases by state: {counts}")
    return report(tally, health)


def slow_connection(port: int, kind: int) -> socket.socket:
    """A client that owes the end of its header, of a body, or of its second header."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    head = f"POST /api/v1/cases HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n".encode()
    body = b"Content-Type: multipart/form-data; boundary=y\r\nContent-Length: 900000\r\n\r\n--y"
    first = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    connection.sendall((head, head + body, first + head)[kind])
    return connection


def drip(connections: list[socket.socket], end: threading.Event) -> None:
    """A byte now and then on each, as long as the server bears it."""
    while not end.wait(1.0):
        for connection in connections:
            try:
                connection.send(b"x")
            except OSError:
                continue


def cut_off(connections: list[socket.socket]) -> int:
    """How many the server has closed."""
    closed = 0
    for connection in connections:
        connection.settimeout(0.01)
        try:
            while connection.recv(65536):
                pass
            closed += 1
        except TimeoutError:
            continue
        except OSError:
            closed += 1
    return closed


def slow(count: int, workers: int, queue: int) -> bool:
    """Four clients by themselves, then beside connections that never finish."""
    kept = True
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        films = make_films(folder, [1, 2, 4, 8])
        with serving(folder / "store", workers, queue) as server:
            server.await_graders(workers)
            for held in (0, count):
                tally, done = Tally(), threading.Event()
                opened = [slow_connection(server.port, n % 3) for n in range(held)]
                dripping = threading.Thread(target=drip, args=(opened, done), daemon=True)
                dripping.start()
                end = time.monotonic() + 40
                threads = [
                    threading.Thread(
                        target=client, args=(server, films, end, n, tally), daemon=True
                    )
                    for n in range(4)
                ]
                for thread in threads:
                    thread.start()
                health = watch(server, end, lines=4)
                for thread in threads:
                    thread.join(timeout=120)
                print(f"4 clients beside {held} slow connections", end="")
                print(f", of which {cut_off(opened)} were cut off within {40} s" if held else "")
                done.set()
                for connection in opened:
                    connection.close()
                kept = report(tally, health) and kept
    return kept


@dataclass
class Ledger:
    """What the server has accepted and answered so far."""

    accepted: dict[str, Film] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)
    changed_answers: int = 0

    def note(self, server: Server) -> None:
        """Write down the answers that are there; an answer must never change again."""
        for place in itertools.count(step=1000):
            cases = server.get(f"/api/v1/cases?limit=1000&offset={place}")["cases"]
            for case in cases:
                if case["state"] not in OPEN:
                    known = self.answered.setdefault(case["id"], case["revision"])
                    self.changed_answers += known != case["revision"]
            if len(cases) < 1000:
                return


def live(server: Server, films: list[Film], rng: random.Random, ledger: Ledger) -> None:
    """Upload until the server is killed; what was acknowledged goes into the ledger."""
    while True:
        film = rng.choice(films)
        try:
            status, _, answer = server.post(film.path)
        except (OSError, http.client.HTTPException):
            return
        if status == 202:
            ledger.accepted[answer["cases"][0]["url"]] = film
        time.sleep(rng.uniform(0.0, 1.2))


def kills(count: int, workers: int) -> bool:
    """End it with SIGKILL at random moments, while films come in and are read."""
    rng, ledger = random.Random(0), Ledger()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        films = make_films(folder, [0.5, 1, 1.5, 2])
        for number in range(count):
            server = Server(folder / "store", workers, 10_000)
            ledger.note(server)
            sender = threading.Thread(target=live, args=(server, films, rng, ledger))
            sender.start()
            time.sleep(rng.uniform(0.05, 7))
            graders = server.graders()
            server.stop(signal.SIGKILL)
            sender.join()
            while any(Path(f"/proc/{pid}").exists() for pid in graders):
                time.sleep(0.05)
            if number % 10 == 9:
                print(
                    f"{number + 1} kills, {len(ledger.accepted)} accepted, "
                    f"{len(ledger.answered)} seen answered",
                    flush=True,
                )
        with serving(folder / "store", workers, 10_000) as server:
            while server.health()["waiting"]:
                time.sleep(POLL_S)
            ledger.note(server)
            answers = {url: server.get(url) for url in ledger.accepted}
            total = server.get("/api/v1/cases?limit=1")["total"]
    lost = sum(case is None for case in answers.values())
    doubled = sum(len(case["knees"]) != 1 for case in answers.values() if case)
    other = sum(
        case["knees"][0]["reading"]["probabilities"] != ledger.accepted[url].probabilities
        for url, case in answers.items()
        if case and case["knees"]
    )
    print(
        f"{count} kills: {len(answers)} cases were accepted, {lost} lost, {doubled} answered twice"
    )
    print(f"or not, {other} with another film's answer, {ledger.changed_answers} answers changed;")
    print(f"{total - len(answers) + lost} more were kept whose acknowledgement the kill cut off")
    kept = not (lost or doubled or other or ledger.changed_answers)
    print("kept" if kept else "NOT KEPT")
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    faults = ("full-disk", "locked", "lost-base", "drip", "hostile", "grader-kills")
    parser.add_argument("--part", choices=("load", "slow", "kills", *faults), required=True)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--slow", type=int, default=500, help="connections that never finish")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--queue", type=int, default=32)
    parser.add_argument("--lock-seconds", type=float, default=10, help="of the part `locked`")
    options = parser.parse_args()
    if options.part in faults:
        import serve_faults

        given = (options.part, options.workers, options.slow, options.lock_seconds)
        sys.exit(0 if serve_faults.run(*given) else 1)
    parts = {
        "load": lambda: load(options.clients, options.seconds, options.workers, options.queue),
        "slow": lambda: slow(options.slow, options.workers, options.queue),
        "kills": lambda: kills(options.kills, options.workers),
    }
    sys.exit(0 if parts[options.part]() else 1)


if __name__ == "__main__":
    main()
