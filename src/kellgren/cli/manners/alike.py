"""Lines that say the same of many files, told once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

MOST_ALONE = 3
"""Files about which the same is told in a line each; of more there is one line with a count."""
MOST_NAMED = 1000
"""Files that are named in all where each is; of more there is a count."""
_MOST_KINDS = 200
_NUMBER = re.compile(r"\d+(\.\d+)?")


class AlikeLines:
    """Tells the same of many files once; memory does not grow with the files.

    Args:
        named: files of a kind that are kept by name.
    """

    def __init__(self, named: int = MOST_ALONE) -> None:
        self._named = named
        self._kinds: dict[str, list[tuple[str, str]]] = {}
        self._counts: dict[str, int] = {}
        self._kept = 0
        self.beyond = 0
        """Of files whose kind is one too many to be kept."""

    def add(self, file: str, text: str, kind: str) -> None:
        """Take what is told of one file, and what makes it the same as of another."""
        if kind not in self._kinds and len(self._kinds) == _MOST_KINDS:
            self.beyond += 1
            return
        first = self._kinds.setdefault(kind, [])
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if not first or (len(first) < self._named and self._kept < MOST_NAMED):
            first.append((file, text))
            self._kept += 1

    def groups(self) -> Iterator[tuple[int, list[tuple[str, str]]]]:
        """Of each kind, in the order in which they came: how many files, and the first of them."""
        for kind, first in self._kinds.items():
            yield self._counts[kind], first


class Remarks:
    """Remarks on many files. Those that differ in their numbers only are the same."""

    def __init__(self) -> None:
        self._alike = AlikeLines()

    def add(self, file: str, text: str) -> None:
        """Take one."""
        self._alike.add(file, text, _NUMBER.sub("0", text))

    def lines(self) -> Iterator[str]:
        """A line a file, or one for all of which the same is told, with their count and names."""
        for count, first in self._alike.groups():
            if count <= MOST_ALONE:
                yield from (f"{file}: {text}" for file, text in first)
            else:
                names = ", ".join(file for file, _ in first)
                yield f"{count} times: {first[0][1]} ({names} and {count - len(first)} more)"
        if self._alike.beyond:
            yield f"{self._alike.beyond} more of other kinds; a table (--csv) keeps all of them"


def told_once(told: Iterable[tuple[str, str]]) -> Iterator[str]:
    """The lines of remarks, each a file and a text; see `Remarks`."""
    remarks = Remarks()
    for file, text in told:
        remarks.add(file, text)
    return remarks.lines()
