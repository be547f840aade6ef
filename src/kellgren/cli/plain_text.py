"""Signs that a terminal or pipe cannot show: plain ones instead, never an error."""

from __future__ import annotations

import codecs
import sys
from io import TextIOWrapper

_PLAIN = {
    **dict(zip("▁▂▃▄▅▆▇█", "_.,:-=+#", strict=True)),
    **{"·": "|", "✓": "+", "✗": "x", "→": "->", "—": "-", "…": "...", "±": "+-", "°": " deg"},
    **{"\N{EN DASH}": "-", "\N{MULTIPLICATION SIGN}": "x", "≥": ">=", "≤": "<="},
}
_ERRORS = "kellgren-plain"


def show_any_text() -> None:
    r"""Let standard output and error take every text, whatever their encoding (cp1252, ASCII).

    Bars and marks become plain signs, all else is written like ``\u4e2d``. For entry points only.
    """
    codecs.register_error(_ERRORS, _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    shown = (_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in text)
    return "".join(shown), error.end
