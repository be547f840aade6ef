"""One thing that is known of an installation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is known of an installation.

    Attributes:
        section: under which it stands, such as ``models``.
        name: what it is about.
        words: what was found.
        broken: whether something cannot work as it is.
    """

    section: str
    name: str
    words: str
    broken: bool = False
