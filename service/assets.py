"""The files of the page at ``/``, which lie in the package ``service.page``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final

from service.errors import NotFound
from service.representations import Body

INDEX: Final = "index.html"

_MEDIA_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True)
class Asset:
    """A file and what HTTP says of it."""

    body: Body
    media_type: str
    etag: str


def asset_names() -> tuple[str, ...]:
    """All files of the page; what is not among them is not served."""
    names = (entry.name for entry in files("service.page").iterdir() if entry.is_file())
    return tuple(sorted(name for name in names if name.rpartition(".")[2] in _MEDIA_TYPES))


@lru_cache(maxsize=64)
def read_asset(name: str) -> Asset:
    """A file of the page, kept in memory. Raises NotFound."""
    if name not in asset_names():
        raise NotFound("the page has no such file", where=name[:80])
    content = (files("service.page") / name).read_bytes()
    return Asset(
        Body(content),
        _MEDIA_TYPES[name.rpartition(".")[2]],
        f'"{hashlib.sha256(content).hexdigest()}"',
    )
