"""The text below each field of a record, read from its source when a schema is asked for."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise
from typing import Any


def schema_with_texts(record: type, core_schema: Any, handler: Any) -> dict[str, Any]:
    """A record's JSON Schema, each field described by the text below it.

    Made when a schema is asked for: pydantic's own option reads the source of every record as it
    is defined, which takes longer than all else that importing records does.

    Args:
        record: a pydantic model of this package.
        core_schema: as pydantic gives it to ``__get_pydantic_json_schema__``.
        handler: likewise.
    """
    schema: dict[str, Any] = handler(core_schema)
    fields = handler.resolve_ref_schema(schema).get("properties", {})
    for name, text in texts_below_fields(record).items():
        if name in fields:
            fields[name].setdefault("description", text)
    return schema


def without_default(schema: dict[str, Any]) -> None:
    """Take the default out of a field's schema: how a missing field is read is never written."""
    del schema["default"]


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
