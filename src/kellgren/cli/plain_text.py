"""Signs that a terminal or pipe cannot show, or must not obey: plain ones instead."""

from __future__ import annotations

import codecs
import os
import sys
import warnings
from io import TextIOWrapper
from pathlib import Path

_PLAIN = {
    **dict(zip("▁▂▃▄▅▆▇█", "_.,:-=+#", strict=True)),
    **{"·": "|", "✓": "+", "✗": "x", "→": "->", "—": "-", "…": "...", "±": "+-", "°": " deg"},
    **{"\N{EN DASH}": "-", "\N{MULTIPLICATION SIGN}": "x", "≥": ">=", "≤": "<="},
}
_MARKS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))  # turn the direction of writing
_OBEYED = {
    code: chr(code).encode("ascii", "backslashreplace").decode()
    if code > 0xFF
    else f"\\x{code:02x}"
    for code in (*range(0x20), *range(0x7F, 0xA0), *_MARKS)
    if chr(code) not in "\t\n"
}
_ERRORS = "kellgren-plain"


def open_closed_streams() -> None:
    """Give standard streams that are closed a place, as ``>&-`` and some services close them.

    Else the next file that is opened takes a stream's number, and gets what is written to that.
    """
    number = os.open(os.devnull, os.O_RDWR)
    while number <= 2:
        os.set_inheritable(number, True)  # as those of other programs are
        number = os.dup(number)
    os.close(number)
    for name, of in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            mode = "r" if of == 0 else "w"
            setattr(sys, name, open(of, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def show_any_text() -> None:
    r"""Let standard output and error take every text, whatever their encoding (cp1252, ASCII).

    Bars and marks become plain signs, all else is written like ``\u4e2d``. For entry points only.
    """
    codecs.register_error(_ERRORS, _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def show_own_warnings_plainly() -> None:
    """Show what this package warns of as a sentence, without Python's file, line and code.

    Warnings of other packages tell a developer where they come from, and stay. For entry points.
    """
    warnings.formatwarning = _shown


_PACKAGE, _as_python = Path(__file__).parents[1], warnings.formatwarning


def _shown(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    if category is RuntimeWarning and Path(filename).is_relative_to(_PACKAGE):
        return f"warning: {without_commands(str(message))}\n"
    return _as_python(message, category, filename, lineno, line)


def without_commands(text: str) -> str:
    r"""The text with what a terminal would obey, not show, written like ``\x1b``.

    A file's name may hold commands that rename the window, hide lines or write to the clipboard.
    """
    return text.translate(_OBEYED)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    shown = (_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in text)
    return "".join(shown), error.end
