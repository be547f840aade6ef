"""Files as one archive in pieces of at most a given size, each checked by its SHA-256.

A pack is a folder with one manifest, ``NAME-ID.pack.json``, and the pieces that it lists,
``NAME-ID-001-of-004.part`` and so on. Joined, the pieces are a plain tar: without this package,
``cat NAME-ID-*.part | tar x`` opens it too. Equal files make equal bytes.
"""

from __future__ import annotations

from kellgren.archives.contents import Advance, Contents, Kind, PackedFile, is_safe_name
from kellgren.archives.packing import MEGABYTE, archive_bytes, describe, write_pack
from kellgren.archives.unpacking import (
    Pack,
    draft_in,
    extract,
    find_packs,
    is_pack,
    read_contents,
    verify,
)

__all__ = [
    "MEGABYTE",
    "Advance",
    "Contents",
    "Kind",
    "Pack",
    "PackedFile",
    "archive_bytes",
    "describe",
    "draft_in",
    "extract",
    "find_packs",
    "is_pack",
    "is_safe_name",
    "read_contents",
    "verify",
    "write_pack",
]
