"""What ends early on a cluster: actors, nodes and drivers, each killed as the system kills."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from kellgren.batch.journal import Journal
from kellgren.cli import main
from kellgren.cluster.remote_grader import RemoteGrader
from kellgren.reading_schema import ReadingRow

DEADLY = "deadly"


class MortalGrader(RemoteGrader):
    """Its process ends at a film with a deadly name."""

    def grade(self, order: str) -> str:
        if DEADLY in order:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().grade(order)


class OlderGrader(RemoteGrader):
    """Of another version than the driver."""

    def software(self) -> dict[str, str]:
        return super().software() | {"numpy": "1.0"}


def actor_of(raylet: int) -> int:
    """The process of the grader on a node, by the process that started it."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                title = (entry / "cmdline").read_bytes()
                if parent == raylet and title.startswith(b"ray::RemoteGrader"):
                    return int(entry.name)
    raise AssertionError("there is no actor on the node")


def killed_at(events: Sequence[tuple[int, Callable[[], int]]]) -> None:
    """Kill a process each time the journal has so many rows.

    Args:
        events: rows, and who is to be killed then.
    """
    add, left, written = Journal.add, list(events), [0]

    def counted(journal: Journal, rows: Sequence[ReadingRow]) -> Sequence[ReadingRow]:
        done = add(journal, rows)
        written[0] += len(done)
        if left and written[0] >= left[0][0]:
            os.kill(left.pop(0)[1](), signal.SIGKILL)
        return done

    Journal.add = counted  # type: ignore[method-assign]


if __name__ == "__main__":
    standing, lost, *arguments = sys.argv[1:]
    killed_at([(4, lambda: actor_of(int(standing))), (8, lambda: int(lost)), (14, os.getpid)])
    sys.argv = ["kellgren", *arguments]
    main()
