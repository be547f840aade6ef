"""The base of all records that are kept and sent: frozen, without unknown fields, described."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from kellgren.exchange.field_texts import schema_with_texts


class Record(BaseModel):
    """What all records have in common: no change, no unknown field, descriptions in the schema."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> dict[str, Any]:
        return schema_with_texts(cls, core_schema, handler)
