"""The reading room under load: does it answer, keep its memory, and give each its own answer.

    python benchmarks/serve_load.py [--clients 64] [--seconds 180] [--slow 500] [--kills 0]

Everything happens on 127.0.0.1, against a server that this program starts with the default model
and ends after the given time. Every upload is one of the example knees, made 1 to 20 MB long by
bytes after its end; its probabilities are compared with those that `Ensemble` gives for the knee.
With --kills it kills the server with SIGKILL at random moments instead, and counts lost and
doubled cases.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
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
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

from kellgren import Ensemble

KNEES = sorted((Path(__file__).parents[1] / "examples").glob("*.png"))
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Server:
    """One `kellgren serve` on a port of its own."""

    def __init__(self, store: Path, workers: int, queue: int) -> None:
        words = ["serve", "--port", "0", "--store", str(store), "--workers", str(workers)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kellgren", *words, "--queue", str(queue)],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        while True:
            found = re.search(r"http://[\w.]+:(\d+)", self.process.stderr.readline())
            if found:
                break
        self.port = int(found[1])
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def get(self, path: str) -> dict:
        """What a path answers."""
        with NO_PROXY.open(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return json.load(answer)

    def post(self, knee: Path, size: int, wait: int) -> dict:
        """Upload a knee, made ``size`` bytes long; its case."""
        content = knee.read_bytes()
        content += bytes(max(0, size - len(content)))
        head = (
            f'--y\r\nContent-Disposition: form-data; name="files"; filename="{knee.name}"\r\n\r\n'
        )
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v1/cases?wait={wait}",
            data=head.encode() + content + b"\r\n--y--\r\n",
            headers={"Content-Type": "multipart/form-data; boundary=y"},
        )
        with NO_PROXY.open(request, timeout=180) as answer:
            return json.load(answer)["cases"][0]

    def memory_mb(self) -> tuple[float, float]:
        """Resident memory of the HTTP process, and of it with all graders."""
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        graders = [int(pid) for path in children for pid in path.read_text().split()]
        sizes = []
        for pid in (self.process.pid, *graders):
            found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
            sizes.append(int(found[1]) / 1024 if found else 0.0)
        return sizes[0], sum(sizes)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        self.process.send_signal(how)
        self.process.wait()


def expected() -> dict[str, list[float]]:
    ensemble = Ensemble.default(threads=1)
    return {
        knee.name: [round(p, 6) for p in ensemble.read(knee)[0].probabilities] for knee in KNEES
    }


def load(clients: int, seconds: float, slow: int, workers: int, queue: int) -> None:
    truth, counts, lock = expected(), Counter(), threading.Lock()
    health: list[float] = []
    refusals: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "store", workers, queue)
        end = time.monotonic() + seconds

        def client(seed: int) -> None:
            rng = random.Random(seed)
            while time.monotonic() < end:
                knee = rng.choice(KNEES)
                began = time.monotonic()
                try:
                    case = server.post(knee, rng.randrange(1, 20) * 2**20, wait=60)
                except urllib.error.HTTPError as error:
                    with lock:
                        counts[f"answered {error.code}"] += 1
                        counts["503 without Retry-After"] += (
                            error.code == 503 and not error.headers.get("Retry-After")
                        )
                        refusals.append(time.monotonic() - began)
                    time.sleep(rng.uniform(0.5, 2))
                    continue
                except OSError as error:
                    with lock:
                        counts[f"connection: {type(error).__name__}"] += 1
                    continue
                with lock:
                    counts[case["state"]] += 1
                    if case["state"] == "graded":
                        found = case["knees"][0]["reading"]["probabilities"]
                        counts["wrong answers"] += found != truth[knee.name]

        threads = [threading.Thread(target=client, args=(n,), daemon=True) for n in range(clients)]
        for thread in threads:
            thread.start()
        idle = [slow_connection(server.port) for _ in range(slow)]
        began = time.monotonic()
        next_line = 0.0
        while time.monotonic() < end:
            asked = time.monotonic()
            waiting = server.get("/health")["waiting"]
            health.append(time.monotonic() - asked)
            if time.monotonic() - began >= next_line:
                alone, together = server.memory_mb()
                print(
                    f"{next_line:5.0f} s   HTTP {alone:5.0f} MB   with graders {together:5.0f} MB"
                    f"   waiting {waiting}",
                    flush=True,
                )
                next_line += seconds / 12
            time.sleep(0.2)
        for thread in threads:
            thread.join(timeout=200)
        for connection in idle:
            connection.close()
        server.stop()
    counts.setdefault("wrong answers", 0)
    counts.setdefault("503 without Retry-After", 0)
    print(f"/health: {len(health)} asked, median {statistics.median(health):.3f} s, ", end="")
    print(f"slowest {max(health):.3f} s")
    if refusals:
        print(f"refusals: median {statistics.median(refusals):.3f} s, upload included")
    for what, count in sorted(counts.items()):
        print(f"{what}: {count}")


def slow_connection(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(b"POST /api/v1/cases HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    return connection


def kills(count: int, workers: int) -> None:
    rng, accepted, restarts = random.Random(0), {}, 0
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(count):
            server = Server(Path(folder) / "store", workers, 10_000)
            moment = time.monotonic() + rng.uniform(0.05, 4)
            for knee in itertools.cycle(KNEES):
                if time.monotonic() > moment:
                    break
                case = server.post(knee, 0, wait=0)
                accepted[case["id"]] = knee.stem[-1]
            graders = list(Path(f"/proc/{server.process.pid}/task").glob("*/children"))
            pids = [int(pid) for path in graders for pid in path.read_text().split()]
            server.stop(signal.SIGKILL)
            restarts += 1
            while any(os.path.exists(f"/proc/{pid}") for pid in pids):
                time.sleep(0.05)
        server = Server(Path(folder) / "store", workers, 10_000)
        while server.get("/health")["waiting"]:
            time.sleep(0.5)
        lost = doubled = other = 0
        for case, side in accepted.items():
            try:
                found = server.get(f"/api/v1/cases/{case}")
            except urllib.error.HTTPError:
                lost += 1
                continue
            doubled += len(found["knees"]) > 1
            other += [knee["reading"]["side"] for knee in found["knees"]] != [side]
        server.stop()
    print(
        f"{restarts} kills, {len(accepted)} accepted cases: {lost} lost, {doubled} answered ",
        end="",
    )
    print(f"twice, {other} with another answer than their film's")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--slow", type=int, default=500, help="connections that never finish")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--queue", type=int, default=32)
    parser.add_argument("--kills", type=int, default=0)
    options = parser.parse_args()
    if options.kills:
        kills(options.kills, options.workers)
    else:
        seconds = min(options.seconds, 900)
        load(options.clients, seconds, options.slow, options.workers, options.queue)


if __name__ == "__main__":
    main()
