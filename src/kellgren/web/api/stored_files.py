"""Files of the store as answers, compared with their checksums before the first byte is sent."""

from __future__ import annotations

from fastapi import Response

from kellgren.web.storage.blobs import BlobStore


def stored_file(blobs: BlobStore, digest: str, kind: str) -> Response:
    """A stored file; browsers ask for it anew each time, for it may have been deleted.

    Raises:
        UnusableContent: it is missing, or was changed on the disk.
    """
    headers = {"Cache-Control": "private, no-cache", "ETag": f'"{digest}"'}
    return Response(blobs.read(digest), media_type=kind, headers=headers)
