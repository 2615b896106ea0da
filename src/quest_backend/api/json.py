"""JSON answers by orjson."""

from typing import Any

import orjson
from fastapi.responses import Response


def json_response(body: Any, status: int = 200) -> Response:
    """``body`` as JSON."""
    return Response(orjson.dumps(body), status, media_type="application/json")
