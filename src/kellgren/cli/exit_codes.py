"""The exit codes of every command, as docs/reference/command-line.md lists them."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's end means to whoever called it."""

    DONE = 0
    """Everything was done."""
    SOME_FAILED = 1
    """Some inputs or jobs failed, data are not fit for training, or a fault or change is found."""
    USAGE = 2
    """Wrong usage, or input that cannot be used."""
    MODEL_MISSING = 3
    """A bundle is missing or damaged."""
    NOTHING_GRADED = 4
    """No knee could be graded or found."""
    CANNOT_WRITE = 5
    """A result or a state of training could not be written: a full disk, no permission."""
    INTERRUPTED = 130
    """Ended by Ctrl-C; the command says what is kept."""

    @classmethod
    def of_batch(cls, failed: int, total: int) -> ExitCode:
        """Of a batch of which some or all failed."""
        if not failed:
            return cls.DONE
        return cls.NOTHING_GRADED if failed == total else cls.SOME_FAILED

    @classmethod
    def of_check(cls, passed: bool) -> ExitCode:
        """Of a command that asks whether all is well."""
        return cls.DONE if passed else cls.SOME_FAILED
