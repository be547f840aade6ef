"""Units of the DICOM upper layer protocol (PS3.8) and their items, byte by byte, wrong ones too."""

from __future__ import annotations

import struct

from pydicom import uid

CR: str = uid.ComputedRadiographyImageStorage
_IMPLICIT, _CONTEXT_NAME = b"1.2.840.10008.1.2", b"1.2.840.10008.3.1.1.1"


def unit(kind: int, content: bytes, length: int | None = None) -> bytes:
    """A protocol data unit, which may claim another length."""
    claimed = len(content) if length is None else length
    return bytes([kind, 0]) + struct.pack(">I", claimed) + content


def item(kind: int, content: bytes) -> bytes:
    """An item of an association request."""
    return bytes([kind, 0]) + struct.pack(">H", len(content)) + content


def request(
    number: int = 1, abstract: str = CR, syntaxes: int = 1, contexts: int = 1, more: bytes = b""
) -> bytes:
    """An association request to KELLGREN.

    Args:
        number: of the presentation context; odd, if it is to be right.
        abstract: its SOP class.
        syntaxes: how often it names a transfer syntax.
        contexts: how often it stands in the request.
        more: items of the user's information.
    """
    syntax = item(0x30, abstract.encode()) + item(0x40, _IMPLICIT) * syntaxes
    user = item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3") + more
    content = struct.pack(">HH", 1, 0) + b"KELLGREN".ljust(16) + b"SENDER".ljust(16) + bytes(32)
    content += item(0x10, _CONTEXT_NAME)
    context = item(0x20, bytes([number, 0, 0, 0]) + syntax)
    return unit(1, content + context * contexts + item(0x50, user))
