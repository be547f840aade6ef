"""What is said where a command does not come to its end: by Ctrl-C, or for want of space."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from kellgren.atomic_files import CannotWrite, writing
from kellgren.cli.exit_codes import ExitCode
from kellgren.cli.plain_text import without_commands
from kellgren.errors import BundleError, CannotKeep, KellgrenError, cause

NOTHING_KEPT = "files are written whole or not at all, so what this command had not written is lost"
# Files that are read have errors of their own; what reaches the end of a command is a target.
_TARGET_FAULTS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG),
}
_told: list[str] = []


@contextmanager
def interrupted_leaves(kept: str) -> Iterator[None]:
    """Say at Ctrl-C what this command leaves behind.

    Args:
        kept: what is kept, and how to go on; without a full stop.
    """
    _told.append(kept)
    yield
    # Not in a `finally`: where the block is left by Ctrl-C, `end_of` says it.
    _told.pop()


def journal_beside(table: Path) -> Path:
    """Where a batch keeps the rows of a table until all are there."""
    return table.with_name(f".{table.name}.journal")


@contextmanager
def batch_into(*tables: Path | None) -> Iterator[None]:
    """Say what a batch leaves at Ctrl-C or on a full disk; errors about its journal name the table.

    Args:
        *tables: that were asked for; the journal lies beside the first one that is a file.
    """
    target = next((path for path in tables if path is not None and str(path) != "-"), None)
    if target is None:
        with interrupted_leaves("no row is kept without --csv FILE or --json FILE"):
            yield
        return
    kept = f"finished files are kept beside {target}; the same command with --resume goes on"
    try:
        with interrupted_leaves(kept), writing(target):
            yield
    except CannotWrite:
        if journal_beside(target).is_file():
            _report(kept)  # a table with another name would begin anew
        raise


@contextmanager
def endings() -> Iterator[None]:
    """Turn whatever ends a command into one line on standard error and an `ExitCode`."""
    _told.clear()
    try:
        try:
            yield
        finally:
            _flush_output()
    except SystemExit as end:
        if end.code == ExitCode.INTERRUPTED:
            _report(f"interrupted: {_told[-1] if _told else NOTHING_KEPT}")
        raise
    except KeyboardInterrupt:  # before the command began
        _report(f"interrupted: {NOTHING_KEPT}")
        sys.exit(ExitCode.INTERRUPTED)
    except (KellgrenError, OSError) as error:
        _report(f"error: {_words(error)}")
        sys.exit(code_of(error))


def code_of(error: KellgrenError | OSError) -> ExitCode:
    """The exit code of a command that an error ends."""
    if isinstance(error, BundleError):
        return ExitCode.MODEL_MISSING
    if isinstance(error, CannotKeep | CannotWrite):
        return ExitCode.CANNOT_WRITE
    if isinstance(error, OSError):
        target = error.errno in _TARGET_FAULTS
        return ExitCode.CANNOT_WRITE if target else ExitCode.SOME_FAILED
    return ExitCode.USAGE


def _words(error: KellgrenError | OSError) -> str:
    if isinstance(error, KellgrenError | CannotWrite):
        return str(error)
    # Whatever is opened by its name has it in the error; what has none is a stream.
    name = error.filename or "standard output"
    if error.errno in _TARGET_FAULTS:  # a copy names both files, the one that is written last
        return str(CannotWrite(error.errno, error.strerror, error.filename2 or name))
    return f"{name}: {cause(error)}"


def _flush_output() -> None:
    """Standard output may be a file on a full disk too; it is found out no later than here."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would fail once more, with a traceback, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            return  # whoever read it, such as `head`, has seen enough
        raise CannotWrite(error.errno, error.strerror, "standard output") from None


def _report(message: str) -> None:
    typer.echo(without_commands(message), err=True)
