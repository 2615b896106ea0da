"""The web console: files that Vite built into the package, each with its compressed form beside."""

import mimetypes
import secrets
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Header, Request
from fastapi import Path as PathParam
from fastapi.responses import FileResponse, HTMLResponse, Response

from quest_backend.api.errors import ApiError
from quest_backend.api.uploads import endpoint_of

router = APIRouter(include_in_schema=False)

FILES = Path(__file__).parent.parent / "web"
_NONCE = "__CSP_NONCE__"
# Vite puts a hash of the content into the name.
_FOR_EVER = "public, max-age=31536000, immutable"
_ENCODINGS = (("br", ".br"), ("gzip", ".gz"))


def _policy(nonce: str, media: str) -> str:
    # Styles are made at run time by the component library, which gives them this nonce; videos come
    # from the object store, which may be another host.
    return (
        f"default-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' blob: data:; "
        f"media-src 'self' {media}; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


@router.get("/")
async def index(request: Request) -> Response:
    """The page; everything after ``#`` is the console's own."""
    page = FILES / "index.html"
    if not page.exists():
        raise ApiError(404, "The console is not built here: run `make console`")
    nonce = secrets.token_urlsafe(16)
    return HTMLResponse(
        page.read_text().replace(_NONCE, nonce),
        headers={
            "Content-Security-Policy": _policy(nonce, _media(request)),
            "Cache-Control": "no-cache",
        },
    )


def _media(request: Request) -> str:
    """The origin that presigned URLs for this client have."""
    parts = urlsplit(endpoint_of(request))
    return f"{parts.scheme}://{parts.netloc}"


@router.get("/assets/{name}")
async def asset(
    request: Request,
    name: Annotated[str, PathParam(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$")],
    accept_encoding: Annotated[str, Header()] = "",
) -> Response:
    """A script, style, font or picture."""
    path = FILES / "assets" / name
    kind, _ = mimetypes.guess_type(name)
    if path.suffix in (".br", ".gz") or not path.is_file():
        raise ApiError(404, f"No such path: {request.url.path[:200]}")
    headers = {"Cache-Control": _FOR_EVER, "Vary": "Accept-Encoding"}
    accepted = {part.partition(";")[0].strip() for part in accept_encoding.split(",")}
    for encoding, suffix in _ENCODINGS:
        packed = path.with_name(name + suffix)
        if encoding in accepted and packed.is_file():
            headers["Content-Encoding"] = encoding
            path = packed
            break
    return FileResponse(path, headers=headers, media_type=kind or "application/octet-stream")
