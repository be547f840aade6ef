"""How long grading takes: cold from the command line, and warm by engine and precision.

    python benchmarks/grading.py [--knees examples] [--runs 5]

Every row carries its ratio to the first row of its kind, measured in the same run, and for another
engine the largest change of a probability. Cold rows have seconds by the clock and of processor.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kellgren import Ensemble

ENGINES = (("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"))


def median_seconds(work: Callable[[], object], runs: int) -> float:
    """Median of several runs, after one that is not counted."""
    work()
    spent = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)


def apart(command: list[str], runs: int) -> tuple[float, float]:
    """Median seconds of a command by the clock, and of all processors together."""
    spent = []

    def once() -> None:
        before = os.times()
        subprocess.run(command, check=True, capture_output=True)
        now = os.times()
        spent.append(sum(now[2:4]) - sum(before[2:4]))

    clock = median_seconds(once, runs)
    return clock, statistics.median(spent[1:])


def cold(knee: Path, runs: int) -> None:
    command = [sys.executable, "-m", "kellgren", "grade", str(knee)]
    commands = {"one knee graded": command, "the same with --fast": [*command, "--fast"]}
    empty = [sys.executable, "-c", "import numpy, onnxruntime"]
    first = None
    for name, words in {"import numpy and onnxruntime": empty, **commands}.items():
        clock, processor = apart(words, runs)
        first = first or processor
        row = f"cold: {name}"
        print(f"{row:<36}{clock:6.2f} s {processor:6.2f} s of processor   {processor / first:.2f}")


def warm(knees: list[Path], runs: int) -> None:
    reference, first = None, None
    for engine, precision in ENGINES:
        try:
            ensemble = Ensemble.default(engine=engine, precision=precision, threads=1)
        except Exception as error:
            print(f"warm: {engine} {precision}: {error}")
            continue
        seconds = median_seconds(lambda e=ensemble: [e.read(k) for k in knees], runs) / len(knees)
        probabilities = np.array([ensemble.read(knee)[0].probabilities for knee in knees])
        first = seconds if first is None else first
        reference = probabilities if reference is None else reference
        change = float(np.abs(probabilities - reference).max())
        row = f"warm: {engine} {precision}, one thread"
        print(f"{row:<37} {seconds:6.3f} s   {seconds / first:.2f}   |dp| {change:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--knees", type=Path, default=Path("examples"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cold-only", action="store_true")
    options = parser.parse_args()
    knees = sorted(options.knees.glob("*.png"))
    cold(knees[0], options.runs)
    if not options.cold_only:
        warm(knees, options.runs)


if __name__ == "__main__":
    main()
