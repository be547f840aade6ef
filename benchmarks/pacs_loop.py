"""A whole loop with a real Orthanc: it routes films, the station dies by kill -9, nothing is lost.

    apt-get install -y orthanc
    python benchmarks/pacs_loop.py [--films 200] [--kill-after 60] [--workers 2] [--model BUNDLE]

Films are uploaded to Orthanc, which routes them to `kellgren listen`; the station is killed while
it works and started again; Orthanc's failed transfers are resubmitted, as a person would. Then
Orthanc is asked what it holds for every study. Exit code 0: one answer each, none twice.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from kellgren.listen.spool import counts  # noqa: E402
from pacs import Listening, Orthanc, free_port, orthanc, write_films  # noqa: E402

ANSWER = Counter(["SR", "OT", "SEG", "PR"])


def films(folder: Path, number: int) -> list[Path]:
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


def resubmit_failures(server: Orthanc) -> int:
    failed = [job["ID"] for job in server.ask("/jobs?expand") if job["State"] == "Failure"]
    for job in failed:
        server.ask(f"/jobs/{job}/resubmit", b"{}")
    return len(failed)


def loop(folder: Path, number: int, kill_after: int, more: list[str]) -> bool:
    port, spool = free_port(), folder / "spool"
    made = films(folder / "films", number)
    with orthanc(folder / "orthanc", port) as server:
        answer_to = f"127.0.0.1:{server.dicom_port}/ORTHANC"
        began = time.monotonic()
        with Listening(spool, answer_to, port, *more) as first:
            uploads = threading.Thread(target=lambda: [server.upload(film) for film in made])
            uploads.start()
            while counts(spool)["answered"] < kill_after:
                time.sleep(0.01)
            first.kill()
        print(f"killed with {counts(spool)}", flush=True)
        resubmitted = 0
        with Listening(spool, answer_to, port, *more) as second:
            uploads.join()
            while counts(spool)["answered"] < number:
                resubmitted += resubmit_failures(server)
                time.sleep(1)
            second.stop()
        seconds = time.monotonic() - began
        held = server.identifiers()
    print(f"at the end {counts(spool)}; transfers resubmitted to the station: {resubmitted}")
    kinds = [Counter(kind for kind, _ in objects) for objects in held.values()]
    answered = sum(kind - Counter(["DX"]) == ANSWER for kind in kinds)
    twice = sum(any(count > 1 for count in kind.values()) for kind in kinds)
    print(f"films {number}, studies with exactly one answer {answered}, twice {twice}")
    print(f"{seconds:.0f} s, {seconds / number:.2f} s a film, the second start included")
    return answered == number and twice == 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--films", type=int, default=200)
    parser.add_argument("--kill-after", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", help="folder of a bundle; the default one otherwise")
    chosen = parser.parse_args()
    more = ["--workers", str(chosen.workers), *(["--model", chosen.model] if chosen.model else [])]
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit(not loop(Path(scratch), chosen.films, chosen.kill_after, more))
