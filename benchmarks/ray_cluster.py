"""A batch on a Ray cluster of this machine's nodes: what is killed there, and how fast it is.

    python benchmarks/ray_cluster.py killed --films 2000 [--data examples] [--model BUNDLE]
    python benchmarks/ray_cluster.py speed --films 200 [--data examples]

``killed`` grades links to the pictures of a folder on this machine alone, then on three nodes of a
core each, where it kills a worker after a quarter of the films, a node after half, and the command
after three quarters; then it gives the command again with ``--resume``. It prints the rows, how
many films have none or two, and whether both tables are equal, byte by byte. ``speed`` prints
films a second on one, two and three nodes, each warm: the first 30 films are not counted. Nodes on
one machine share its cores: with fewer cores than nodes, the figures of more nodes say nothing.
"""

from __future__ import annotations

import argparse
import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from kellgren.libraries import ray_without_telemetry

NODES = 3
WARM = 30


@contextmanager
def cluster(nodes: int) -> Iterator[Any]:
    """A cluster of nodes of one core each."""
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray spells it so
    with ray_without_telemetry():
        from ray.cluster_utils import Cluster

        small = {"num_cpus": 1, "object_store_memory": 200 * 2**20}
        made = Cluster(
            initialize_head=True,
            head_node_args={**small, "include_dashboard": False, "include_log_monitor": False},
        )
        for _ in range(nodes - 1):
            made.add_node(**small)
    try:
        yield made
    finally:
        made.shutdown()


def linked(data: Path, folder: Path, films: int) -> None:
    """Links to the pictures of a folder, in turn, under names of their own."""
    pictures = sorted(path for path in data.rglob("*") if path.suffix in (".png", ".jpg"))
    folder.mkdir()
    for number, picture in enumerate(islice(cycle(pictures), films)):
        (folder / f"{number:07}{picture.suffix}").symlink_to(picture.resolve())


def command(folder: Path, table: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "kellgren", "grade", str(folder), "--csv", str(table), *more]


def processes() -> dict[int, tuple[int, str]]:
    """Parent and title of every process."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            found[int(entry.name)] = (parent, title)
    return found


def actor_of(raylet: int) -> int:
    """The process of the grader on a node."""
    listed = processes().items()
    return next(
        pid for pid, (up, title) in listed if up == raylet and title.startswith("ray::RemoteGrader")
    )


def killed_at(
    driver: subprocess.Popen[bytes], journal: Path, at: int, who: Callable[[], int]
) -> int:
    """Kill a process as soon as the journal has so many rows; the rows that it had."""
    while (rows := journal.read_bytes().count(b"\n") if journal.exists() else 0) < at:
        if driver.poll() is not None:
            raise SystemExit(f"the command ended after {rows} rows, with {driver.returncode}")
        time.sleep(0.05)
    os.kill(who(), signal.SIGKILL)
    return rows


def timed(words: list[str]) -> float:
    began = time.monotonic()
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr.decode())
    return time.monotonic() - began


def prove(folder: Path, work: Path, films: int) -> None:
    alone, table, journal = work / "alone.csv", work / "ray.csv", work / ".ray.csv.journal"
    print(f"one machine: {timed(command(folder, alone)):.0f} s", flush=True)
    with cluster(NODES) as made:
        words = command(folder, table, "--ray", made.address)
        head, lost = made.head_node, sorted(made.worker_nodes, key=lambda node: node.node_id)[0]
        raylets = [node.all_processes["raylet"][0].process.pid for node in (head, lost)]
        began = time.monotonic()
        driver = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for share, name, who in (
            (0.25, "worker", lambda: actor_of(raylets[0])),
            (0.5, "node", lambda: raylets[1]),
            (0.75, "command", lambda: driver.pid),
        ):
            rows = killed_at(driver, journal, int(share * films), who)
            print(f"killed a {name} after {rows} rows", flush=True)
        driver.wait()
        kept = journal.read_bytes().count(b"\n")
        made.remove_node(lost, allow_graceful=False)
        timed([*words, "--resume"])
        print(f"three nodes, killed and resumed: {time.monotonic() - began:.0f} s; kept: {kept}")
    with table.open(newline="") as stream:
        counts = Counter(row["image"] for row in csv.DictReader(stream))
    missing = films - len(counts)
    more = sum(count > 1 for count in counts.values())
    equal = table.read_bytes() == alone.read_bytes()
    print(f"rows {counts.total()}, films without a row {missing}, with several {more}")
    print(f"equal to the table of one machine: {equal}")
    if missing or more or not equal:
        raise SystemExit(1)


def measure(data: Path, work: Path, films: int) -> None:
    few, many = work / "few", work / "many"
    linked(data, few, WARM)
    linked(data, many, WARM + films)
    first = None
    for nodes in range(1, NODES + 1):
        with cluster(nodes) as made:
            spent = [
                timed(command(folder, work / f"{nodes}.csv", "--ray", made.address))
                for folder in (few, few, many)
            ]
        rate = films / (spent[2] - spent[1])
        first = first or rate
        print(
            f"{nodes} nodes of a core: {rate:6.2f} films/s, {rate / first:.2f} of one", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("killed", "speed"))
    parser.add_argument("--films", type=int, default=200)
    parser.add_argument("--data", type=Path, default=Path("examples"))
    parser.add_argument("--model", type=Path, help="folder of another bundle, sent to the nodes")
    given = parser.parse_args()
    if given.model is not None:
        os.environ["KELLGREN_MODEL"] = str(given.model.resolve())
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if given.what == "speed":
            measure(given.data, work, given.films)
            return
        linked(given.data, work / "films", given.films)
        prove(work / "films", work, given.films)


if __name__ == "__main__":
    main()
