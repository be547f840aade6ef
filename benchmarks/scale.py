"""Many files at once: memory over the run, what a second worker brings, and kills in the middle.

    python benchmarks/scale.py --data kneeKL299 --files 100000 --stage 0.005 --out scale.json

makes a folder of that many files, grades it by `kellgren grade` with one worker and with two, and
prints a line for each thousand files: seconds, processor seconds, and the resident memory of all
its processes. `--data` is a folder of knees; the files are links to them.

`--stage SHARE` keeps that share of real knees and makes the others pictures of 8 x 8 pixels, which
the decoder refuses: listing, workers, journal and tables have the same work to do, the networks
have not. Without it every file is a knee and is graded.

`--kills 10` also starts the same batch anew, kills it with SIGKILL at that many random moments,
lets it resume each time, and compares the table with that of the batch that nobody killed.

Ratios of processor seconds hold on a busy machine, ratios of seconds on a quiet one only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kellgren.imaging.search import search

EVERY = 1000
FOLDERS_OF = 5000  # files; as archives keep them, and no folder of a hundred thousand
SMALLEST = 64  # MiB: less has no process that grades; what counts semaphores is smaller
PAGE, TICK = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


def make_files(knees: list[Path], count: int, share: float, folder: Path) -> None:
    """Links to knees, in turn, spread evenly among pictures that are too small to be any."""
    tiny = folder / "tiny.png"
    noise = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(noise).save(tiny)
    real = cycle(knees)
    for number in range(count):
        below = folder / "study" / f"{number // FOLDERS_OF:04}"
        if number % FOLDERS_OF == 0:
            below.mkdir(parents=True)
        is_real = int((number + 1) * share) > int(number * share)
        source = next(real) if is_real else tiny
        (below / f"{number:07}{source.suffix}").symlink_to(source.resolve())


def command(folder: Path, table: Path, workers: int, options: argparse.Namespace) -> list[str]:
    words = [sys.executable, "-m", "kellgren", "grade", str(folder / "study"), "--resume"]
    words += ["--csv", str(table), "--workers", str(workers)]
    return [*words, *(["--model", str(options.model)] if options.model else [])]


def processes_of(parent: int) -> list[int]:
    """A process and all that it started, at any depth."""
    found = [parent]
    for process in found:
        for task in _read(f"/proc/{process}/task", os.listdir) or ():
            children = _read(f"/proc/{process}/task/{task}/children", _text) or ""
            found += [int(child) for child in children.split()]
    return found


def _read(path: str, how: Any) -> Any:
    try:
        return how(path)
    except OSError:
        return None


def _text(path: str) -> str:
    return Path(path).read_text()


def measured(parent: int) -> dict[str, float]:
    """Processes, their resident memory in MiB, that of the first one, processor seconds so far."""
    resident, seconds = [], 0.0
    for process in processes_of(parent):
        pages = (_read(f"/proc/{process}/statm", _text) or "0 0").split()[1]
        resident.append(int(pages) * PAGE / 2**20)
        stat = (_read(f"/proc/{process}/stat", _text) or ") " + "0 " * 20).rpartition(") ")[2]
        # the first one's, and of its children those that ended; of the others their own
        fields = (11, 12, 13, 14) if process == parent else (11, 12)
        seconds += sum(int(stat.split()[field]) for field in fields) / TICK
    grading = [one for one in resident if one > SMALLEST]
    return {
        "processes": len(grading),
        "resident": sum(grading),
        "of_the_first": resident[0],
        "processor_s": seconds,
    }


def lines_of(path: Path) -> Iterator[int]:
    """Lines of a file that grows, each time it is asked; only what is new is read."""
    count, at = 0, 0
    while True:
        if path.exists():
            with path.open("rb") as stream:
                stream.seek(at)
                while chunk := stream.read(2**20):
                    count += chunk.count(b"\n")
                    at += len(chunk)
        yield count


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Programs started in this block share so many cores, a core a worker, on Linux.

    Else one worker alone would use all cores in its networks, and a second could bring little.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(all_of_them)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_of_them)


def watched(words: list[str], journal: Path) -> list[dict[str, float]]:
    """Run a batch to its end; a measurement for each thousand rows, and the last before its end."""
    began = time.monotonic()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    curve: list[dict[str, float]] = []
    last: dict[str, float] = {}
    for rows in lines_of(journal):
        now = {"rows": rows, "seconds": time.monotonic() - began, **measured(process.pid)}
        if process.poll() is not None or (rows and not now["processes"]):
            break
        last = now if rows else last | {"seconds": now["seconds"]}
        if rows // EVERY > (curve[-1]["rows"] if curve else 0) // EVERY:
            curve.append(now)
            print(" ".join(f"{name} {value:.1f}" for name, value in now.items()), flush=True)
        time.sleep(0.25)
    process.wait()
    if process.returncode not in (0, 1, 4):
        raise SystemExit(f"the batch ended with exit code {process.returncode}")
    curve.append(last)  # while tables were written, or just before
    return curve


def killed(words: list[str], seconds: float, journal: Path) -> int:
    """Start a batch and kill it after a time, with the processes it leaves; its rows so far."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return next(lines_of(journal))


def kill_and_resume(
    folder: Path, whole: Path, rate: float, options: argparse.Namespace
) -> dict[str, Any]:
    """Kill a batch at random moments; whether its table is that of the one that was left alone.

    Args:
        folder: with the files.
        whole: the table of the batch that nobody killed.
        rate: rows a second of that batch.
        options: of the command line.
    """
    table = folder / "killed.csv"
    journal = table.with_name(f".{table.name}.journal")
    words = command(folder, table, max(options.workers), options)
    moments = random.Random(options.seed)
    expected = options.files / rate
    kept = []
    while len(kept) < options.kills:
        seconds = options.start_s + moments.uniform(0, 2 * expected / (options.kills + 1))
        kept.append(killed(words, seconds, journal))
        print(f"killed after {seconds:.1f} s: {kept[-1]} rows are kept", flush=True)
        if table.exists():
            break  # it ended before the kill
    subprocess.run(words, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    names = [line.split(",", 1)[0] for line in table.read_text().splitlines()[1:]]
    return {
        "rows kept at each kill": kept,
        "files": len(set(names)),
        "rows": len(names),
        "equal to the table of a batch that was left alone": (
            table.read_bytes() == whole.read_bytes()
        ),
    }


def growth(curve: list[dict[str, float]], after: int) -> dict[str, float]:
    """Memory at the end of grading against that after so many rows; of the first process, which
    writes the tables, also at the very end.
    """
    early = next((one for one in curve if one["rows"] >= after), curve[-1])
    late = [one for one in curve if one["processes"] == early["processes"]][-1]
    return {
        "rows": early["rows"],
        "resident_then": early["resident"],
        "resident_at_the_end": late["resident"],
        "ratio": late["resident"] / early["resident"],
        "ratio_of_the_first": curve[-1]["of_the_first"] / early["of_the_first"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of knees")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--stage", type=float, default=1.0, help="share of real knees")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--start-s", type=float, default=3.0, help="until a batch is under way")
    parser.add_argument("--after", type=int, default=5000, help="rows that memory is compared to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", type=Path, help="another bundle")
    parser.add_argument("--out", type=Path, help="JSON with all measurements")
    options = parser.parse_args()
    knees = list(search(options.data).images)
    found: dict[str, Any] = {"files": options.files, "share_of_real_knees": options.stage}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(knees, options.files, options.stage, folder)
        for workers in options.workers:
            print(f"\n{options.files} files, {workers} workers", flush=True)
            table = folder / f"{workers}.csv"
            with on_cores(workers):
                curve = watched(
                    command(folder, table, workers, options), folder / f".{table.name}.journal"
                )
            found[f"{workers} workers"] = {**growth(curve, options.after), "curve": curve}
            _report(found[f"{workers} workers"], options.files)
            if options.out is not None:
                options.out.write_text(json.dumps(found, indent=1) + "\n")
        if options.kills:
            rate = options.files / found[f"{max(options.workers)} workers"]["curve"][-1]["seconds"]
            whole = folder / f"{max(options.workers)}.csv"
            found["kills"] = kill_and_resume(folder, whole, rate, options)
            print(json.dumps(found["kills"], indent=1))
        seconds = [found[f"{n} workers"]["curve"][-1]["seconds"] for n in options.workers]
        for workers, of_them in zip(options.workers[1:], seconds[1:], strict=True):
            first = options.workers[0]
            print(f"{workers} workers are {seconds[0] / of_them:.2f} times as fast as {first}")
        equal = {(folder / f"{workers}.csv").read_bytes() for workers in options.workers}
        print(f"tables of all numbers of workers are equal: {len(equal) == 1}")
        shutil.rmtree(folder / "study")
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


def _report(one: dict[str, Any], files: int) -> None:
    last = one["curve"][-1]
    print(
        f"{last['seconds']:.1f} s, {1000 * last['seconds'] / files:.2f} ms a file, "
        f"{1000 * last['processor_s'] / files:.2f} ms of processor; resident memory "
        f"{one['resident_then']:.0f} MiB after {one['rows']:.0f} rows, "
        f"{one['resident_at_the_end']:.0f} at the end: ratio {one['ratio']:.3f} (of the first "
        f"process, tables written: {one['ratio_of_the_first']:.3f})"
    )


if __name__ == "__main__":
    main()
