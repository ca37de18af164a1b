"""The dashboard's own files: styles, modules and pictures, all of them from the package."""

from __future__ import annotations

import gzip
import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from kailash_mcp_prod.errors import NotFoundError

_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


class _File(NamedTuple):
    media_type: str
    body: bytes
    zipped: bytes
    tag: str


class StaticFiles:
    """Holds the files, which are small, and answers for them. They say nothing of the server."""

    def __init__(self) -> None:
        self._files = dict(_read(files(__package__).joinpath("static"), ""))

    async def answer(self, request: Request) -> Response:
        """A file, or that the browser has it already.

        Raises:
            NotFoundError: There is none of that name.
        """
        found = self._files.get(request.path_params["name"])
        if found is None:
            raise NotFoundError("There is no such file.")
        headers = {"ETag": found.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if request.headers.get("if-none-match") == found.tag:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(found.zipped, media_type=found.media_type, headers=headers)
        return Response(found.body, media_type=found.media_type, headers=headers)


def _read(folder: Traversable, prefix: str) -> list[tuple[str, _File]]:
    found: list[tuple[str, _File]] = []
    for each in folder.iterdir():
        if each.is_dir():
            found += _read(each, f"{prefix}{each.name}/")
        elif (kind := _TYPES.get("." + each.name.rpartition(".")[2])) is not None:
            body = each.read_bytes()
            tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            found.append((prefix + each.name, _File(kind, body, gzip.compress(body, mtime=0), tag)))
    return found
