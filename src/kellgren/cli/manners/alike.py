"""Lines that say the same of many files, told once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

MOST_ALONE = 3
"""Files about which the same is told in a line each; of more there is one line with a count."""
_NAMED = 3
_NUMBER = re.compile(r"\d+(\.\d+)?")


def grouped(told: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Files by what is told of them, both in the order in which they came.

    Args:
        told: file and text.
    """
    files: dict[str, list[str]] = {}
    for file, text in told:
        files.setdefault(text, []).append(file)
    return files


def told_once(told: Iterable[tuple[str, str]]) -> Iterator[str]:
    """A line a file, or one for all of which the same is told, with their count and a few names.

    Texts that differ in their numbers only are the same; the first stands for all.

    Args:
        told: file and text.
    """
    alike: dict[str, list[tuple[str, str]]] = {}
    for file, text in told:
        alike.setdefault(_NUMBER.sub("0", text), []).append((file, text))
    for group in alike.values():
        if len(group) <= MOST_ALONE:
            yield from (f"{file}: {text}" for file, text in group)
        else:
            first = ", ".join(file for file, _ in group[:_NAMED])
            yield f"{len(group)} times: {group[0][1]} ({first} and {len(group) - _NAMED} more)"
