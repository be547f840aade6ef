"""The base of all records that are kept and sent: frozen, without unknown fields, described."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """What all records have in common: no change, no unknown field, descriptions in the schema."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
