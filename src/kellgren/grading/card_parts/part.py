"""The base of what a card holds: frozen, without unknown fields, of finite numbers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of a bundle's card."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
