"""The text below each field of a record, read from its source when a schema is asked for."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise


def texts_below_fields(record: type) -> dict[str, str]:
    """The string below each field of a class of this package, and of those it inherits from.

    Args:
        record: with annotated fields.

    Returns:
        By name of the field; a class's own text comes before that of what it inherits from.
    """
    found: dict[str, str] = {}
    for each in reversed(record.__mro__):
        if each.__module__.partition(".")[0] == __name__.partition(".")[0]:
            found |= _texts_in(each)
    return found


@cache
def _texts_in(record: type) -> dict[str, str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(record))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, below in pairwise(body.body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[field.target.id] = inspect.cleandoc(str(below.value.value))
    return found
