"""Knees decoded to the planes that networks see; as a program, one of several that share the work.

Decoding holds Python's lock, so threads do not make it faster; processes do. They are programs of
their own rather than forks: a fork of a process that computes with torch may hang, and a spawned
copy would run an unguarded script of the user a second time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kellgren.data.manifest import Knee
from kellgren.errors import KellgrenError, TrainingError, UnreadableRadiograph
from kellgren.grades import Side
from kellgren.grading.preprocess import Preprocess
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.crop import whole_knee

Planes = npt.NDArray[np.uint8]
Rest = npt.NDArray[np.int8]
Sums = tuple[int, int]
_NAMED = 10
_PROGRAM = "kellgren.training.input.decoding"
STEPS = 257
"""Of the second byte within one step of the first: both together count 65 535 steps from 0 to 1."""


def decoded(image: Path, side: Side, preprocess: Preprocess) -> tuple[Planes, Rest]:
    """Read, orient and resize a knee as grading does.

    Args:
        image: file of one knee.
        side: of the patient.
        preprocess: of the member; its ``size`` S decides the shape.

    Returns:
        The plane rounded to steps of 1/255, ``(S, S)`` uint8, and what the rounding left out,
        ``(S, S)`` int8: ``(257 * plane + rest) / 65535`` is within 2.3e-5 of what grading sees.

    Raises:
        UnreadableRadiograph: the image does not decode.
    """
    steps = preprocess.plane(whole_knee(read_radiograph(image), side)) * np.float32(255)
    coarse = np.rint(steps)
    rest = np.clip(np.rint((steps - coarse) * np.float32(STEPS)), -128, 127)
    return coarse.astype(np.uint8), rest.astype(np.int8)


def decode_into(
    file: Path, starts: Sums, knees: Sequence[Knee], preprocess: Preprocess, processes: int
) -> Iterator[tuple[int, Sums]]:
    """Decode knees into two blocks of a file, by several processes; report each when done.

    Args:
        file: long enough for both blocks.
        starts: where the planes' block and the rest's block begin, in bytes.
        knees: in the order in which they come to lie there.
        preprocess: of the member.
        processes: how many.

    Yields:
        A knee's position and the `checksum` of its plane and of its rest.

    Raises:
        UnreadableRadiograph: images do not decode; raised when all others are.
        OSError: the file cannot be written, as when the disk is full.
        TrainingError: a process was killed.
    """
    task = {
        "file": str(file),
        "starts": starts,
        "preprocess": preprocess.model_dump(),
        "knees": [(str(knee.image), knee.side.value) for knee in knees],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.json"
        path.write_text(json.dumps(task), "utf-8")
        reading, writing = os.pipe()
        with open(reading, encoding="utf-8") as lines, _workers(path, processes, writing) as all_:
            os.close(writing)
            unreadable: dict[int, KellgrenError] = {}
            for line in lines:
                answer = json.loads(line)
                if "unreadable" in answer:
                    unreadable[answer["position"]] = UnreadableRadiograph(*answer["unreadable"])
                else:
                    yield _parsed(answer)
            codes = [worker.wait() for worker in all_]
    if any(codes):
        raise TrainingError(
            "decoding the knees",
            f"a process ended with code {next(code for code in codes if code)}",
            "Free some memory and try again",
        )
    refuse_unreadable([unreadable[position] for position in sorted(unreadable)], len(knees))


def refuse_unreadable(errors: Sequence[KellgrenError], of: int) -> None:
    """One error for all pictures that cannot be read, so that they are mended in one go.

    Args:
        errors: of single pictures, in the order of the knees; empty: nothing is wrong.
        of: how many knees there are.

    Raises:
        UnreadableRadiograph: there are some; the first ten are named.
    """
    if not errors:
        return
    if len(errors) == 1:
        raise errors[0]
    named = "; ".join(f"{error.subject} ({error.problem})" for error in errors[:_NAMED])
    rest = len(errors) - _NAMED
    more = f"; and {rest} more" if rest > 0 else ""
    raise UnreadableRadiograph(
        f"{len(errors)} of {of} pictures",
        f"cannot be read, namely {named}{more}",
        "Mend them or leave them out; `kellgren data check` names every one",
    )


@contextmanager
def _workers(task: Path, count: int, output: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes at work; none of them outlives the block."""
    workers: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(count):
            words = [sys.executable, "-m", _PROGRAM, str(task), str(number), str(count)]
            workers.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output))
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def _parsed(answer: dict[str, Any]) -> tuple[int, Sums]:
    if "unwritable" in answer:
        raise OSError(*answer["unwritable"])
    plane, rest = answer["sums"]
    return answer["position"], (plane, rest)


def checksum(row: npt.NDArray[Any]) -> int:
    """Sum of the bytes of a contiguous array, read as numbers of 8 bytes where they can be.

    It runs at the memory's speed, and no single changed byte leaves it as it was.
    """
    flat = row.reshape(-1).view(np.uint8)
    wide = flat.view(np.uint64) if flat.size % 8 == 0 else flat
    return int(np.add.reduce(wide, dtype=np.uint64))


def _serve(task: Path, number: int, count: int) -> None:
    """Decode every ``count``-th knee; one line of JSON each."""
    task_content = json.loads(task.read_text("utf-8"))
    preprocess = Preprocess.model_validate(task_content["preprocess"])
    with open(task_content["file"], "r+b", buffering=0) as stream:
        for position in range(number, len(task_content["knees"]), count):
            image, side = task_content["knees"][position]
            try:
                parts = decoded(Path(image), Side(side), preprocess)
            except KellgrenError as error:
                told = (error.subject, error.problem, error.remedy)
                _report({"position": position, "unreadable": told})
                continue
            for start, part in zip(task_content["starts"], parts, strict=True):
                stream.seek(start + position * part.size)
                if stream.write(part.data) != part.size:
                    raise OSError(28, "No space left on device", task_content["file"])
            _report({"position": position, "sums": [checksum(part) for part in parts]})


def _report(what: dict[str, Any]) -> None:
    """One short write, so that the lines of several processes do not mix."""
    os.write(sys.stdout.fileno(), json.dumps(what).encode() + b"\n")


def _main() -> None:
    try:
        _serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    except BrokenPipeError:  # whoever asked is gone
        os._exit(1)
    except OSError as error:
        _report({"unwritable": (error.errno, error.strerror)})


if __name__ == "__main__":
    _main()
