"""Errors of REST: always ``{"ok": false, "error": "<one clear sentence>"}``."""

from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from quest_backend.state.valkey import StoreUnavailable
from quest_backend.state.versions import NewerRecord
from quest_backend.storage.refusals import Refusal, UploadRefused
from quest_backend.storage.s3 import ObjectStoreFull, ObjectStoreUnavailable

log = structlog.get_logger()


class ApiError(Exception):
    """An answer with a 4xx or 5xx status."""

    def __init__(
        self, status: int, error: str, headers: dict[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(error)
        self.status = status
        self.headers = headers
        self.body = {"ok": False, "error": error, **more}


def install(app: FastAPI) -> None:
    """Map everything that can go wrong to that form."""

    @app.exception_handler(ApiError)
    async def _api(_: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body, error.status, headers=error.headers)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        text = {
            404: f"No such path: {request.url.path[:200]}",
            405: f"{request.method} is not allowed here",
        }.get(error.status_code, str(error.detail))
        return JSONResponse({"ok": False, "error": text}, error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        problem = error.errors()[0]
        # Of what is no JSON, the place is a number of characters.
        place = () if problem["type"] == "json_invalid" else problem["loc"][1:]
        where = ".".join(str(part) for part in place) or "body"
        return JSONResponse(
            {"ok": False, "error": f"{where}: {problem['msg'].removeprefix('Value error, ')}"}, 400
        )

    @app.exception_handler(StoreUnavailable)
    async def _away(_: Request, __: StoreUnavailable) -> JSONResponse:
        return JSONResponse(
            {"ok": False, "error": "The state store is down; try again shortly"},
            503,
            headers={"Retry-After": "2"},
        )

    @app.exception_handler(NewerRecord)
    async def _newer(_: Request, error: NewerRecord) -> JSONResponse:
        # During a rolling upgrade the next server may be one that knows it.
        return JSONResponse({"ok": False, "error": str(error)}, 503, headers={"Retry-After": "2"})

    @app.exception_handler(UploadRefused)
    async def _refused(_: Request, refused: UploadRefused) -> JSONResponse:
        body = {"ok": False, "error": str(refused), **refused.more}
        busy = refused.refusal is Refusal.BUSY
        headers = {"Retry-After": "2"} if busy else None
        return JSONResponse(body, refused.refusal.value, headers=headers)

    @app.exception_handler(ObjectStoreUnavailable)
    async def _objects_away(request: Request, error: ObjectStoreUnavailable) -> JSONResponse:
        log.warning("object_store_unavailable", path=request.url.path, reason=str(error))
        full = isinstance(error, ObjectStoreFull)
        down = "The object store is down; try again shortly"
        text = str(error).capitalize() if full else down
        return JSONResponse(
            {"ok": False, "error": text}, 507 if full else 503, headers={"Retry-After": "5"}
        )

    @app.exception_handler(Exception)
    async def _bug(request: Request, error: Exception) -> JSONResponse:
        log.error("request_failed", path=request.url.path, exc_info=error)
        return JSONResponse({"ok": False, "error": "Internal error"}, 500)
