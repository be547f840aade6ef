"""Answers to what goes wrong inside: a status and a sentence, never a traceback."""

from __future__ import annotations

import errno
import json
import logging
import sqlite3

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from kellgren.errors import KellgrenError
from kellgren.web.settings import RETRY_SECONDS
from kellgren.web.storage.blobs import UnusableContent
from kellgren.web.storage.opening import trouble_text

NO_SPACE = "The server's disk is full; delete cases, or try again later"
FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
_log = logging.getLogger("kellgren.web")


def answer_problems(app: FastAPI) -> None:
    """Have an application answer errors that its routes do not expect."""
    app.add_exception_handler(Exception, _internal_error)
    app.add_exception_handler(RequestValidationError, _wrong_parameters)
    app.add_exception_handler(UnicodeEncodeError, _no_unicode)
    app.add_exception_handler(UnusableContent, _unusable_content)
    app.add_exception_handler(KellgrenError, _unreadable_case)
    app.add_exception_handler(sqlite3.Error, _database_error)
    app.add_exception_handler(OSError, _disk_error)


async def _internal_error(request: Request, error: Exception) -> JSONResponse:
    # The traceback is for the server's log, not for the client.
    return JSONResponse({"detail": "The server failed; its log says why"}, 500)


async def _wrong_parameters(request: Request, error: Exception) -> Response:
    """Where and why, without the value: it may be no valid text or number, or name a patient."""
    assert isinstance(error, RequestValidationError)
    found = [{key: one[key] for key in ("loc", "msg", "type")} for one in error.errors()]
    # Escaped to ASCII: names of keys come from outside too.
    return Response(json.dumps({"detail": found}), 422, media_type="application/json")


async def _no_unicode(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "A text holds characters that are no Unicode"}, 422)


async def _unusable_content(request: Request, error: Exception) -> JSONResponse:
    _log.error("a stored file cannot be served: %s", error)
    return JSONResponse({"detail": f"It cannot be shown: {error}"}, 404)


async def _unreadable_case(request: Request, error: Exception) -> JSONResponse:
    _log.error("%s", error)
    return JSONResponse({"detail": str(error)}, 409)


async def _database_error(request: Request, error: Exception) -> JSONResponse:
    found = trouble_text(error)
    _log.error("a request was not answered: %s", found)
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return JSONResponse({"detail": NO_SPACE}, 507)
    wait = {"Retry-After": str(RETRY_SECONDS)}
    return JSONResponse({"detail": f"The server cannot do that now: {found}"}, 503, wait)


async def _disk_error(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        _log.error("a request was not answered: %s", trouble_text(error))
        return JSONResponse({"detail": NO_SPACE}, 507)
    _log.error("a request was not answered", exc_info=error)
    return await _internal_error(request, error)
